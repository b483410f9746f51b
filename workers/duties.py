"""What a process does from time to time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from pipeline import metrics
from pipeline.faults import StoreError
from pipeline.pause import pause

log = structlog.get_logger()


LONGEST: Final = 6 * 3600.0
"""Seconds after which a duty is stuck that has not ended: looking through a year of events takes its time."""


_under_way: set[str] = set()


def at_rest() -> bool:
    """Whether no duty of this process is being done just now."""
    return not _under_way


async def every(seconds: float, duty: Callable[[], Awaitable[int]], stop: asyncio.Event, *, name: str = "") -> None:
    """Do a duty again and again, `seconds` after it ended, until `stop`. Its result is how much there was to do.

    `name`: in logs, metrics and of its pulse, so of no other duty of the process; the function's unless said.
    """
    name = name or duty.__name__
    pulse = metrics.PULSES.of(name, LONGEST)
    away = False
    while not stop.is_set():
        pulse.beat()
        _under_way.add(name)
        try:
            done = await duty()
            away = False
            succeeded(name, done)
            if done:
                log.info("duty done", duty=name, count=done)
        except StoreError as fault:
            failed(name)
            if not away:
                log.warning("store trouble, waiting", duty=name, reason=str(fault))
            away = True
        except Exception:
            failed(name)
            log.exception("a duty failed, will be tried again", duty=name)
        finally:
            _under_way.discard(name)
        pulse.rest()
        await pause(stop, seconds)


def succeeded(name: str, done: int = 0) -> None:
    """Count that a duty was done, and how much there was to do."""
    metrics.DUTY_RUNS.add(name, "done")
    metrics.DUTY_ITEMS.add(name, by=done)
    metrics.DUTY_SUCCESS.set(time.time(), name)


def failed(name: str) -> None:
    metrics.DUTY_RUNS.add(name, "failed")
