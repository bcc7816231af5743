"""The same verbs as coroutines: `await towpath.aio.Engine(store).run(pipeline)`.

Each waits on a thread of its own pool, so that many may wait at once. Cancelling a task cancels what it runs, and waits until
that has stopped. What a verb does stands at its twin in `towpath`.
"""

# Written by generate.py from engine.py and providers.py. Do not edit.

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from . import connection as _connection, engine as _engine, providers as _providers
from ._await import call
from ._data import Config
from ._towpath import Cancel, Store
from .connection import ExecOutput
from .types import (
    Applied,
    Artifact,
    Backend,
    BackendState,
    BakeReport,
    BecomeSpec,
    Built,
    Configured,
    Deployment,
    Destroyed,
    DestroyedStep,
    Event,
    Gate,
    GroupJob,
    GroupState,
    Host,
    ImageInput,
    Inventory,
    Lease,
    LogRecord,
    PipelinePlan,
    Plan,
    Preflight,
    PreflightOf,
    Probed,
    Release,
    RolloutStatus,
    RunReport,
    RunStatus,
    Silence,
    SilenceHandle,
    Staged,
    Swept,
    TargetState,
    Verdict,
    Waiter,
)

if TYPE_CHECKING:
    from .pipeline import Pipeline


async def open_store(url: str) -> Store:
    """As `towpath.open_store`."""
    return await call(lambda *, cancel: _engine.open_store(url))


async def connect(
    host: Host,
    *,
    connectors: Optional[Mapping[str, Any]] = None,
    base_dir: Union[str, os.PathLike[str]] = ".",
    cancel: Optional[Cancel] = None,
) -> Connection:
    """As `towpath.connect`."""
    return Connection(await call(_connection.connect, host, connectors=connectors, base_dir=base_dir, cancel=cancel))


