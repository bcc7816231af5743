"""The six kinds of providers, and balancers, used alone."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union

from . import _towpath
from ._data import Config, Data, plain
from ._towpath import Cancel, Store
from .engine import Engine
from .types import (
    Applied,
    Artifact,
    Backend,
    BackendState,
    BakeReport,
    Built,
    Capabilities,
    Configured,
    Deployment,
    Destroyed,
    Event,
    Gate,
    GroupJob,
    GroupState,
    Host,
    ImageInput,
    Inventory,
    LogRecord,
    Plan,
    Preflight,
    Probed,
    Release,
    Silence,
    SilenceHandle,
    Staged,
    TargetState,
    Verdict,
)

D = TypeVar("D", bound=Data)
P = TypeVar("P", bound="_Handle")


class _Handle:
    role = ""

    def __init__(self, native: _towpath.Provider, name: str) -> None:
        self._native = native
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def _call(self, verb: str, cancel: Optional[Cancel], **arguments: Any) -> Any:
        return self._native.call(verb, plain(arguments), cancel)

    def _get(self, made: Type[D], verb: str, cancel: Optional[Cancel], **arguments: Any) -> D:
        return made.of(self._call(verb, cancel, **arguments))

    def capabilities(self, *, cancel: Optional[Cancel] = None) -> List[str]:
        """Names of what it can do. Any other verb raises `UnsupportedError`."""
        return self._get(Capabilities, "capabilities", cancel).verbs

    def preflight(self, *, cancel: Optional[Cancel] = None) -> Preflight:
        """Checks tool, version and credentials. Changes nothing."""
        return self._get(Preflight, "preflight", cancel)


class Provisioner(_Handle):
    """Makes hosts and what they need."""

    role = "provisioner"

    def plan(self, *, cancel: Optional[Cancel] = None) -> Plan:
        """Lists the changes `apply` would make, and makes none. An empty plan is a success."""
        return self._get(Plan, "plan", cancel)

    def apply(self, *, cancel: Optional[Cancel] = None) -> Applied:
        """Makes the world as configured, and gives what is there then. Nothing to do is a success."""
        return self._get(Applied, "apply", cancel)

    def probe(self, *, cancel: Optional[Cancel] = None) -> Probed:
        """Looks at what exists now, and how it differs from the config. Nothing there is a success."""
        return self._get(Probed, "probe", cancel)

    def destroy(self, *, cancel: Optional[Cancel] = None) -> Destroyed:
        """Removes everything it made. Nothing there is a success with `changed == 0`."""
        return self._get(Destroyed, "destroy", cancel)


def _targets(
    inventory: Inventory, extra_vars: Optional[Mapping[str, Any]] = None, limit: Optional[str] = None
) -> Dict[str, Any]:
    return {"inventory": inventory, "extra_vars": dict(extra_vars or {}), "limit": limit}


class Configurator(_Handle):
    """Brings hosts into a described state."""

    role = "configurator"

    def plan(
        self,
        inventory: Inventory,
        *,
        extra_vars: Optional[Mapping[str, Any]] = None,
        limit: Optional[str] = None,
        cancel: Optional[Cancel] = None,
    ) -> Plan:
        """Says for each host and task whether it will change, will not, or can't be known. Changes nothing."""
        return self._get(Plan, "plan", cancel, targets=_targets(inventory, extra_vars, limit))

    def apply(
        self,
        inventory: Inventory,
        *,
        extra_vars: Optional[Mapping[str, Any]] = None,
        limit: Optional[str] = None,
        cancel: Optional[Cancel] = None,
    ) -> Configured:
        """Brings the hosts into the state. Raises `ToolFailedError` with host, task and file where a task failed."""
        return self._get(Configured, "apply", cancel, targets=_targets(inventory, extra_vars, limit))

    def digest(self, *, cancel: Optional[Cancel] = None) -> str:
        """Gives a digest over everything that decides what `apply` does."""
        digest: str = self._call("digest", cancel)
        return digest


class ImageBuilder(_Handle):
    """Bakes artifacts that hosts are made from."""

    role = "image_builder"

    def plan(self, image: ImageInput, *, cancel: Optional[Cancel] = None) -> Plan:
        """Says for each artifact whether it would be built, or whether one with the same content key exists."""
        return self._get(Plan, "plan", cancel, image=image)

    def build(self, image: ImageInput, *, cancel: Optional[Cancel] = None) -> Built:
        """Builds what is missing. An artifact with the same content key is reused."""
        return self._get(Built, "build", cancel, image=image)

    def probe(self, artifact: Artifact, *, cancel: Optional[Cancel] = None) -> Optional[Artifact]:
        """Looks whether an artifact exists and is whole. None: it does not exist."""
        found = self._call("probe", cancel, artifact=artifact)
        return None if found is None else Artifact.of(found)

    def contents(self, artifact: Artifact, *, cancel: Optional[Cancel] = None) -> Dict[str, Any]:
        """Reads what is in an artifact: packages, files, users, groups, units. Raises `UnsupportedError` where a builder can't."""
        found: Dict[str, Any] = self._call("contents", cancel, artifact=artifact)
        return found

    def remove(self, artifact: Artifact, *, cancel: Optional[Cancel] = None) -> bool:
        """Removes an artifact. Gives False if it did not exist."""
        removed: bool = self._call("remove", cancel, artifact=artifact)
        return removed


