"""The object store of bodies goes away: senders are told to come again, work waits, nothing is charged for it, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pipeline import keys, objectstore
from pipeline.bodies import way
from pipeline.bodies.cloud import CloudCold
from pipeline.faults import CorruptError, StoreAwayError, UnsafeStoreError
from pipeline.ids import new_id
from pipeline.route import Resolver
from pipeline.steering import BOUNCE
from tests.support.examples import DOMAIN
from tests.support.listening import Listening
from tests.support.objectstore import s3_server
from tests.support.peer import Peer
from tests.support.proxy import Proxy
from tests.support.servers import eventually
from tests.workers.conftest import PARTITION, parts, running  # noqa: F401 - a fixture
from tests.workers.test_engines import NoNames
from tests.workers.test_scanner import entries
from workers import sweeping
from workers.delays import Delays
from workers.deliverer.role import Deliverer
from workers.janitor import Janitor
from workers.scanner import Scanner
from workers.steering import Steering
from workers.steward import Steward
from workers.sweeping import Sweeper

SMALL = b"Subject: small\r\n\r\nhello\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"large\r\n" * 60_000
DAY = 86400


@pytest.fixture(scope="module")
def server():
    with s3_server() as started:
        yield started


@pytest.fixture(autouse=True)
def environment(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(way, "PAUSE", 0.05)
    monkeypatch.setattr(objectstore, "RETRIES", 0)


async def ours() -> str:
    return "ours"


@pytest.fixture
def cold(tmp_path):
    return CloudCold(f"s3://bucket/{tmp_path.name}", tmp_path, ours, 0.5)


@pytest.fixture
async def wiring(parts, tmp_path):  # noqa: F811
    made = await parts(bodies_store=f"s3://bucket/{tmp_path.name}", bodies_timeout="500ms", lease="2s")
    await made.customer("127.0.0.1:1")
    return made


def name() -> str:
    return new_id(1_795_428_000_000_000_000, PARTITION)


async def recovered(question):
    """What it answers as soon as it does."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await question()
            except StoreAwayError:
                await asyncio.sleep(0.01)


async def every_question(cold, message_id):
    questions = (
        cold.get(message_id),
        cold.put_many([(name(), b"x") for _ in range(40)]),
        cold.share(message_id, name()),
        cold.drop_many([message_id]),
        anext(cold.listed(PARTITION, 1e12)),
        cold.drop_older([message_id], 1e12),
        cold.reach(),
    )
    return [type(result) for result in await asyncio.gather(*questions, return_exceptions=True)]


async def test_no_answer_is_an_outage_and_never_a_body_that_is_gone(cold, server):
    message_id = name()
    await cold.put_many([(message_id, b"content")])
    with server.paused():
        assert set(await every_question(cold, message_id)) == {StoreAwayError}
    assert await recovered(lambda: cold.get(message_id)) == b"content"


async def test_a_store_that_lost_its_bucket_is_away_and_one_that_lost_a_body_says_so(tmp_path, server, monkeypatch):
    monkeypatch.setattr(way, "PAUSE", 0)
    cold = CloudCold(f"s3://bucket/{tmp_path.name}", tmp_path, ours, 10)
    message_id = name()
    await cold.put_many([(message_id, b"content")])
    server.stop()
    assert set(await every_question(cold, message_id)) == {StoreAwayError}
    server.start(bucket=False)  # it forgot everything
    with pytest.raises(StoreAwayError) as fault:
        await cold.reach()
    assert "no such bucket" in fault.value.remedy
    assert set(await every_question(cold, message_id)) == {StoreAwayError}
    server.request("PUT", "/bucket")
    with pytest.raises(CorruptError, match=message_id):
        await recovered(lambda: cold.get(message_id))


class Denying(Listening):
    async def serve(self, reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            body = b"<Error><Code>InvalidAccessKeyId</Code><Message>\x1b[31m no</Message></Error>"
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()


async def test_wrong_credentials_are_waited_for_said_with_their_remedy_and_taken_anew_when_they_are_mended(
    cold, server, monkeypatch
):
    async with Denying() as denying:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{denying.port}")
        with pytest.raises(StoreAwayError, match="does not let us") as fault:
            await cold.get(name())
    assert "Check the credentials" in fault.value.remedy
    assert "s3cr3t" not in f"{fault.value}"
    assert f"{fault.value}".isprintable()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.environment["AWS_ENDPOINT_URL"])
    await recovered(cold.reach)


@pytest.mark.parametrize("after", [0, 100, 200_000])
async def test_a_connection_that_breaks_gives_the_whole_body_or_an_outage(cold, server, monkeypatch, after):
    message_id = name()
    await cold.put_many([(message_id, LARGE)])
    async with Proxy(server.port, after=after, then="close") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        broken = CloudCold(cold.place, cold._drafts, ours, 2)
        with contextlib.suppress(StoreAwayError):
            assert (await broken.get(message_id))[:] == LARGE
        assert proxy.connections
    assert (await recovered(lambda: cold.get(message_id)))[:] == LARGE


async def test_large_messages_are_not_accepted_meanwhile_and_small_ones_are(wiring, server):
    with server.paused():
        with pytest.raises(StoreAwayError):
            await wiring.accept(LARGE)
        assert await wiring.head(await wiring.accept(SMALL)) is not None
    assert list(wiring.bodies.drafts.iterdir()) == []
    message_id = await recovered(lambda: wiring.accept(LARGE))
    assert (await wiring.bodies.get(message_id))[:] == LARGE


