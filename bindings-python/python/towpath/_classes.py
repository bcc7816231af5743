"""Providers that are Python classes."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, TypeVar

from . import _towpath, types
from ._data import Config, Data, plain
from ._steps import StepContext, finished
from .exceptions import InvalidInputError, UnsupportedError

C = TypeVar("C", bound=type)

VERBS: Dict[str, List[str]] = {
    "provisioner": ["plan", "apply", "probe", "destroy"],
    "configurator": ["plan", "apply"],
    "image_builder": ["plan", "build", "probe", "remove"],
    "deployer": ["stage", "activate", "deactivate", "probe", "start", "follow", "cancel", "probe_group"],
    "monitor": ["record", "assess", "silence"],
    "log_sink": ["append", "flush", "close"],
}
_MAY_BE_MISSING: Dict[str, Any] = {"preflight": {"ok": [], "warnings": []}, "flush": None, "close": None}
_ARGUMENTS: Dict[str, Type[Data]] = {
    "artifact": types.Artifact,
    "gate": types.Gate,
    "handle": types.SilenceHandle,
    "host": types.Host,
    "image": types.ImageInput,
    "job": types.GroupJob,
    "release": types.Release,
    "silence": types.Silence,
    "targets": types.Targets,
}


class Provider(Config):
    """A registered provider by name, with its config: `Provider("provisioner", "mycloud", size=3)`."""

    def __init__(self, role: str, provider: str, **config: Any) -> None:
        self.role = role  # type: ignore[misc]
        self.provider = provider
        super().__init__(**config)


def provider(role: str, name: str, *, schema: Optional[Mapping[str, Any]] = None) -> Callable[[C], C]:
    """Registers a class as a provider in this process: `@provider("provisioner", "mycloud")`.

    It reaches hosts through its context: `cx.connect(host).run(["true"])`.

    The class is made with the config as keyword arguments, and has the verbs of its kind as methods: each takes the step's
    context, then its arguments (`def stage(self, cx, host, release)`), and returns the same JSON as the verb's result class.
    A coroutine is awaited. `preflight` may be missing, and so may verbs that it lacks: they raise `UnsupportedError`.
    `schema`: the JSON Schema of its config; without one, names and required fields follow from `__init__`.
    """
    if role not in VERBS:
        raise InvalidInputError(f"a class can't be a `{role}`; it can be: {', '.join(VERBS)}", verb="register")

    def register(cls: C) -> C:
        def make(config: Optional[Dict[str, Any]]) -> Tuple[Any, List[str]]:
            made = cls(**(config or {}))
            return made, _capabilities(role, made)

        _towpath.register(role, name, make, plain(schema if schema is not None else _schema(cls)))
        return cls

    return register


def _schema(cls: type) -> Dict[str, Any]:
    parameters = [] if cls.__init__ is object.__init__ else list(inspect.signature(cls).parameters.values())  # type: ignore[misc]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {
        "type": "object",
        "properties": {p.name: True for p in named},
        "required": [p.name for p in named if p.default is p.empty],
        "additionalProperties": any(p.kind is p.VAR_KEYWORD for p in parameters),
    }


def _capabilities(role: str, made: Any) -> List[str]:
    said = getattr(made, "capabilities", None)
    if said is not None:
        return list(said() if callable(said) else said)
    has = [verb for verb in VERBS[role] if callable(getattr(made, verb, None))]
    if role != "deployer":
        return has
    return ["per_target"] * ("activate" in has) + ["group"] * ("start" in has)


def make(factory: Callable[[Any], Tuple[Any, List[str]]], config: Any) -> Tuple[Any, List[str]]:
    """Makes a provider; the native half calls it."""
    return factory(config)


def call(made: Any, verb: str, native: _towpath.StepContext, arguments: Dict[str, Any]) -> Any:
    """Calls a verb; the native half calls it."""
    method = getattr(made, verb, None)
    if method is None:
        if verb in _MAY_BE_MISSING:
            return _MAY_BE_MISSING[verb]
        raise UnsupportedError(f"`{type(made).__name__}` has no `{verb}`", verb=verb)
    given = {name: _typed(name, value) for name, value in arguments.items()}
    return plain(finished(method(StepContext(native), **given)))


def _typed(name: str, value: Any) -> Any:
    if name == "records":
        return [types.LogRecord.of(one) for one in value]
    if name == "observations":
        return [Data.of(one) for one in value]
    if isinstance(value, dict):
        return _ARGUMENTS.get(name, Data).of(value)
    return value
