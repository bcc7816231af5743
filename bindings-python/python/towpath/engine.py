"""The engine: plans and runs pipelines over a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Optional, Sequence, Union

from . import _towpath
from ._data import plain
from ._towpath import Cancel, Store
from .types import Deployment, DestroyedStep, Event, Lease, PipelinePlan, PreflightOf, RolloutStatus, RunReport, RunStatus, Swept, Waiter

if TYPE_CHECKING:
    from .pipeline import Pipeline


def open_store(url: str) -> Store:
    """Opens a store: `sqlite:PATH`, or `memory:` for one that ends with the process."""
    return Store(url)


class Engine:
    """Plans and runs pipelines.

    `store`: an opened store or its URL. `base_dir`: where relative paths of configs start. `label`: shown to those who wait
    for this engine's leases. `on_event`: called with every event, in order, on a thread of its own; all of them were told
    when a call returns. `progress`: shows runs on standard error. `journal`: a file that every event of a run is appended to,
    as JSON lines. `run_page`: a self-contained HTML page about the run, written while it goes on. A folder that exists takes
    `<run>.jsonl` and `<run>.html` of each run. `abort_in_step`: ends this process (SIGABRT) in this step, after the intent of
    its first effect is written, to show that nothing is lost. `secrets`: values that `{"given": name}` names; they are masked and
    stored nowhere, so only a program that gives them again can continue a run. Every call releases the interpreter while it waits. Ctrl-C cancels what runs, waits until it has
    stopped, and is raised then; so does `cancel`, with `CancelledError` or a report whose state is `cancelled`.
    """

    def __init__(
        self,
        store: Union[str, Store],
        *,
        environment: str = "default",
        base_dir: Union[str, os.PathLike[str]] = ".",
        label: Optional[str] = None,
        on_event: Optional[Callable[[Event], object]] = None,
        progress: bool = False,
        journal: Optional[Union[str, os.PathLike[str]]] = None,
        run_page: Optional[Union[str, os.PathLike[str]]] = None,
        abort_in_step: Optional[str] = None,
        secrets: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.store = open_store(store) if isinstance(store, str) else store
        self.environment = environment
        listen = None if on_event is None else _listener(on_event)
        self._native = _towpath.Engine(self.store, environment, os.fspath(base_dir), label, listen, (progress, journal, run_page, abort_in_step), dict(secrets or {}))

    def __repr__(self) -> str:
        return f"Engine({self.store.location()}, environment={self.environment!r})"

    def check(self, pipeline: Pipeline, *, cancel: Optional[Cancel] = None) -> None:
        """Checks names, references, kinds, circles, providers and configs. Raises `InvalidInputError`."""
        self._native.call("check", {"pipeline": pipeline.data()}, cancel)

    def plan(
        self, pipeline: Pipeline, values: Optional[Mapping[str, Any]] = None, *, cancel: Optional[Cancel] = None
    ) -> PipelinePlan:
        """Says what `run` would change, without changing anything. A step whose input does not exist yet is deferred."""
        arguments = {"pipeline": pipeline.data(), "values": plain(values or {})}
        return PipelinePlan.of(self._native.call("plan", arguments, cancel))

    def run(
        self,
        pipeline: Pipeline,
        values: Optional[Mapping[str, Any]] = None,
        *,
        fresh: bool = False,
        cancel: Optional[Cancel] = None,
    ) -> RunReport:
        """Runs a pipeline, or continues its unfinished run (`fresh` gives that one up).

        A step that failed is *not* an exception: look at the report's state. Waits while another process holds the
        environment.
        """
        arguments = {"pipeline": pipeline.data(), "values": plain(values or {}), "fresh": fresh}
        return RunReport.of(self._native.call("run", arguments, cancel))

    def apply(self, plan: PipelinePlan, *, cancel: Optional[Cancel] = None) -> RunReport:
        """Runs exactly what was planned; a step whose plan is another one by now is refused before it starts."""
        return RunReport.of(self._native.call("apply", {"plan": plain(plan)}, cancel))

    def resume(
        self,
        run: Optional[str] = None,
        *,
        values: Optional[Mapping[str, Any]] = None,
        rerun: Sequence[str] = (),
        cancel: Optional[Cancel] = None,
    ) -> RunReport:
        """Continues a run where it failed, was cancelled or crashed; the newest one if none is named.

        `values`: other values of parameters. `rerun`: steps to run again though they are finished.
        """
        arguments = {"run": run, "values": plain(values or {}), "rerun": list(rerun)}
        return RunReport.of(self._native.call("resume", arguments, cancel))

    def status(self, run: Optional[str] = None, *, cancel: Optional[Cancel] = None) -> Optional[RunStatus]:
        """Says how far a run is, the newest one if none is named. None: there is none."""
        found = self._native.call("status", {"run": run}, cancel)
        return None if found is None else RunStatus.of(found)

    def approve(
        self, run: str, step: str, *, granted: bool = True, by: str = "", cancel: Optional[Cancel] = None
    ) -> None:
        """Answers the question of a step that asks."""
        self._native.call("approve", {"run": run, "step": step, "granted": granted, "by": by or _user()}, cancel)

    def preflight(self, pipeline: Pipeline, *, cancel: Optional[Cancel] = None) -> List[PreflightOf]:
        """Checks tools, versions and credentials of every step. Changes nothing."""
        return [PreflightOf.of(one) for one in self._native.call("preflight", {"pipeline": pipeline.data()}, cancel)]

    def destroy(
        self, pipeline: Pipeline, values: Optional[Mapping[str, Any]] = None, *, cancel: Optional[Cancel] = None
    ) -> List[DestroyedStep]:
        """Removes what the pipeline's `provision` steps made in this environment, the last one first."""
        arguments = {"pipeline": pipeline.data(), "values": plain(values or {})}
        return [DestroyedStep.of(one) for one in self._native.call("destroy", arguments, cancel)]

    def sweep(self, *, cancel: Optional[Cancel] = None) -> List[Swept]:
        """Carries out what dead owners left to be undone, and removes their leases."""
        return [Swept.of(one) for one in self._native.call("sweep", {}, cancel)]

    def leases(self, *, cancel: Optional[Cancel] = None) -> List[Lease]:
        """Lists who holds what, and why."""
        return [Lease.of(one) for one in self._native.call("leases", {}, cancel)]


    def rollout(self, service: str) -> Rollout:
        """The rollout of a service in this environment: how far it is, orders to it, answers to its questions."""
        return Rollout(self, service)


