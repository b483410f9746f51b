"""What all readers share: where the live build of a view is, and which domains it knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from pipeline.faults import CorruptError
from pipeline.ids import partition_for
from pipeline.store import Client, faults
from projections.builds import live_prefixes

CHUNK: Final = 500
"""Domains or messages asked for in one round trip."""

T = TypeVar("T")


async def locate(redis: Client, partitions: int, name: str, domain: str | None, family: str) -> list[tuple[str, str]]:
    """(prefix of the live view, domain) for `domain`, or for all that have a key `<family><domain>`, sorted by domain."""
    wanted = range(partitions) if domain is None else [partition_for(domain, partitions)]
    prefixes = await live_prefixes(redis, wanted, name)
    if domain is not None:
        return [(prefix, domain) for prefix in prefixes.values()]
    found: set[tuple[str, str]] = set()
    for prefix in prefixes.values():
        with faults():
            async for key in redis.sscan_iter(prefix + "keys", match=family + "*", count=1000):
                found.add((prefix, text(key).removeprefix(family)))
    return sorted(found, key=lambda pair: pair[1])


def text(name: Any) -> str:
    return str(name.decode("utf-8", "replace"))


def decoded(decode: Callable[[bytes], T], data: bytes, view: str) -> T:
    """A record of a view. Raises CorruptError."""
    try:
        return decode(data)
    except msgspec.DecodeError as error:
        raise CorruptError(
            f"the view {view} holds a record that cannot be read: {error}",
            remedy=f"Rebuild it: gatepost replay {view} --mend.",
        ) from None


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def numbers(fields: dict[bytes, bytes], names: Iterable[str]) -> list[int]:
    """Counters out of a hash, 0 where there is none."""
    return [int(fields.get(name.encode(), 0)) for name in names]
