"""What all tests share: the Rust twin, and the promise that no process is left over."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Iterator, List

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def rust_twin() -> Path:
    """The program that makes the same calls in Rust."""
    built = subprocess.run(
        ["cargo", "build", "-q", "-p", "towpath-python", "--example", "rust_twin", "--message-format=json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "rust_twin":
            return Path(message["executable"])
    raise AssertionError("cargo names no executable")


def local_parts(base: str) -> List[str]:
    """Hosts and balancers whose state is below a folder, by pid and command."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(one.startswith(b"TOWPATH_LOCAL_DIR=" + base.encode()) for one in environment):
            found.append(f"{entry.name} {command}")
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No host and no balancer of these tests outlives them."""
    base = str(tmp_path_factory.getbasetemp())
    yield
    assert local_parts(base) == []


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests write nothing into the sources."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TOWPATH_LOCAL"):
            monkeypatch.delenv(name)
