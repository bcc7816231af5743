"""How a coroutine waits for a call of the library."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, TypeVar

from . import _towpath

T = TypeVar("T")

# A pool of our own: in the loop's default one (cpu + 4 threads) a few waiting calls would block the one that frees them. Its
# threads are joined when the interpreter ends, before it is torn down.
_POOL = ThreadPoolExecutor(max_workers=1024, thread_name_prefix="towpath")


async def call(method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Waits for a call. When the task is cancelled the call is, too, and waited for until it has stopped."""
    cancel = kwargs.pop("cancel", None) or _towpath.Cancel()
    bound = functools.partial(method, *args, cancel=cancel, **kwargs)
    work = asyncio.get_running_loop().run_in_executor(_POOL, bound)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancel.set()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # Retrieved, or asyncio reports it as lost.
        raise
