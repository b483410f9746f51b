"""A crash between any two steps loses nothing and doubles nothing; two archivers at once do no harm."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import keys
from pipeline.archive.objects import LocalObjects
from pipeline.archive.verify import verify
from pipeline.archive.writing import Writer
from pipeline.faults import CorruptError, LeaseLostError, StoreAwayError
from pipeline.places import DAY_MS
from tests.support.archives import DAY, Ground, P


class Dies(Exception):
    pass


class Dying(LocalObjects):
    """Dies before, or after, the nth time that something is put there."""

    def __init__(self, root, number, *, before):
        super().__init__(root)
        self.number, self.before = number, before

    def put(self, name, source):
        self.number -= 1
        if self.number == 0 and self.before:
            raise Dies
        super().put(name, source)
        if self.number == 0:
            raise Dies


async def whole(ground, before):
    """Everything once, and nothing wrong."""
    assert await ground.read(13) == before
    (found,) = await verify(ground.fresh(), [P])
    assert found.faults == ()
    names = [path.name for path in ground.files()]
    assert len(names) == 3 * found.segments, names
    return found.segments


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
async def test_an_archiver_that_dies_while_it_writes_files_is_followed_by_one_that_finishes(ground, number, before):
    ground.writer._size = 20
    await ground.append(*range(DAY, DAY + 40))
    entries = await ground.whole()
    dying = Ground(ground.redis, ground.root, size=20, objects=Dying(ground.root, number, before=before))
    with pytest.raises(Dies):
        await dying.seal(DAY + DAY_MS)
    await dying.writer.release()
    await dying.close()
    assert await ground.read() == entries
    # Meanwhile the log has grown: the segment that comes now is not the one that was half written.
    await ground.append(*range(DAY + 40, DAY + 50))
    entries = await ground.whole()
    await ground.seal(DAY + DAY_MS)
    await ground.see(entries[-1].entry)
    assert await whole(ground, entries) == 3


async def test_a_seal_that_redis_was_not_told_of_is_taken_on(ground, monkeypatch):
    await ground.append(*range(DAY, DAY + 40))

    async def dies(*args):
        raise Dies

    with monkeypatch.context() as patched, pytest.raises(Dies):
        patched.setattr(Writer, "_append", dies)
        await ground.seal(DAY + DAY_MS)
    files = ground.files()
    assert await ground.archive.last(P) == "0"
    assert await ground.seal(DAY) == []
    assert await ground.archive.last(P) == f"{DAY + 39}-0"
    assert ground.files() == files


async def test_a_seal_that_the_log_does_not_bear_out_is_refused(ground):
    await ground.append(*range(DAY, DAY + 40))
    await ground.seal(DAY + DAY_MS)
    await ground.redis.flushall()
    await ground.append(*range(DAY, DAY + 39))
    with pytest.raises(CorruptError, match="not what comes next"):
        await ground.seal(DAY + DAY_MS)
    assert len(ground.files()) == 3


async def test_who_lost_the_lease_does_not_move_the_chain(ground):
    await ground.append(*range(DAY, DAY + 40))
    other = Ground(ground.redis, ground.root)
    assert await ground.writer.hold()
    assert not await other.writer.hold()
    await ground.redis.delete(keys.archive_lease(P))
    assert await other.writer.hold()
    with pytest.raises(LeaseLostError):
        await ground.writer.next(DAY + DAY_MS)
    assert await ground.archive.last(P) == "0"
    await other.writer.settle()
    assert await other.archive.last(P) == f"{DAY + 39}-0"
    assert await other.writer.next(DAY + DAY_MS) is None
    assert await whole(ground, await ground.whole()) == 1
    await other.close()


async def test_two_archivers_that_both_believe_to_hold_the_lease_seal_everything_once(ground):
    await ground.append(*range(DAY, DAY + 400))
    entries = await ground.whole()
    others = [Ground(ground.redis, ground.root, size=30 + number) for number in range(3)]

    async def work(other):
        for _ in range(40):
            await ground.redis.set(keys.archive_lease(P), other.writer._token)
            try:
                if await other.writer.next(DAY + DAY_MS) is None:
                    return
            except LeaseLostError:
                pass

    await asyncio.gather(*(work(other) for other in others))
    await ground.redis.delete(keys.archive_lease(P))
    await ground.seal(DAY + DAY_MS)
    assert await ground.read(37) == entries
    (found,) = await verify(ground.fresh(), [P])
    # What came second lies there, and the chain does not go through it.
    assert [fault for fault in found.faults if "second segment" not in fault.what] == []
    assert found.entries == 400
    for other in others:
        await other.close()


async def test_a_segment_that_does_not_read_back_is_not_sealed(ground):
    class Forgetful(LocalObjects):
        def put(self, name, source):
            if name.endswith(".parquet"):
                source.write_bytes(source.read_bytes()[:-100])
            super().put(name, source)

    await ground.append(*range(DAY, DAY + 40))
    other = Ground(ground.redis, ground.root, objects=Forgetful(ground.root))
    with pytest.raises(CorruptError, match="does not read back"):
        await other.seal(DAY + DAY_MS)
    await other.writer.release()
    await other.close()
    assert await ground.archive.last(P) == "0"
    await ground.seal(DAY + DAY_MS)
    await whole(ground, await ground.whole())


async def test_a_disk_that_fails_is_said_and_waited_for(ground):
    ground.root.mkdir()
    (ground.root / "2024-10-04").write_text("in the way")
    await ground.append(DAY)
    with pytest.raises(StoreAwayError, match="cannot be used"):
        await ground.seal(DAY + DAY_MS)
    (ground.root / "2024-10-04").unlink()
    assert len(await ground.seal(DAY + DAY_MS)) == 1
