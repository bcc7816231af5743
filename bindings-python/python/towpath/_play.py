"""A playbook from a script, and what it does as it does it."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any, Iterator, Mapping, Optional, Union

from . import playbook as _playbook
from ._towpath import Cancel
from .providers import configurator, provisioner
from .types import Configured, Event, Inventory

Path = Union[str, "os.PathLike[str]"]


class Play:
    """A playbook under way: iterate it for its events (`event.event == "task_result"` has `host`, `task`, `status`, `result`).

    Iterating ends when the playbook does, and then raises what it failed with. Leaving earlier cancels it and waits until it
    has stopped.
    """

    def __init__(
        self,
        file: Path,
        inventory: Union[Path, Inventory],
        limit: Optional[str] = None,
        extra_vars: Optional[Mapping[str, Any]] = None,
        base_dir: Path = ".",
        **settings: Any,
    ) -> None:
        if isinstance(inventory, (str, os.PathLike)):
            source = _playbook.Inventory(file=os.path.abspath(os.path.join(base_dir, inventory)))
            hosts = provisioner(source).apply().environment.inventory
        else:
            hosts = inventory
        self._events: "queue.SimpleQueue[Optional[Event]]" = queue.SimpleQueue()
        self._cancel = Cancel()
        self._result: Optional[Configured] = None
        self._error: Optional[BaseException] = None
        config = _playbook.Playbook(file=os.fspath(file), **settings)
        runner = configurator(config, base_dir=base_dir, on_event=self._events.put)

        def work() -> None:
            try:
                self._result = runner.apply(hosts, limit=limit, extra_vars=extra_vars, cancel=self._cancel)
            except BaseException as error:
                self._error = error
            self._events.put(None)

        self._thread = threading.Thread(target=work, name="towpath-play", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Event]:
        try:
            while True:
                event = self._events.get()
                if event is None:
                    break
                yield event
        except BaseException:
            self._cancel.set()
            raise
        finally:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def result(self) -> Configured:
        """Waits for the end and gives the counts per host; raises what the playbook failed with."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


def play(
    file: Path,
    inventory: Union[Path, Inventory],
    *,
    limit: Optional[str] = None,
    extra_vars: Optional[Mapping[str, Any]] = None,
    base_dir: Path = ".",
    **settings: Any,
) -> Play:
    """Runs a playbook: `for event in towpath.play("site.yml", "hosts"): print(event)`.

    `inventory` is a file or folder as `ansible-playbook -i` takes it, or an inventory that an earlier step gave. `settings` are
    those of `towpath.playbook.Playbook`. Raises `InvalidInputError` before any host is touched.
    """
    return Play(file, inventory, limit, extra_vars, base_dir, **settings)


__all__ = ["Play", "play"]
