"""Images and development environments over the Docker Engine, from Python."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import List, Union

import pytest

import towpath

BASE = "towpath/debian:bookworm-5"


@pytest.fixture(autouse=True)
def engine() -> None:
    asked = subprocess.run(["docker", "image", "inspect", BASE], capture_output=True)
    if asked.returncode != 0:
        print("NOT RUN: Docker from Python: install docker.io and debootstrap, start dockerd, run .ci/sshd-image")
        assert "TOWPATH_TEST_REQUIRE" not in os.environ
        pytest.skip("no image to start from")


def test_a_playbook_and_a_script_are_baked_once(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - copy: { dest: /etc/motd, content: \"baked\\n\" }\n"
    )
    builder = towpath.image_builder(towpath.docker.DockerImage(tags=["towpath-test/python:baked"]), base_dir=tmp_path)
    image = towpath.types.ImageInput(
        name="web",
        base={"image": BASE},
        configure=[
            towpath.playbook.Playbook(file="site.yml"),
            towpath.script.Script(steps=[{"run": {"script": "echo more >>/etc/motd"}}]),
        ],
        artifacts=["docker_image"],
    )
    made = builder.build(image)
    try:
        assert made.changed == 1
        said = subprocess.run(
            ["docker", "run", "--rm", "towpath-test/python:baked", "cat", "/etc/motd"], capture_output=True, text=True
        )
        assert said.stdout == "baked\nmore\n", said
        assert builder.build(image).changed == 0
        assert all(c.certainty == "will_not" for c in builder.plan(image).changes)
    finally:
        assert builder.remove(made.artifacts[0])


def test_two_images_of_one_description_are_the_same_system(tmp_path: Path) -> None:
    docker = towpath.image_builder(towpath.docker.DockerImage())

    def image(*scripts: str) -> towpath.types.ImageInput:
        steps: List[Union[towpath.types.ProviderRef, towpath.Config]] = [
            towpath.script.Script(steps=[{"run": {"script": script}}]) for script in scripts
        ]
        return towpath.types.ImageInput(
            name=f"python-{os.getpid()}", base={"image": BASE}, configure=steps, artifacts=["docker_image"]
        )

    def bake(more: str) -> towpath.Bake:
        return (
            towpath.Bake(tmp_path)
            .image("one", docker, image("echo a >/etc/a; echo b >/etc/b" + more))
            .image("two", docker, image("echo a >/etc/a", "echo b >/etc/b"))
        )

    made = bake("").run()
    assert made.is_equal and "one = two: equal" in str(made), made
    assert asyncio.run(towpath.aio.Bake(bake("")).run()).artifact("one") == made.artifact("one")
    assert "bash:amd64" in docker.contents(made.artifact("two"))["packages"]
    record = Path(made.artifacts[0].record)
    assert json.loads((record / "provenance.json").read_text())["_type"] == "https://in-toto.io/Statement/v1"

    other = bake("; chmod 600 /etc/a")
    found = other.run()
    assert [(d.subject, d.property) for d in found.equivalence.pairs[0].differences] == [("file /etc/a", "mode")]
    assert not found.is_equal and other.allow("file /etc/a", "a try", property="mode").run().is_equal
    for report in (made, found):
        for one in report.artifacts:
            docker.remove(one.artifact)


def test_a_development_environment_comes_and_goes() -> None:
    web = towpath.docker.ContainerSpec(image=BASE, command=["sleep", "60"])
    dev = towpath.provisioner(
        towpath.docker.DockerEnvironment(containers={"web": web}), environment=f"python-{os.getpid()}"
    )
    try:
        made = dev.apply()
        host = made.environment.inventory.hosts[0]
        assert host.connection.kind == "docker"
        assert towpath.connect(host).run(["echo", "hello"]).stdout == b"hello\n"
        assert dev.apply().changed == 0
    finally:
        assert dev.destroy().changed > 0


def test_the_example_of_a_laptops_environment_comes_up_and_goes_down(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "examples/dev_environment.py"

    def dev(verb: str) -> str:
        said = subprocess.run(
            [sys.executable, str(example), verb, "sqlite:store.db"], cwd=tmp_path, capture_output=True, text=True
        )
        assert said.returncode == 0, said
        return said.stdout

    try:
        address = dev("up").removeprefix("up: ").strip()
        with urllib.request.urlopen(address) as page:
            assert b"Shop on web, prices of db" in page.read()
        assert dev("up").strip() == f"up: {address}", "it is there"
    finally:
        assert dev("down") == "down\n"
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", "label=towpath.environment=laptop"], capture_output=True, text=True
    )
    assert left.stdout == ""
