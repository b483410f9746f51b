"""`gatepost audit` on a store whose log was archived."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import keys
from pipeline.archive.model import DIRECTORY
from pipeline.archive.writing import Writer
from pipeline.events import Delivered
from pipeline.ids import partition_for
from tests.cli.conftest import DOMAIN, Shop

SIZE = 7


@pytest.fixture
def sealed(shop: Shop) -> Shop:
    """All that there is is sealed, in segments of seven entries, and still in Redis too."""
    shop.add("anna", "ben")
    for _ in range(6):
        shop.tried(shop.queued(), Delivered)

    async def work(wiring) -> None:
        now = wiring.clock() // 1_000_000 + 2 * 86_400_000
        for partition in (DIRECTORY, partition_for(DOMAIN, wiring.store.partitions)):
            writer = Writer(wiring.store.redis, wiring.archive, partition, SIZE)
            assert await writer.hold()
            await writer.settle()
            while await writer.next(now) is not None:
                pass
            await writer.release()

    shop.do(work)
    return shop


def files(shop: Shop, ending: str) -> list[Path]:
    found = sorted((shop.data / "archive").rglob(f"*{ending}"))
    return [path for path in found if "/directory/" not in str(path)]


def live(shop: Shop) -> list[str]:
    done = shop.run("audit", "verify", "--live", "--json")
    named = [problem["text"] for problem in done.json["named"]]
    assert done.code == int(bool(named)), done.err
    assert done.json["segments"] == 5
    return named


def test_a_store_with_an_archive_is_whole(sealed: Shop):
    assert live(sealed) == []


def changed(shop: Shop) -> None:
    file = files(shop, ".parquet")[1]
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)


def missing(shop: Shop) -> None:
    for file in shop.data.rglob(files(shop, ".parquet")[1].stem + ".*"):
        file.unlink()


def exchanged(shop: Shop) -> None:
    first, second = files(shop, ".parquet")[:2]
    first.rename(first.with_suffix(".x"))
    second.rename(first)
    first.with_suffix(".x").rename(second)


def doubled(shop: Shop) -> None:
    for file in shop.data.rglob(files(shop, ".parquet")[0].stem + ".*"):
        shutil.copy(file, file.with_name(file.name.replace("00000001", "00000002")))


def resealed(shop: Shop) -> None:
    file = files(shop, ".json")[0]
    file.write_bytes(file.read_bytes().replace(b'"count":7', b'"count":8'))


@pytest.mark.parametrize("harm", [changed, missing, exchanged, doubled, resealed])
def test_harm_to_a_segment_is_named(sealed: Shop, harm: Callable[[Shop], None]):
    harm(sealed)
    named = live(sealed)
    assert named
    assert all(text.startswith("the archive, ") for text in named)


def test_an_entry_that_was_rewritten_in_redis_after_it_was_sealed_is_found(sealed: Shop):
    """Versions, steps and heads are as they should be: only the seal knows."""

    async def work(wiring) -> None:
        log = keys.log(partition_for(DOMAIN, wiring.store.partitions))
        rows = await wiring.store.redis.xrange(log)
        await wiring.store.redis.delete(log)
        for entry, fields in rows:
            data = fields[b"e"].replace(b"sender@elsewhere.test", b"forged@elsewhere.test")
            await wiring.store.redis.xadd(log, {**fields, b"e": data}, id=entry)

    sealed.do(work)
    named = live(sealed)
    assert named
    assert all("does not hold what the log has" in text for text in named)


def test_an_export_carries_the_seals_of_what_it_touches(sealed: Shop):
    done = sealed.run("audit", "export", "--output", "x.jsonl", "--json")
    assert [seal["number"] for seal in done.json["manifest"]["seals"]] == [1, 1, 2, 3, 4]
    assert sealed.run("audit", "verify", "x.jsonl", "--against-store").code == 0
