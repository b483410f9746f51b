"""What a process does from time to time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from pipeline.faults import StoreError
from pipeline.pause import pause

log = structlog.get_logger()


async def every(seconds: float, duty: Callable[[], Awaitable[int]], stop: asyncio.Event) -> None:
    """Do a duty again and again, `seconds` after it ended, until `stop`. Its result is how much there was to do."""
    away = False
    while not stop.is_set():
        try:
            done = await duty()
            away = False
            if done:
                log.info("tidied", duty=duty.__name__, count=done)
        except StoreError as fault:
            if not away:
                log.warning("store trouble, waiting", duty=duty.__name__, reason=str(fault))
            away = True
        except Exception:
            log.exception("a duty failed, will be tried again", duty=duty.__name__)
        await pause(stop, seconds)
