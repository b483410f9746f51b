"""What a body costs on its way to and from where it waits: `./run bench bodies`, on this machine's disk and in an S3 server.

The server is moto's, in Python and on the same machine: its time is not that of a store, so only our own share says something.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop

from pipeline.bodies import Cold, Draft, LocalCold
from pipeline.bodies.cloud import CloudCold
from pipeline.ids import new_id
from tests.support.objectstore import s3_server

SIZES: Final = ((4 << 10, 200), (1 << 20, 20), (34 << 20, 5))
"""Octets, and how many bodies of that size."""


def anonymous() -> float:
    """MiB of this process's memory that is no file's."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


async def measured(work: Callable[[str], Awaitable[object]], names: list[str]) -> tuple[float, float, float]:
    """Median seconds and CPU seconds for each, and the most memory that was added meanwhile (MiB)."""
    gc.collect()
    before, most = anonymous(), 0.0
    took, cpu = [], []
    for name in names:
        began, used = time.monotonic(), time.process_time()
        waiting = asyncio.ensure_future(work(name))
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=0.01)
            most = max(most, anonymous() - before)
        result = waiting.result()
        took.append(time.monotonic() - began)
        cpu.append(time.process_time() - used)
        del result, waiting
    return statistics.median(took), statistics.median(cpu), most


async def run(cold: Cold, drafts: Path, place: str) -> None:
    for size, count in SIZES:
        names = [new_id(time.time_ns(), 3) for _ in range(count)]
        content = b"0123456789abcdef" * (min(size, 1 << 20) // 16)

        async def put(name: str, size: int = size, content: bytes = content) -> None:
            draft = Draft(drafts)
            for _ in range(size // len(content)):
                draft.write(content)
            if (hot := draft.hot) is not None:
                await cold.put_many([(name, hot)])
            else:
                await cold.keep(draft, [name])

        async def get(name: str) -> None:
            body = await cold.get(name)
            for start in range(0, len(body), 1 << 20):
                body[start : start + (1 << 20)]

        for verb, work in (("put", put), ("get", get)):
            seconds, cpu, most = await measured(work, names)
            print(
                f"{place:10} {size >> 10:>7} KiB {verb} {seconds * 1000:9.2f} ms {cpu * 1000:9.2f} CPU ms {most:7.1f} MiB"
            )
        await cold.drop_many(names)


async def ours() -> str:
    return "bench"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="gp-") as directory, s3_server() as server:
        server.use()
        drafts = Path(directory) / "drafts"
        drafts.mkdir()
        places: list[tuple[Cold, str]] = [
            (LocalCold(Path(directory) / "bodies", drafts), "directory"),
            (CloudCold("s3://bucket/bodies", drafts, ours, 60), "S3"),
        ]
        for cold, place in places:
            uvloop.run(run(cold, drafts, place))


if __name__ == "__main__":
    main()
