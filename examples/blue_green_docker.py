#!/usr/bin/env python3
"""Two groups of containers take turns behind a balancer: a good release, one that is ill and never served, and the way back, which is a
switch and starts nothing. The twin of `cargo run --release -p towpath-examples --features docker --example blue_green_docker`.

    pip install ./bindings-python
    python examples/blue_green_docker.py

Needs a Docker Engine, and a local image with Python (`IMAGE`; the one that `.ci/sshd-image` makes by default).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Dict, List

import towpath
from towpath import Artifact, BlueGreen, Check, Gate, Inventory, LocalBalancerConfig, Release, Rolling
from towpath.docker import DockerDeploy, Ready, ServiceContainer
from towpath.local import Local, LocalBalancer, LocalMonitor

HOME = Path(__file__).resolve().parent.parent / "target" / "blue-green-docker-python"
ENVIRONMENT = "blue-green-python"
HOSTS = ("blue-1", "blue-2", "green-1", "green-2")
SERVER = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(s):
        b = os.environ["VERSION"].encode()
        s.send_response(500 if os.environ.get("FAULT") else 200)
        s.send_header("content-length", str(len(b))); s.end_headers(); s.wfile.write(b)
    def log_message(s, *a): pass
http.server.ThreadingHTTPServer(("", 80), H).serve_forever()
"""


def docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: docker {args[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def inventory() -> Inventory:
    """Four places for a container, two of each colour."""
    hosts: List[Dict[str, Any]] = []
    for name in HOSTS:
        hosts.append({"name": name, "connection": {"kind": "local", "address": "127.0.0.1"}, "vars": {"web_port": free_port()}})
    groups = {colour: {"hosts": [f"{colour}-1", f"{colour}-2"]} for colour in ("blue", "green")}
    return Inventory.of({"hosts": hosts, "groups": groups})


def healthy(**more: Any) -> Gate:
    probe = {"http": {"port": "{{ web_port }}", "path": "/", "contains": "{{ release_version }}"}}
    return Gate(checks=[Check(name="up", probe=probe)], interval_s=0.05, **more)


def forget() -> None:
    """Removes the containers, and what the deployer keeps in the engine: names of staged images, and the ledgers."""
    own = f"label=towpath.deploy.environment={ENVIRONMENT}"
    for container in docker("ps", "-aq", "--filter", own).split():
        docker("rm", "-fv", container)
    for volume in docker("volume", "ls", "-q", "--filter", own).split():
        docker("volume", "rm", volume)
    for name in HOSTS:
        # Of this environment only: others may have hosts of these names, too.
        owner = hashlib.sha256(json.dumps([ENVIRONMENT, "web", name], separators=(",", ":")).encode()).hexdigest()[:8]
        staged = ["images", "--filter", f"reference=towpath.invalid/*-{owner}/*", "--format", "{{.Repository}}:{{.Tag}}"]
        for image in docker(*staged).split():
            docker("rmi", image)


def main() -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(mode=0o700, parents=True)
    image = docker("image", "inspect", "-f", "{{.Id}}", os.environ.get("IMAGE", "towpath/debian:bookworm-5"))
    hosts, port = inventory(), free_port()
    settings: Dict[str, Any] = {"mode": "http", "port": port, "state_dir": str(HOME / "local")}
    front = LocalBalancer(**settings)
    # An environment brings the balancer and takes it away again; its one host is not used.
    ground = Local(hosts=1, name="ground", state_dir=settings["state_dir"], balancer=LocalBalancerConfig(**settings))
    around = towpath.provisioner(ground, environment=ENVIRONMENT)
    around.apply()
    engine = towpath.Engine(f"sqlite:{HOME / 'store.db'}", environment=ENVIRONMENT, progress=True)
    to = DockerDeploy(
        service="web",
        container=ServiceContainer(ports=["{{ web_port }}:80"], command=["python3", "-u", "-c", SERVER]),
        ready=Ready(port=80, timeout_s=20),
    )
    how = Rolling(
        blue_green=BlueGreen(groups=["blue", "green"]),
        balancer=front,
        backend_port="{{ web_port }}",
        monitor=LocalMonitor(),
        health=healthy(start_period_s=2.0),
        watch=healthy(hold_s=0.5),
    )
    well = True
    try:
        for version, fault, wanted, serves in (
            ("v1", "", "deployed", "v1"),
            ("v2", "", "deployed", "v2"),
            ("v3", "500", "rolled_back", "v2"),
            ("v1", "", "deployed", "v1"),
        ):
            artifact = Artifact(name="web", kind="docker_image", id=image, digest=image)
            release = Release(service="web", version=version, artifact=artifact, env={"VERSION": version, "FAULT": fault})
            p = towpath.Pipeline(f"web {version}")
            p.deploy("switch", to, release, hosts).rollout(how)
            report = engine.run(p).step("switch").outputs["report"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                serving = answer.read().decode()
            print(f"{version}  {report['outcome']:<12} in {report['seconds']['total']:.1f} s; {serving} serves")
            well &= report["outcome"] == wanted and serving == serves
    finally:
        around.destroy()
        forget()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