class Bake:
    """Bakes one system by several builders, keeps where each artifact came from below `dir`, and compares what is in them.

    `Bake("bakes").image("docker", builder, image).image("box", other, other_image).run()`
    """

    def __init__(self, dir: Union[str, os.PathLike[str]]) -> None:
        self._dir = os.fspath(dir)
        self._builders: List[_towpath.Provider] = []
        self._images: List[Tuple[str, ImageInput]] = []
        self._allow: List[Dict[str, Any]] = []
        self._sources: List[str] = []

    def __repr__(self) -> str:
        return f"Bake({self._dir!r}, images={[label for label, _ in self._images]})"

    def image(self, label: str, builder: ImageBuilder, image: ImageInput) -> Bake:
        """Wants this image of this builder. `label` names it in the report and in the folder of records."""
        self._builders.append(builder._native)
        self._images.append((label, image))
        return self

    def allow(self, subject: str, reason: str, *, property: Optional[str] = None) -> Bake:
        """Allows a difference more, beside the usual ones: `allow("file /etc/build", "holds the day")`."""
        rule = {"subject": subject, "reason": reason}
        self._allow.append({**rule, "property": property} if property else rule)
        return self

    def source(self, checkout: Union[str, os.PathLike[str]]) -> Bake:
        """Records the commit of a Git checkout that playbooks or roles come from."""
        self._sources.append(os.fspath(checkout))
        return self

    def run(self, *, cancel: Optional[Cancel] = None) -> BakeReport:
        """Builds what is missing, all builders at once, writes the records, and compares. A difference raises nothing."""
        wanted = {"dir": self._dir, "images": self._images, "allow": self._allow, "sources": self._sources}
        report, text = _towpath.bake(self._builders, plain(wanted), cancel)
        return BakeReport.of({**report, "text": text})


class Deployer(_Handle):
    """Puts releases onto running hosts. Batches, drain, health and rollback are a pipeline's business."""

    role = "deployer"

    def stage(self, host: Host, release: Release, *, cancel: Optional[Cancel] = None) -> Staged:
        """Brings a release onto the host beside the one that runs."""
        return self._get(Staged, "stage", cancel, host=host, release=release)

    def activate(self, host: Host, release: Release, *, cancel: Optional[Cancel] = None) -> None:
        """Makes a staged release the one that runs."""
        self._call("activate", cancel, host=host, release=release)

    def deactivate(self, host: Host, *, cancel: Optional[Cancel] = None) -> None:
        """Stops the release that runs. Nothing running is a success."""
        self._call("deactivate", cancel, host=host)

    def probe(self, host: Host, *, cancel: Optional[Cancel] = None) -> TargetState:
        """Looks what is on the host."""
        return self._get(TargetState, "probe", cancel, host=host)

    def start(
        self, group: str, inventory: Inventory, release: Release, *, cancel: Optional[Cancel] = None
    ) -> GroupJob:
        """Starts moving a whole group to a release, and gives a handle that can be followed after a crash."""
        return self._get(GroupJob, "start", cancel, group=group, inventory=inventory, release=release)

    def follow(self, job: GroupJob, *, cancel: Optional[Cancel] = None) -> GroupState:
        """Waits for a group's job."""
        return self._get(GroupState, "follow", cancel, job=job)

    def cancel(self, job: GroupJob, *, cancel: Optional[Cancel] = None) -> None:
        """Asks the system to stop a group's job."""
        self._call("cancel", cancel, job=job)

    def probe_group(self, group: str, inventory: Inventory, *, cancel: Optional[Cancel] = None) -> GroupState:
        """Looks which release a group runs."""
        return self._get(GroupState, "probe_group", cancel, group=group, inventory=inventory)

    def suspend(self, group: str, *, cancel: Optional[Cancel] = None) -> None:
        """Switches off what must not happen while the group moves, like its scaling. A rollout does it by itself, under a lease."""
        self._call("suspend", cancel, group=group)

    def resume(self, group: str, *, cancel: Optional[Cancel] = None) -> None:
        """Switches on again what `suspend` switched off, and nothing else. On already is a success."""
        self._call("resume", cancel, group=group)

    def record(self, host: Host, entry: Deployment, *, cancel: Optional[Cancel] = None) -> None:
        """Keeps what became of a release on the host itself. A rollout does it by itself."""
        self._call("record", cancel, host=host, entry=entry)

    def recorded(self, host: Host, service: str, *, cancel: Optional[Cancel] = None) -> List[Deployment]:
        """What `record` kept of a service on the host, oldest first. Nothing is a success."""
        found = self._call("recorded", cancel, host=host, service=service)
        return [Deployment.of(one) for one in found]


