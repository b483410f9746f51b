"""An archiver that does one round after another, to be killed: `python -m tests.support.archiver_process URL DATA`."""

from __future__ import annotations

import asyncio
import sys

from pipeline.configuration import load
from pipeline.settings import Settings
from workers.archiver import Archiver
from workers.wiring import Wiring


def settings(url: str, data: str) -> Settings:
    values = {"redis_url": url, "data": data, "partitions": 1, "hot_period": "1h", "archive_retention": "0"}
    return load(None, {}, values)


async def main(url: str, data: str) -> None:
    wiring = await Wiring.connect(settings(url, data))
    assert wiring.archive is not None
    while True:
        done = await Archiver(wiring, wiring.archive).round()
        print(done, flush=True)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
