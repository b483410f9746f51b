"""Waiting for something, but not longer than that; ending what runs beside us."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AGAIN: Final = 1.0
"""Seconds until a task that did not end is cancelled again."""


async def pause(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, `seconds` at most; whether it is.

    Not `asyncio.wait_for`: until Python 3.12 that one may swallow a cancellation that comes together with the event, and a
    loop around it then never ends.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they are over, whatever they end with.

    Again and again, if need be: a library that loses a cancellation (asyncio.wait_for, see above) must not keep us alive.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        over, left = await asyncio.wait(left, timeout=AGAIN)
        for task in over:
            if not task.cancelled():
                task.exception()  # looked at, or asyncio complains that nobody did
