"""Steps of one's own: Python callables under a stable name, `module:qualname`."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar, Union

from . import _towpath
from ._data import Data, plain
from .connection import Connection
from .exceptions import InvalidInputError, missing_functions
from .vocabulary import Host

F = TypeVar("F", bound=Callable[..., Any])


class Unchanged:
    """What a step returns that found everything as it should be."""

    def __init__(self, outputs: Optional[Mapping[str, Any]] = None) -> None:
        self.outputs = dict(outputs or {})


def unchanged(**outputs: Any) -> Unchanged:
    """Says that a step found everything as it should be: `return unchanged(version="v1")`."""
    return Unchanged(outputs)


def step(**outputs: str) -> Callable[[F], F]:
    """Declares the outputs of a callable with their kinds: `@step(count="number")`. See `Pipeline.call`."""

    def declare(function: F) -> F:
        function.__towpath_outputs__ = dict(outputs)  # type: ignore[attr-defined]
        return function

    return declare


class StepContext:
    """What a step or a provider's verb gets: its place in the journal, its listeners, its cancel."""

    def __init__(self, native: _towpath.StepContext) -> None:
        self._native = native

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self._native.environment

    @property
    def step(self) -> Optional[str]:
        """The step, if there is a pipeline."""
        return self._native.step

    @property
    def run(self) -> Optional[str]:
        """The run, if there is a pipeline."""
        return self._native.run

    @property
    def cancelled(self) -> bool:
        """Whether the caller wants this to stop."""
        return self._native.cancelled

    def check(self) -> None:
        """Raises `CancelledError` or `TimedOutError` if this must stop."""
        self._native.check()

    def sleep(self, seconds: float) -> None:
        """Sleeps; raises `CancelledError` or `TimedOutError` as soon as this must stop."""
        self._native.sleep(seconds)

    def connect(
        self,
        host: Host,
        *,
        connectors: Optional[Mapping[str, Any]] = None,
        base_dir: Union[str, os.PathLike[str]] = ".",
    ) -> Connection:
        """Reaches a host; what runs there is cancelled with this step. `connectors`: as of `towpath.connect`."""
        return Connection(self._native.connect(plain(host), plain(connectors or {}), os.fspath(base_dir)))

    def effect(
        self,
        key: str,
        intent: Any,
        do: Callable[..., Any],
        probe: Optional[Callable[..., Any]] = None,
        *,
        opaque: bool = False,
    ) -> Any:
        """Does something to the world once, also over crashes, and gives its result (JSON).

        The intent is durable before `do` starts, its result before this returns. In a resumed run a finished effect is not
        done again: its recorded result is returned. After a crash in the middle `probe` says whether it has happened: it
        returns what `do` would have returned, or None. Without a probe it is done again; with `opaque=True` the resumed run
        stops and asks. `do` and `probe` take no argument, or the context below this effect. `key` is unique in its scope.
        """
        looked = None if probe is None else _taking_cx(probe)
        return _given(self._native.effect(key, plain(intent), _taking_cx(do), looked, opaque))

    def progress(self, message: str, done: Optional[int] = None, total: Optional[int] = None) -> None:
        """Tells the listeners how far this is."""
        self._native.progress(message, done, total)

    def output(self, line: str, stream: str = "stdout") -> None:
        """Tells the listeners a line that something printed."""
        self._native.output(line, stream)

    def warn(self, message: str) -> None:
        """Tells the listeners something that somebody should know."""
        self._native.warn(message)

    def learn_secret(self, value: str) -> None:
        """Masks a value in all output from now on."""
        self._native.learn_secret(value)

    def note(self, name: str, value: Any) -> None:
        """Keeps something about the running effect across a crash; None removes it."""
        self._native.note(name, plain(value))

    def recall(self, name: str) -> Any:
        """Reads a note of this effect, also one of a process before the crash."""
        return _given(self._native.recall(name))


def _given(value: Any) -> Any:
    return Data.of(value) if isinstance(value, dict) else value


def finished(result: Any) -> Any:
    """Waits for a coroutine; this thread is the callable's own."""
    if inspect.iscoroutine(result):
        import asyncio  # It takes longer to import than all the rest.

        return asyncio.run(result)
    return result


def _taking_cx(function: Callable[..., Any]) -> Callable[[_towpath.StepContext], Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Some builtins have no signature.
        parameters = {}.values()
    # `path.touch` has parameters, too, but needs none of them.
    takes = any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)

    def call(native: _towpath.StepContext) -> Any:
        return plain(finished(function(StepContext(native)) if takes else function()))

    return call


def name_of(function: Callable[..., Any]) -> str:
    """The name under which another process finds a callable. Raises `InvalidInputError` where it could not."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if isinstance(function, functools.partial) or not module or not qualname:
        raise _refused(repr(function), "it has no name of its own; write a function at the top of a module")
    if "<lambda>" in qualname:
        raise _refused(qualname, "a lambda has no name; write a function at the top of a module")
    if "<locals>" in qualname:
        raise _refused(qualname, "it is nested in another function; move it to the top of its module")
    if module == "__main__":
        module = _main_name(qualname)
    name = f"{module}:{qualname}"
    found = _look(name)
    if found is not function:
        raise _refused(name, "this name leads to something else there; give it a name of its own")
    return name


def _refused(name: str, why: str) -> InvalidInputError:
    message = f"`{name}` can't be a step: a process that continues the run after a crash could not find it, since {why}"
    return InvalidInputError(message, verb="call")


def _main_name(qualname: str) -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        name = str(spec.name)
        return name[: -len(".__main__")] if name.endswith(".__main__") else name
    path = getattr(main, "__file__", None)
    if not path:
        raise _refused(qualname, "it was typed in and stands in no file")
    return os.path.splitext(os.path.basename(str(path)))[0]


def _look(name: str) -> Any:
    module, _, qualname = name.partition(":")
    main = sys.modules.get("__main__")
    is_main = False
    try:
        is_main = main is not None and module == _main_name(qualname)
    except InvalidInputError:
        pass
    found: Any = main if is_main else importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def find(name: str) -> Tuple[Optional[Callable[..., Any]], List[Tuple[str, str]]]:
    """Finds a callable and its declared outputs. The native half calls it; why one is missing is kept for its error."""
    try:
        function = _look(name)
        if not callable(function):
            raise TypeError(f"{name} is a {type(function).__name__}, not callable")
    except Exception as why:  # An import runs code of anybody.
        missing_functions[name] = why
        return None, []
    missing_functions.pop(name, None)
    outputs: Dict[str, str] = getattr(function, "__towpath_outputs__", {})
    return function, list(outputs.items())


def invoke(
    name: str, function: Callable[..., Any], native: _towpath.StepContext, inputs: Dict[str, Any]
) -> Tuple[Dict[str, Any], bool]:
    """Calls a step with its inputs by name."""
    arguments = {key: _given(value) for key, value in inputs.items()}
    signature = inspect.signature(function)
    if "cx" in signature.parameters:
        arguments["cx"] = StepContext(native)
    try:
        signature.bind(**arguments)
    except TypeError as why:
        raise InvalidInputError(f"`{name}` does not take these inputs: {why}", verb="call") from None
    result = finished(function(**arguments))
    is_unchanged = isinstance(result, Unchanged)
    outputs = result.outputs if isinstance(result, Unchanged) else result
    if outputs is None:
        outputs = {}
    if not isinstance(outputs, Mapping):
        message = f"`{name}` returned a {type(outputs).__name__}; a step returns a dict of its outputs, or None"
        raise InvalidInputError(message, verb="call")
    return plain(outputs), is_unchanged
