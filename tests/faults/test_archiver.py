"""kill -9 of the archiver at random points while events are appended: every entry is read exactly once afterwards.

`GATEPOST_TEST_KILLS` sets how often.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from pipeline import keys
from pipeline.archive.verify import verify
from pipeline.places import HOUR_MS
from pipeline.store import Store
from tests.support import archiver_process
from tests.support.archives import DAY, Ground, P
from tests.support.servers import ROOT
from workers.archiver import Archiver
from workers.wiring import Wiring

KILLS = int(os.environ.get("GATEPOST_TEST_KILLS", "12"))


@pytest.mark.timeout(600)
async def test_every_entry_is_read_once_however_often_the_archiver_is_killed(redis_server, tmp_path):
    chance = random.Random(20261130)
    store = await Store.connect(redis_server.url, 1)
    ground = Ground(store.redis, tmp_path / "archive")
    now, appended, rounds = DAY, [], 0
    for _ in range(KILLS):
        archiver = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [sys.executable, "-m", "tests.support.archiver_process", redis_server.url, str(tmp_path)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert archiver.stdout is not None
        # Half of them live to see a round end, the others die somewhere in the first.
        if chance.random() < 0.5:
            rounds += bool(archiver.stdout.readline())
        for _ in range(chance.randrange(1, 30)):
            times = sorted(now + chance.randrange(3 * HOUR_MS) for _ in range(50))
            now = times[-1]
            appended += await ground.append(*times)
            await ground.see(appended[-1])
        archiver.kill()
        archiver.wait()
        archiver.stdout.close()
        # Nobody writes for a minute then: that is over.
        await store.redis.delete(keys.archive_lease(P))
    wiring = Wiring(archiver_process.settings(redis_server.url, str(tmp_path)), store)
    assert wiring.archive is not None
    await Archiver(wiring, wiring.archive).round()
    assert [one.entry for one in await ground.read()] == appended
    (found,) = await verify(ground.fresh(), [P])
    assert found.faults == ()
    assert rounds
    assert len(await ground.whole()) < len(appended) / 2, "the log was trimmed"
    await ground.close()
    await wiring.close()
