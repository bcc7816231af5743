"""Values: what people write, as JSON; what comes back, as mappings with attributes."""

from __future__ import annotations

import difflib
import enum
import keyword
import os
import typing
from datetime import timedelta
from typing import Any, ClassVar, Dict, Generic, List, Mapping, Optional, Type, TypeVar, Union

from . import _towpath
from .exceptions import InvalidInputError

T = TypeVar("T")
D = TypeVar("D", bound="Data")


class Output(Generic[T]):
    """An output of a step. Pass it to a later step; read its value from the run's report."""

    def __init__(self, step: str, name: str) -> None:
        self.step = step
        self.name = name

    @property
    def reference(self) -> str:
        """As references spell it: `step.output`."""
        return f"{self.step}.{self.name}"

    def __repr__(self) -> str:
        return f"Output({self.reference})"


class Param(Generic[T]):
    """A parameter of a pipeline. Use it in configs and inputs."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Param({self.name})"


Ref = Union[Output[Any], Param[Any]]


def _field(name: str, known: Optional[Mapping[str, Any]] = None) -> str:
    """The name of a field in JSON. One that is a word of Python's own is spelled with an underscore: `except_`. Not so for keys that no
    class knows: they are the user's own."""
    is_ours = name.endswith("_") and keyword.iskeyword(name[:-1]) and (known is None or name in known)
    return name[:-1] if is_ours else name


def _spelled(field: str) -> str:
    """The other way round."""
    return f"{field}_" if keyword.iskeyword(field) else field


class Data(Dict[str, Any]):
    """A mapping whose known fields are attributes, too. Equal to the same JSON."""

    def __init__(self, **fields: Any) -> None:
        hints = _hints(type(self))
        for name, value in fields.items():
            if hints and name not in hints:
                raise InvalidInputError(f"{type(self).__name__} has no field `{name}`{_meant(name, hints)}")
            # What is not given is not there, so that the library's own default holds.
            if value is not None:
                self[_field(name, hints)] = _wrap(hints.get(name, Any), value)

    @classmethod
    def of(cls: Type[D], value: Mapping[str, Any]) -> D:
        """Takes JSON as it came from the library."""
        hints, made = _hints(cls), cls.__new__(cls)
        for name, one in value.items():
            made[name] = _wrap(hints.get(_spelled(name), Any), one)
        return made

    # Hidden from type checkers, so that they know fields by their annotations only.
    if not typing.TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            hints = _hints(type(self))
            if _field(name, hints) in self:
                return self[_field(name, hints)]
            if name not in hints:
                known = {**hints, **self}
                raise AttributeError(f"{type(self).__name__} has no field `{name}`{_meant(name, known)}")
            # Empty fields are left out of JSON.
            empty = typing.get_origin(hints[name]) or hints[name]
            has_empty = isinstance(empty, type) and issubclass(empty, (list, dict, str, bool))
            return empty() if has_empty else None

    def __setattr__(self, name: str, value: Any) -> None:
        hints = _hints(type(self))
        self[_field(name, hints)] = _wrap(hints.get(name, Any), value)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.items())
        return f"{type(self).__name__}({fields})"


def _meant(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; known are: {', '.join(known)}"


_cache: Dict[type, Dict[str, Any]] = {}


def _hints(cls: type) -> Dict[str, Any]:
    if cls not in _cache:
        _cache[cls] = typing.get_type_hints(cls)
    return _cache[cls]


def _wrap(hint: Any, value: Any) -> Any:
    """Gives plain JSON the class that the hint names."""
    if value is None or isinstance(value, (Data, Output, Param)):
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Union:
        return _wrap(args[0], value)
    if isinstance(value, dict):
        if isinstance(hint, type) and issubclass(hint, Data):
            return hint.of(value)
        inner = args[1] if origin is dict else Any
        made = Data() if inner is Any else {}
        made.update({key: _wrap(inner, one) for key, one in value.items()})
        return made
    if isinstance(value, (list, tuple)):
        inner = args[0] if origin is list else Any
        return [_wrap(inner, one) for one in value]
    return value


class Config:
    """A provider by name, with its config: checked when it is made, by the same code that checks pipelines."""

    role: ClassVar[str] = ""
    provider: str = ""

    def __init__(self, **fields: Any) -> None:
        self.config: Dict[str, Any] = {
            _field(name): plain(value) for name, value in fields.items() if value is not None
        }
        _towpath.check_config(self.role, self.provider, self.config)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and plain(self) == plain(other) and self.role == other.role


def plain(value: Any, escape: bool = False) -> Any:
    """Gives the JSON of a value. With `escape` a mapping that only looks like a reference stays a mapping."""
    if value is None or isinstance(value, (bool, int, float, str)) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, Output):
        return {"from": value.reference}
    if isinstance(value, Param):
        return {"param": value.name}
    if isinstance(value, Config):
        return {"provider": value.provider, "config": value.config}
    if isinstance(value, enum.Enum):
        return plain(value.value, escape)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        made = {_key(key): plain(one, escape) for key, one in value.items()}
        return {"literal": made} if escape and _looks_like_reference(made) else made
    if isinstance(value, (list, tuple)):
        return [plain(one, escape) for one in value]
    raise InvalidInputError(f"a {type(value).__name__} can't be written as JSON: give text, numbers, lists or mappings")


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    raise InvalidInputError(f"the key {key!r} of a mapping is no text, so it can't be written as JSON")


def _looks_like_reference(value: Dict[str, Any]) -> bool:
    if len(value) != 1:
        return False
    ((key, one),) = value.items()
    return key == "literal" or (key in ("from", "param") and isinstance(one, str))
