"""Replacing workers when one of them does not end."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from pipeline.settings import Settings
from workers import supervisor
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
