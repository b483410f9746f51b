"""Two machines that serve one Redis, and somebody sets the clock of one of them while mail flows."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.faults import accounts
from tests.faults.accounts import wait_settled
from tests.support.customer import Arrived, Customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import Process, wait_until
from tests.support.steppedclock import SteppedClock

SECOND = "second.test"
TAKES = 0.2
"""Seconds that the customer's server thinks about each message, so that some are in hand at every moment."""
UNDER_WAY = 20
DOMAINS = [f"d{number}.test" for number in range(6)]
BEHIND_IT = 20
"""Messages after the last step."""


class Slow(Customer):
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(TAKES)
        return await super().handle_DATA(server, session, envelope)


@pytest.fixture
def server() -> Iterator[Slow]:
    started = Slow()
    started.start()
    yield started
    started.stop()


@contextlib.contextmanager
def second_machine(running: Gateway, **environ: str) -> Iterator[Process]:
    """Workers of all kinds that hold something, or judge what others hold; its deliverer."""
    command = [sys.executable, "-m", "cli.main", "worker"]
    with contextlib.ExitStack() as stack:
        for role in ("janitor", "scanner", "deliverer"):
            log = running.data.parent / f"{role}.log"
            process = Process([*command, role], log, {**running.environ, **environ, "GATEPOST_HOSTNAME": SECOND})
            stack.callback(process.kill)
        yield process


@contextlib.contextmanager
def two_machines(clock: SteppedClock, which: str) -> Iterator[tuple[Gateway, Process]]:
    """The first, which has Redis, and the deliverer of the second; one of them goes by `clock`."""
    with contextlib.ExitStack() as stack:
        with clock.inherited() if which == "first" else contextlib.nullcontext():
            running = stack.enter_context(gateway(lease="3s", retry_interval="60s", connections_per_server=6))
        stepped = clock.environ if which == "second" else {}
        yield running, stack.enter_context(second_machine(running, **stepped))


def brought_by_second(mail: Arrived) -> bool:
    return f"by {SECOND}".encode() in mail.content[:500]


def noticed(deliverer: Process) -> int:
    """How often it said that it goes by another clock from now on."""
    return sum(deliverer.output().count(f"{clock} clock counts") for clock in ("Redis's", "this machine's"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("which", "steps"),
    [
        # From which message on it is how far ahead.
        ("second", {10: 3600, 80: 0, 85: -3600, 125: 0}),
        ("first", {40: 3600}),
    ],
)
def test_a_machine_whose_clock_is_set_sends_nothing_twice_and_goes_on_working(server, tmp_path, which, steps):
    clock = SteppedClock(tmp_path)
    with two_machines(clock, which) as (running, deliverer):
        for domain in DOMAINS:
            running.add(server.route, domain=domain)
        acknowledged: list[str] = []
        stepped: list[int] = []
        for number in range(max(steps) + BEHIND_IT):
            if number in steps:
                wait_until(lambda: noticed(deliverer) >= len(stepped), what="that the last step was noticed")
                clock.step(steps[number])
                stepped.append(len(server.arrived))
            wait_until(
                lambda number=number: len(server.arrived) > number - UNDER_WAY, within=60, what="the mail before it"
            )
            acknowledged.append(running.send(b"Subject: x\r\n\r\nhello\r\n", f"anna@{DOMAINS[number % len(DOMAINS)]}"))
        wait_settled(running, within=60)
        wait_until(lambda: noticed(deliverer) == len(steps), what="that the last step was noticed")
        found = accounts.account(running, acknowledged, server.arrived, faults=[])
        assert found.ends == {"delivered": len(acknowledged)}
        assert not found.twice
        # It worked with a clock that is not Redis's as well.
        ends = (*stepped[1:], len(server.arrived))
        for start, end, ahead in zip(stepped, ends, steps.values(), strict=True):
            assert not ahead or any(map(brought_by_second, server.arrived[start:end]))
