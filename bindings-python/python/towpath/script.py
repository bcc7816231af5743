"""Shell scripts and uploaded files, with guards."""

# Written by generate.py from the schemas of the library. Do not edit.

from __future__ import annotations

from typing import TYPE_CHECKING, List, Union

from ._data import Config, Ref

if TYPE_CHECKING:
    from .vocabulary import BecomeChoice, StepConfig


class Script(Config):
    """Settings of the `script` configurator: what is done on every host, in this order.

    steps: The steps. A failing one ends the work on its host; other hosts go on.
    become: Whom steps become that do not say it themselves. As the host's connection says if not given.
    forks: How many hosts are worked on at the same time. `50` by default.
    """

    role = "configurator"
    provider = "script"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            steps: Union[List[StepConfig], Ref],
            become: Union[BecomeChoice, Ref, None] = None,
            forks: Union[int, Ref, None] = None,
        ) -> None: ...


__all__ = ["Script"]