async def test_the_scanner_waits_for_the_body_and_takes_the_others(wiring, server):
    large, small = await wiring.accept(LARGE), await wiring.accept(SMALL)
    found = await entries(wiring)
    with server.paused():
        failed = await Scanner(wiring, [], NoNames()).handle(found)
    assert {entry: type(error) for entry, error in failed.items()} == {found[0].id: StoreAwayError}
    assert [await wiring.kinds(one) for one in (large, small)] == [["Received"], ["Received", "Scanned", "Queued"]]
    await recovered(lambda: wiring.bodies.get(large))
    assert await Scanner(wiring, [], NoNames()).handle(found[:1]) == {}
    assert await wiring.kinds(large) == ["Received", "Scanned", "Queued"]


async def test_the_deliverer_sends_what_it_has_and_the_rest_as_soon_as_it_can_without_counting_a_try(
    wiring, server, monkeypatch
):
    monkeypatch.setattr("workers.deliverer.slot.AWAY_NS", 100_000_000)
    async with Peer() as peer:
        await wiring.customer(f"127.0.0.1:{peer.port}")
        large = [await wiring.queued(LARGE) for _ in range(3)]
        small = [await wiring.queued(SMALL) for _ in range(3)]

        async def delivered(*ids):
            return [(await wiring.kinds(one))[3:] for one in ids] == [["Delivered"]] * len(ids)

        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):
            with server.paused():
                await eventually(lambda: delivered(*small))
                assert not await delivered(large[0])
            await eventually(lambda: delivered(*large), within=20)
    assert len(peer.transactions) == 6
    assert set(await wiring.kinds()) == {"Received", "Scanned", "Queued", "Delivered"}
    assert not await wiring.store.redis.hlen(keys.parked(PARTITION))
    await wiring.bodies.close()
    assert not server.names(wiring.bodies.cold.place.removeprefix("s3://bucket/"))


async def test_the_janitor_waits_with_cooling_and_with_ending_what_it_cannot_read(wiring, server):
    small, large, last = await wiring.queued(SMALL), await wiring.queued(LARGE), await wiring.queued(SMALL)
    body = keys.body(PARTITION, small)
    with server.paused():
        with pytest.raises(StoreAwayError):
            await wiring.bodies.cool([small])
        assert await wiring.store.redis.exists(body)
        wiring.forward(8 * DAY)
        assert await Janitor(wiring).expire() == 2
    assert [(await wiring.kinds(one))[3:] for one in (small, large, last)] == [["Failed"], [], ["Failed"]]
    wiring.forward(120)
    await recovered(wiring.bodies.cold.reach)
    assert await Janitor(wiring).expire() == 1


async def test_senders_of_what_can_be_read_are_told_of_a_delay_meanwhile(wiring, server):
    messages = [
        await wiring.queued(content, sender=f"{number}@senders.test", notify="DELAY")
        for number, content in enumerate((LARGE, SMALL))
    ]
    wiring.forward(DAY)
    with server.paused():
        assert await Delays(wiring).warn() == 1
    assert [(await wiring.kinds(one))[3:] for one in messages] == [[], ["Warned"]]
    await recovered(wiring.bodies.cold.reach)
    wiring.forward(61)
    assert await Delays(wiring).warn() == 1


async def test_holds_of_what_can_be_read_end_meanwhile(wiring, server):
    messages = [await wiring.queued(content, sender=f"anna@{DOMAIN}") for content in (LARGE, SMALL)]
    for one in messages:
        await Steering(wiring, by="cli:op").plan(one, then=BOUNCE, reason="why", until=wiring.clock(), action="a")
    wiring.forward(DAY)
    with server.paused():
        assert await Steward(wiring).end_holds() == 1
    await recovered(wiring.bodies.cold.reach)
    wiring.forward(120)
    assert await Steward(wiring).end_holds() == 1
    assert [(await wiring.kinds(one))[-1] for one in messages] == ["Failed", "Failed"]


async def test_what_could_not_be_dropped_is_dropped_with_the_next_or_at_the_end(wiring, server):
    first, second = await wiring.accept(LARGE), await wiring.accept(LARGE)
    with server.paused():
        await wiring.bodies.drop_cold(first)
        await wiring.bodies._dropping
    await recovered(wiring.bodies.cold.reach)
    await wiring.bodies.drop_cold(second)
    await wiring.bodies.close()
    assert not server.names(wiring.bodies.cold.place.removeprefix("s3://bucket/"))


async def test_orphans_are_swept_and_counted_and_none_of_another_gateways(wiring, server, monkeypatch):
    monkeypatch.setattr(sweeping, "ORPHAN_AGE", -60.0)
    sweeper = Sweeper(wiring, asyncio.Event())
    alive = [await wiring.accept(LARGE) for _ in range(2)]
    orphans = [name() for _ in range(7)]
    await wiring.bodies.cold.put_many([(one, b"x") for one in orphans])
    prefix = wiring.bodies.cold.place.removeprefix("s3://bucket/") + "/"
    with server.paused(), pytest.raises(StoreAwayError):
        await sweeper.sweep()
    assert await recovered(sweeper.sweep) == 7
    assert sorted(server.names(prefix)) == sorted([*map(wiring.bodies.cold.name, alive), "owner"])
    await wiring.store.redis.hset(keys.STORE, "bodies", "another")
    await wiring.store.redis.delete(keys.expiry(PARTITION), *(keys.head(PARTITION, one) for one in alive))
    with pytest.raises(UnsafeStoreError, match="another Gatepost"):
        await sweeper.sweep()
    assert len(server.names(prefix)) == 3
