"""Every fault at random, all at once, while mail flows: killed and paused processes, a Redis that dies, a customer that answers 4xx or
is away, a full disk, full memory, and a clock that is put forward and back by an hour. Exact accounts afterwards.

`GATEPOST_TEST_STORM_SECONDS` sets how long: the full run is 600.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.faults import accounts
from tests.faults.accounts import Fault, Senders, killed, wait_settled
from tests.support.customer import Customer, customer
from tests.support.gateway import ANNA, Gateway, gateway
from tests.support.servers import wait_until
from tests.support.steppedclock import SteppedClock

SECONDS = float(os.environ.get("GATEPOST_TEST_STORM_SECONDS", "10"))
LEASE = 4.0
GONE = "gone@example.test"


def message(number: int) -> tuple[bytes, str]:
    body = b"x" * (300_000 if number % 40 == 7 else number % 4000)
    lines = b"\r\n".join(body[start : start + 900] for start in range(0, len(body), 900))
    return b"Subject: number %d\r\n\r\n" % number + lines + b"\r\n", GONE if number % 20 == 5 else ANNA


class Storm:
    def __init__(self, running: Gateway, server: Customer, clock: SteppedClock) -> None:
        self.running = running
        self.server = server
        self.clock = clock
        self.faults: list[Fault] = []
        self._chance = random.Random(20261130)
        self._wait = threading.Event().wait

    def blow(self, seconds: float) -> None:
        """Each fault once, in any order, and then whichever."""
        kinds: list[Callable[[], Fault]] = [
            self.kill, self.pause, self.kill_redis, self.refuse, self.go_away, self.fill_memory, self.put_clock,
        ]  # fmt: skip
        over = time.monotonic() + seconds
        left: list[Callable[[], Fault]] = []
        while left or time.monotonic() < over or not self.faults:
            if not left:
                left = kinds.copy()
                self._chance.shuffle(left)
            fault = left.pop()()
            self.faults.append(fault)
            self._wait(self._chance.uniform(0.1, 0.5))
        self.clock.step(0)

    def _one(self, *roles: str) -> tuple[int, str]:
        def there() -> list[tuple[int, str]]:
            return [one for one in self.running.children().items() if one[1] in roles]

        found = wait_until(there, within=60, what=f"one of {roles}")
        role = self._chance.choice(sorted({role for _, role in found}))
        return self._chance.choice([one for one in found if one[1] == role])

    def kill(self) -> Fault:
        pid, role = self._one("receiver", "scanner", "deliverer", "background")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return killed(role)

    def kill_redis(self) -> Fault:
        """Until it has ended: the kernel lets it finish a write to the disk first, and it records nothing more."""
        pid, _ = self._one("redis")
        began = time.time()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), within=30, what="the end of Redis")
        return Fault("kill redis", began, time.time(), loses_replies=True)

    def pause(self) -> Fault:
        """Past its lease: what it holds is another's when it wakes up."""
        pid, role = self._one("scanner", "deliverer", "background")
        began = time.time()
        os.kill(pid, signal.SIGSTOP)
        self._wait(LEASE * 1.3)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return Fault(f"pause {role}", began, time.time(), loses_replies=role == "deliverer")

    def refuse(self) -> Fault:
        began = time.time()
        self.server.refuse[ANNA] = "451 4.3.0 not now"
        self._wait(1)
        del self.server.refuse[ANNA]
        return Fault("4xx", began, time.time())

    def go_away(self) -> Fault:
        """A server that goes in the middle of a session may have taken what it could not confirm."""
        began = time.time()
        self.server.stop()
        self._wait(1)
        self.server.start()
        return Fault("customer away", began, time.time(), loses_replies=True)

    def fill_memory(self) -> Fault:
        began = time.time()
        with contextlib.suppress(redis.RedisError), self.running.redis() as client:
            most = client.config_get("maxmemory")["maxmemory"]
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]))
            self._wait(1.5)
            client.config_set("maxmemory", most)
        return Fault("memory full", began, time.time())

    def put_clock(self) -> Fault:
        seconds = self._chance.choice([3600, -3600])
        began = time.time()
        self.clock.step(seconds)
        self._wait(2.5)
        return Fault(f"clock {seconds:+d}", began, time.time() + 2)


@contextlib.contextmanager
def stormy(directory: Path) -> Iterator[tuple[Gateway, SteppedClock]]:
    clock = SteppedClock(directory)
    settings = {"lease": f"{LEASE:g}s", "retry_interval": "1s", "deliverers": 2, "scanners": 2}
    with contextlib.ExitStack() as stack:
        with clock.inherited():
            running = stack.enter_context(gateway(**settings))
        yield running, clock


@pytest.mark.timeout(600 + 3 * SECONDS)
def test_every_acknowledged_message_ends_exactly_once_whatever_happens_all_at_once(tmp_path):
    with customer() as server, stormy(tmp_path) as (running, clock):
        server.refuse[GONE] = "550 5.1.1 no such user"
        running.add(server.route, ANNA, GONE)
        running.add(server.route, "sender@elsewhere.test", domain="elsewhere.test")
        senders = Senders(running.port, 10**9, message, threads=2 if SECONDS < 30 else 6)
        senders.start()
        storm = Storm(running, server, clock)
        storm.blow(SECONDS)
        senders.stop()
        wait_until(lambda: senders.done, within=120, what="the last messages accepted")
        wait_settled(running, within=120 + SECONDS)
        found = accounts.account(running, senders.acknowledged, server.arrived, storm.faults)
        assert not found.ends["waiting"]
        accounts.bounces_arrived(found)
        print(
            f"\n{dict(Counter(fault.what for fault in storm.faults))}; {len(senders.acknowledged)} acknowledged, "
            f"{senders.unanswered} without a 250 ({dict(senders.put_off)}); {found}"
        )
