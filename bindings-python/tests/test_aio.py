"""Coroutines, Ctrl-C and the end of the interpreter."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, List

import pytest
import steps_of_tests as own
import towpath
from towpath import aio

ENVIRONMENT = {"PYTHONPATH": str(Path(own.__file__).parent), "PATH": "/usr/bin:/bin"}


def waiting(started: Path) -> towpath.Pipeline:
    p = towpath.Pipeline("waits")
    p.call("own", own.waits, started=str(started))
    return p


def until(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


def test_the_same_verbs() -> None:
    for name in aio.__all__:
        twin, sync = getattr(aio, name), getattr(towpath, name)
        assert twin.__doc__
        if not inspect.isclass(twin):
            continue
        # What does not wait needs no twin: it only says what is wanted.
        methods = [(v, one) for v, one in inspect.getmembers(sync, inspect.isfunction) if not v.startswith("_")]
        verbs = {v for v, one in methods if "cancel" in inspect.signature(one).parameters}
        awaited = {v for v, one in inspect.getmembers(twin, inspect.iscoroutinefunction)}
        assert verbs == awaited, name


def test_a_run_and_a_provider_alone(tmp_path: Path) -> None:
    async def main() -> None:
        p = towpath.Pipeline("aio")
        p.call("own", own.later, text="x")
        engine = aio.Engine(await aio.open_store("memory:"))
        plan = await engine.plan(p)
        report = await engine.apply(plan)
        assert report.state == "done"
        status = await engine.status()
        assert status is not None and status.run.id == report.run
        paper = aio.provisioner("paper", {"folder": str(tmp_path)})
        assert (await paper.apply()).changed == 1
        with pytest.raises(towpath.InvalidInputError):
            await engine.approve(report.run, "own")
            await engine.run(towpath.Pipeline(""))

    asyncio.run(main())


def test_many_wait_at_once_and_the_last_frees_them() -> None:
    barrier = threading.Barrier(200, timeout=60)

    @towpath.provider("log_sink", "barrier")
    class Meeting:
        def append(self, cx: towpath.StepContext, records: List[Any]) -> None:
            barrier.wait()

    async def main() -> None:
        sink = aio.log_sink("barrier")
        await asyncio.gather(*(sink.append([]) for _ in range(200)))

    asyncio.run(main())
    assert not barrier.broken


def test_cancelling_a_task_waits_until_the_step_has_stopped(tmp_path: Path) -> None:
    started = tmp_path / "started"
    store = towpath.open_store("memory:")

    async def main() -> None:
        task = asyncio.create_task(aio.Engine(store).run(waiting(started)))
        await asyncio.to_thread(until, started) if hasattr(asyncio, "to_thread") else until(started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (tmp_path / "started.stopped").exists()

    asyncio.run(main())
    status = towpath.Engine(store).status()
    assert status is not None and status.run.state == "cancelled"


def test_cancel_from_another_thread(tmp_path: Path) -> None:
    started, cancel = tmp_path / "started", towpath.Cancel()

    def ask() -> None:
        until(started)
        cancel.set()

    thread = threading.Thread(target=ask)
    thread.start()
    report = towpath.Engine("memory:").run(waiting(started), cancel=cancel)
    thread.join()
    assert report.state == "cancelled"
    assert cancel.is_set()


def test_waiting_does_not_hold_the_interpreter(tmp_path: Path) -> None:
    turns = 0
    done = threading.Event()

    def turn() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            time.sleep(0.001)

    thread = threading.Thread(target=turn)
    thread.start()
    p = towpath.Pipeline("slow")
    p.call("own", own.waits_without_cx, started=str(tmp_path / "started"))
    assert p.run("memory:").state == "done"
    done.set()
    thread.join()
    assert turns > 20


SYNC = """
import sys, towpath, steps_of_tests as own
p = towpath.Pipeline("waits")
p.call("own", own.waits, started=sys.argv[1])
try:
    p.run("sqlite:" + sys.argv[1] + ".db")
except KeyboardInterrupt:
    import os
    print("interrupted", os.path.exists(sys.argv[1] + ".stopped"))
    print(towpath.Engine("sqlite:" + sys.argv[1] + ".db").status().run.state)
"""
ASYNC = """
import asyncio, os, sys, towpath, towpath.aio, steps_of_tests as own
p = towpath.Pipeline("waits")
p.call("own", own.waits, started=sys.argv[1])
try:
    asyncio.run(towpath.aio.Engine("sqlite:" + sys.argv[1] + ".db").run(p))
except KeyboardInterrupt:
    print("interrupted", os.path.exists(sys.argv[1] + ".stopped"))
    print(towpath.Engine("sqlite:" + sys.argv[1] + ".db").status().run.state)
"""


@pytest.mark.parametrize("text", [SYNC, ASYNC], ids=["sync", "asyncio"])
def test_ctrl_c_cancels_and_waits(text: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(text)
    started = tmp_path / "started"
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(started)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # A shell's background jobs ignore Ctrl-C, and so would what they start; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(started)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "interrupted True\ncancelled\n", err
    assert process.returncode == 0


ENDS = {
    "after a run": "asyncio.run(aio.Engine('memory:').run(p))",
    "after a sync run": "towpath.Engine('memory:', on_event=lambda e: None).run(p)",
    "in the middle of a call": "loop = asyncio.new_event_loop(); t = loop.create_task(aio.Engine('memory:').run(p)); "
    "loop.run_until_complete(asyncio.sleep(0)); print('left')",
    "after an exception of a listener": "towpath.Engine('memory:', on_event=lambda e: 1 / 0).run(p)",
}


@pytest.mark.parametrize("how", ENDS)
def test_the_interpreter_ends_well(how: str) -> None:
    text = f"import asyncio, towpath\nfrom towpath import aio\nimport steps_of_tests as own\n"
    text += f"p = towpath.Pipeline('p'); p.call('own', own.later, text='x')\n{ENDS[how]}\n"

    def end(_: int) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=ENVIRONMENT
        )

    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for process in pool.map(end, range(50)):
            assert process.returncode == 0, (process.returncode, process.stderr)
