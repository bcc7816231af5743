"""Auto Scaling and target groups, from Python, against moto."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

import towpath
from towpath import aws
from towpath.types import Backend

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))


class Moto:
    """A server that plays AWS: the one that the Rust tests have installed."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, code: str) -> str:
        head = f"""
import boto3
def client(name):
    return boto3.client(name, region_name="us-east-1", endpoint_url="{self.url}", aws_access_key_id="x", aws_secret_access_key="x")
ec2, asg, elb = client("ec2"), client("autoscaling"), client("elbv2")
"""
        python = TARGET / "moto/bin/python"
        done = subprocess.run([python, "-c", head + code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self) -> aws.ClientConfig:
        return aws.ClientConfig(region="us-east-1", endpoint_url=self.url, max_attempts=1)


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    program = TARGET / "moto/bin/moto_server"
    if not program.exists():
        missing = "NOT RUN: AWS from Python: `cargo test -p towpath-aws` installs moto"
        print(missing)
        assert "TOWPATH_TEST_REQUIRE" not in os.environ, missing
        pytest.skip(missing)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            assert server.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Moto(port)
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


def test_a_target_group_takes_a_host_out_and_back(moto: Moto) -> None:
    moto.ask(
        "vpc = ec2.describe_vpcs()['Vpcs'][0]['VpcId']\n"
        "elb.create_target_group(Name='web', Protocol='HTTP', Port=80, VpcId=vpc, TargetType='ip')"
    )
    config = aws.AwsTargetGroup(target_group="web", client=moto.client(), targets={"web-1": "10.0.0.1"})
    balancer = towpath.balancer(config)
    balancer.add(Backend(name="web-1", address="10.0.0.1", port=8080))
    balancer.drain("web-1")
    assert balancer.wait_idle("web-1", 30.0) == 0
    assert [(b.backend.name, b.mode) for b in balancer.backends()] == [("web-1", "draining")]
    balancer.add(Backend(name="web-1", address="10.0.0.1", port=8080))
    assert [(b.backend.name, b.mode) for b in balancer.backends()] == [("web-1", "serving")]
    with pytest.raises(towpath.NotFoundError):
        balancer.drain("web-2")


def test_scaling_is_suspended_and_resumed(moto: Moto) -> None:
    moto.ask(
        "ec2.create_launch_template(LaunchTemplateName='web', LaunchTemplateData={'ImageId': 'ami-12c6146b', 'InstanceType': 't3.small'})\n"
        "asg.create_auto_scaling_group(AutoScalingGroupName='web', MinSize=1, MaxSize=2, AvailabilityZones=['us-east-1a'],"
        " LaunchTemplate={'LaunchTemplateName': 'web', 'Version': '1'})"
    )

    def suspended() -> str:
        return moto.ask("print(*[p['ProcessName'] for p in asg.describe_auto_scaling_groups()['AutoScalingGroups'][0]['SuspendedProcesses']])")

    config = aws.AwsAutoScaling(client=moto.client(), how={"rolling": {"batch": 2}}, suspend=["alarm_notification"])
    deployer = towpath.deployer(config)
    assert deployer.capabilities() == ["group"]
    deployer.suspend("web")
    assert suspended() == "AlarmNotification"
    deployer.resume("web")
    assert suspended() == ""
    release = towpath.Release(service="web", version="v1")
    with pytest.raises(ValueError, match="Auto Scaling starts AMIs"):
        deployer.start("web", towpath.Inventory(), release)
    with pytest.raises(ValueError, match="end with 100"):
        towpath.deployer(aws.AwsAutoScaling(how={"refresh": {"checkpoints": [20, 50]}}))
