"""Every verb in both languages on this machine: the same calls must give the same."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
import towpath
from towpath import providers

TESTS = Path(__file__).resolve().parent
SITE = """
- hosts: all
  gather_facts: false
  tasks:
    - name: motd
      copy: {content: "{{ greeting | default('hi') }} from {{ inventory_hostname }}\\n", dest: /etc/motd}
    - name: look
      command: cat /etc/motd
      changed_when: false
"""


def folder(at: Path) -> Path:
    at.mkdir()
    (at / "site.yml").write_text(SITE)
    (at / "app.sh").write_text("#!/bin/sh\nexec sleep 1000\n")
    return at


def calls(command: List[str], at: Path) -> Dict[str, Any]:
    done = subprocess.run([*command, str(at)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def alike(value: Any, at: Path) -> Any:
    """Without what differs between any two runs: folders, ports, processes, keys, times."""
    if isinstance(value, dict):
        return {key: "<time>" if key in ("seconds", "started_at", "finished_at", "at") else alike(one, at) for key, one in value.items()}
    if isinstance(value, list):
        return [alike(one, at) for one in value]
    if isinstance(value, int) and value > 1023:
        return "<number>"
    if isinstance(value, str):
        value = value.replace(str(at), "<folder>")
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", "<uuid>", value)
        value = re.sub(r"\b[0-9a-f]{16,}\b", "<hex>", value)
        value = re.sub(r"ssh-ed25519 \S+", "<key>", value)
        if value.isdecimal():
            # A process id, however small it is by now.
            return "<number>"
        return re.sub(r"(?<![\w.])\d{4,}\b", "<number>", value)
    return value


@pytest.fixture(scope="module")
def both(rust_twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Dict[str, Any]]:
    base = tmp_path_factory.mktemp("twins")
    rust, python = folder(base / "rust"), folder(base / "python")
    return {
        "rust": alike(calls([str(rust_twin)], rust), rust),
        "python": alike(calls([sys.executable, str(TESTS / "python_twin.py")], python), python),
    }


def test_the_same_calls_give_the_same(both: Dict[str, Dict[str, Any]]) -> None:
    rust, python = both["rust"], both["python"]
    assert list(rust) == list(python)
    differ = {name: (rust[name], python[name]) for name in rust if python[name] != rust[name]}
    assert not differ, json.dumps(differ, indent=1)


def test_the_calls_did_something(both: Dict[str, Dict[str, Any]]) -> None:
    python = both["python"]
    assert python["provisioner.apply"]["ok"]["changed"] == 3
    assert python["provisioner.apply again"]["ok"] == 0
    assert python["configurator.apply"]["ok"]["hosts"]["web-1"]["changed"] == 1
    assert python["deployer.stage"]["ok"] == {"changed": True}
    assert python["deployer.recorded"]["ok"][0]["release"] == {"service": "web", "version": "v1"}
    assert python["monitor.assess fails"]["ok"]["kind"] == "fail"
    assert python["log_sink.append after close"]["error"]["kind"] == "invalid_input"
    assert python["engine.apply"]["ok"]["state"] == "done"
    assert python["provisioner.destroy"]["ok"]["changed"] == 3


def test_every_verb_was_called(both: Dict[str, Dict[str, Any]]) -> None:
    called = {name.split(" ")[0] for name in both["python"]}
    for handle in (
        towpath.Provisioner,
        towpath.Configurator,
        towpath.ImageBuilder,
        towpath.Deployer,
        towpath.Monitor,
        towpath.LogSink,
        towpath.Balancer,
        towpath.Engine,
    ):
        role = getattr(handle, "role", "engine")
        if role in called:
            continue  # Not compiled in; then its error was compared.
        verbs = {name for name, one in inspect.getmembers(handle, inspect.isfunction) if not name.startswith("_")}
        missing = {f"{role}.{verb}" for verb in verbs} - called - {"engine.check"}
        assert not missing
    assert providers.Provisioner is towpath.Provisioner
