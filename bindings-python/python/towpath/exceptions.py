"""What goes wrong: one hierarchy, one class for each kind of error."""

from __future__ import annotations

import builtins
import traceback
from typing import Any, Dict, List, Mapping, Optional, Sequence, Type

# Why functions could not be found, by their name; `_steps.find` writes it.
missing_functions: Dict[str, BaseException] = {}


class Error(Exception):
    """A failure: what happened, where, and its causes. `str` gives the whole report.

    Steps and providers written in Python may raise any subclass; its kind and `retry` decide what the engine does.
    """

    kind: str = "tool_failed"
    """What a caller can act on: `not_found`, `conflict`, ..."""
    provider: str
    """The provider that failed, `core` for the engine itself."""
    verb: str
    """The verb that failed."""
    message: str
    """The sentence alone."""
    context: Dict[str, str]
    """Where it happened: `host`, `task`, `file`, `step`, ... Never a secret."""
    retry: bool
    """Whether the same call may succeed later without anybody changing anything."""
    causes: List[str]
    """The causes, outermost first."""

    def __init__(
        self,
        message: str,
        *,
        provider: str = "python",
        verb: str = "",
        context: Optional[Mapping[str, object]] = None,
        retry: bool = False,
        causes: Sequence[str] = (),
        report: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.verb = verb
        self.context = {key: str(value) for key, value in (context or {}).items()}
        self.retry = retry
        self.causes = list(causes)
        self._report = report

    def __str__(self) -> str:
        if self._report is not None:
            return self._report
        where = ", ".join(f"{key}={value}" for key, value in self.context.items())
        first = f"{self.provider} {self.verb}".strip() + f": {self.message}" + (f" ({where})" if where else "")
        return "\n  caused by: ".join([first, *self.causes])


class InvalidInputError(Error, ValueError):
    """The input is wrong: a config, a pipeline, a playbook. Nothing was touched."""

    kind = "invalid_input"


class NotFoundError(Error, LookupError):
    """The named stack, host, image, release or file does not exist."""

    kind = "not_found"


class AlreadyExistsError(Error):
    """The thing to create exists already and differs."""

    kind = "already_exists"


class ConflictError(Error):
    """Somebody else holds what is needed, or the world changed since it was looked at."""

    kind = "conflict"


class UnreachableError(Error):
    """The host or service can't be reached."""

    kind = "unreachable"


class DeniedError(Error):
    """Reached, but refused: key, password, token, host key."""

    kind = "denied"


class TimedOutError(Error, builtins.TimeoutError):
    """The time given was not enough."""

    kind = "timeout"


class CancelledError(Error):
    """Asked for; the message names what still runs, if anything."""

    kind = "cancelled"


class UnsupportedError(Error):
    """The provider lacks this capability."""

    kind = "unsupported"


class ToolMissingError(Error):
    """An external tool is missing or too old; the message says what to install."""

    kind = "tool_missing"


class ToolFailedError(Error):
    """An external tool, remote command or Python callable ran and failed; its own text is the cause."""

    kind = "tool_failed"


class UnhealthyError(Error):
    """A health check or gate said no."""

    kind = "unhealthy"


class EffectInterruptedError(Error):
    """An effect that can't be probed was interrupted by a crash; somebody must say whether to run it again."""

    kind = "interrupted"


class StorageError(Error):
    """The store can't be written or read: full, read-only, torn, foreign."""

    kind = "storage"


class ProtocolError(Error):
    """An answer that makes no sense: the other side broke its protocol."""

    kind = "protocol"


class InternalError(Error):
    """A defect in towpath itself."""

    kind = "internal"


KINDS: Dict[str, Type[Error]] = {
    cls.kind: cls
    for cls in (
        InvalidInputError,
        NotFoundError,
        AlreadyExistsError,
        ConflictError,
        UnreachableError,
        DeniedError,
        TimedOutError,
        CancelledError,
        UnsupportedError,
        ToolMissingError,
        ToolFailedError,
        UnhealthyError,
        EffectInterruptedError,
        StorageError,
        ProtocolError,
        InternalError,
    )
}


def from_record(record: Mapping[str, Any], report: Optional[str] = None) -> Error:
    """Makes the exception of an error record, as reports and events carry it."""
    error = KINDS.get(record["kind"], Error)(
        record["message"],
        provider=record["provider"],
        verb=record["operation"],
        context=dict(record.get("context") or ()),
        retry=record["retry"] == "later",
        causes=record.get("causes") or (),
        report=report,
    )
    if type(error) is Error:
        error.kind = record["kind"]
    for name, why in missing_functions.items():
        if isinstance(error, InvalidInputError) and f"`{name}`" in str(error):
            error.__cause__ = why
            error._report = f"{error}\n  caused by: {type(why).__name__}: {why}"
    return error


def to_record(error: BaseException, what: str) -> Dict[str, Any]:
    """Makes an error record of an exception that `what` raised."""
    if isinstance(error, Error):
        record = {
            "kind": error.kind,
            "retry": "later" if error.retry else "never",
            "provider": error.provider,
            "operation": error.verb,
            "message": error.message,
        }
        rest = {"context": [list(one) for one in error.context.items()], "causes": error.causes}
        return {**record, **{name: some for name, some in rest.items() if some}}
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != _HERE and not f.filename.startswith(_PACKAGE)]
    place = [["file", f"{own[-1].filename}:{own[-1].lineno}"]] if own else []
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "kind": "tool_failed",
        "retry": "never",
        "provider": "python",
        "operation": "",
        "message": f"{what} raised {type(error).__name__}: {error}",
        "context": place,
        "causes": [text.rstrip()],
    }


_HERE = __file__
_PACKAGE = __file__[: -len("exceptions.py")]
