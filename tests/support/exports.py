"""Exports of made-up histories, for tests that do something to them."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import fakeredis
import msgspec
from fakeredis import FakeAsyncRedis

from cli.audit.readable import readable
from pipeline import keys
from pipeline.archive.archive import SealedArchive
from pipeline.audit import chain, lines, segments
from pipeline.audit.entries import Entries
from pipeline.audit.export import Export
from pipeline.audit.manifest import Asked, File, Made, parsed, rendered, sealed
from pipeline.audit.verify import Problems
from pipeline.events import Recorded, encode
from pipeline.store import Client
from tests.support.examples import ONE_OF_EACH
from tests.support.histories import legal

WHOLE = {"start": "1970-01-01T00:00:00.000Z", "end": "2116-01-01T00:00:00.000Z"}
PARTITIONS = 2


def history(seed: int = 1) -> list[Recorded]:
    """Of two partitions."""
    rng = random.Random(seed)
    return [one for partition in range(PARTITIONS) for one in legal(rng, 8, 60, partition)[0]]


async def fill(redis: Client, events: list[Recorded]) -> None:
    """The events under the ids that they have, and some changes of the directory."""
    for one in events:
        fields = {"s": one.subject, "v": one.version, "e": encode(one.event)}
        await redis.xadd(keys.log(one.partition), fields, id=one.entry)
    changes = [one for one in ONE_OF_EACH if "change" in one.__struct_fields__]
    for version, event in enumerate(changes, 1):
        fields = {"s": keys.DIRECTORY_SUBJECT, "v": version, "e": encode(event)}
        await redis.xadd(keys.DIRECTORY_LOG, fields, id=f"{event.at // 1_000_000}-{version}")


def asked(domain: str = "", partitions: int = PARTITIONS, **stretch: str) -> Asked:
    start, end = stretch.get("start", WHOLE["start"]), stretch.get("end", WHOLE["end"])
    return Asked(domain=domain, start=start, end=end, partitions=partitions)


async def made(redis: Client, wanted: Asked, key=None, archive: SealedArchive | None = None) -> tuple[bytes, bytes]:
    """(records, manifest) of an export."""
    out = io.BytesIO()
    export = Export(wanted, readable, out)
    async for _ in export.write(Entries(redis, archive)):
        pass
    data = out.getvalue()
    file = File(name="x.jsonl", format="jsonl", octets=len(data), sha256=hashlib.sha256(data).hexdigest())
    who = Made(at="2026-11-23T12:00:00.000000Z", by="cli:test", program="gatepost test")
    seals = []
    if archive is not None:
        start, end = chain.moment(wanted.start), chain.moment(wanted.end)
        seals = [seal for log in wanted.logs for seal in await segments.seals(archive, log, start, end)]
    return data, rendered(sealed(export.manifest(who, file, seals), key))


def checked(directory: Path, data: bytes, manifest: bytes) -> Problems:
    """What `gatepost audit verify` finds."""
    file = directory / "x.jsonl"
    file.write_bytes(data)
    problems = Problems()
    content, wrong = parsed(manifest, None)
    for text in wrong:
        problems.add(text)
    if content is not None:
        for _ in lines.rows(file, content, problems):
            pass
    return problems


def resealed(rows: Sequence[bytes], manifest: bytes) -> tuple[list[bytes], bytes]:
    """As somebody does it who knows how: the chain, the counts and the hashes are right again."""
    previous, written, said = chain.START, [], []
    for number, row in enumerate(rows, 1):
        content = json.loads(row)
        del content["hash"]
        content["n"] = number
        body = json.dumps(content, separators=(",", ":"))[1:].encode()
        previous = chain.link(previous, body)
        written.append(chain.line(previous, body) + b"\n")
        said.append(content)
    old, _ = parsed(manifest, None)
    assert old is not None
    data = b"".join(written)
    pieces = {}
    for name, piece in old.partitions.items():
        own = [content["entry"] for content in said if str(content["partition"]) == name]
        bounds = {"first": own[0] if own else "", "last": own[-1] if own else ""}
        pieces[name] = msgspec.structs.replace(piece, records=len(own), **bounds)
    file = msgspec.structs.replace(old.file, octets=len(data), sha256=hashlib.sha256(data).hexdigest())
    kinds = dict(Counter(content["kind"] for content in said))
    new = msgspec.structs.replace(old, records=len(written), chain=previous, kinds=kinds, partitions=pieces, file=file)
    return written, rendered(sealed(new))


@functools.cache
def sample(domain: str = "") -> tuple[bytes, bytes]:
    async def run() -> tuple[bytes, bytes]:
        redis = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
        await fill(redis, history())
        found = await made(redis, asked(domain))
        await redis.aclose()
        return found

    return asyncio.run(run())
