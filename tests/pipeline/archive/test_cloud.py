"""The archive in an object store is the archive: sealed, read, found, verified, dropped; and waited for when it is away."""

from __future__ import annotations

import pytest

from pipeline import objectstore
from pipeline.archive.archive import SealedArchive
from pipeline.archive.cache import Cache
from pipeline.archive.cloud import CloudObjects
from pipeline.archive.dropping import drop
from pipeline.archive.objects import SMALL
from pipeline.archive.verify import verify
from pipeline.faults import ConfigurationError, CorruptError, StoreAwayError
from pipeline.places import DAY_MS
from pipeline.store import open_client
from pipeline.terms import SUBJECT, term
from tests.support.archives import DAY, Ground, P
from tests.support.objectstore import SERVERS, store_server


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    with store_server(request.param) as running:
        yield running


@pytest.fixture
def objects(server, tmp_path, monkeypatch, request):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return CloudObjects(f"{server.address}/{request.node.name.partition('[')[0]}", tmp_path, 1 << 30)


@pytest.fixture
async def ground(redis_server, tmp_path, objects):
    redis = open_client(redis_server.url)
    made = Ground(redis, tmp_path / "none", size=20, objects=objects)
    yield made
    await made.close()
    await redis.aclose()


async def test_everything_works_as_in_a_directory(ground, tmp_path):
    for day in range(3):
        await ground.append(*range(DAY + day * DAY_MS, DAY + day * DAY_MS + 45))
    await ground.append(DAY + 3 * DAY_MS)
    entries = await ground.whole()
    await ground.see(entries[-1].entry)
    assert len(await ground.seal(DAY + 3 * DAY_MS)) == 9
    await ground.trim(DAY + 3 * DAY_MS)
    assert await ground.read(7) == entries
    wanted = [one for one in entries[:-1] if one.subject == entries[0].subject]
    assert [one async for one in ground.archive.find(P, term(SUBJECT, wanted[0].subject), 0, 1 << 60)] == wanted[::-1]
    assert (await verify(ground.fresh(), [P]))[0].faults == ()
    await drop(ground.redis, ground.archive, ground.log, P, "2024-10-05", now=1)
    assert await ground.archive.chain.days() == ("2024-10-05", "2024-10-06")
    assert (await verify(ground.fresh(), [P]))[0].faults == ()
    assert (await ground.read(7))[:-1] == entries[45:]
    # Another machine, which has no copies yet.
    other = SealedArchive(ground.redis, CloudObjects(ground.archive.objects.place, tmp_path / "other", 1 << 20))
    assert await other.read(P, "0", 1000) == entries[45:-1]
    await other.close()


async def test_a_store_that_is_away_is_said_and_nothing_is_lost(ground, server, monkeypatch):
    monkeypatch.setattr(objectstore, "RETRIES", 0)
    await ground.append(*range(DAY, DAY + 30))
    entries = await ground.whole()
    monkeypatch.setenv(server.endpoint, "http://127.0.0.1:1")
    with pytest.raises(StoreAwayError, match="cannot be reached") as fault:
        await ground.seal(DAY + DAY_MS)
    assert server.secret not in str(fault.value)
    assert await ground.archive.last(P) == "0"
    monkeypatch.setenv(server.endpoint, server.environment[server.endpoint])
    back = Ground(
        ground.redis, ground.root, size=20, objects=CloudObjects(ground.archive.objects.place, ground.root, 1 << 30)
    )
    await ground.writer.release()
    assert len(await back.seal(DAY + DAY_MS)) == 2
    assert await back.read() == entries
    await back.close()


def test_an_object_is_made_once_and_replaced_only_by_what_differs(objects, tmp_path):
    for content in (b"first", b"first", b"second"):
        (tmp_path / "x").write_bytes(content)
        objects.put("folder/x", tmp_path / "x")
        assert objects.get("folder/x") == content
    assert objects.names("folder") == ["x"]
    assert objects.names("") == ["folder"]
    assert objects.get("folder/y") is None
    assert objects.fetch("folder/y", "") is None
    objects.delete(["folder/x", "folder/y"])
    assert objects.names("") == []


def test_what_was_tampered_with_in_the_store_is_not_hidden_by_a_copy(objects, tmp_path):
    (tmp_path / "x").write_bytes(b"good")
    objects.put("x", tmp_path / "x")
    path = objects.fetch("x", "")
    assert path.read_bytes() == b"good"
    assert objects.fetch("x", path.name) == path
    objects.delete(["x"])
    (tmp_path / "x").write_bytes(b"evil")
    objects.put("x", tmp_path / "x")
    assert objects.fetch("x", "").read_bytes() == b"evil"


def test_what_is_larger_than_it_can_be_is_not_taken(objects, tmp_path):
    (tmp_path / "x").write_bytes(b"x" * (SMALL + 1))
    objects.put("x", tmp_path / "x")
    objects.put("x", tmp_path / "x")  # the same again is no reason to look at it
    with pytest.raises(CorruptError, match="larger than it can be"):
        objects.get("x")
    with pytest.raises(CorruptError, match="larger than it can be"):
        objects.fetch("x", "", SMALL)
    assert objects.fetch("x", "", SMALL + 1).stat().st_size == SMALL + 1


def test_what_is_asked_for_by_its_hash_is_that_or_changed(objects, tmp_path):
    (tmp_path / "x").write_bytes(b"good")
    objects.put("x", tmp_path / "x")
    good = objects.fetch("x", "")
    good.unlink()
    assert objects.fetch("x", good.name) == good
    (tmp_path / "x").write_bytes(b"evil")
    objects.put("x", tmp_path / "x")
    good.unlink()
    with pytest.raises(CorruptError, match="its hash is not that of its seal"):
        objects.fetch("x", good.name)


def test_copies_stay_within_their_limit(tmp_path):
    cache = Cache(tmp_path / "cache", 250)
    kept = []
    for number in range(5):
        with cache.adding() as path:
            path.write_bytes(bytes([number]) * 100)
            kept.append(cache.keep(path))
    assert [path.exists() for path in kept] == [False, False, False, True, True]
    assert cache.find(kept[4].name) == kept[4]
    assert cache.find(kept[0].name) is None
    assert cache.find("") is None


@pytest.mark.parametrize("address", ["s3://", "s3://user:password@host/x", "s3://a b", "gs://x/?y"])
def test_an_address_that_is_none_is_refused(address, tmp_path):
    with pytest.raises(ConfigurationError, match="archive_store is"):
        CloudObjects(address, tmp_path, 1)
