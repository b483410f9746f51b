"""Cutting the index views within the hour in which a log begins.

Where Redis is short of room the log is trimmed by minutes, and its running hour may be larger than all of Redis. What the index views say
of the time before the log's beginning is of no use to anybody (whoever reads them passes over it), so it goes too: not in the step that
trims the log, as there may be thousands of keys, but soon after it, some at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from pipeline import keys
from pipeline.store import Client, Script, faults
from projections import outbound, trace
from projections.builds import builds_key
from projections.positions import Layout, hour_of, key, packed

LAYOUTS: Final[Mapping[str, Layout]] = {trace.NAME: trace.LAYOUT, outbound.NAME: outbound.LAYOUT}
AT_ONCE: Final = 64
"""Keys in one call, at most: some hundred octets are read of each to see what is to be cut off, and it is copied when that is a quarter."""
SCANNED: Final = 1000
_SOURCE: Final = files("projections").joinpath("cut.lua").read_text("utf-8")
_cut = Script("#!lua flags=allow-oom\n" + _SOURCE, "cut")


async def cut(redis: Client, partition: int, begin: int) -> int:
    """Cut off what a partition's index views, live or growing, hold of the hour before `begin` (ms); how many octets."""
    done = 0
    with faults():
        stored: Any = await redis.hgetall(builds_key(partition))
    for field, build in stored.items():
        role, _, name = field.decode("utf-8", "replace").partition(":")
        number = build.partition(b" ")[0]
        if role in ("live", "next") and name in LAYOUTS and number.isdigit():
            done += await _cut_build(redis, keys.view(partition, name, int(number)), LAYOUTS[name], begin)
    return done


async def _cut_build(redis: Client, prefix: str, layout: Layout, begin: int) -> int:
    place = int.from_bytes(packed(begin, 0), "big")
    done = cursor = 0
    names: set[bytes] = set()
    while True:
        with faults():
            page: Any = await redis.sscan(prefix + "keys", cursor, match=key(hour_of(begin), "*"), count=SCANNED)
        cursor = page[0]
        names.update(page[1])
        if not cursor:
            break
    ordered = sorted(names)
    while ordered:
        with faults():
            gone, looked = await _cut(redis, [prefix + "keys"], [prefix, *layout, place, *ordered[:AT_ONCE]])
        done += gone
        ordered = ordered[looked:]
    return done
