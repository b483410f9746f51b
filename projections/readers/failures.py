"""The newest delivery errors, and the same ones grouped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from pipeline.store import Client, faults
from projections.failures import NAME, Failure, decode_failure
from projections.readers.common import chunks, decoded, locate

RECIPIENTS_NAMED: Final = 100
_NUMBER: Final = re.compile(r"[0-9A-Fa-f]*\d[0-9A-Fa-f]*")
"""What a server puts into a reply to tell it from the next one: a queue id, a time, a counter."""


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Errors that say the same: same kind, server, stage and code, and a reply that differs in numbers and addresses only."""

    count: int
    first: int
    last: int
    recipients: tuple[str, ...]
    """Distinct, the newest first, at most a hundred."""
    newest: Failure


class DomainFailures(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    failures: tuple[Failure, ...]
    """The newest first."""
    groups: tuple[FailureGroup, ...]
    """By the newest of each."""


async def read_failures(redis: Client, partitions: int, domain: str | None = None) -> tuple[DomainFailures, ...]:
    """The errors of one domain, or of every domain that has any."""
    found = []
    for some in chunks(await locate(redis, partitions, NAME, domain, "f:")):
        with faults():
            pipe = redis.pipeline(transaction=False)
            for prefix, name in some:
                pipe.lrange(f"{prefix}f:{name}", 0, -1)
            answers: Any = await pipe.execute()
        for (_, name), records in zip(some, answers, strict=True):
            failures = tuple(decoded(decode_failure, record, NAME) for record in records)
            found.append(DomainFailures(domain=name, failures=failures, groups=group(failures)))
    return tuple(found)


def group(failures: Iterable[Failure]) -> tuple[FailureGroup, ...]:
    """`failures` the newest first."""
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        groups.setdefault(_likeness(failure), []).append(failure)
    return tuple(
        FailureGroup(
            count=len(same),
            first=min(failure.at for failure in same),
            last=max(failure.at for failure in same),
            recipients=tuple({address: None for failure in same for address in failure.recipients})[:RECIPIENTS_NAMED],
            newest=same[0],
        )
        for same in groups.values()
    )


def _likeness(failure: Failure) -> tuple[str, ...]:
    attempt = failure.attempt
    text = attempt.reply
    for address in (*failure.recipients, failure.sender):
        if address:
            text = text.replace(address, "@")
    return failure.kind, failure.next, attempt.server, attempt.stage, str(attempt.code), _NUMBER.sub("#", text)
