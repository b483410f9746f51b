"""What could not be handled is set aside with its reason: visible, retryable, never dropped, never in anybody's way."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.acted import recorded_step
from pipeline.events import Acted
from pipeline.faults import CorruptError, NotFoundError
from pipeline.log import Log
from pipeline.state import decode_head
from pipeline.steps import MS, Effect
from pipeline.store import Store, faults

REASON: Final = 500
PAGE: Final = 500
PATIENCE: Final = 5.0
"""Seconds to wait for a Redis that is away."""


class Parked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`kind`: scan, outbox (a stream entry, `fields` its content) or queue (a message of `domain`)."""

    reference: str
    kind: str
    message_id: str
    reason: str
    at: int
    tries: int = 0
    domain: str = ""
    fields: dict[bytes, bytes] = {}
    partition: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parked).decode
_GROUPS: Final = {"scan": keys.SCANNERS, "outbox": keys.JANITORS}
_STREAMS: Final = {"scan": keys.scan, "outbox": keys.outbox}


async def park_entry(
    store: Store,
    partition: int,
    kind: str,
    entry: str,
    fields: dict[bytes, bytes],
    reason: str,
    *,
    tries: int,
    now: int,
) -> None:
    """A stream entry leaves its stream and is kept aside, in one transaction."""
    stream, group = _STREAMS[kind](partition), _GROUPS[kind]
    message_id = fields.get(b"id", b"").decode("utf-8", "replace")
    item = Parked(
        reference=f"{kind}:{partition}:{entry}", kind=kind, message_id=message_id, reason=reason[:REASON], at=now,
        tries=tries, fields=fields, partition=partition,
    )  # fmt: skip
    with faults():
        pipe = store.redis.pipeline(transaction=True)
        pipe.hset(keys.parked(partition), item.reference, _encode(item))
        pipe.xack(stream, group, entry)
        pipe.xdel(stream, entry)
        await pipe.execute()


async def park_message(store: Store, partition: int, domain: str, message_id: str, reason: str, *, now: int) -> None:
    """A waiting message leaves its domain's queue."""
    item = Parked(
        reference=f"queue:{partition}:{message_id}", kind="queue", message_id=message_id, reason=reason[:REASON], at=now,
        domain=domain, partition=partition,
    )  # fmt: skip
    with faults():
        pipe = store.redis.pipeline(transaction=True)
        pipe.hset(keys.parked(partition), item.reference, _encode(item))
        pipe.zrem(keys.queue(partition, domain), message_id)
        await pipe.execute()


async def listed(store: Store) -> list[Parked]:
    """All that is parked, the oldest first; what cannot be read itself is listed with that as reason."""
    found: dict[str, Parked] = {}
    with faults():
        for partition in range(store.partitions):
            async for reference, data in store.redis.hscan_iter(keys.parked(partition), count=PAGE):
                name = reference.decode("utf-8", "replace")
                found[name] = _read(name, data, partition)
    return sorted(found.values(), key=lambda item: item.at)


def _read(reference: str, data: bytes, partition: int) -> Parked:
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        return Parked(
            reference=reference, kind="unreadable", message_id="", reason=str(error), at=0, partition=partition
        )


async def retry(store: Store, log: Log, reference: str, now: int, *, by: str) -> Parked:
    """Give it back to its worker, in one step with the record of who did. Raises NotFoundError, CorruptError, StoreError."""
    try:
        partition = int(reference.split(":")[1])
    except (IndexError, ValueError):
        raise NotFoundError(f"nothing is parked as {reference}", remedy="See `gatepost parked list`.") from None
    with faults():
        data = await store.redis.hget(keys.parked(partition), reference)
        if data is None:
            raise NotFoundError(f"nothing is parked as {reference}", remedy="See `gatepost parked list`.")
        try:
            item = _decode(data)
        except msgspec.DecodeError as error:
            raise CorruptError(f"{reference} cannot be read: {error}") from None
        head: Any = await store.redis.hget(keys.head(partition, item.message_id), "m") if item.message_id else None
    domain = item.domain or (decode_head(head).domain if head else "")
    event = Acted(at=now, domain=domain, by=by, action="work_retried", what=reference, note=item.reason)
    await log.commit(recorded_step(event, partition, _given_back(partition, item, reference, now)), patience=PATIENCE)
    return item


def _given_back(partition: int, item: Parked, reference: str, now: int) -> list[Effect]:
    gone: Effect = ("HDEL", keys.parked(partition), reference)
    if item.kind == "queue":
        return [
            gone,
            ("ZADD", keys.queue(partition, item.domain), now // MS, item.message_id),
            ("ZADD", keys.due(partition), "LT", now // MS, item.domain),
            ("SPEAK", keys.hint(partition), item.domain),
        ]
    words = [word for pair in item.fields.items() for word in pair]
    return [gone, ("XADD", _STREAMS[item.kind](partition), "*", *words)]
