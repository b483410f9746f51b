"""Replacing workers, when one of them does not end and when one wants to begin anew; and what a look at the store has to come to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import ClassVar, cast

import pytest

from pipeline import metrics
from pipeline.faults import StoreError
from pipeline.settings import Settings
from workers import supervisor
from workers.children import Deaths, Process
from workers.examiner import LOOKED
from workers.notify import Notifications
from workers.renewal import RENEW
from workers.starting import Starter
from workers.supervisor import Supervisor, Worker

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


def test_a_replaced_worker_that_does_not_end_when_told_to_is_killed(monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT", 0.1)
    worker = Worker("scanner")
    worker.process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert worker.process.stdout
    with worker.process.stdout as says:
        says.readline()
    asyncio.run(Supervisor(Settings(), Settings, print)._retire(worker))
    assert worker.process.wait(10) == -9


class Scripted:
    """Starts one program after the other, whatever it is asked for."""

    processes: ClassVar[list[Process]] = []

    def __init__(self, *programs: str) -> None:
        self.left = list(programs)
        self.last: subprocess.Popen[bytes] | None = None

    async def start(self, words, environ, wanted, listener=None):
        program = self.left.pop(0)
        self.last = subprocess.Popen([sys.executable, "-S", "-c", program])  # noqa: ASYNC220 - returns at once
        return self.last


async def test_a_process_that_begins_anew_is_replaced_at_once_and_is_no_death():
    starter = Scripted(f"raise SystemExit({RENEW})", "import signal; signal.pause()")
    running = Supervisor(Settings(), Settings, print, cast("Starter", starter))
    running._deaths, running._notifications = Deaths(running._known), Notifications(running._hear)
    before = metrics.RESTARTS.values.copy()
    keeping = asyncio.create_task(running._keep(Worker("background")))
    try:
        async with asyncio.timeout(20):
            while starter.left:
                await asyncio.sleep(0.01)
        assert starter.last
        assert starter.last.poll() is None
        assert metrics.RESTARTS.values == before
    finally:
        running._stop.set()
        assert starter.last
        starter.last.kill()
        await keeping
        running._deaths.close()
        running._notifications.close()


@pytest.mark.parametrize(
    ("program", "found"),
    [
        (f"raise SystemExit({LOOKED})", 0),
        ("raise SystemExit(5)", 5),
        ("import os; os.kill(os.getpid(), 9)", "broken off .signal SIGKILL"),
        ("", "broken off .exit code 0"),
    ],
)
async def test_a_store_is_used_only_when_the_look_at_it_came_to_its_end(program, found):
    running = Supervisor(Settings(redis_url="redis://127.0.0.1:1"), Settings, print, cast("Starter", Scripted(program)))
    running._deaths, running._notifications = Deaths(running._known), Notifications(running._hear)
    try:
        async with asyncio.timeout(20):
            if isinstance(found, int):
                assert await running._start_store() == found
            else:
                with pytest.raises(StoreError, match=found):
                    await running._start_store()
    finally:
        running._deaths.close()
        running._notifications.close()
