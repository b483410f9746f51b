"""Exports of made-up histories, for tests that do something to them."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import random

import fakeredis
import msgspec
from fakeredis import FakeAsyncRedis

from cli.audit.readable import readable
from pipeline import keys
from pipeline.audit.entries import Entries
from pipeline.audit.export import Export
from pipeline.audit.manifest import Asked, File, Made, rendered, sealed
from pipeline.events import Recorded, encode
from tests.support.examples import ONE_OF_EACH
from tests.support.histories import legal

WHOLE = {"start": "1970-01-01T00:00:00.000Z", "end": "2116-01-01T00:00:00.000Z"}
PARTITIONS = 2


def history(seed: int = 1) -> list[Recorded]:
    """Of two partitions."""
    rng = random.Random(seed)
    return [one for partition in range(PARTITIONS) for one in legal(rng, 8, 60, partition)[0]]


async def fill(redis: FakeAsyncRedis, events: list[Recorded]) -> None:
    """The events under the ids that they have, and some changes of the directory."""
    for one in events:
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await redis.xadd(keys.log(one.partition), fields, id=one.entry)
    changes = [one for one in ONE_OF_EACH if "change" in one.__struct_fields__]
    for version, event in enumerate(changes, 1):
        fields = {"s": keys.DIRECTORY_SUBJECT, "v": version, "e": encode(event)}
        await redis.xadd(keys.DIRECTORY_LOG, fields, id=f"{event.at // 1_000_000}-{version}")


async def made(redis: FakeAsyncRedis, asked: Asked, key=None) -> tuple[bytes, bytes]:
    """(records, manifest) of an export."""
    out = io.BytesIO()
    export = Export(asked, readable, out)
    async for _ in export.write(Entries(redis)):
        pass
    data = out.getvalue()
    file = File(name="x.jsonl", format="jsonl", octets=len(data), sha256=hashlib.sha256(data).hexdigest())
    who = Made(at="2026-11-23T12:00:00.000000Z", by="cli:test", program="gatepost test")
    return data, rendered(sealed(export.manifest(who, file, []), key))


@functools.cache
def sample(domain: str = "") -> tuple[bytes, bytes]:
    async def run() -> tuple[bytes, bytes]:
        redis = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
        await fill(redis, history())
        found = await made(
            redis,
            msgspec.convert(
                {"domain": domain, "from": WHOLE["start"], "to": WHOLE["end"], "partitions": PARTITIONS}, Asked
            ),
        )
        await redis.aclose()
        return found

    return asyncio.run(run())
