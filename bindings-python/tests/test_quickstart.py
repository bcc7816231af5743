"""`examples/quickstart.py`: the main job, a second run, a repair, a crash, and nothing left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
import towpath
from conftest import local_parts

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "quickstart.py"


def call(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "faulthandler", str(SCRIPT), "--store", str(home), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        # Python's own stacks, and how far the run came.
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate(timeout=30)
        journals = [path.read_text()[-3000:] for path in sorted((home / "runs").glob("*.jsonl"))]
        pytest.fail("\n".join([f"{options} did not end", out, err, *journals]))
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def run(home: Path) -> Dict[str, Any]:
    done = call(home, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: Dict[str, Any] = json.loads(done.stdout)
    assert found["requests"]["failed"] == 0 and found["requests"]["sent"] > 0
    assert (found["hosts"], found["serving"]) == (3, "v2")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert call(tmp_path / "home", "--destroy").returncode == 0
    assert not (tmp_path / "home").exists()
    assert local_parts(str(tmp_path)) == []


def states(found: Dict[str, Any]) -> Dict[str, str]:
    return {step["name"]: step["state"] for step in found["steps"]}


def outcomes(found: Dict[str, Any]) -> Dict[str, str]:
    return {one["release"]: one["outcome"] for one in found["releases"]}


def test_the_main_job(home: Path) -> None:
    planned = call(home, "--plan")
    assert planned.returncode == 0 and "web-3" in planned.stdout, planned.stderr
    assert not home.exists()

    first = run(home)
    assert outcomes(first) == {"v1": "deployed", "v2": "deployed", "v3": "rolled_back"}
    assert not first["resumed"]
    assert Path(first["run_page"]).read_text().startswith("<!") and Path(first["journal"]).exists()

    second = run(home)
    assert outcomes(second) == {"v1": "superseded", "v2": "unchanged", "v3": "refused"}
    assert (states(second)["fleet"], states(second)["site"]) == ("unchanged", "unchanged")

    # A file deleted on one host in between is repaired.
    fleet = {"hosts": 3, "name": "web", "ports": ["http_port"], "state_dir": str(home / "local")}
    hosts = towpath.provisioner("local", fleet, environment="quickstart").probe().environment
    assert hosts is not None
    with towpath.connect(hosts.inventory.hosts[1]) as connection:
        lost = "/etc/motd.d/towpath"
        connection.run(["rm", lost])
        assert states(run(home))["site"] == "done"
        assert "web-2" in connection.run(["cat", lost]).text


def test_a_crash_in_the_middle(home: Path) -> None:
    died = call(home, "--json", "--crash-at", "release v2")
    assert died.returncode == -6, died.stderr
    found = run(home)
    assert found["resumed"]
    assert outcomes(found) == {"v1": "deployed", "v2": "deployed", "v3": "rolled_back"}
    wrong = call(home, "--crash-at", "nothing")
    assert (wrong.returncode, "there is no such step" in wrong.stderr) == (2, True)


def test_hosts_of_an_inventory(home: Path, tmp_path: Path) -> None:
    """Over SSH, as real hosts are: here those of `local`, named by nothing but an Ansible inventory."""
    state = tmp_path / "given"
    given = towpath.provisioner("local", {"hosts": 3, "name": "given", "ports": ["http_port"], "state_dir": str(state)})
    try:
        lines = ["[web]"]
        for host in given.apply().environment.inventory.hosts:
            to, port = host.connection, host.vars["http_port"]
            lines.append(
                f"{host.name} ansible_host={to.address} ansible_port={to.port} ansible_user={to.user} http_port={port}"
            )
        lines += ["[web:vars]", f"ansible_ssh_private_key_file={state / 'id'}"]
        lines += [f"ansible_ssh_common_args='-o UserKnownHostsFile={state / 'known_hosts'} -o IdentitiesOnly=yes'"]
        (tmp_path / "hosts.ini").write_text("\n".join(lines) + "\n")
        for released in ("deployed", "superseded"):
            done = call(home, "--json", "--inventory", str(tmp_path / "hosts.ini"))
            assert done.returncode == 0, done.stdout + done.stderr
            found = json.loads(done.stdout)
            assert outcomes(found)["v1"] == released
            assert (found["serving"], found["requests"]["failed"], found["hosts"]) == ("v2", 0, 3)
    finally:
        given.destroy()
