"""Which set of keys is a view's live one, and how another takes its place.

A view is kept in numbered builds. Readers and the projector use the live one; a changed version, or a rebuild that is to
replace a damaged view, grows beside it and is switched to in one step. Dead builds are written down before they die, so one
that a crash left behind is dropped by whoever comes next. Key:

    gp:{p}:view:builds   hash   count: numbers given so far; live:<name>, next:<name>: "<build> <version>" of the live build and
                                of one that grows to replace it; drop:<name>:<build>: from when (ms) it may be dropped
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container, Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from pipeline import keys
from pipeline.store import Client, Script, faults
from projections.base import Projection, View

ALIVE_MS: Final = 15 * 60_000
"""How long after the last sign of life of who makes it (see `keep`) a temporary build counts as left behind by a crash."""
LINGER_MS: Final = 60_000
"""How long a build that was replaced stays: who had just looked which one is live goes on reading it, and must not find it empty."""
_CHUNK: Final = 500
_VALUE: Final = re.compile(rb"[0-9]+ .*", re.DOTALL)

_switch = Script(files("projections").joinpath("switch.lua").read_text("utf-8"), "switch")


def builds_key(partition: int) -> str:
    return f"gp:{{{partition}}}:view:builds"


def _value(view: View) -> str:
    return f"{view.build} {view.projection.version}"


async def live(redis: Client, partition: int, projection: Projection) -> tuple[View, str] | None:
    """The live build, and its version, which may not be the projection's own; None when there is no view yet."""
    with faults():
        stored: Any = await redis.hget(builds_key(partition), f"live:{projection.name}")
    return _parsed(partition, projection, stored) if stored else None


class Source:
    """A Redis for readers that are to look at other builds than the live ones, such as one that shows a view as it once was.

    To be given to any reader in place of the client, whose every call it has.
    """

    def __init__(self, redis: Client, prefixes: Mapping[str, Mapping[int, str]]) -> None:
        """`prefixes`: view -> partition -> where the keys of the build are. Of other views there are none."""
        self._redis = redis
        self._prefixes = prefixes

    def prefixes(self, partitions: Iterable[int], name: str) -> dict[int, str]:
        places = self._prefixes.get(name, {})
        return {partition: places[partition] for partition in partitions if partition in places}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)


async def live_prefixes(redis: Client, partitions: Iterable[int], name: str) -> dict[int, str]:
    """For each partition that has the view, where the keys of its live build are, or of the one that a `Source` names."""
    if isinstance(redis, Source):
        return redis.prefixes(partitions, name)
    wanted = list(partitions)
    with faults():
        pipe = redis.pipeline(transaction=False)
        for partition in wanted:
            pipe.hget(builds_key(partition), f"live:{name}")
        answers: Any = await pipe.execute()
    return {
        partition: keys.view(partition, name, int(stored.partition(b" ")[0]))
        for partition, stored in zip(wanted, answers, strict=True)
        if stored
    }


def _parsed(partition: int, projection: Projection, stored: bytes) -> tuple[View, str]:
    build, _, version = stored.decode().partition(" ")
    return View(partition, projection, int(build)), version


async def to_fold(redis: Client, partition: int, projection: Projection) -> tuple[View, bool]:
    """The build that a projector has to fold into, made if there is none; and whether it is the live one."""
    names = [f"live:{projection.name}", f"next:{projection.name}"]
    with faults():
        fields: Any = await redis.hmget(builds_key(partition), names)
    for name, stored in zip(names, fields, strict=True):
        if stored is not None and _VALUE.fullmatch(stored) is None:  # nobody can tell which build that was
            with faults():
                await redis.hdel(builds_key(partition), name)
        if stored is None or _VALUE.fullmatch(stored) is None:
            return await _fresh(redis, partition, projection, name), name == names[0]
        view, version = _parsed(partition, projection, stored)
        if version == projection.version:
            if name == names[0] and fields[1] is not None:
                # What grows is of a program that was taken back: nobody brings it forward, and the log would wait for it for ever.
                await _forget(redis, partition, {names[1]: fields[1]}, 0)
            return view, name == names[0]
    # What grows is of yet another version, of a program that was replaced in turn.
    await _forget(redis, partition, {names[1]: fields[1]}, 0)
    return await _fresh(redis, partition, projection, names[1]), False


