"""The newest delivery errors, and the same ones grouped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from pipeline.ids import partition_for
from pipeline.store import Client, faults
from projections.base import OWN
from projections.builds import live_prefixes
from projections.failure_groups import ROWS, Failure, decode_group, decode_groups, group_row, groups_row, likeness
from projections.failures import NAME, decode_failure
from projections.readers.common import chunks, decoded, locate

RECIPIENTS_NAMED: Final = 100


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Errors that say the same: same kind, server, stage and code, and a reply that differs in numbers and addresses only."""

    count: int
    first: int
    last: int
    recipients: tuple[str, ...]
    """Distinct, the newest first, not all of many."""
    newest: Failure


class DomainFailures(msgspec.Struct, frozen=True, kw_only=True):
    domain: str
    """`*`: our own mail to domains that are not ours; whose server it was each error says."""
    failures: tuple[Failure, ...]
    """The newest first."""
    groups: tuple[FailureGroup, ...]
    """By the newest of each. They count errors too that are no longer among `failures`."""


async def read_failures(redis: Client, partitions: int, domain: str | None = None) -> tuple[DomainFailures, ...]:
    """The errors of one domain, or of every domain that has any; those of our own mail to other domains are behind them, as `*`.

    What servers of one domain said to our own mail is found by that domain too.
    """
    found = await _read(redis, await locate(redis, partitions, NAME, domain, "f:"))
    own = [one for one in found if one.domain == OWN]
    found = [one for one in found if one.domain != OWN]
    if domain is not None:
        prefixes = await live_prefixes(redis, [partition_for(domain, partitions)], NAME)
        own = await _read(redis, [(prefix, OWN) for prefix in prefixes.values()])
        return (_merged(domain, [*found, *(_about(one, domain) for one in own)]),)
    return (*found, _merged(OWN, own)) if own else tuple(found)


async def _read(redis: Client, places: Sequence[tuple[str, str]]) -> list[DomainFailures]:
    found = []
    for some in chunks(places):
        with faults():
            pipe = redis.pipeline(transaction=False)
            for prefix, name in some:
                pipe.lrange(f"{prefix}f:{name}", 0, -1)
                pipe.hget(prefix + ROWS, groups_row(name))
            answers: Any = await pipe.execute()
            orders = [decoded(decode_groups, order, NAME) if order else [] for order in answers[1::2]]
            for (prefix, name), order in zip(some, orders, strict=True):
                pipe.hmget(prefix + ROWS, [group_row(name, digest) for digest in reversed(order)] or [""])
            groups: Any = await pipe.execute()
        for (_, name), records, counted in zip(some, answers[::2], groups, strict=True):
            failures = tuple(decoded(decode_failure, record, NAME) for record in records)
            found.append(DomainFailures(domain=name, failures=failures, groups=tuple(_groups(counted))))
    return found


def _groups(records: Iterable[bytes | None]) -> Iterator[FailureGroup]:
    for record in records:
        if record:
            group = decoded(decode_group, record, NAME)
            yield FailureGroup(
                count=group.count, first=group.first, last=group.last, recipients=group.recipients, newest=group.newest
            )


def _about(own: DomainFailures, domain: str) -> DomainFailures:
    """What is about one domain."""
    return DomainFailures(
        domain=own.domain,
        failures=tuple(failure for failure in own.failures if failure.domain == domain),
        groups=tuple(group for group in own.groups if group.newest.domain == domain),
    )


def _merged(domain: str, some: Sequence[DomainFailures]) -> DomainFailures:
    return DomainFailures(
        domain=domain,
        failures=tuple(sorted((failure for one in some for failure in one.failures), key=lambda one: -one.at)),
        groups=tuple(sorted((group for one in some for group in one.groups), key=lambda one: -one.last)),
    )


def group(failures: Iterable[Failure]) -> tuple[FailureGroup, ...]:
    """Of some errors only, the newest first."""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(likeness(failure, failure.domain), []).append(failure)
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
