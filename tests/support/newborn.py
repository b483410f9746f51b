"""A supervisor that starts processes from a nursery, and what each of them says of itself: `python -m tests.support.newborn COUNT`.

A process of its own, as a nursery is forked from one that has no thread and no loop. One line of JSON for each process; the last are
those after the nursery was killed, and none for one that was not wanted any more.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pipeline import metrics
from pipeline.ids import new_id
from workers.children import Deaths, Process
from workers.starting import Starter

SAYS = "says"
LOOKED_FOR = {"workers.scanner", "workers.janitor", "cryptography.hazmat", "duckdb", "pipeline.sources.ldap"}


def say(words: Sequence[str]) -> int:
    """The command that is run. It ends with 7."""
    files = {name: name.readlink() for name in Path("/proc/self/fd").iterdir() if name.is_symlink()}
    said = {
        "words": words,
        "ids": [new_id(1, 0) for _ in range(20)],
        "chance": [random.random(), secrets.token_hex(8)],
        "files": sorted(str(path) for name, path in files.items() if int(name.name) > 2 and "/proc/" not in str(path)),
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "environ": dict(os.environ),
        "shown": Path("/proc/self/cmdline").read_text().split("\0"),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "parent": os.getppid(),
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "loaded": sorted(LOOKED_FOR & set(sys.modules)),
        "counted": sum(metrics.RESTARTS.values.values()),
    }
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    return 7


async def supervise(starter: Starter, count: int) -> None:
    metrics.RESTARTS.add("here")
    known: list[Process] = []
    deaths = Deaths(lambda: [*known, *starter.processes])

    async def one(number: str, *, wanted: bool = True) -> None:
        process = await starter.start([SAYS, number], {"NUMBER": number}, lambda: wanted)
        assert (process is not None) is wanted
        if process is not None:
            known.append(process)
            assert await deaths.of(process) == 7

    await asyncio.gather(*(one(str(number)) for number in range(count)), one("unwanted", wanted=False))
    (nursery,) = starter.processes
    nursery.send_signal(signal.SIGKILL)
    await deaths.of(nursery)
    starter.renew()
    deaths.close()
    starter.close()


if __name__ == "__main__":
    asyncio.run(supervise(Starter(say), int(sys.argv[1])))
