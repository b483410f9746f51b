"""A crash between any two steps loses nothing and doubles nothing; two archivers at once do no harm."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import keys
from pipeline.archive import objects, writing
from pipeline.archive.objects import LocalObjects
from pipeline.archive.verify import verify
from pipeline.archive.writing import Writer
from pipeline.faults import CorruptError, LeaseLostError, StoreAwayError, StoreFullError
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
    # What came second is gone, as the chain does not go through it.
    assert found.faults == ()
    assert len(ground.files()) == 3 * found.segments
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


async def dying_before_the_chain(ground, monkeypatch, now=DAY + DAY_MS):
    """An archiver dies between a seal and the chain's end."""

    async def dies(*args):
        raise Dies

    with monkeypatch.context() as patched, pytest.raises(Dies):
        patched.setattr(Writer, "_append", dies)
        await ground.seal(now)


async def test_a_seal_without_its_files_is_written_again_as_the_log_has_all_of_it(ground, monkeypatch):
    await ground.append(*range(DAY, DAY + 40))
    await dying_before_the_chain(ground, monkeypatch)
    (path,) = ground.files(".parquet")
    path.unlink()
    assert len(await ground.seal(DAY + DAY_MS)) == 1
    assert await whole(ground, await ground.whole()) == 1


async def test_what_another_archiver_left_is_taken_on_by_one_that_was_there_before(ground, monkeypatch):
    await ground.append(*range(DAY, DAY + 40))
    assert await ground.seal(DAY) == []
    other = Ground(ground.redis, ground.root)
    await ground.writer.release()
    await dying_before_the_chain(other, monkeypatch)
    await other.writer.release()
    await ground.append(*range(DAY + 40, DAY + 50))
    assert await ground.writer.hold()
    assert (await ground.writer.next(DAY + DAY_MS)).count == 10
    assert await whole(ground, await ground.whole()) == 2
    await other.close()


async def test_nothing_is_written_where_the_newest_segment_is_not(ground):
    await ground.append(*range(DAY, DAY + 40))
    await ground.seal(DAY + DAY_MS)
    await ground.append(DAY + DAY_MS)
    elsewhere = ground.root.with_name("elsewhere")
    ground.root.rename(elsewhere)
    for _ in range(2):
        with pytest.raises(CorruptError, match="without its newest segment, number 1") as caught:
            await ground.writer.next(DAY + 2 * DAY_MS)
        assert "mounted" in caught.value.remedy
        with pytest.raises(CorruptError, match="without its newest segment"):
            await ground.seal(DAY + 2 * DAY_MS)
    assert ground.files() == []
    elsewhere.rename(ground.root)
    assert len(await ground.seal(DAY + 2 * DAY_MS)) == 1
    assert await whole(ground, await ground.whole()) == 2


async def test_a_full_disk_is_said_and_nothing_is_left_on_it(ground, monkeypatch):
    await ground.append(*range(DAY, DAY + 3000))

    def full(where, ending):
        path = objects.temporary(where, ending)
        if ending == ".csv":
            path.unlink()
            path.symlink_to("/dev/full")
        return path

    with monkeypatch.context() as patched:
        patched.setattr(writing, "temporary", full)
        with pytest.raises(StoreFullError, match="no space"):
            await ground.seal(DAY + DAY_MS)
    assert [path for path in ground.root.rglob("*") if path.is_symlink() or path.is_file()] == []
    assert len(await ground.seal(DAY + DAY_MS)) == 1


async def test_a_file_that_somebody_else_was_done_with_is_no_trouble(ground):
    where = ground.archive.objects
    (where.work / "gone").symlink_to("nowhere")
    objects.tidy(where, 2**40)


async def test_what_another_gateway_has_in_the_same_place_is_neither_taken_for_ours_nor_removed(ground, tmp_path):
    await ground.append(*range(DAY, DAY + 40))
    await ground.seal(DAY + DAY_MS)
    ours = {path.name: path.read_bytes() for path in ground.files()}
    theirs = tmp_path / "theirs"
    ground.root.rename(tmp_path / "ours")
    await ground.redis.rename(keys.archive(P), "kept")
    await ground.redis.rename(keys.log(P), "kept log")
    await ground.append(*range(DAY + 7, DAY + 47))
    other = Ground(ground.redis, theirs)
    await ground.writer.release()
    await other.seal(DAY + DAY_MS)
    await other.writer.release()
    await other.close()
    await ground.redis.rename("kept", keys.archive(P))
    await ground.redis.rename("kept log", keys.log(P))
    theirs.rename(ground.root)
    with pytest.raises(CorruptError, match="without its newest segment"):
        await ground.seal(DAY + DAY_MS)
    for name, data in ours.items():
        (ground.root / "2024-10-04/p0" / name).write_bytes(data)
    assert await ground.seal(DAY + DAY_MS) == []
    assert len(ground.files()) == 6
