"""Whatever is done to the archive is found, and the first place is named."""

from __future__ import annotations

import shutil

import msgspec
import pytest

from pipeline import keys
from pipeline.archive.seal import Seal, sealed, written
from pipeline.archive.verify import Progress, verify
from pipeline.faults import CorruptError
from pipeline.places import DAY_MS
from tests.support.archives import DAY, P


@pytest.fixture
async def sealed_ground(ground):
    """Seven segments over three days, all of it out of Redis."""
    ground.writer._size = 20
    for day in range(3):
        await ground.append(*range(DAY + day * DAY_MS, DAY + day * DAY_MS + 45))
    await ground.append(DAY + 3 * DAY_MS)
    await ground.see(f"{DAY + 3 * DAY_MS}-0")
    await ground.seal(DAY + 3 * DAY_MS)
    await ground.trim(DAY + 3 * DAY_MS)
    return ground


async def faults(ground):
    (found,) = await verify(ground.fresh(), [P])
    return [f"{fault.where}: {fault.what}" for fault in found.faults]


async def test_an_archive_that_nobody_touched_is_whole(sealed_ground):
    told: list[Progress] = []
    (found,) = await verify(sealed_ground.archive, [P], told.append)
    assert (found.segments, found.entries, found.faults) == (9, 135, ())
    assert told[-1] == Progress(P, 9, 9)
    assert found.octets == sum(path.stat().st_size for path in sealed_ground.files(".parquet"))


@pytest.mark.parametrize("ending", [".parquet", ".terms", ".json"])
@pytest.mark.parametrize("number", [0, 4, 8])
async def test_a_file_with_one_changed_octet_is_found_and_named(sealed_ground, ending, number):
    path = sealed_ground.files(ending)[number]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = await faults(sealed_ground)
    assert str(path.relative_to(sealed_ground.root)).removesuffix(ending) in found[0]
    assert "changed" in found[0] or "not a seal" in found[0]
    if ending != ".terms":
        with pytest.raises(CorruptError, match=r"changed|not a seal"):
            await sealed_ground.read()


@pytest.mark.parametrize("ending", [".parquet", ".terms", ".json"])
@pytest.mark.parametrize("number", [0, 4, 8])
async def test_a_file_that_is_missing_is_found_and_named(sealed_ground, ending, number):
    path = sealed_ground.files(ending)[number]
    path.unlink()
    found = await faults(sealed_ground)
    stem = str(path.relative_to(sealed_ground.root)).removesuffix(ending)
    assert found[0].startswith(f"segment {number + 1}: is missing" if ending == ".json" else f"{stem}: ")
    if ending != ".terms":
        with pytest.raises(CorruptError, match="missing"):
            await sealed_ground.read()


@pytest.mark.parametrize("days", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
async def test_a_day_that_is_missing_is_found_by_verifying_and_by_reading(sealed_ground, days):
    for day in days:
        shutil.rmtree(sealed_ground.root / sorted(await sealed_ground.archive.chain.days())[day - days.index(day)])
    assert (await faults(sealed_ground))[0] == f"segment {days[0] * 3 + 1}: is missing"
    with pytest.raises(CorruptError, match="is missing"):
        await sealed_ground.read()
    with pytest.raises(CorruptError, match="is missing"):
        async for _ in sealed_ground.archive.find(P, 1, 0, 1 << 60):
            pass


async def test_segments_in_each_others_place_are_found(sealed_ground):
    first, second = sealed_ground.files(".parquet")[3:5]
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    found = await faults(sealed_ground)
    assert first.stem in found[0]
    assert second.stem in found[1]


async def test_seals_in_each_others_place_are_found(sealed_ground):
    first, second = sealed_ground.files(".json")[3:5]
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    assert f"{first.name}: is the seal of another segment" in (await faults(sealed_ground))[0]
    with pytest.raises(CorruptError, match="the seal of another segment"):
        await sealed_ground.read()


async def test_a_segment_that_is_there_twice_is_found(sealed_ground):
    path = sealed_ground.files(".json")[3]
    seal = msgspec.json.decode(path.read_bytes(), type=Seal)
    double = sealed(msgspec.structs.replace(seal, sha256="0" * 64))
    (path.parent / f"{double.stem.rpartition('/')[2]}.json").write_bytes(written(double))
    found = await faults(sealed_ground)
    assert found == [f"{double.stem}: is a second segment 4, and the chain does not go through it"]
    assert len(await sealed_ground.read()) == 136
    copied = path.with_name("00000005-00000000.json")
    shutil.copy(path, copied)
    assert f"{copied.name}: is the seal of another segment" in (await faults(sealed_ground))[0]


@pytest.mark.parametrize("number", [0, 4, 8])
async def test_a_segment_that_was_sealed_anew_breaks_the_chain(sealed_ground, number):
    """Whoever can compute hashes still cannot change what comes after, nor what Redis knows."""
    path = sealed_ground.files(".json")[number]
    seal = msgspec.json.decode(path.read_bytes(), type=Seal)
    path.write_bytes(written(sealed(msgspec.structs.replace(seal, count=seal.count + 1))))
    found = await faults(sealed_ground)
    assert f"{path.stem}: its entries are not those that were sealed" in found[0]
    assert any("does not follow" in one or "not the end of the chain" in one for one in found)


async def test_an_end_that_was_cut_off_is_found(sealed_ground):
    for path in sealed_ground.files()[-3:]:
        path.unlink()
    assert await faults(sealed_ground) == ["segment 9: is missing"]


async def test_a_seal_beyond_the_end_is_found(sealed_ground):
    path = sealed_ground.files(".json")[-1]
    seal = msgspec.json.decode(path.read_bytes(), type=Seal)
    more = sealed(msgspec.structs.replace(seal, number=10, previous=seal.seal))
    (path.parent / f"{more.stem.rpartition('/')[2]}.json").write_bytes(written(more))
    await sealed_ground.writer.release()
    assert await faults(sealed_ground) == [f"{more.stem}: is beyond the end of the chain that Redis knows"]


async def test_an_archive_that_differs_from_the_log_is_found(ground):
    """The last word has the log, as long as it is there."""
    await ground.append(*range(DAY, DAY + 10))
    await ground.seal(DAY + DAY_MS)
    await ground.redis.xdel(keys.log(P), f"{DAY + 5}-0")
    (found,) = await verify(ground.archive, [P])
    assert [fault.what for fault in found.faults] == ["does not hold what the log has in its place"]
