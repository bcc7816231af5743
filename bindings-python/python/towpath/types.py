"""The vocabulary: what goes in (checked by the library's schemas) and what comes out. All of it is JSON with attributes."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from . import _towpath, vocabulary
from ._data import Data, Ref
from .vocabulary import *  # noqa: F403
from .vocabulary import (
    Artifact,
    Check,
    CheckResult,
    Environment,
    Inventory,
    Observation,
)


class Capabilities(Data):
    """What a provider can do."""

    verbs: List[str]


class Preflight(Data):
    """What a provider's `preflight` found."""

    ok: List[str]
    warnings: List[str]


class Change(Data):
    """One change to one thing."""

    stage: str
    target: str
    subject: str
    action: str
    before: Optional[Any]
    after: Optional[Any]
    certainty: str
    reason: Optional[str]


class Deferred(Data):
    """A step that is planned just in time, because its input does not exist yet."""

    step: str
    waits_for: List[str]


class Plan(Data):
    """What would change, listed without changing anything."""

    changes: List[Change]
    deferred: List[Deferred]
    warnings: List[str]

    def __str__(self) -> str:
        """As people read it."""
        return _towpath.plan_text(self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not self.deferred and all(change.certainty == "will_not" for change in self.changes)


class PipelinePlan(Data):
    """What a whole pipeline would change. `Engine.apply` runs exactly this."""

    pipeline: Dict[str, Any]
    environment: str
    plan: Plan
    expected: Dict[str, str]
    digest: str

    def __str__(self) -> str:
        """As people read it."""
        return str(self.plan)

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return self.plan.is_empty


class Applied(Data):
    """What `Provisioner.apply` did."""

    environment: Environment
    changed: int


class Probed(Data):
    """What `Provisioner.probe` found."""

    environment: Optional[Environment]
    drift: Plan


class Destroyed(Data):
    """What `Provisioner.destroy` did."""

    changed: int


class DestroyedStep(Data):
    """What `Engine.destroy` did for a step."""

    step: str
    changed: int


class HostSummary(Data):
    """Counts of task results on one host, as in Ansible's recap."""

    ok: int
    changed: int
    unreachable: int
    failed: int
    skipped: int
    rescued: int
    ignored: int


class Configured(Data):
    """What a configurator did."""

    hosts: Dict[str, HostSummary]

    @property
    def changed(self) -> int:
        """How many tasks changed something, over all hosts."""
        return sum(host.changed for host in self.hosts.values())


class Targets(Data):
    """The hosts that a configurator or monitor works on."""

    inventory: Inventory
    extra_vars: Dict[str, Any]
    limit: Optional[str]


class Built(Data):
    """What `ImageBuilder.build` did."""

    artifacts: List[Artifact]
    changed: int


class Difference(Data):
    """A difference between two systems that no rule allows."""

    subject: str
    property: str
    left: Optional[str]
    right: Optional[str]


class Tolerated(Data):
    """A rule that allowed differences, and how many."""

    rule: Dict[str, Any]
    count: int


class Equivalence(Data):
    """Two systems compared by packages, files, users, groups and units."""

    left: str
    right: str
    compared: int
    differences: List[Difference]
    tolerated: List[Tolerated]


class EquivalenceReport(Data):
    """Each of several systems compared with the first one."""

    pairs: List[Equivalence]


class BakedArtifact(Data):
    """An artifact of a `Bake`, and the folder of its record."""

    label: str
    artifact: Artifact
    built: bool
    record: str


class BakeReport(Data):
    """What `Bake.run` made, or found made. `str(report)` is for people."""

    artifacts: List[BakedArtifact]
    equivalence: EquivalenceReport
    not_compared: List[List[str]]
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_equal(self) -> bool:
        """Whether all could be compared and are the same system."""
        return not self.not_compared and not any(pair.differences for pair in self.equivalence.pairs)

    def artifact(self, label: str) -> Artifact:
        """The artifact of this label. Raises KeyError."""
        for one in self.artifacts:
            if one.label == label:
                return one.artifact
        raise KeyError(label)


class Staged(Data):
    """What `Deployer.stage` did."""

    changed: bool


class TargetState(Data):
    """What is on a target."""

    current: Optional[str]
    running: bool
    staged: List[str]


class GroupJob(Data):
    """A handle of a group's job."""

    id: str
    detail: Any


class GroupState(Data):
    """What a group runs."""

    current: Optional[str]
    moving: bool
    healthy: bool


class Verdict(Data):
    """What a gate came to: `pass`, `fail`, `inconclusive`, `error`."""

    kind: str
    reason: str
    samples: List[CheckResult]


class SilenceHandle(Data):
    """A silence that was made."""

    id: str


class Backend(Data):
    """Something that requests are sent to."""

    name: str
    address: str
    port: int


class BackendState(Data):
    """A backend as the balancer sees it."""

    backend: Backend
    mode: str
    connections: int


class ErrorRecord(Data):
    """An error as reports and events carry it. `towpath.exceptions.from_record` makes an exception of it."""

    kind: str
    retry: str
    provider: str
    operation: str
    message: str
    context: List[List[str]]
    causes: List[str]


class StepReport(Data):
    """What became of a step. `state`: `done`, `unchanged`, `ignored`, `skipped`, `failed`, `rolled_back`, or None."""

    name: str
    state: Optional[str]
    seconds: float
    attempts: int
    outputs: Dict[str, Any]
    error: Optional[ErrorRecord]


class RunReport(Data):
    """What a run came to. `state`: `done`, `failed`, `rolled_back`, `cancelled`, `unfinished`."""

    run: str
    pipeline: str
    environment: str
    state: str
    resumed: bool
    steps: List[StepReport]
    seconds: float

    def step(self, name: str) -> StepReport:
        """The report of one step. Raises KeyError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


class RunInfo(Data):
    """A run of a pipeline in an environment."""

    id: str
    pipeline: str
    environment: str
    state: str
    definition: Any
    started_at: int
    finished_at: Optional[int]


class StepStatus(Data):
    """How far a step is."""

    name: str
    state: Optional[str]
    running: bool
    attempts: int
    error: Optional[ErrorRecord]


class RunStatus(Data):
    """How far a run is."""

    run: RunInfo
    steps: List[StepStatus]


class LeaseOwner(Data):
    """Who holds a lease."""

    id: str
    run: Optional[str]
    label: str
    process: Optional[Dict[str, Any]]


class Lease(Data):
    """A time-limited right."""

    key: str
    owner: LeaseOwner
    reason: str
    fence: int
    acquired_at: int
    renewed_at: int
    expires_at: int
    undo: Optional[Dict[str, Any]]


class Waiter(Data):
    """Somebody who waits for a lease."""

    id: str
    label: str
    reason: str
    since: int
    expires_at: int


class Swept(Data):
    """A lease of a dead owner; `error` says why its undo failed."""

    lease: Lease
    error: Optional[ErrorRecord]


class PreflightOf(Data):
    """What preflight found for a step: either `found` or `error`."""

    step: str
    found: Optional[Preflight]
    error: Optional[ErrorRecord]


class Event(Data):
    """Something that happened in a run. `event` says what (`step_finished`, `progress`, ...); the rest follows from it."""

    at: int
    run: Optional[str]
    step: Optional[str]
    host: Optional[str]
    event: str

    def __getattr__(self, name: str) -> Any:
        return None if name.startswith("__") else self.get(name)


def file_artifact(name: str, path: Union[str, os.PathLike[str]]) -> Artifact:
    """A file that was built elsewhere, as an artifact; reads it to take its digest."""
    return Artifact.of(_towpath.file_artifact(name, path))


def metric(name: str, value: Union[float, Ref], **tags: str) -> Observation:
    """A number, seen now."""
    return {"metric": {"name": name, "value": value, **({"tags": tags} if tags else {})}}


def notice(title: str, text: str = "", **tags: str) -> Observation:
    """Something that happened."""
    return {"notice": {"title": title, **({"text": text} if text else {}), **({"tags": tags} if tags else {})}}


def check_result(check: str, passed: bool, host: Optional[str] = None, detail: str = "") -> Observation:
    """A check's result."""
    about = {} if host is None else {"host": host}
    return {"check": {"check": check, "passed": passed, **about, "detail": detail}}


def http_check(
    port: Union[int, str],
    path: str = "/",
    *,
    status: Optional[int] = None,
    contains: Optional[str] = None,
    name: Optional[str] = None,
    timeout_s: Optional[float] = None,
) -> Check:
    """A GET request to a port of the host, or to `{{ variable }}`, the host's variable that holds it. Status 200 if not given."""
    wanted = {key: value for key, value in (("status", status), ("contains", contains)) if value is not None}
    probe = {"http": {"port": port, "path": path, **wanted}}
    return Check(name=name or f"GET {path}", probe=probe, timeout_s=timeout_s)


def tcp_check(port: Union[int, str], *, name: str = "tcp", timeout_s: Optional[float] = None) -> Check:
    """A TCP connection to a port of the host, or to `{{ variable }}`."""
    return Check(name=name, probe={"tcp": {"port": port}}, timeout_s=timeout_s)


def command_check(argv: Sequence[str], *, name: Optional[str] = None, timeout_s: Optional[float] = None) -> Check:
    """A command on the host that must exit with 0."""
    probe = {"command": {"argv": list(argv)}}
    return Check(name=name or (argv[0] if argv else ""), probe=probe, timeout_s=timeout_s)


def metric_check(
    metric: str,
    *,
    max: Optional[float] = None,
    min: Optional[float] = None,
    name: Optional[str] = None,
    timeout_s: Optional[float] = None,
) -> Check:
    """The last recorded value of a metric."""
    limits = {key: value for key, value in (("max", max), ("min", min)) if value is not None}
    return Check(name=name or metric, probe={"metric": {"name": metric, **limits}}, timeout_s=timeout_s)


__all__ = [
    "Applied",
    "Backend",
    "BackendState",
    "BakeReport",
    "BakedArtifact",
    "Built",
    "Capabilities",
    "Change",
    "Configured",
    "Deferred",
    "Destroyed",
    "DestroyedStep",
    "ErrorRecord",
    "Event",
    "GroupJob",
    "GroupState",
    "HostSummary",
    "Lease",
    "LeaseOwner",
    "PipelinePlan",
    "Plan",
    "Preflight",
    "PreflightOf",
    "Probed",
    "RunInfo",
    "RunReport",
    "RunStatus",
    "SilenceHandle",
    "Staged",
    "StepReport",
    "StepStatus",
    "Swept",
    "TargetState",
    "Targets",
    "Verdict",
    "check_result",
    "command_check",
    "file_artifact",
    "http_check",
    "metric",
    "metric_check",
    "notice",
    "tcp_check",
]
__all__ += vocabulary.__all__
