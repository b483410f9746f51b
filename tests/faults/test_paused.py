"""Processes that are stopped for longer than their lease, and wake up late: they deliver nothing again and overwrite nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import psutil
import pytest
import redis

from pipeline import keys
from pipeline.events import Delivered, Scanned
from tests.faults import accounts
from tests.faults.accounts import wait_settled
from tests.support.customer import Customer, customer
from tests.support.gateway import ANNA, Gateway, gateway
from tests.support.peer import Do, Peer
from tests.support.servers import Process, wait_until

MAIL = b"Subject: paused\r\n\r\nhello\r\n"
GONE = "gone@example.test"
LEASE = 2


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        started.refuse[GONE] = "550 5.1.1 no such user"
        yield started


@pytest.fixture(scope="module")
def running(server: Customer) -> Iterator[Gateway]:
    """Two of each role that holds something: of janitors and projectors, `gatepost up` starts one."""
    with gateway(lease=f"{LEASE}s", retry_interval="1s", deliverers=2, scanners=2) as started:
        started.add(server.route, ANNA, GONE)
        started.add(server.route, "sender@elsewhere.test", domain="elsewhere.test")
        yield started


def pids(running: Gateway, role: str) -> list[int]:
    return [pid for pid, name in running.children().items() if name == role]


@contextlib.contextmanager
def stopped(*processes: int) -> Iterator[None]:
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def finished(running: Gateway) -> set[str]:
    return {name for name, events in running.message_events().items() if isinstance(events[-1], Delivered)}


def talks(pid: int, port: int) -> bool:
    return any(one.raddr and one.raddr.port == port for one in psutil.Process(pid).net_connections("tcp"))


def holds(client: redis.Redis, pid: int) -> bool:
    """Whether a scanner has messages in hand."""
    return any(
        one["pending"] and f"-{pid}-" in one["name"].decode()
        for partition in range(8)
        for one in client.xinfo_consumers(keys.scan(partition), keys.SCANNERS)
    )


@pytest.mark.parametrize("phase", ["data", "dot"])
async def test_a_deliverer_that_sleeps_in_a_session_wakes_up_without_a_word(running, phase):
    """Before the final dot it sends none; after it, its record of what another has delivered since is one too many and is dropped."""
    go_on = asyncio.Event()
    async with Peer({phase: [Do(wait=go_on)]}) as peer:
        domain = f"{phase}.test"
        await asyncio.to_thread(running.add, f"127.0.0.1:{peer.port}", f"anna@{domain}", domain=domain)
        name = await asyncio.to_thread(running.send, MAIL, f"anna@{domain}")
        await peer.until(lambda: b"DATA" in peer.said and (phase == "data" or len(peer.transactions) == 1), within=20)
        (sleeper,) = [pid for pid in pids(running, "deliverer") if talks(pid, peer.port)]
        with stopped(sleeper):
            count = len(peer.transactions)
            await peer.until(lambda: len(peer.transactions) == count + 1, within=30)
            await asyncio.to_thread(wait_until, lambda: name in finished(running), within=20, what="the record of it")
            go_on.set()
            # What it would go on with lies in its socket.
        await asyncio.to_thread(wait_until, lambda: not talks(sleeper, peer.port), within=20, what="its hanging up")
        assert peer.unfinished == (1 if phase == "data" else 0)
        history = (await asyncio.to_thread(running.message_events))[name]
        assert sum(isinstance(event, Delivered) for event in history) == 1
        # After the dot, a server that answers later than a lease has the message twice: its final reply was lost.
        assert len(peer.transactions) == (1 if phase == "data" else 2)


@contextlib.contextmanager
def asleep_with_work(running: Gateway, client: redis.Redis, acknowledged: list[str]) -> Iterator[None]:
    """One scanner stopped with a message in hand: who waits for work is given it, asleep or not."""
    scanners = pids(running, "scanner")
    for _ in range(20):
        with contextlib.ExitStack() as both:
            for pid in scanners:
                both.enter_context(stopped(pid))
            acknowledged += [running.send(MAIL, ANNA) for _ in scanners]
            sleepers = [pid for pid in scanners if holds(client, pid)]
            if sleepers:
                os.kill(next(pid for pid in scanners if pid != sleepers[0]), signal.SIGCONT)
                yield
                return
        # Neither was waiting just then.
        wait_until(lambda: not accounts.waits(running), within=20, what="an idle gateway")
    pytest.fail("no scanner was caught waiting")


def test_a_scanner_a_janitor_and_a_projector_that_wake_up_late_change_nothing(running, server):
    words = [sys.executable, "-m", "cli.main", "worker"]
    more = [
        Process([*words, role], running.data.parent / f"{role}.log", running.environ)
        for role in ("janitor", "projector")
    ]
    before = set(running.message_events())
    server.arrived.clear()
    try:
        with running.redis() as client:
            wait_until(
                lambda: len(client.xinfo_consumers(keys.outbox(0), keys.JANITORS)) == 2, within=30, what="two janitors"
            )
            acknowledged: list[str] = []
            with (
                asleep_with_work(running, client, acknowledged),
                stopped(*pids(running, "background")),
            ):
                acknowledged += [running.send(MAIL, ANNA if number % 4 else GONE) for number in range(24)]
                wait_until(lambda: len(server.arrived) >= 24, within=60, what="the messages and bounces")
                wait_settled(running)
        woken = running.message_events()
        wait_settled(running)
        found = accounts.account(running, acknowledged, server.arrived, [], before)
        assert accounts.bounces_arrived(found) == 6
        assert not found.twice
        assert {name: woken[name] for name in found.histories} == found.histories
        for history in found.histories.values():
            assert sum(isinstance(event, Scanned) for event in history) == 1
        replayed = running.cli("replay", "--all", ok=False)
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    finally:
        for process in more:
            process.stop()
