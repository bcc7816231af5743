"""What goes with a Strider server beside its deployer (`towpath.strider`): webhooks, and the set-up of projects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from . import _towpath
from ._data import Data, plain
from ._towpath import Cancel
from .strider import Strider
from .vocabulary import SecretRef

if TYPE_CHECKING:
    from types import TracebackType


class Push(Data):
    """What a webhook says, once its signature was verified.

    from_: `github` (somebody pushed), or `strider` (the tests of a push are over; it says so before it deploys).
    project: The project: `acme/web`.
    branch: The branch; None where a tag was pushed.
    commit: The commit.
    message: The commit's message, as GitHub tells it.
    skip: Whether its author wants no job: `[skip ci]` or `[ci skip]` is in the message.
    test_exit_code: The exit code of the tests, as Strider tells it.
    repository: The repository's address.
    """

    from_: str
    project: str
    branch: Optional[str]
    commit: str
    message: Optional[str]
    skip: bool
    test_exit_code: Optional[int]
    repository: Optional[str]


def verify(headers: Union[Mapping[str, str], Iterable[Tuple[str, str]]], body: bytes, secret: str) -> Push:
    """Verifies a webhook of GitHub or Strider (`X-Hub-Signature: sha1=...`) and reads it.

    Raises `DeniedError` where the signature does not fit, `UnsupportedError` for what is signed and no push, `InvalidInputError` for
    a signed body that makes no sense.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return Push.of(_towpath.verify_webhook([(name, value) for name, value in pairs], body, secret))


class Webhooks:
    """Listens for webhooks and hands over those whose signature fits: iterate it. `with` closes it.

    It answers its senders itself, has a limit for bodies and for time, and speaks plain HTTP: put it behind something that speaks TLS.
    """

    def __init__(
        self, address: str, *, secret: SecretRef, path: str = "/", max_body_bytes: int = 5 << 20
    ) -> None:
        self._native = _towpath.Webhooks(address, secret, path, max_body_bytes)

    def __repr__(self) -> str:
        return f"Webhooks({self.address})"

    def __enter__(self) -> Webhooks:
        return self

    def __exit__(self, kind: object, error: object, trace: Optional[TracebackType]) -> None:
        self.close()

    @property
    def address(self) -> str:
        """The address that it listens on: port 0 has become a free one."""
        return self._native.address()

    def next(self, *, cancel: Optional[Cancel] = None) -> Optional[Push]:
        """Waits for the next push. None: cancelled, or closed."""
        push = self._native.next(cancel)
        return None if push is None else Push.of(push)

    def __iter__(self) -> Iterator[Push]:
        while True:
            push = self.next()
            if push is None:
                return
            yield push

    def close(self) -> None:
        """Stops listening. Waits for a `next` that is under way: cancel that first."""
        self._native.close()


def set_up(
    config: Strider,
    project: Mapping[str, Any],
    *,
    base_dir: Union[str, "os.PathLike[str]"] = ".",
    cancel: Optional[Cancel] = None,
) -> List[str]:
    """Brings the config's project to what is wanted, and tells what was changed; nothing where it is so already.

    `project` has `display_name`, `display_url`, `provider` (`{"url": ..., "auth": ...}`) and `branches`: by name, with `active`,
    `mirror_master`, `deploy_on_green`, `plugins` (`[{"id": "custom", "config": {"test": "make test", "deploy": ...}}]`). What of a branch
    is not given stays as it is.
    """
    return _towpath.set_up_strider(config.config, plain(project), base_dir, cancel)


__all__ = ["Push", "Webhooks", "set_up", "verify"]
