"""A whole gateway whose large and waiting bodies are in an object store: mail flows as ever, an outage is said, and nothing is left."""

from __future__ import annotations

import asyncio
import smtplib

import pytest

from tests.flows.test_quarantine import spam
from tests.support.gateway import gateway
from tests.support.objectstore import SERVERS, store_server
from tests.support.servers import wait_until
from workers import sweeping
from workers.janitor import Janitor
from workers.sweeping import Sweeper
from workers.wiring import Wiring

HEAD = b"From: Max <max@partner.test>\r\nSubject: large\r\n\r\n"
LARGE = HEAD + b"0123456789\r\n" * 90_000  # more than 1 MiB
DELIVERED = ("Received", "Scanned", "Queued", "Delivered")


@pytest.fixture(scope="module", params=SERVERS)
def store(request):
    with store_server(request.param) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="module")
def running(store):
    with gateway(
        retry_interval="1s",
        lease="2s",
        keep_connection="500ms",
        bodies_store=f"{store.address}/flow",
        bodies_timeout="1s",
    ) as started:
        yield started


def bodies(store) -> list[str]:
    return [name for name in store.names("flow/") if name != "owner"]


def content_of(server, count: int) -> list[bytes]:
    wait_until(lambda: len(server.arrived) == count, what="mail at the customer")
    return [arrived.content for arrived in server.arrived]


def once(running, duty) -> int:
    """One duty, now."""

    async def done() -> int:
        wiring = await Wiring.connect(running.settings())
        try:
            return await duty(wiring)
        finally:
            await wiring.close()

    return asyncio.run(done())


def test_mail_flows_through_the_store_and_leaves_nothing_there(running, store, server, domain):
    delivered = running.send(LARGE, f"anna@{domain}")
    large = running.send(spam("large", b"0123456789\r\n" * 40_000), f"anna@{domain}")
    small = running.send(spam("small"), f"anna@{domain}")
    for message_id in (large, small):
        running.wait_kinds(message_id, "Received", "Scanned", "Quarantined")
    running.wait_kinds(delivered, *DELIVERED)
    once(running, lambda wiring: Janitor(wiring).cool())  # or the gateway's did
    wait_until(lambda: {name[-22:] for name in bodies(store)} == {large, small}, what="the bodies of what waits")
    assert content_of(server, 1)[0].endswith(LARGE)
    for message_id in (large, small):
        running.cli("quarantine", "release", message_id)
    assert len(content_of(server, 3)) == 3
    wait_until(lambda: bodies(store) == [], what="the store to be empty")


def test_while_the_store_is_away_senders_of_large_messages_come_again_and_small_ones_pass(
    running, store, server, domain, monkeypatch
):
    with store.paused():
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            running.send(LARGE, f"anna@{domain}")
        assert (refused.value.smtp_code, refused.value.smtp_error[:5]) == (451, b"4.3.0")
        running.send(HEAD + b"small\r\n", f"anna@{domain}")
        assert content_of(server, 1)[0].endswith(b"small\r\n")

    def taken() -> bool:
        try:
            running.send(LARGE, f"anna@{domain}")
        except smtplib.SMTPResponseException:
            return False
        return True

    wait_until(taken, within=20, what="a large message to be taken again")
    assert content_of(server, 2)[1].endswith(LARGE)
    # The store may have carried out later what it did not answer in time: nobody's bodies, which are swept.
    monkeypatch.setattr(sweeping, "ORPHAN_AGE", -60.0)
    wait_until(
        lambda: once(running, lambda wiring: Sweeper(wiring, asyncio.Event()).sweep()) + len(bodies(store)) == 0,
        what="the store to be empty",
    )
    assert list((running.data / "bodies" / "drafts").iterdir()) == []
