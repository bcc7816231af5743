"""Pipelines, the engine, errors and data, on this machine's own hosts."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest
import steps_of_tests as own
import towpath
from conftest import local_parts
from towpath import exceptions
from towpath.local import Local, LocalMonitor

PIPELINE = """
name: web
parameters: {count: 1}
steps:
  fleet:
    provision: {local: {hosts: {param: count}, name: web}}
  up:
    gate: local
    inventry: x
"""


def test_a_pipeline_file(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(PIPELINE)
    with pytest.raises(towpath.InvalidInputError) as raised:
        towpath.Pipeline.load(file)
    assert raised.value.context["file"] == f"{file}:9"
    assert "did you mean" in str(raised.value)
    with pytest.raises(towpath.InvalidInputError, match="did you mean `hosts`"):
        towpath.Pipeline.from_yaml("name: x\nsteps:\n  a:\n    provision: {local: {hots: 1}}\n", "x.yml")
    with pytest.raises(towpath.NotFoundError) as missing:
        towpath.Pipeline.load("nowhere.yml")
    assert isinstance(missing.value, LookupError)
    assert missing.value.context == {"file": "nowhere.yml"}
    p = towpath.Pipeline.from_yaml("name: x\nsteps:\n  a:\n    provision: {local: {hosts: 2}}\n")
    q = towpath.Pipeline("x")
    q.provision("a", Local(hosts=2))
    assert p.data() == q.data()


def test_hosts_come_are_found_again_and_go(tmp_path: Path) -> None:
    p = towpath.Pipeline("web")
    fleet = p.provision("fleet", Local(hosts=p.parameter("count", 1), name="web", state_dir=str(tmp_path / "state")))
    p.gate("up", LocalMonitor(), towpath.Gate(checks=[towpath.command_check(["true"], name="up")]), fleet.inventory())
    engine = p.engine(f"sqlite:{tmp_path / 'store.db'}")
    try:
        plan = engine.plan(p)
        assert "web-1" in str(plan) and "fleet.inventory" in str(plan)
        assert [change.certainty for change in plan.plan.changes if change.stage == "fleet"] == ["will"]
        assert [(d.step, d.waits_for) for d in plan.plan.deferred] == [("up", ["fleet.inventory"])]
        assert engine.apply(plan).state == "done"
        with pytest.raises(towpath.InvalidInputError, match="the plan was changed"):
            engine.apply(towpath.PipelinePlan.of({**plan, "environment": "default", "digest": "0"}))
        assert len(local_parts(str(tmp_path))) >= 1
        # Hosts are this interpreter again.
        assert all("-m towpath" in part for part in local_parts(str(tmp_path)))
        again = engine.run(p)
        assert again.step("fleet").state == "unchanged"
        assert again.step("fleet").outputs["inventory"].hosts[0].name == "web-1"
        assert [found.step for found in engine.preflight(p) if found.error is None] == ["fleet", "up"]
        assert engine.leases() == [] and engine.sweep() == []
        with pytest.raises(KeyError):
            again.step("nothing")
    finally:
        (gone,) = engine.destroy(p)
    assert (gone.step, gone.changed >= 1) == ("fleet", True)
    assert local_parts(str(tmp_path)) == []


def test_approval() -> None:
    store = towpath.open_store("memory:")
    p = towpath.Pipeline("asks")
    p.call("own", own.later, text="x").approval("sure?")

    def answer(event: towpath.Event) -> None:
        if event.event == "approval_needed":
            assert event.question == "sure?"
            assert event.run is not None
            towpath.Engine(store).approve(event.run, "own", by="anna")

    report = p.run(store, on_event=answer)
    assert report.state == "done"


def test_resume_with_other_values(tmp_path: Path) -> None:
    p = towpath.Pipeline("resume")
    p.parameter("marker", str(tmp_path / "no such folder" / "x"))
    p.call("own", own.flaky, marker=towpath.Param("marker"))
    engine = towpath.Engine(f"sqlite:{tmp_path / 'store.db'}", label="me")
    assert engine.run(p).state == "failed"
    (tmp_path / "there").touch()
    report = engine.resume(values={"marker": str(tmp_path / "there")})
    assert (report.state, report.resumed) == ("done", True)
    assert engine.resume(report.run, rerun=["own"]).state == "done"
    with pytest.raises(towpath.NotFoundError):
        engine.status("no such run")
    assert towpath.Engine("memory:").status() is None


def test_every_kind_of_error_has_its_class() -> None:
    source = Path(__file__).resolve().parents[2] / "core" / "src" / "error.rs"
    kinds = [line.split('"')[1] for line in source.read_text().splitlines() if line.strip().startswith("Self::") and "=> \"" in line]
    assert len(kinds) > 10
    assert sorted(kinds) == sorted(exceptions.KINDS)
    for kind, cls in exceptions.KINDS.items():
        error = cls("it broke", provider="mine", verb="apply", context={"host": "x"}, retry=True, causes=["a", "b"])
        assert str(error) == "mine apply: it broke (host=x)\n  caused by: a\n  caused by: b"
        again = exceptions.from_record(exceptions.to_record(error, "x"))
        assert (type(again), again.retry, again.context, str(again)) == (cls, True, {"host": "x"}, str(error))


def test_data() -> None:
    host = towpath.Host(name="a", labels={"role": "web"})
    assert host == {"name": "a", "labels": {"role": "web"}}
    assert (host.name, host.labels["role"], host.vars, host.connection.kind) == ("a", "web", {}, "")
    with pytest.raises(towpath.InvalidInputError, match="did you mean `labels`"):
        towpath.Host(name="a", lables={})  # type: ignore[call-arg]
    with pytest.raises(AttributeError, match="did you mean `name`"):
        host.nam  # type: ignore[attr-defined]
    inventory = towpath.Inventory(hosts=[host])
    assert isinstance(inventory.hosts[0], towpath.Host)
    assert isinstance(towpath.Applied.of({"environment": {"inventory": {"hosts": []}}}).environment.inventory, towpath.Inventory)
    assert json.loads(json.dumps(inventory)) == inventory
    for wrong in (b"bytes", {1: 2}, object()):
        with pytest.raises(towpath.InvalidInputError, match="can't be written as JSON"):
            towpath.Pipeline("p").call("own", own.same, wrong=wrong)


def test_a_wrong_provider_is_refused() -> None:
    with pytest.raises(towpath.InvalidInputError, match="a monitor is needed, but Local is a provisioner"):
        towpath.Pipeline("p").gate("g", Local(hosts=1), towpath.Gate(checks=[]))
    with pytest.raises(towpath.InvalidInputError, match="there is no provisioner called `locl`; did you mean `local`"):
        towpath.provisioner("locl", {})
    with pytest.raises(towpath.InvalidInputError, match="less than 1|range|hosts"):
        towpath.provisioner(Local(hosts=0)).plan()


def test_the_command() -> None:
    for command in ([sys.executable, "-m", "towpath"], [str(Path(sys.executable).parent / "towpath")]):
        done = subprocess.run([*command, "schema"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        assert "LocalMode" in done.stdout
        done = subprocess.run([*command, "run", "nowhere.yml"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, "nowhere.yml" in done.stderr) == (2, True)
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout.split()[0]) == (0, "towpath")
        assert subprocess.run([*command, "nonsense"], capture_output=True, timeout=60).returncode == 2


def test_everything_public_says_what_it_is() -> None:
    for name in towpath.__all__:
        one = getattr(towpath, name)
        if inspect.isclass(one) or inspect.isfunction(one):
            assert one.__doc__, name


def test_the_chapter_of_the_book_runs(tmp_path: Path) -> None:
    chapter = Path(__file__).resolve().parents[2] / "docs" / "src" / "python.md"
    blocks = [part.split("```", 1)[0] for part in chapter.read_text().split("```python\n")[1:]]
    assert blocks
    files: Dict[str, str] = {}
    for block in blocks:
        first, _, rest = block.partition("\n")
        assert first.startswith("# ") and first.endswith(".py"), f"a block without a file name: {first}"
        files[first[2:]] = rest
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for name in files:
        done = subprocess.run(
            [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
    assert local_parts(str(tmp_path)) == []


def test_listeners_of_the_library(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    p = towpath.Pipeline("listened")
    p.call("own", own.later, text="x")
    journal, page = tmp_path / "run.jsonl", tmp_path / "run.html"
    for _ in range(2):
        assert p.run("memory:", progress=True, journal=journal, run_page=page).state == "done"
    events = [json.loads(line)["event"] for line in journal.read_text().splitlines()]
    assert events.count("run_finished") == 2
    assert "listened" in page.read_text()
    assert "own" in capfd.readouterr().err
    events_seen: List[towpath.Event] = []
    report = p.run("memory:", run_page=tmp_path / "no" / "such" / "file.html", on_event=events_seen.append)
    assert report.state == "done"


def test_a_step_runs_a_pipeline_of_its_own() -> None:
    p = towpath.Pipeline("outer")
    p.call("own", own.nested)
    assert p.run("memory:").step("own").outputs == {"state": "done", "effect": "done"}


def test_a_fork_is_told_instead_of_waiting_for_ever() -> None:
    text = """