class Monitor(_Handle):
    """Watches a service."""

    role = "monitor"

    def record(self, observations: Sequence[Mapping[str, Any]], *, cancel: Optional[Cancel] = None) -> None:
        """Takes metrics, notices and check results: `towpath.metric`, `towpath.notice`, `towpath.check_result`."""
        self._call("record", cancel, observations=list(observations))

    def assess(self, gate: Gate, inventory: Inventory, *, cancel: Optional[Cancel] = None) -> Verdict:
        """Judges a gate: samples until it passes, fails, or its time is over. A failed check is not an exception."""
        return self._get(Verdict, "assess", cancel, gate=gate, targets=_targets(inventory))

    def silence(self, silence: Silence, *, cancel: Optional[Cancel] = None) -> SilenceHandle:
        """Mutes alarms for a time."""
        return self._get(SilenceHandle, "silence", cancel, silence=silence)

    def unsilence(self, handle: SilenceHandle, *, cancel: Optional[Cancel] = None) -> None:
        """Ends a silence early. Ended already is a success."""
        self._call("unsilence", cancel, handle=handle)


class LogSink(_Handle):
    """Takes log records."""

    role = "log_sink"

    def append(self, records: Sequence[LogRecord], *, cancel: Optional[Cancel] = None) -> None:
        """Hands over a batch. Returns when the sink has accepted it; on any error none of it counts as accepted."""
        self._call("append", cancel, records=list(records))

    def flush(self, *, cancel: Optional[Cancel] = None) -> None:
        """Waits until everything accepted is where it belongs."""
        self._call("flush", cancel)

    def close(self, *, cancel: Optional[Cancel] = None) -> None:
        """Flushes and closes. A later `append` raises `InvalidInputError`."""
        self._call("close", cancel)


class Balancer(_Handle):
    """Spreads requests over backends."""

    role = "balancer"

    def add(self, backend: Backend, *, cancel: Optional[Cancel] = None) -> None:
        """Puts a backend into service."""
        self._call("add", cancel, backend=backend)

    def drain(self, name: str, *, cancel: Optional[Cancel] = None) -> None:
        """Sends no new connections to a backend; those that exist go on."""
        self._call("drain", cancel, name=name)

    def remove(self, name: str, *, cancel: Optional[Cancel] = None) -> None:
        """Takes a backend out. Not there is a success."""
        self._call("remove", cancel, name=name)

    def wait_idle(self, name: str, limit_s: float, *, cancel: Optional[Cancel] = None) -> int:
        """Waits until a backend has no connection left; gives how many are left when the limit is over."""
        left: int = self._call("wait_idle", cancel, name=name, limit_s=limit_s)
        return left

    def backends(self, *, cancel: Optional[Cancel] = None) -> List[BackendState]:
        """Lists the backends."""
        return [BackendState.of(one) for one in self._call("backends", cancel)]


def make(
    made: Type[P],
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]],
    environment: str,
    base_dir: Union[str, os.PathLike[str]],
    store: Union[str, Store],
    on_event: Optional[Callable[[Event], object]],
) -> P:
    """Makes a provider that is used alone."""
    name, settings = _named(spec, config)
    engine = Engine(store, environment=environment, base_dir=base_dir, on_event=on_event)
    return made(engine._native.provider(made.role, name, plain(settings)), name)


def _named(spec: Union[str, Config], config: Optional[Mapping[str, Any]]) -> Tuple[str, Mapping[str, Any]]:
    return (spec.provider, spec.config) if isinstance(spec, Config) else (spec, config or {})


def provisioner(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> Provisioner:
    """Makes a provisioner that is used alone, from its config class or from its name and config."""
    return make(Provisioner, spec, config, environment, base_dir, store, on_event)


def configurator(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> Configurator:
    """Makes a configurator that is used alone, from its config class or from its name and config."""
    return make(Configurator, spec, config, environment, base_dir, store, on_event)


def image_builder(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> ImageBuilder:
    """Makes an image builder that is used alone, from its config class or from its name and config."""
    return make(ImageBuilder, spec, config, environment, base_dir, store, on_event)


def deployer(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> Deployer:
    """Makes a deployer that is used alone, from its config class or from its name and config."""
    return make(Deployer, spec, config, environment, base_dir, store, on_event)


def monitor(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> Monitor:
    """Makes a monitor that is used alone, from its config class or from its name and config."""
    return make(Monitor, spec, config, environment, base_dir, store, on_event)


def log_sink(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> LogSink:
    """Makes a log sink that is used alone, from its config class or from its name and config."""
    return make(LogSink, spec, config, environment, base_dir, store, on_event)


def balancer(
    spec: Union[str, Config],
    config: Optional[Mapping[str, Any]] = None,
    *,
    environment: str = "default",
    base_dir: Union[str, os.PathLike[str]] = ".",
    store: Union[str, Store] = "memory:",
    on_event: Optional[Callable[[Event], object]] = None,
) -> Balancer:
    """Makes a balancer that is used alone, from its config class or from its name and config."""
    return make(Balancer, spec, config, environment, base_dir, store, on_event)
