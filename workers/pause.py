"""Waiting for something, but not longer than that."""

from __future__ import annotations

import asyncio


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
