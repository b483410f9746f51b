"""When to try again and when to give up: pure, printed as a schedule by its test.

A retry belongs to the domain's route, not to the message: a domain whose servers cannot be used is tried once per interval,
however much waits for it. The same interval holds for a message that was deferred alone (greylisting, mailbox full).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from pipeline.directory.model import Domain
from pipeline.settings import Settings

JITTER: Final = 60
"""A wait is lengthened by up to one part in so many (15 s in 15 minutes), so that domains do not march in step."""


class RetryPolicy(msgspec.Struct, frozen=True):
    interval: int
    lifetime: int

    @classmethod
    def of(cls, settings: Settings, domain: Domain | None = None) -> RetryPolicy:
        """As the settings say, or a domain (with what it takes from its parents)."""
        interval = (domain.retry_interval if domain else 0) or int(settings.retry_interval)
        lifetime = (domain.queue_lifetime if domain else 0) or int(settings.queue_lifetime)
        return cls(interval, lifetime)


def next_try(now: int, policy: RetryPolicy, jitter: float) -> int:
    """Time (ns) of the next attempt after one that failed at `now`; `jitter` in [0, 1)."""
    return now + policy.interval + int(policy.interval * jitter / JITTER)


def gives_up(now: int, expires: int) -> bool:
    return now >= expires


def schedule(received_at: int, policy: RetryPolicy) -> Iterator[int]:
    """The attempts a message gets at a server that never answers, as times (ns), without jitter."""
    at = received_at
    while not gives_up(at, received_at + policy.lifetime):
        yield at
        at = next_try(at, policy, 0.0)
