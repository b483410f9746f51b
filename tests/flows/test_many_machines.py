"""The same program on many hosts, each with an address of its own: two receivers behind HAProxy, workers that come and go, hosts that are lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import smtplib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from pipeline import keys
from pipeline.events import Delivered, Queued, Received
from tests.support.fleet import PLACES, Fleet, Shop, fleet
from tests.support.gateway import send_on
from tests.support.network import Host
from tests.support.servers import wait_until
from workers.wiring import Wiring

pytestmark = pytest.mark.timeout(300)
T = TypeVar("T")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def ships() -> Iterator[Fleet]:
    with fleet() as started:
        yield started


@pytest.fixture(scope="module")
def shop(ships: Fleet) -> Iterator[Shop]:
    server = Shop(ships.lan.host("10.86.0.30"))
    server.start()
    yield server
    server.stop()


def domain(ships: Fleet, shop: Shop) -> str:
    """An address, the only one of a domain of its own."""
    name = f"d{next(_numbers)}.example.test"
    ships.asked.add(shop.route, f"anna@{name}", domain=name)
    return f"anna@{name}"


@pytest.fixture
def anna(ships: Fleet, shop: Shop) -> str:
    return domain(ships, shop)


@pytest.fixture(autouse=True)
def _fresh(ships: Fleet, shop: Shop) -> Iterator[None]:
    shop.came.clear()
    shop.arrived.clear()
    shop.most = 0
    for host in ships.work:
        if not any(worker.host is host for worker in ships.of("scanner")):
            ships.start(host, "scanner")
    yield
    shop.stalled.clear()
    for worker in ships.of("deliverer"):
        ships.stop(worker)


def content(number: int) -> bytes:
    return b"Subject: number %d\r\nX-Number: %d\r\n\r\nhello\r\n" % (number, number)


def send(ships: Fleet, *recipients: str, count: int = 1, sender: int = 0) -> list[str]:
    """Through the balancer, over a new session when there was no answer; the ids that got a 250."""
    acknowledged: list[str] = []
    work = [(number, recipient) for number in range(count) for recipient in recipients]
    while len(acknowledged) < len(work):
        with contextlib.suppress(OSError, smtplib.SMTPException), ships.connect(sender) as client:
            for number, recipient in work[len(acknowledged) :]:
                acknowledged.append(send_on(client, content(number), recipient))
    return acknowledged


def settled(ships: Fleet, ids: list[str]) -> None:
    def delivered() -> bool:
        events = ships.asked.message_events()
        return all(any(isinstance(event, Delivered) for event in events.get(name, ())) for name in ids)

    wait_until(delivered, within=60, what=f"{len(ids)} messages delivered")


def arrived_once(shop: Shop, ids: list[str]) -> None:
    assert Counter(mail.id for mail in shop.arrived) == Counter(ids)


def test_mail_through_the_balancer_arrives_once_and_says_who_sent_it(ships: Fleet, shop: Shop, anna: str):
    ships.start(ships.work[0], "deliverer")
    ids = [name for _ in range(3) for name in send(ships, anna, count=2)]
    others = send(ships, anna, sender=1)
    settled(ships, ids + others)
    arrived_once(shop, ids + others)
    sender, other = (host.address for host in ships.senders)
    for mail in shop.arrived:
        assert b"[%b]" % (sender if mail.id in ids else other).encode() in mail.content.partition(b"\r\n\r\n")[0]
    events = ships.asked.message_events()
    received = [event for name in ids + others for event in events[name] if isinstance(event, Received)]
    assert Counter(event.client.address for event in received if event.client) == {sender: 6, other: 1}
    assert set(ships.greeted) == {"mx11.gateway.test", "mx12.gateway.test"}


def test_what_one_client_may_do_is_counted_over_all_receivers(ships: Fleet):
    """client_connections is 6 here: wherever they are, the seventh gets 421, and another client is let in."""
    with contextlib.ExitStack() as stack:
        for number in range(6):
            client = ships.connect(1, to=ships.mx[number % 2])
            stack.callback(client.close)
        for host in ships.mx:
            with pytest.raises(smtplib.SMTPConnectError) as refused:
                ships.connect(1, to=host)
            assert refused.value.smtp_code == 421
        stack.callback(ships.connect(0, to=ships.mx[0]).close)


def ask(ships: Fleet, question: Callable[[Wiring], Awaitable[T]]) -> T:
    async def work() -> T:
        wiring = await Wiring.connect(ships.asked.settings())
        try:
            await wiring.directory.refresh()
            return await question(wiring)
        finally:
            await wiring.close()

    return asyncio.run(work())


def test_connections_pace_and_holds_of_a_server_are_those_of_all_deliverers_together(ships: Fleet, shop: Shop):
    """Three connections, a message each 50 ms: however many hosts deliver, and for however many domains."""
    people = [domain(ships, shop) for _ in range(6)]
    ask(ships, lambda wiring: wiring.directory.hold_server(shop.route, "to test", by="test", now=wiring.clock()))
    ids = send(ships, *people, count=7)
    for host in ships.work:
        ships.start(host, "deliverer")
    scanned(ships, ids)
    began = time.time()
    assert not shop.arrived, "held everywhere"
    ask(ships, lambda wiring: wiring.directory.resume_server(shop.route, by="test", now=wiring.clock()))
    settled(ships, ids)
    while len(shop.came) < 2:  # whoever was quicker may have taken all of them
        ids += send(ships, *people)
        settled(ships, ids)
    arrived_once(shop, ids)
    assert shop.most <= 3
    assert max(mail.at for mail in shop.arrived) - began >= (len(ids) - 1) * 0.05


def scanned(ships: Fleet, ids: list[str]) -> None:
    def done() -> bool:
        events = ships.asked.message_events()
        return all(any(isinstance(event, Queued) for event in events.get(name, ())) for name in ids)

    wait_until(done, within=60, what=f"{len(ids)} messages scanned")


def waits(shop: Shop, host: Host) -> None:
    wait_until(lambda: host.address in shop.waiting, within=30, what=f"{host.address} waiting for the customer")


def test_a_deliverer_joins_without_a_word_and_leaves_its_work_at_once_when_it_is_stopped(
    ships: Fleet, shop: Shop, anna: str
):
    """Nothing here waits for a lease, which is ten minutes."""
    shop.stalled.add(anna)
    leaving = ships.start(ships.work[0], "deliverer", lease="10m")
    ids = send(ships, anna, count=12)
    waits(shop, leaving.host)
    ships.start(ships.work[1], "deliverer", lease="10m")
    leaving.process.popen.terminate()
    shop.stalled.clear()
    ships.stop(leaving)
    settled(ships, ids)
    arrived_once(shop, ids)
    assert shop.came[ships.work[1].address]


def test_what_a_dead_deliverer_had_in_hand_goes_out_once_by_another(ships: Fleet, shop: Shop, anna: str):
    shop.stalled.add(anna)
    dead = ships.start(ships.work[0], "deliverer")
    ids = send(ships, anna, count=4)
    waits(shop, dead.host)
    ships.kill(dead)
    shop.stalled.clear()
    ships.start(ships.work[1], "deliverer")
    settled(ships, ids)
    arrived_once(shop, ids)


def test_what_a_dead_scanner_had_in_hand_is_scanned_by_another(ships: Fleet, shop: Shop, anna: str):
    """It dies while it waits for an engine that has taken the message, and says nothing."""
    silent = ships.names.call(lambda: socket.create_server((ships.names.address, 3310)))
    patient = {"clamav": f"{ships.names.address}:3310", "clamav_deadline": "10m", "scan_budget": "10m"}
    with silent:
        for worker in ships.of("scanner"):
            ships.stop(worker)
        dead = ships.start(ships.work[0], "scanner", **patient)
        ships.start(ships.work[0], "deliverer")
        ids = send(ships, anna, count=4)
        wait_until(lambda: ask(ships, in_hand), within=30, what="work in its hands")
        ships.kill(dead)
        heir = ships.start(ships.work[1], "scanner")
        settled(ships, ids)
    arrived_once(shop, ids)
    assert "taking over work" in heir.process.output()


async def in_hand(wiring: Wiring) -> int:
    """Entries that scanners have taken and not finished."""
    found = [
        await wiring.store.redis.xpending(keys.scan(number), keys.SCANNERS) for number in range(wiring.store.partitions)
    ]
    return sum(summary["pending"] for summary in found)


def test_a_deliverer_that_is_cut_off_and_comes_back_delivers_nothing_again(ships: Fleet, shop: Shop, anna: str):
    """It was between RCPT and the dot when its network went, and another has delivered the message before it is back."""
    shop.stalled.add(anna)
    lost = ships.start(ships.work[0], "deliverer")
    ids = send(ships, anna, count=4)
    waits(shop, lost.host)
    lost.host.unplug()
    try:
        other = ships.start(ships.work[1], "deliverer")
        waits(shop, other.host)
        shop.stalled.clear()
        settled(ships, ids)
    finally:
        lost.host.plug()
    wait_until(lambda: not shop.open, within=60, what="the end of all sessions, the lost one's too")
    arrived_once(shop, ids)
    ships.stop(other)
    ids += send(ships, anna, count=2)
    settled(ships, ids)
    arrived_once(shop, ids)
    assert shop.came[lost.host.address] >= 2, "it works on when it is back"


def test_a_deliverer_that_reaches_the_customer_but_not_redis_sends_no_final_dot(ships: Fleet, shop: Shop, anna: str):
    """It cannot know whether its lease was given away, so it asks its own clock; and it was."""
    shop.stalled.add(anna)
    lost = ships.start(ships.work[0], "deliverer")
    ids = send(ships, anna, count=3)
    waits(shop, lost.host)
    lost.host.lose(*PLACES.values())
    try:
        other = ships.start(ships.work[1], "deliverer")
        waits(shop, other.host)
        shop.stalled.clear()
        settled(ships, ids)
        arrived_once(shop, ids)
        assert set(shop.came) == {other.host.address}
    finally:
        lost.host.find(*PLACES.values())


def test_a_large_message_goes_by_the_object_store_from_host_to_host(ships: Fleet, shop: Shop, anna: str):
    ships.start(ships.work[0], "deliverer")
    large = b"Subject: large\r\n\r\n" + b"\r\n".join([b"x" * 900] * 600) + b"\r\n"
    with ships.connect() as client:
        ids = [send_on(client, large, anna)]
    settled(ships, ids)
    arrived_once(shop, ids)
    assert shop.arrived[0].original == large
    for host in (*ships.mx, *ships.work):
        left = ships.directory / host.namespace / "bodies"
        assert not [path for path in left.rglob("*") if path.is_file()], "no copy stays on a host"


def test_a_receiver_that_is_cut_off_is_passed_by_and_found_again(ships: Fleet, shop: Shop, anna: str):
    ships.start(ships.work[0], "deliverer")
    lost = ships.mx[0]
    lost.unplug()
    try:
        ids = send(ships, anna, count=2) + send(ships, anna, count=2)
    finally:
        lost.plug()
    ships.greeted.clear()

    def back() -> bool:
        ids.extend(send(ships, anna))
        return len(ships.greeted) == 2

    wait_until(back, within=30, what="mail through the receiver that was lost")
    settled(ships, ids)
    arrived_once(shop, ids)


def test_mail_goes_on_with_another_master_when_the_host_of_the_first_is_lost(ships: Fleet, shop: Shop, anna: str):
    """Cut off without a word: senders are put off until the Sentinels have chosen another, and what got a 250 is there."""
    ships.start(ships.work[0], "deliverer")
    ids = send(ships, anna, count=3)
    settled(ships, ids)
    lost = ships.master
    lost.host.unplug()
    try:
        ids += send(ships, anna, count=4)
        assert ships.master is not lost
        settled(ships, ids)
        arrived_once(shop, ids)
    finally:
        lost.host.plug()
