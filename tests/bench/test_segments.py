"""The benchmark of bodies in motion measures both places for each size."""

from __future__ import annotations

from bench.segments import KIB, TOGETHER, compare, table


async def test_both_places_are_measured_for_each_size(tmp_path):
    found = await compare(tmp_path, 8)
    assert list(found) == [(kib, together) for kib in KIB for together in TOGETHER]
    assert all(set(used) == {"Redis", "segments"} for used in found.values())
    assert len(table(found).splitlines()) == 1 + len(found)
