"""More mail than the gateway can take: it slows its senders down, then says 452, keeps within its memory, and is soon as quick as before.

`GATEPOST_TEST_OVERLOAD_SECONDS` sets how long: the full run is 600. Its history is several times what Redis has room for, and leaves it meanwhile.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time

import psutil
import pytest

from pipeline import keys
from tests.faults import accounts
from tests.faults.accounts import Senders, wait_settled
from tests.support.customer import customer
from tests.support.gateway import ANNA, gateway
from tests.support.servers import wait_until

SECONDS = float(os.environ.get("GATEPOST_TEST_OVERLOAD_SECONDS", "3"))
PARTITIONS = 8
SOURCES = 24 if SECONDS < 30 else 60
MARK = 25 if SECONDS < 30 else 200
"""brake_scanning: low, so that a short run comes to it."""
MEMORY = 128 << 20
"""redis_memory."""
LOGS = MEMORY // 2
"""Octets of Redis that history may use; what it may go beyond them is what comes while some of it is sealed."""
WORKER = 160 << 20
"""Resident memory that no process of ours may come to."""
SEALING = 200 << 20
"""What DuckDB may add to that in the process that archives."""
PATIENCE = 120 + SECONDS
"""Seconds for what takes the longer the more was accepted."""
BODY = b"x" * 70 + b"\r\n"


def message(number: int) -> tuple[bytes, str]:
    return b"Subject: %d\r\n\r\n" % number + BODY * 60, ANNA


class Watched:
    """The most memory that any process of the gateway had, and Redis; and the history in Redis."""

    def __init__(self, running) -> None:
        self._running = running
        self._over = threading.Event()
        self.most: dict[str, int] = {}
        self.history = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        redis, logs = self._running.redis(), [keys.log(partition) for partition in range(PARTITIONS)]
        while not self._over.wait(0.5):
            self.history = max(self.history, sum(redis.memory_usage(log, samples=50) or 0 for log in logs))
            for pid, role in self._running.children().items():
                try:
                    size = psutil.Process(pid).memory_info().rss
                except psutil.NoSuchProcess:
                    continue
                self.most[role] = max(self.most.get(role, 0), size)
        redis.close()

    def end(self) -> dict[str, int]:
        self._over.set()
        self._thread.join()
        return self.most


def lone(running, server) -> float:
    """Seconds from a message's handing over to its arrival."""
    began = time.monotonic()
    name = running.send(*message(0))
    wait_until(lambda: any(mail.id == name for mail in server.arrived[-50:]), within=60, what="a lone message")
    return time.monotonic() - began


@pytest.mark.timeout(600 + 6 * SECONDS)
def test_more_mail_than_can_be_taken_is_put_off_and_what_was_taken_is_delivered():
    with (
        customer() as server,
        gateway(
            brake_scanning=MARK,
            brake_delay="500ms",
            redis_memory=MEMORY,
            lease="10s",
            archive=str(SECONDS >= 30).lower(),
        ) as running,
    ):
        running.add(server.route, ANNA)
        quiet = statistics.median(lone(running, server) for _ in range(5))
        watched = Watched(running)
        senders = Senders(running.port, 10**9, message, threads=SOURCES)
        (scanner,) = [pid for pid, role in running.children().items() if role == "scanner"]
        senders.start()
        # In a short run the machine's speed decides nothing: the scanner stands still until senders are refused.
        if SECONDS < 30:
            os.kill(scanner, signal.SIGSTOP)
            wait_until(lambda: senders.put_off[452] > SOURCES, within=60, what="452")
            os.kill(scanner, signal.SIGCONT)
        threading.Event().wait(SECONDS)
        senders.stop()
        wait_until(lambda: senders.done, within=PATIENCE, what="the last messages accepted")
        over = time.monotonic()
        wait_settled(running, within=PATIENCE)
        drained = time.monotonic() - over
        after = statistics.median(lone(running, server) for _ in range(5))
        most = watched.end()
        wait_settled(running, within=PATIENCE)
        found = accounts.account(running, senders.acknowledged, server.arrived, [])
        assert not found.ends["waiting"]
        assert not found.twice
        assert set(senders.put_off) <= {452, 421}
        assert most.pop("redis") < MEMORY * 1.5
        assert watched.history < LOGS * 1.4
        assert most.pop("background") < WORKER + (SEALING if SECONDS >= 30 else 0)
        assert max(most.values()) < WORKER, most
        assert running.process is not None
        full = running.process.output().count("refusing new mail with 452")
        print(
            f"\n{len(senders.acknowledged)} accepted in {SECONDS:g} s, {dict(senders.put_off)} put off, drained in {drained:.1f} s, a lone "
            f"message took {quiet * 1000:.0f} ms before and {after * 1000:.0f} ms after; most memory {max(most.values()) >> 20} MiB, history in "
            f"Redis {watched.history >> 20} MiB, which was full {full} times; {found}"
        )
