"""Hosts reached from Python: alone, in steps, in providers."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Iterator

import pytest
import steps_of_tests as own
import towpath
from test_aio import until
from towpath import aio
from towpath.local import Local


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[towpath.Inventory]:
    folder = str(tmp_path_factory.mktemp("connection") / "state")
    provisioner = towpath.provisioner(Local(hosts=2, name="web", state_dir=folder))
    try:
        yield provisioner.apply().environment.inventory
    finally:
        provisioner.destroy()


def test_commands_and_files(hosts: towpath.Inventory, tmp_path: Path) -> None:
    with towpath.connect(hosts.hosts[0]) as connection:
        assert connection.host == "web-1"
        assert connection.run(["echo", "a b"]).text == "a b"
        out = connection.run("cat; echo err >&2; exit 3", stdin=b"in", check=False, env={"X": "y"}, cwd="/tmp")
        assert out == towpath.ExecOutput(3, None, b"in", b"err\n")
        assert connection.run("echo $X; pwd", env={"X": "y"}, cwd="/tmp").text == "y\n/tmp"
        with pytest.raises(towpath.ToolFailedError) as raised:
            connection.run("echo the reason >&2; exit 4")
        assert raised.value.context["host"] == "web-1"
        assert raised.value.context["exit_status"] == "4"
        assert "the reason" in str(raised.value)
        connection.put(b"\x00\xff", "/tmp/bytes", mode=0o600)
        assert connection.get("/tmp/bytes") == b"\x00\xff"
        (tmp_path / "file").write_text("content")
        connection.put(tmp_path / "file", "/tmp/file")
        assert connection.run("stat -c %a /tmp/bytes; cat /tmp/file").text == "600\ncontent"
        with pytest.raises(towpath.Error):
            connection.get("/tmp/bytes", limit_bytes=1)
        with pytest.raises(towpath.NotFoundError):
            connection.get("/tmp/nothing")
        with pytest.raises(towpath.TimedOutError):
            connection.run(["sleep", "600"], timeout_s=0.3)


def test_cancel_ends_the_command(hosts: towpath.Inventory) -> None:
    cancel = towpath.Cancel()
    with towpath.connect(hosts.hosts[1]) as connection:
        timer = threading.Timer(0.3, cancel.set)
        timer.start()
        with pytest.raises(towpath.CancelledError):
            connection.run(["sleep", "601"], cancel=cancel)
        assert connection.run("pgrep -f '[s]leep 601'", check=False).code == 1


def test_a_forwarded_port(hosts: towpath.Inventory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, towpath.connect(hosts.hosts[0]) as connection:
        here = connection.forward(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", here), 10) as near:
            far, _ = server.accept()
            with far:
                near.sendall(b"ping")
                assert far.recv(4) == b"ping"


def test_coroutines(hosts: towpath.Inventory) -> None:
    async def main() -> None:
        connections = await asyncio.gather(*(aio.connect(host) for host in hosts.hosts))
        said = await asyncio.gather(*(connection.run(["echo", "hi"]) for connection in connections))
        assert [one.text for one in said] == ["hi", "hi"]
        await asyncio.gather(*(connection.close() for connection in connections))

    asyncio.run(main())


def test_in_a_step_and_in_a_provider(hosts: towpath.Inventory) -> None:
    p = towpath.Pipeline("connect")
    mark = p.configure("mark", towpath.Provider("configurator", "marker", text="mine"), hosts)
    p.call("look", own.on_hosts, inventory=hosts).after(mark)
    engine = towpath.Engine("memory:")
    report = engine.run(p)
    assert report.state == "done", report
    assert {name: text.splitlines()[-1] for name, text in report.step("look").outputs["said"].items()} == {
        "web-1": "mine",
        "web-2": "mine",
    }
    assert engine.run(p).step("mark").state == "unchanged"


def test_a_cancelled_run_ends_what_its_step_runs_on_a_host(hosts: towpath.Inventory, tmp_path: Path) -> None:
    started, cancel = tmp_path / "started", towpath.Cancel()
    p = towpath.Pipeline("cancel")
    p.call("own", own.waits_on_host, inventory=hosts, started=str(started))

    def ask() -> None:
        until(started)
        cancel.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert p.engine("memory:").run(p, cancel=cancel).state == "cancelled"
    thread.join()
    with towpath.connect(hosts.hosts[0]) as connection:
        assert connection.run("pgrep -f '[s]leep 600'", check=False).code == 1


def test_wrong_hosts_are_refused() -> None:
    with pytest.raises(towpath.InvalidInputError, match="unknown field `nme`"):
        towpath.connect(towpath.Host.of({"nme": "x"}))
    with pytest.raises(towpath.InvalidInputError, match="there is no connector called `sssh`; did you mean `ssh`"):
        towpath.connect(towpath.Host(name="x", connection=towpath.ConnectionSpec(kind="sssh")))
    closed = towpath.ConnectionSpec(kind="ssh", address="127.0.0.1", port=1, user="nobody")
    with pytest.raises(towpath.UnreachableError) as raised:
        towpath.connect(towpath.Host(name="x", connection=closed), connectors={"ssh": {"connect_timeout_s": 5}})
    assert raised.value.retry and raised.value.context["host"] == "x"
