"""Whoever may write to the object store can take the archive away, but not lead anybody who reads it anywhere else."""

from __future__ import annotations

import os

import msgspec
import pytest

from pipeline import keys
from pipeline.archive.objects import SMALL, LocalObjects
from pipeline.archive.seal import DAY_MS, Seal, read, sealed, written
from pipeline.archive.verify import verify
from pipeline.faults import CorruptError
from pipeline.terms import SUBJECT, term
from tests.support.archives import DAY, Ground, P

SEAL = Seal(
    partition=0, number=1, date="2026-11-20", first="1-0", last="2-0", count=2, octets=100, sha256="0" * 64,
    index="1" * 64, contents="2" * 64, previous="",
)  # fmt: skip
FOREIGN = ("notes.json", "x", "²²²²²²²².json", "0000000.json", "..json", "\x1b[31m.json")


async def test_files_that_somebody_else_put_there_are_in_nobodys_way(ground: Ground):
    await ground.append(*range(DAY, DAY + 30))
    entries = await ground.whole()
    await ground.seal(DAY + DAY_MS)
    folder = ground.files(".parquet")[0].parent
    for name in FOREIGN:
        (folder / name).write_bytes(b"{}")
    assert await ground.read() == entries
    await ground.append(*range(DAY + DAY_MS, DAY + DAY_MS + 5))
    assert len(await ground.seal(DAY + 2 * DAY_MS)) == 1
    assert await ground.read() == await ground.whole()
    found = (await verify(ground.fresh(), [P]))[0].faults
    assert {fault.where.rpartition("/")[2] for fault in found} == {name for name in FOREIGN if name.endswith(".json")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("date", "../../../etc"), ("date", "2026-11-20\n"), ("sha256", "../" * 21 + "x"), ("first", "now"), ("last", "9" * 99),
        ("number", 0), ("number", 10**8), ("count", -1), ("partition", -2), ("octets", 1 << 63),
    ],
)  # fmt: skip
def test_a_seal_that_says_what_none_can_say_is_none_though_its_hash_is_right(name, value):
    assert read(written(sealed(SEAL)), Seal, "x").number == 1
    with pytest.raises(CorruptError, match="is not a seal"):
        read(written(sealed(msgspec.structs.replace(SEAL, **{name: value}))), Seal, "x")


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b'{"partition":' + b"[" * 100_000, b"\xff", b'{"date":"\xff"}'])
def test_what_is_no_json_is_no_seal(data):
    with pytest.raises(CorruptError, match="is not a seal"):
        read(data, Seal, "x")


async def test_an_archiver_takes_on_no_seal_that_speaks_of_another_file(ground: Ground):
    await ground.append(*range(DAY, DAY + 5))
    await ground.seal(DAY + DAY_MS)
    await ground.redis.delete(keys.archive(P))
    (path,) = ground.files(".json")
    other = path.with_name("00000001-ffffffff.json")
    path.rename(other)
    with pytest.raises(CorruptError, match="is the seal of another segment"):
        await ground.writer.settle()
    assert await ground.archive.last(P) == "0"


async def test_a_seal_that_is_huge_is_not_read_into_memory(ground: Ground):
    await ground.append(*range(DAY, DAY + 5))
    await ground.seal(DAY + DAY_MS)
    (path,) = ground.files(".json")
    path.write_bytes(path.read_bytes() + b" " * SMALL)
    with pytest.raises(CorruptError, match="larger than it can be"):
        await ground.fresh().read(P, "0", 10)
    (verified,) = await verify(ground.fresh(), [P])
    assert "larger than it can be" in verified.faults[0].what


async def test_a_place_whose_name_has_a_meaning_for_duckdb_is_a_place_like_any_other(ground: Ground, tmp_path):
    odd = Ground(ground.redis, tmp_path / "domain=x" / "[ab]*?")
    await odd.append(*range(DAY, DAY + 9))
    entries = await odd.whole()
    await odd.seal(DAY + DAY_MS)
    assert await odd.archive.read(P, "0", 100) == entries
    wanted = [one for one in entries if one.subject == entries[0].subject]
    assert [one async for one in odd.archive.find(P, term(SUBJECT, entries[0].subject), 0, 1 << 60)] == wanted[::-1]
    assert (await verify(odd.fresh(), [P]))[0].faults == ()
    await odd.close()


async def test_nobody_else_on_the_machine_can_read_a_segment(ground: Ground):
    await ground.append(*range(DAY, DAY + 5))
    await ground.seal(DAY + DAY_MS)
    assert {path.suffix for path in ground.files()} == {".parquet", ".terms", ".json"}
    for path in ground.files():
        assert not path.stat().st_mode & 0o077, path


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert [LocalObjects(tmp_path).get(name) for name in ("pipe", "folder", "nothing", "folder/x")] == [None] * 4
