"""Python callables as steps."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
import steps_of_tests as own
import towpath
from towpath import Pipeline


def one(function: Any, **inputs: Any) -> Pipeline:
    p = Pipeline("one")
    p.call("own", function, **inputs)
    return p


def run(p: Pipeline, **options: Any) -> towpath.RunReport:
    return p.run("memory:", **options)


def failure(report: towpath.RunReport) -> towpath.ErrorRecord:
    error = report.step("own").error
    assert error is not None
    return error


def why(report: towpath.RunReport) -> str:
    return failure(report).message


def test_inputs_come_by_name_and_outputs_go_on() -> None:
    p = Pipeline("two")
    hosts = towpath.Inventory(hosts=[towpath.Host(name="a"), towpath.Host(name="b")])
    first = p.call("count", own.count, inventory=hosts, factor=p.parameter("factor", 10))
    p.call("say", own.later, text="hosts").after(first)
    p.call("same", own.same, n=first.output("count"), names=first.output("names"))
    report = p.engine("memory:").run(p, {"factor": 100})
    assert report.state == "done"
    assert report.step("count").outputs == {"count": 200, "names": ["a", "b"]}
    assert report.step("say").outputs == {"text": "HOSTS", "environment": "default", "step": "say"}
    assert report.step("same").state == "unchanged"
    assert report.step("same").outputs == {"n": 200, "names": ["a", "b"]}


def test_a_declared_output_has_its_kind() -> None:
    p = Pipeline("kinds")
    first = p.call("count", own.count, inventory={"hosts": []})
    p.configure("site", towpath.playbook.Playbook(file="site.yml"), first.output("count"))
    with pytest.raises(towpath.InvalidInputError, match="number"):
        run(p)
    p = Pipeline("kinds")
    p.call("same", own.same, n=p.call("count", own.count).output("cuont"))
    with pytest.raises(towpath.InvalidInputError, match="did you mean `count`"):
        run(p)


class Stateful:
    def method(self) -> None: ...


def test_what_another_process_could_not_find_is_refused() -> None:
    def nested() -> None: ...

    cases: Dict[str, Any] = {
        "a lambda has no name": lambda: None,
        "nested in another function": nested,
        "no name of its own": functools.partial(own.same, n=1),
        "leads to something else": Stateful().method,
    }
    for reason, function in cases.items():
        with pytest.raises(towpath.InvalidInputError, match=reason):
            Pipeline("p").call("own", function)


def test_a_missing_function_says_why() -> None:
    for name, reason in {
        "no_such_module:f": "No module named 'no_such_module'",
        "steps_of_tests:gone": "no attribute 'gone'",
        "steps_of_tests:not_callable": "not callable",
    }.items():
        with pytest.raises(towpath.InvalidInputError, match=reason) as raised:
            run(one(name))
        assert raised.value.__cause__ is not None
        assert f"`{name}`" in raised.value.message


def test_failures_name_the_place() -> None:
    report = run(one(own.broken))
    assert report.state == "failed"
    error = towpath.exceptions.from_record(failure(report))
    assert isinstance(error, towpath.ToolFailedError)
    assert "steps_of_tests:broken raised ValueError: a defect of mine" in error.message
    assert "steps_of_tests.py:" in error.context["file"]
    assert "Traceback" in error.causes[0]
    report = run(one(own.wrong))
    assert "returned a str" in why(report)
    report = run(one(own.later, txt="x"))
    assert "does not take these inputs" in why(report)


def test_a_failure_that_may_pass_is_retried(tmp_path: Path) -> None:
    p = Pipeline("flaky")
    p.call("own", own.flaky, marker=str(tmp_path / "marker")).retry(towpath.RetryPolicy(attempts=2, wait_s=0.01))
    events: List[towpath.Event] = []
    report = run(p, on_event=events.append)
    assert (report.state, report.step("own").attempts) == ("done", 2)
    retry = next(event for event in events if event.event == "step_retry")
    assert retry["error"]["kind"] == "unreachable"
    assert retry["error"]["provider"] == "mine"
    assert retry["error"]["context"] == [["host", "x"], ["step", "own"]]


def test_nested_effects_notes_and_events() -> None:
    events: List[towpath.Event] = []
    report = run(one(own.notes), on_event=events.append)
    assert report.step("own").outputs == {"seen": [{"n": 1}, 2]}
    told = {event.event: event for event in events}
    assert told["warning"]["message"] == "careful"
    assert told["output"]["line"] == "a line"
    assert told["warning"].step == "own"
    assert [event.event for event in events][0] == "run_started"
    assert [event.event for event in events][-1] == "run_finished"


def test_a_learned_secret_is_masked_everywhere(tmp_path: Path) -> None:
    secret = "sentinel-1f2e3d"
    p = Pipeline("secret")
    p.call("own", own.says_secret, secret=towpath.Param("secret"))
    p.parameter("secret", "none")
    events: List[towpath.Event] = []
    report = p.engine("memory:", on_event=events.append).run(p, {"secret": secret})
    assert report.step("own").outputs == {"leak": "***"}
    assert secret not in str([event for event in events if event.event != "run_started"])


SCRIPT = """
import sys, towpath, steps_of_tests as own
p = towpath.Pipeline("crash")
p.call("own", own.charge, folder=sys.argv[1], crash=towpath.Param("crash"))
p.parameter("crash", sys.argv[2] == "crash")
events = []
report = p.run("sqlite:" + sys.argv[1] + "/store.db", on_event=events.append)
print(report.state, report.resumed, dict(report.step("own").outputs), any(e.message == "looking" for e in events))
"""


def test_an_effect_survives_a_crash(tmp_path: Path) -> None:
    def process(crash: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "script.py").write_text(SCRIPT)
        path = {"PYTHONPATH": str(Path(own.__file__).parent), "PATH": "/usr/bin:/bin"}
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), crash]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=path)

    died = process("crash")
    assert died.returncode == -6, died.stderr
    again = process("crash")
    assert again.stdout == "done True {'first': 1, 'said': 'charged'} True\n", again.stderr
    assert (tmp_path / "done").read_text() == "charged\n"
    assert (tmp_path / "first").read_text() == "x"


def test_yaml_names_a_callable(tmp_path: Path) -> None:
    text = """
name: yaml
steps:
  say:
    call: steps_of_tests:later
    text: hello
"""
    (tmp_path / "pipeline.yml").write_text(text)
    p = Pipeline.load(tmp_path / "pipeline.yml")
    assert p.base_dir == str(tmp_path)
    assert run(p).step("say").outputs["text"] == "HELLO"
    command = [sys.executable, "-m", "towpath", "run", "pipeline.yml", "--json", "--store", "memory:"]
    path = {"PYTHONPATH": str(Path(own.__file__).parent), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=path)
    assert (done.returncode, '"HELLO"' in done.stdout) == (0, True), done.stderr