class Rollout:
    """A rollout under way, in this process or another one. `Engine.rollout` makes it.

    Orders are taken at the next safe point: no target is left half changed. They hold for this rollout only, and raise
    `NotFoundError` where none is under way.
    """

    def __init__(self, engine: Engine, service: str) -> None:
        self._engine = engine
        self.service = service

    def __repr__(self) -> str:
        return f"Rollout({self.service!r}, {self._engine!r})"

    def _call(self, order: str, cancel: Optional[Cancel] = None, **more: Any) -> Any:
        return self._engine._native.call("rollout", {"service": self.service, "order": order, **more}, cancel)

    def status(self, *, cancel: Optional[Cancel] = None) -> Optional[RolloutStatus]:
        """How far it is. None: no rollout of the service is under way."""
        found = self._call("status", cancel)
        return None if found is None else RolloutStatus.of(found)

    def waiting(self, *, cancel: Optional[Cancel] = None) -> List[Waiter]:
        """Who waits to roll the service out, the next one first."""
        return [Waiter.of(one) for one in self._call("waiting", cancel)]

    def ledger(self, *, cancel: Optional[Cancel] = None) -> List[Deployment]:
        """What became of the service's releases in this environment, the oldest first."""
        return [Deployment.of(one) for one in self._call("ledger", cancel)]

    def pause(self, why: str = "", *, by: str = "", cancel: Optional[Cancel] = None) -> None:
        """Holds it before its next target."""
        self._call("pause", cancel, by=by or _user(), why=why)

    def resume(self, *, cancel: Optional[Cancel] = None) -> None:
        """Lets it go on."""
        self._call("resume", cancel)

    def stop(self, why: str = "", *, by: str = "", cancel: Optional[Cancel] = None) -> None:
        """Ends it where it is: targets that had their turn keep the release."""
        self._call("stop", cancel, by=by or _user(), why=why)

    def roll_back(self, why: str = "", *, by: str = "", cancel: Optional[Cancel] = None) -> None:
        """Takes all targets back to what was seen healthy before."""
        self._call("roll_back", cancel, by=by or _user(), why=why)

    def answer(self, granted: bool, why: str = "", *, by: str = "", cancel: Optional[Cancel] = None) -> None:
        """Answers the question that it asks now. Raises `ConflictError` where it asks nothing."""
        self._call("answer", cancel, granted=granted, by=by or _user(), why=why)


def _user() -> str:
    return os.environ.get("USER", "somebody")


def _listener(on_event: Callable[[Event], object]) -> Callable[[Any], object]:
    return lambda event: on_event(Event.of(event))