class Connection:
    """As `towpath.Connection`."""

    def __init__(self, sync: _connection.Connection) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def run(self, command: Union[str, Sequence[str]], *, stdin: Optional[bytes]=None, cwd: Optional[str]=None, env: Optional[Mapping[str, str]]=None, timeout_s: Optional[float]=None, become: Union[str, BecomeSpec, None]=None, check: bool=True, cancel: Optional[Cancel]=None) -> ExecOutput:
        """As `towpath.Connection.run`."""
        return await call(self._sync.run, command, stdin=stdin, cwd=cwd, env=env, timeout_s=timeout_s, become=become, check=check, cancel=cancel)

    async def put(self, content: Union[bytes, os.PathLike[str]], path: str, *, mode: Optional[int]=None, owner: Optional[str]=None, group: Optional[str]=None, become: Union[str, BecomeSpec, None]=None, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Connection.put`."""
        await call(self._sync.put, content, path, mode=mode, owner=owner, group=group, become=become, cancel=cancel)

    async def get(self, path: str, *, limit_bytes: int=16 << 20, cancel: Optional[Cancel]=None) -> bytes:
        """As `towpath.Connection.get`."""
        return await call(self._sync.get, path, limit_bytes=limit_bytes, cancel=cancel)

    async def forward(self, port: int, *, cancel: Optional[Cancel]=None) -> int:
        """As `towpath.Connection.forward`."""
        return await call(self._sync.forward, port, cancel=cancel)

    async def close(self, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Connection.close`."""
        await call(self._sync.close, cancel=cancel)


class Engine:
    """As `towpath.Engine`."""

    def __init__(self, store: Union[str, Store], *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', label: Optional[str]=None, on_event: Optional[Callable[[Event], object]]=None, progress: bool=False, journal: Optional[Union[str, os.PathLike[str]]]=None, run_page: Optional[Union[str, os.PathLike[str]]]=None, abort_in_step: Optional[str]=None, secrets: Optional[Mapping[str, str]]=None) -> None:
        self._sync = _engine.Engine(store, environment=environment, base_dir=base_dir, label=label, on_event=on_event, progress=progress, journal=journal, run_page=run_page, abort_in_step=abort_in_step, secrets=secrets)

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def check(self, pipeline: Pipeline, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Engine.check`."""
        await call(self._sync.check, pipeline, cancel=cancel)

    async def plan(self, pipeline: Pipeline, values: Optional[Mapping[str, Any]]=None, *, cancel: Optional[Cancel]=None) -> PipelinePlan:
        """As `towpath.Engine.plan`."""
        return await call(self._sync.plan, pipeline, values, cancel=cancel)

    async def run(self, pipeline: Pipeline, values: Optional[Mapping[str, Any]]=None, *, fresh: bool=False, cancel: Optional[Cancel]=None) -> RunReport:
        """As `towpath.Engine.run`."""
        return await call(self._sync.run, pipeline, values, fresh=fresh, cancel=cancel)

    async def apply(self, plan: PipelinePlan, *, cancel: Optional[Cancel]=None) -> RunReport:
        """As `towpath.Engine.apply`."""
        return await call(self._sync.apply, plan, cancel=cancel)

    async def resume(self, run: Optional[str]=None, *, values: Optional[Mapping[str, Any]]=None, rerun: Sequence[str]=(), cancel: Optional[Cancel]=None) -> RunReport:
        """As `towpath.Engine.resume`."""
        return await call(self._sync.resume, run, values=values, rerun=rerun, cancel=cancel)

    async def status(self, run: Optional[str]=None, *, cancel: Optional[Cancel]=None) -> Optional[RunStatus]:
        """As `towpath.Engine.status`."""
        return await call(self._sync.status, run, cancel=cancel)

    async def approve(self, run: str, step: str, *, granted: bool=True, by: str='', cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Engine.approve`."""
        await call(self._sync.approve, run, step, granted=granted, by=by, cancel=cancel)

    async def preflight(self, pipeline: Pipeline, *, cancel: Optional[Cancel]=None) -> List[PreflightOf]:
        """As `towpath.Engine.preflight`."""
        return await call(self._sync.preflight, pipeline, cancel=cancel)

    async def destroy(self, pipeline: Pipeline, values: Optional[Mapping[str, Any]]=None, *, cancel: Optional[Cancel]=None) -> List[DestroyedStep]:
        """As `towpath.Engine.destroy`."""
        return await call(self._sync.destroy, pipeline, values, cancel=cancel)

    async def sweep(self, *, cancel: Optional[Cancel]=None) -> List[Swept]:
        """As `towpath.Engine.sweep`."""
        return await call(self._sync.sweep, cancel=cancel)

    async def leases(self, *, cancel: Optional[Cancel]=None) -> List[Lease]:
        """As `towpath.Engine.leases`."""
        return await call(self._sync.leases, cancel=cancel)

    def rollout(self, service: str) -> Rollout:
        """As `towpath.Engine.rollout`, with coroutines."""
        return Rollout(self._sync.rollout(service))


class Rollout:
    """As `towpath.Rollout`."""

    def __init__(self, sync: _engine.Rollout) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def status(self, *, cancel: Optional[Cancel]=None) -> Optional[RolloutStatus]:
        """As `towpath.Rollout.status`."""
        return await call(self._sync.status, cancel=cancel)

    async def waiting(self, *, cancel: Optional[Cancel]=None) -> List[Waiter]:
        """As `towpath.Rollout.waiting`."""
        return await call(self._sync.waiting, cancel=cancel)

    async def ledger(self, *, cancel: Optional[Cancel]=None) -> List[Deployment]:
        """As `towpath.Rollout.ledger`."""
        return await call(self._sync.ledger, cancel=cancel)

    async def pause(self, why: str='', *, by: str='', cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Rollout.pause`."""
        await call(self._sync.pause, why, by=by, cancel=cancel)

    async def resume(self, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Rollout.resume`."""
        await call(self._sync.resume, cancel=cancel)

    async def stop(self, why: str='', *, by: str='', cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Rollout.stop`."""
        await call(self._sync.stop, why, by=by, cancel=cancel)

    async def roll_back(self, why: str='', *, by: str='', cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Rollout.roll_back`."""
        await call(self._sync.roll_back, why, by=by, cancel=cancel)

    async def answer(self, granted: bool, why: str='', *, by: str='', cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Rollout.answer`."""
        await call(self._sync.answer, granted, why, by=by, cancel=cancel)


class Provisioner:
    """As `towpath.Provisioner`."""

    def __init__(self, sync: _providers.Provisioner) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.Provisioner.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.Provisioner.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def plan(self, *, cancel: Optional[Cancel]=None) -> Plan:
        """As `towpath.Provisioner.plan`."""
        return await call(self._sync.plan, cancel=cancel)

    async def apply(self, *, cancel: Optional[Cancel]=None) -> Applied:
        """As `towpath.Provisioner.apply`."""
        return await call(self._sync.apply, cancel=cancel)

    async def probe(self, *, cancel: Optional[Cancel]=None) -> Probed:
        """As `towpath.Provisioner.probe`."""
        return await call(self._sync.probe, cancel=cancel)

    async def destroy(self, *, cancel: Optional[Cancel]=None) -> Destroyed:
        """As `towpath.Provisioner.destroy`."""
        return await call(self._sync.destroy, cancel=cancel)


class Configurator:
    """As `towpath.Configurator`."""

    def __init__(self, sync: _providers.Configurator) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.Configurator.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.Configurator.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def plan(self, inventory: Inventory, *, extra_vars: Optional[Mapping[str, Any]]=None, limit: Optional[str]=None, cancel: Optional[Cancel]=None) -> Plan:
        """As `towpath.Configurator.plan`."""
        return await call(self._sync.plan, inventory, extra_vars=extra_vars, limit=limit, cancel=cancel)

    async def apply(self, inventory: Inventory, *, extra_vars: Optional[Mapping[str, Any]]=None, limit: Optional[str]=None, cancel: Optional[Cancel]=None) -> Configured:
        """As `towpath.Configurator.apply`."""
        return await call(self._sync.apply, inventory, extra_vars=extra_vars, limit=limit, cancel=cancel)

    async def digest(self, *, cancel: Optional[Cancel]=None) -> str:
        """As `towpath.Configurator.digest`."""
        return await call(self._sync.digest, cancel=cancel)


class ImageBuilder:
    """As `towpath.ImageBuilder`."""

    def __init__(self, sync: _providers.ImageBuilder) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.ImageBuilder.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.ImageBuilder.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def plan(self, image: ImageInput, *, cancel: Optional[Cancel]=None) -> Plan:
        """As `towpath.ImageBuilder.plan`."""
        return await call(self._sync.plan, image, cancel=cancel)

    async def build(self, image: ImageInput, *, cancel: Optional[Cancel]=None) -> Built:
        """As `towpath.ImageBuilder.build`."""
        return await call(self._sync.build, image, cancel=cancel)

    async def probe(self, artifact: Artifact, *, cancel: Optional[Cancel]=None) -> Optional[Artifact]:
        """As `towpath.ImageBuilder.probe`."""
        return await call(self._sync.probe, artifact, cancel=cancel)

    async def contents(self, artifact: Artifact, *, cancel: Optional[Cancel]=None) -> Dict[str, Any]:
        """As `towpath.ImageBuilder.contents`."""
        return await call(self._sync.contents, artifact, cancel=cancel)

    async def remove(self, artifact: Artifact, *, cancel: Optional[Cancel]=None) -> bool:
        """As `towpath.ImageBuilder.remove`."""
        return await call(self._sync.remove, artifact, cancel=cancel)


class Bake:
    """As `towpath.Bake`."""

    def __init__(self, sync: _providers.Bake) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def run(self, *, cancel: Optional[Cancel]=None) -> BakeReport:
        """As `towpath.Bake.run`."""
        return await call(self._sync.run, cancel=cancel)


class Deployer:
    """As `towpath.Deployer`."""

    def __init__(self, sync: _providers.Deployer) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.Deployer.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.Deployer.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def stage(self, host: Host, release: Release, *, cancel: Optional[Cancel]=None) -> Staged:
        """As `towpath.Deployer.stage`."""
        return await call(self._sync.stage, host, release, cancel=cancel)

    async def activate(self, host: Host, release: Release, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Deployer.activate`."""
        await call(self._sync.activate, host, release, cancel=cancel)

    async def deactivate(self, host: Host, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Deployer.deactivate`."""
        await call(self._sync.deactivate, host, cancel=cancel)

    async def probe(self, host: Host, *, cancel: Optional[Cancel]=None) -> TargetState:
        """As `towpath.Deployer.probe`."""
        return await call(self._sync.probe, host, cancel=cancel)

    async def start(self, group: str, inventory: Inventory, release: Release, *, cancel: Optional[Cancel]=None) -> GroupJob:
        """As `towpath.Deployer.start`."""
        return await call(self._sync.start, group, inventory, release, cancel=cancel)

    async def follow(self, job: GroupJob, *, cancel: Optional[Cancel]=None) -> GroupState:
        """As `towpath.Deployer.follow`."""
        return await call(self._sync.follow, job, cancel=cancel)

    async def cancel(self, job: GroupJob, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Deployer.cancel`."""
        await call(self._sync.cancel, job, cancel=cancel)

    async def probe_group(self, group: str, inventory: Inventory, *, cancel: Optional[Cancel]=None) -> GroupState:
        """As `towpath.Deployer.probe_group`."""
        return await call(self._sync.probe_group, group, inventory, cancel=cancel)

    async def suspend(self, group: str, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Deployer.suspend`."""
        await call(self._sync.suspend, group, cancel=cancel)

    async def resume(self, group: str, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Deployer.resume`."""
        await call(self._sync.resume, group, cancel=cancel)

    async def record(self, host: Host, entry: Deployment, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Deployer.record`."""
        await call(self._sync.record, host, entry, cancel=cancel)

    async def recorded(self, host: Host, service: str, *, cancel: Optional[Cancel]=None) -> List[Deployment]:
        """As `towpath.Deployer.recorded`."""
        return await call(self._sync.recorded, host, service, cancel=cancel)


class Monitor:
    """As `towpath.Monitor`."""

    def __init__(self, sync: _providers.Monitor) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.Monitor.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.Monitor.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def record(self, observations: Sequence[Mapping[str, Any]], *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Monitor.record`."""
        await call(self._sync.record, observations, cancel=cancel)

    async def assess(self, gate: Gate, inventory: Inventory, *, cancel: Optional[Cancel]=None) -> Verdict:
        """As `towpath.Monitor.assess`."""
        return await call(self._sync.assess, gate, inventory, cancel=cancel)

    async def silence(self, silence: Silence, *, cancel: Optional[Cancel]=None) -> SilenceHandle:
        """As `towpath.Monitor.silence`."""
        return await call(self._sync.silence, silence, cancel=cancel)

    async def unsilence(self, handle: SilenceHandle, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Monitor.unsilence`."""
        await call(self._sync.unsilence, handle, cancel=cancel)


class LogSink:
    """As `towpath.LogSink`."""

    def __init__(self, sync: _providers.LogSink) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.LogSink.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.LogSink.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def append(self, records: Sequence[LogRecord], *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.LogSink.append`."""
        await call(self._sync.append, records, cancel=cancel)

    async def flush(self, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.LogSink.flush`."""
        await call(self._sync.flush, cancel=cancel)

    async def close(self, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.LogSink.close`."""
        await call(self._sync.close, cancel=cancel)


class Balancer:
    """As `towpath.Balancer`."""

    def __init__(self, sync: _providers.Balancer) -> None:
        self._sync = sync

    def __repr__(self) -> str:
        return f"aio.{self._sync!r}"

    async def capabilities(self, *, cancel: Optional[Cancel]=None) -> List[str]:
        """As `towpath.Balancer.capabilities`."""
        return await call(self._sync.capabilities, cancel=cancel)

    async def preflight(self, *, cancel: Optional[Cancel]=None) -> Preflight:
        """As `towpath.Balancer.preflight`."""
        return await call(self._sync.preflight, cancel=cancel)

    async def add(self, backend: Backend, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Balancer.add`."""
        await call(self._sync.add, backend, cancel=cancel)

    async def drain(self, name: str, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Balancer.drain`."""
        await call(self._sync.drain, name, cancel=cancel)

    async def remove(self, name: str, *, cancel: Optional[Cancel]=None) -> None:
        """As `towpath.Balancer.remove`."""
        await call(self._sync.remove, name, cancel=cancel)

    async def wait_idle(self, name: str, limit_s: float, *, cancel: Optional[Cancel]=None) -> int:
        """As `towpath.Balancer.wait_idle`."""
        return await call(self._sync.wait_idle, name, limit_s, cancel=cancel)

    async def backends(self, *, cancel: Optional[Cancel]=None) -> List[BackendState]:
        """As `towpath.Balancer.backends`."""
        return await call(self._sync.backends, cancel=cancel)


def provisioner(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> Provisioner:
    """As `towpath.provisioner`, with coroutines."""
    return Provisioner(_providers.provisioner(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


def configurator(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> Configurator:
    """As `towpath.configurator`, with coroutines."""
    return Configurator(_providers.configurator(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


def image_builder(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> ImageBuilder:
    """As `towpath.image_builder`, with coroutines."""
    return ImageBuilder(_providers.image_builder(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


def deployer(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> Deployer:
    """As `towpath.deployer`, with coroutines."""
    return Deployer(_providers.deployer(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


def monitor(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> Monitor:
    """As `towpath.monitor`, with coroutines."""
    return Monitor(_providers.monitor(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


def log_sink(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> LogSink:
    """As `towpath.log_sink`, with coroutines."""
    return LogSink(_providers.log_sink(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


def balancer(spec: Union[str, Config], config: Optional[Mapping[str, Any]]=None, *, environment: str='default', base_dir: Union[str, os.PathLike[str]]='.', store: Union[str, Store]='memory:', on_event: Optional[Callable[[Event], object]]=None) -> Balancer:
    """As `towpath.balancer`, with coroutines."""
    return Balancer(_providers.balancer(spec, config, environment=environment, base_dir=base_dir, store=store, on_event=on_event))


__all__ = ["Bake", "Balancer", "Configurator", "Connection", "Deployer", "Engine", "ImageBuilder", "LogSink", "Monitor", "Provisioner", "Rollout", "balancer", "configurator", "connect", "deployer", "image_builder", "log_sink", "monitor", "open_store", "provisioner"]