async def _forget(redis: Client, partition: int, dead: Mapping[str, bytes], drop_from: int) -> None:
    """Nobody uses these builds any more. `drop_from`: ms."""
    with faults():
        pipe = redis.pipeline(transaction=True)
        for field, stored in dead.items():
            build = stored.decode("utf-8", "replace").partition(" ")[0]
            if build.isdecimal():
                pipe.hset(builds_key(partition), f"drop:{field.partition(':')[2]}:{build}", str(drop_from))
            pipe.hdel(builds_key(partition), field)
        await pipe.execute()


async def _fresh(redis: Client, partition: int, projection: Projection, name: str) -> View:
    fresh = await _new(redis, partition, projection)
    with faults():
        await redis.hsetnx(builds_key(partition), name, _value(fresh))
        stored: Any = await redis.hget(builds_key(partition), name)
    return _parsed(partition, projection, stored)[0]


async def _new(redis: Client, partition: int, projection: Projection) -> View:
    with faults():
        return View(partition, projection, int(await redis.hincrby(builds_key(partition), "count", 1)))


async def temporary(redis: Client, partition: int, projection: Projection, now: int) -> View:
    """A build for a comparison, nobody's live one; drop it afterwards. `now`: ns."""
    view = await _new(redis, partition, projection)
    await keep(redis, view, now)
    return view


async def keep(redis: Client, view: View, now: int) -> None:
    """A temporary build is still worked on. `now`: ns."""
    with faults():
        await redis.hset(builds_key(view.partition), _drop_field(view), str(now // 1_000_000 + ALIVE_MS))


async def switch(redis: Client, old: View, new: View, *, old_version: str, caught_up: bool, now: int) -> bool:
    """Make `new` the live build and `old` a dead one; False when `old` is not live any more. `now`: ns.

    `caught_up`: only if both stand at the same entry of the log, False when they do not.
    """
    with faults():
        done = await _switch(
            redis,
            [builds_key(old.partition)],
            [
                old.projection.name, f"{old.build} {old_version}", _value(new), old.prefix, new.prefix,
                _drop_field(old), _drop_field(new), "1" if caught_up else "0",
                now // 1_000_000 + LINGER_MS,
            ],
        )  # fmt: skip
    return bool(done)


def _drop_field(view: View) -> str:
    return f"drop:{view.projection.name}:{view.build}"


async def drop(redis: Client, view: View) -> None:
    """Remove all keys of a build."""
    await _drop_keys(redis, view.prefix)
    with faults():
        await redis.hdel(builds_key(view.partition), _drop_field(view))


async def drop_surely(redis: Client, views: Iterable[View]) -> None:
    """As `drop` of each, also when whoever waits for it is told to end meanwhile, once or again and again."""
    dropping = asyncio.gather(*(drop(redis, view) for view in views))
    told = False
    while not dropping.done():
        try:
            await asyncio.shield(dropping)
        except asyncio.CancelledError:
            told = True
    dropping.result()
    if told:
        raise asyncio.CancelledError


async def drop_dead(redis: Client, partition: int, now: int, views: Container[str] | None = None) -> int:
    """Remove builds that were replaced, or left behind by a crash; how many. `now`: ns.

    `views`: all that there are. Builds of others are of another program: they go too, as the log is never trimmed before a view has
    seen it, and nobody brings these forward.
    """
    with faults():
        stored: Any = await redis.hgetall(builds_key(partition))
    if views is not None:
        fields = {field.decode("utf-8", "replace"): value for field, value in stored.items()}
        dead = {
            field: value
            for field, value in fields.items()
            if field.startswith(("live:", "next:")) and field.partition(":")[2] not in views
        }
        if dead:
            await _forget(redis, partition, dead, now // 1_000_000 + LINGER_MS)
    over = [field for field, after in stored.items() if field.startswith(b"drop:") and int(after) <= now // 1_000_000]
    for field in over:
        name, _, build = field.decode().removeprefix("drop:").rpartition(":")
        await _drop_keys(redis, keys.view(partition, name, int(build)))
        with faults():
            await redis.hdel(builds_key(partition), field.decode())
    return len(over)


async def _drop_keys(redis: Client, prefix: str) -> None:
    with faults():
        while True:
            names: Any = await redis.srandmember(prefix + "keys", _CHUNK)
            if not names:
                break
            await redis.unlink(*(prefix + name.decode() for name in names))
            await redis.srem(prefix + "keys", *names)
        await redis.unlink(prefix + "checkpoint", prefix + "keys")
