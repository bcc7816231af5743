"""Pipelines as data, written with typed handles."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Sequence, Type, TypeVar, Union

from . import _steps, _towpath
from ._data import Config, Output, Param, plain
from .engine import Engine
from .exceptions import InvalidInputError
from .types import (
    Artifact,
    Configured,
    DestroyedStep,
    Environment,
    Gate,
    ImageInput,
    Inventory,
    LogFile,
    LogRecord,
    PipelinePlan,
    Release,
    RetryPolicy,
    Rolling,
    RunReport,
    Verdict,
)

T = TypeVar("T")
S = TypeVar("S", bound="Step")
In = Union[T, Output[T], Param[T]]
Hosts = Union[Inventory, Output[Inventory], Param[Inventory]]


class Step:
    """A step of a pipeline that is being written. Every option gives the step itself."""

    def __init__(self, data: Dict[str, Any]) -> None:
        self._data = data

    @property
    def name(self) -> str:
        """The step's name."""
        name: str = self._data["name"]
        return name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def _option(self: S, name: str, value: Any) -> S:
        self._data.setdefault("options", {})[name] = value
        return self

    def after(self: S, *others: Step) -> S:
        """Runs it after other steps, also without using their outputs."""
        self._data.setdefault("options", {}).setdefault("after", []).extend(other.name for other in others)
        return self

    def retry(self: S, policy: Union[int, RetryPolicy]) -> S:
        """Tries it again after failures that may pass: so many attempts in all, or a whole policy."""
        return self._option("retry", {"attempts": policy} if isinstance(policy, int) else plain(policy))

    def timeout(self: S, limit: Union[float, timedelta]) -> S:
        """Limits the time of one attempt; a number is in seconds."""
        return self._option("timeout_s", plain(limit))

    def on_fail(self: S, what: Union[str, Mapping[str, str]]) -> S:
        """Says what happens when it has failed for good: `"stop"` (the default), `"continue"`, or `rollback(step)`."""
        return self._option("on_failure", plain(what))

    def lease(self: S, key: str) -> S:
        """Holds a lease while it runs: two steps with a key in common never run at once, in any process."""
        self._data.setdefault("options", {}).setdefault("lease", []).append(key)
        return self

    def rerun_on_interrupt(self: S) -> S:
        """Does an effect again that a crash interrupted and that can't be probed, instead of asking."""
        return self._option("on_interrupt", "rerun")

    def approval(self: S, question: str) -> S:
        """Asks before it starts; `Engine.approve` or `towpath approve` answers."""
        return self._option("approval", question)

    def input(self: S, name: str, value: Any) -> S:
        """Sets an input by name: a value in which, at any depth, outputs and parameters may stand."""
        self._data.setdefault("inputs", {})[name] = plain(value, escape=True)
        return self

    def declare(self: S, name: str, kind: str) -> S:
        """Declares an output that the provider can't declare: `inventory`, `artifact`, `string`, `number`, `json`, ..."""
        self._data.setdefault("outputs", {})[name] = kind
        return self

    def output(self, name: str) -> Output[Any]:
        """Refers to an output by its name. If neither verb nor provider declares it, `declare` it."""
        return Output(self.name, name)


class ProvisionStep(Step):
    """A step that makes hosts."""

    def inventory(self) -> Output[Inventory]:
        """The hosts."""
        return Output(self.name, "inventory")

    def environment(self) -> Output[Environment]:
        """Hosts, outputs and resources."""
        return Output(self.name, "environment")


class ConfigureStep(Step):
    """A step that configures hosts."""

    def configured(self) -> Output[Configured]:
        """Counts per host."""
        return Output(self.name, "configured")

    def var(self, name: str, value: Any) -> ConfigureStep:
        """Sets a variable with the highest precedence, for all hosts."""
        self._data["inputs"].setdefault("vars", {})[name] = plain(value)
        return self

    def limit(self, pattern: str) -> ConfigureStep:
        """Configures only these hosts, by an Ansible pattern."""
        return self.input("limit", pattern)


class ImageStep(Step):
    """A step that bakes artifacts."""

    def artifact(self, kind: str) -> Output[Artifact]:
        """The artifact of a kind that the image wants: `archive`, `docker_image`, ..."""
        return Output(self.name, kind)


class DeployStep(Step):
    """A step that rolls a release out."""

    def report(self) -> Output[Any]:
        """What the rollout did."""
        return Output(self.name, "report")

    def rollout(self, rollout: Rolling) -> DeployStep:
        """How it moves over the hosts."""
        return self.input("rollout", rollout)


class GateStep(Step):
    """A step that asks a monitor."""

    def verdict(self) -> Output[Verdict]:
        """The answer."""
        return Output(self.name, "verdict")


class RecordStep(Step):
    """A step that tells a monitor."""


class ShipLogsStep(Step):
    """A step that collects logs."""

    def shipped(self) -> Output[int]:
        """How many records the sink has accepted."""
        return Output(self.name, "shipped")


class CallStep(Step):
    """A step that calls a function."""


def rollback(deploy: DeployStep) -> Dict[str, str]:
    """Rolls the deploy step back when a step has failed for good: `gate.on_fail(rollback(deploy))`."""
    return {"rollback": deploy.name}


