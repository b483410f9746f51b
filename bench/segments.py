"""What a body in motion costs in Redis and in a segment: `python -m bench.segments --help`.

A body is written once and read twice, as by a receiver, a scanner and a deliverer, on a Redis server of its own that puts each call on disk
(`appendfsync always`). What counts is the processor time of this process and of the server, for each body; a segment's pointer goes through
Redis in the same way as a body. Of both, what comes at the same time goes together.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import psutil
import uvloop

from bench.report import machine
from pipeline import keys
from pipeline.bodies import Bodies, LocalCold
from pipeline.bodies.segments import Writer
from pipeline.configuration import load
from pipeline.ids import new_id
from pipeline.store import Client, Script, open_client
from workers.embedded import EmbeddedRedis

KIB: Final = (4, 16, 32, 64, 100, 256)
TOGETHER: Final = (1, 8)
US: Final = 1e6
PUT: Final = Script("for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i]) end", "put")


class Side:
    """One way of keeping bodies. `writer`: segments; None: Redis."""

    def __init__(self, redis: Client, bodies: Bodies, writer: Writer | None) -> None:
        self._redis = redis
        self._bodies = bodies
        self._writer = writer

    async def turn(self, message_ids: Sequence[str], body: bytes) -> None:
        """Write bodies that came at the same time, and read each twice."""
        async with contextlib.AsyncExitStack() as stack:
            values: Sequence[bytes] = [body] * len(message_ids)
            if self._writer is not None:
                kept = [self._writer.kept([one], [body], len(body)) for one in message_ids]
                values = await asyncio.gather(*(stack.enter_async_context(one) for one in kept))
            names = [keys.body(0, one) for one in message_ids]
            await PUT(self._redis, names, values)
        for _ in range(2):
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.get(name)
            for message_id, found in zip(message_ids, await pipe.execute(), strict=True):
                assert len(await self._bodies.of(message_id, found)) == len(body)


@contextlib.asynccontextmanager
async def sides(directory: Path) -> AsyncIterator[tuple[dict[str, Side], psutil.Process]]:
    """Both, and their server."""
    for name in ("drafts", "segments"):
        (directory / name).mkdir()
    server = EmbeddedRedis(load(None, {}, {"data": directory}))
    await server.start()
    assert server.process is not None
    redis, segments = open_client(server.url), directory / "segments"
    writer = Writer(segments)
    try:
        cold = LocalCold(directory / "bodies", directory / "drafts")
        bodies = Bodies(redis, cold, directory / "drafts", segments=segments)
        yield (
            {"Redis": Side(redis, bodies, None), "segments": Side(redis, bodies, writer)},
            psutil.Process(server.process.pid),
        )
    finally:
        writer.retire()
        await redis.aclose()
        await server.stop()


def spent(server: psutil.Process) -> float:
    times = server.cpu_times()
    return time.process_time() + float(times.user + times.system)


async def compare(directory: Path, count: int) -> dict[tuple[int, int], dict[str, float]]:
    """(KiB, how many together) -> us of processor time for each body, by side."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    async with sides(directory) as (both, server):
        for kib in KIB:
            body = os.urandom(kib << 10)
            for together in TOGETHER:
                used = dict.fromkeys(both, 0.0)
                for turn in range(0, count, together):
                    names = [new_id(turn, 0) for _ in range(together)]
                    for name, side in both.items():
                        before = spent(server)
                        await side.turn(names, body)
                        used[name] += spent(server) - before
                found[kib, together] = {name: cpu * US / count for name, cpu in used.items()}
    return found


def table(found: dict[tuple[int, int], dict[str, float]]) -> str:
    lines = ["  KiB  together   us in Redis   in segments   ratio"]
    for (kib, together), used in found.items():
        redis, segments = used["Redis"], used["segments"]
        lines.append(f"{kib:5}  {together:8}  {redis:12,.0f}  {segments:12,.0f}  {segments / max(redis, 1):6.2f}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.segments", description="Bodies in Redis and in segments.")
    parser.add_argument("--count", type=int, default=800, help="bodies of each size; default 800")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on a disk, not a tmpfs")
    given = parser.parse_args()
    print("\n".join(f"{key}: {value}" for key, value in machine(given.directory).items()), end="\n\n")
    with tempfile.TemporaryDirectory(prefix="gpb-", dir=given.directory) as directory:
        print(table(uvloop.run(compare(Path(directory), given.count))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
