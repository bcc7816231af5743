"""Hosts, reached as the library reaches them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Sequence, Union

from . import _towpath
from ._data import plain
from ._towpath import Cancel
from .vocabulary import BecomeSpec, Host

if TYPE_CHECKING:
    from types import TracebackType


class ExecOutput(NamedTuple):
    """How a command ended, and what it printed."""

    code: Optional[int]
    """Its exit code; None: a signal ended it."""
    signal: Optional[str]
    """The signal that ended it, without `SIG`."""
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without trailing newlines."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class Connection:
    """An authenticated way to one host. Every method may be called from any thread. `with` closes it."""

    def __init__(self, native: _towpath.Connection) -> None:
        self._native = native

    def __repr__(self) -> str:
        return f"Connection({self.host})"

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: object, error: object, trace: Optional[TracebackType]) -> None:
        self.close()

    @property
    def host(self) -> str:
        """The host's name."""
        return self._native.host()

    def run(
        self,
        command: Union[str, Sequence[str]],
        *,
        stdin: Optional[bytes] = None,
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
        timeout_s: Optional[float] = None,
        become: Union[str, BecomeSpec, None] = None,
        check: bool = True,
        cancel: Optional[Cancel] = None,
    ) -> ExecOutput:
        """Runs a command and waits for its end: text is a script for the host's `sh`, a list is a program with arguments.

        Raises `ToolFailedError` with its last lines if it fails, unless `check` is False. `become`: runs it as this user.
        """
        kind: Dict[str, Any] = {"script": command} if isinstance(command, str) else {"argv": list(command)}
        options = {**kind, "cwd": cwd, "env": dict(env or {}), "timeout_s": timeout_s, "become": _become(become)}
        return ExecOutput(*self._native.run(plain(options), stdin, check, cancel))

    def put(
        self,
        content: Union[bytes, os.PathLike[str]],
        path: str,
        *,
        mode: Optional[int] = None,
        owner: Optional[str] = None,
        group: Optional[str] = None,
        become: Union[str, BecomeSpec, None] = None,
        cancel: Optional[Cancel] = None,
    ) -> None:
        """Writes bytes or a local file to a path on the host, whole or not at all. A new file gets mode 0600."""
        options = plain({"mode": mode, "owner": owner, "group": group, "become": _become(become)})
        if isinstance(content, bytes):
            self._native.put(content, None, path, options, cancel)
        else:
            self._native.put(None, os.fspath(content), path, options, cancel)

    def get(self, path: str, *, limit_bytes: int = 16 << 20, cancel: Optional[Cancel] = None) -> bytes:
        """Reads a file of the host. A longer one than the limit is an error."""
        return self._native.get(path, limit_bytes, cancel)

    def forward(self, port: int, *, cancel: Optional[Cancel] = None) -> int:
        """Opens a loopback port of this machine that leads to a port as seen from the host, and gives its number.

        It needs only the host's SSH port to be reachable, and is open as long as this connection is kept and not closed.
        """
        return self._native.forward(port, cancel)

    def close(self, *, cancel: Optional[Cancel] = None) -> None:
        """Gives it back."""
        self._native.close(cancel)


def _become(user: Union[str, BecomeSpec, None]) -> Optional[Dict[str, Any]]:
    return {"user": user} if isinstance(user, str) else user


def connect(
    host: Host,
    *,
    connectors: Optional[Mapping[str, Any]] = None,
    base_dir: Union[str, os.PathLike[str]] = ".",
    cancel: Optional[Cancel] = None,
) -> Connection:
    """Connects and authenticates. `connectors`: their settings by name, `{"ssh": {"host_keys": "accept_new"}}`.

    In a step use `cx.connect(host)`: what runs on the host is cancelled with the step then.
    """
    return Connection(_towpath.connect(plain(host), plain(connectors or {}), os.fspath(base_dir), cancel))