class Pipeline:
    """Named steps and how they depend on each other: data, until an engine runs it."""

    def __init__(self, name: str) -> None:
        self._data: Dict[str, Any] = {"name": name, "steps": []}
        self.base_dir = "."
        """Where relative paths of configs start: the folder of the file that it was loaded from."""

    @classmethod
    def load(cls, path: Union[str, os.PathLike[str]]) -> Pipeline:
        """Reads a pipeline file and checks it. Errors name file, line, the field and the nearest known name."""
        made = cls._of(_towpath.load(os.fspath(path)))
        made.base_dir = os.path.dirname(os.fspath(path)) or "."
        return made

    @classmethod
    def from_yaml(cls, text: str, name: str = "pipeline.yml") -> Pipeline:
        """Reads a pipeline from YAML text and checks it; errors call it `name`."""
        return cls._of(_towpath.parse(text, name))

    @classmethod
    def _of(cls, data: Dict[str, Any]) -> Pipeline:
        made = cls(data["name"])
        made._data = data
        return made

    @property
    def name(self) -> str:
        """Its name. Together with the environment it identifies a run that can be continued."""
        name: str = self._data["name"]
        return name

    def data(self) -> Dict[str, Any]:
        """The pipeline as JSON, as its schema says."""
        copied: Dict[str, Any] = plain(self._data)
        return copied

    def __repr__(self) -> str:
        return f"Pipeline({self.name}, {len(self._data['steps'])} steps)"

    def parameter(self, name: str, default: T) -> Param[T]:
        """Declares a parameter with its default."""
        self._data.setdefault("parameters", {})[name] = plain(default)
        return Param(name)

    def connector(self, config: Config) -> None:
        """Sets the config of a connector: `p.connector(towpath.ssh.Ssh(host_keys="accept_new"))`."""
        _role(config, "connector")
        self._data.setdefault("connectors", {})[config.provider] = config.config

    def _add(self, made: Type[S], verb: str, name: str, uses: Dict[str, Any], inputs: Dict[str, Any]) -> S:
        data: Dict[str, Any] = {"name": name, "uses": {"verb": verb, **uses}}
        given = {key: plain(value, escape=True) for key, value in inputs.items() if value is not None}
        if given:
            data["inputs"] = given
        self._data["steps"].append(data)
        return made(data)

    def provision(self, name: str, provider: Config) -> ProvisionStep:
        """Makes hosts."""
        return self._add(ProvisionStep, "provision", name, _role(provider, "provisioner"), {})

    def configure(self, name: str, provider: Config, inventory: Hosts) -> ConfigureStep:
        """Brings hosts into a state."""
        inputs = {"inventory": inventory}
        return self._add(ConfigureStep, "configure", name, _role(provider, "configurator"), inputs)

    def build_image(self, name: str, provider: Config, image: In[ImageInput]) -> ImageStep:
        """Bakes artifacts."""
        return self._add(ImageStep, "build_image", name, _role(provider, "image_builder"), {"image": image})

    def deploy(self, name: str, provider: Config, release: In[Release], inventory: Hosts) -> DeployStep:
        """Rolls a release out."""
        inputs = {"release": release, "inventory": inventory}
        return self._add(DeployStep, "deploy", name, _role(provider, "deployer"), inputs)

    def gate(self, name: str, provider: Config, gate: In[Gate], inventory: Optional[Hosts] = None) -> GateStep:
        """Asks a monitor whether all is well; anything but a pass fails the step."""
        inputs = {"rule": gate, "inventory": inventory}
        return self._add(GateStep, "gate", name, _role(provider, "monitor"), inputs)

    def record(
        self, name: str, provider: Config, observations: In[Sequence[Mapping[str, Any]]]
    ) -> RecordStep:
        """Hands observations to a monitor: `towpath.metric`, `towpath.notice`."""
        inputs = {"observations": observations}
        return self._add(RecordStep, "record", name, _role(provider, "monitor"), inputs)

    def ship_logs(
        self,
        name: str,
        provider: Config,
        files: Optional[In[List[LogFile]]] = None,
        inventory: Optional[Hosts] = None,
        *,
        records: Optional[In[List[LogRecord]]] = None,
    ) -> ShipLogsStep:
        """Collects files of hosts into a log sink, and hands over records as they are."""
        inputs = {"files": files, "inventory": inventory, "records": records}
        return self._add(ShipLogsStep, "ship_logs", name, _role(provider, "log_sink"), inputs)

    def call(self, name: str, function: Union[str, Callable[..., Any]], **inputs: Any) -> CallStep:
        """Calls a Python callable with these inputs by name, and with `cx`, a `StepContext`, if it takes one.

        It is found again by `module:qualname`, so a lambda or a nested function is refused. It returns a dict of its
        outputs; `@towpath.step(count="number")` or `.declare("count", "number")` makes them known to other steps.
        """
        stable = function if isinstance(function, str) else _steps.name_of(function)
        return self._add(CallStep, "call", name, {"provider": stable}, inputs)

    def engine(self, store: Union[str, _towpath.Store], **options: Any) -> Engine:
        """An engine whose relative paths start at this pipeline's folder; `options` as of `Engine`."""
        options.setdefault("base_dir", self.base_dir)
        return Engine(store, **options)

    def plan(self, store: Union[str, _towpath.Store], **options: Any) -> PipelinePlan:
        """Says what `run` would change, without changing anything. `options` as of `Engine`."""
        return self.engine(store, **options).plan(self)

    def destroy(self, store: Union[str, _towpath.Store], **options: Any) -> List[DestroyedStep]:
        """Removes what its `provision` steps made, the last one first. `options` as of `Engine`."""
        return self.engine(store, **options).destroy(self)

    def run(self, store: Union[str, _towpath.Store], **options: Any) -> RunReport:
        """Runs it, or continues its unfinished run. `options` as of `Engine`."""
        return self.engine(store, **options).run(self)


def _role(config: Config, role: str) -> Dict[str, Any]:
    if not isinstance(config, Config):
        raise InvalidInputError(f"a provider is needed, not a {type(config).__name__}: towpath.local.Local(hosts=3)")
    if config.role != role:
        raise InvalidInputError(f"a {role} is needed, but {type(config).__name__} is a {config.role}")
    return {"provider": config.provider, **({"config": config.config} if config.config else {})}