import multiprocessing, towpath, steps_of_tests as own
def child(kind):
    p = towpath.Pipeline("p"); p.call("own", own.later, text="x")
    try:
        print(kind, p.run("memory:").state, flush=True)
    except RuntimeError as e:
        print(kind, "spawn" in str(e), flush=True)
if __name__ == "__main__":
    first = multiprocessing.get_context("fork").Process(target=child, args=("before",)); first.start(); first.join()
    child("here")
    second = multiprocessing.get_context("fork").Process(target=child, args=("after",)); second.start(); second.join()
"""
    path = {"PYTHONPATH": str(Path(own.__file__).parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=path)
    assert done.stdout == "before done\nhere done\nafter True\n", done.stderr


def test_a_guardian_is_a_process_of_its_own_and_ends_when_it_is_let_go(tmp_path: Path) -> None:
    with pytest.raises(towpath.InvalidInputError, match="nothing to guard"):
        towpath.Guardian(towpath.open_store("memory:"))
    guardian = towpath.Guardian(towpath.open_store(f"sqlite:{tmp_path / 'store.db'}"), tmp_path / "guardian.log")
    pid = guardian.pid()
    assert pid is not None and b"-m\0towpath" in Path(f"/proc/{pid}/cmdline").read_bytes()
    guardian.close()
    assert guardian.pid() is None
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    assert not (tmp_path / "guardian.log").exists(), "it had nothing to do"
