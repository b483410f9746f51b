"""What a refusal makes of senders that are told, told too often, or not to be told."""

from __future__ import annotations

from collections import Counter

from pipeline import keys
from pipeline.events import Failed, Undeliverable
from pipeline.unsent import TOO_MANY
from tests.support.peer import Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, PARTITION
from tests.workers.deliverer.test_role import delivering, ends

GONE = b"550 5.1.1 gone"


async def last(wiring, message_id):
    return (await wiring.events(message_id))[-1].event


async def test_whoever_sends_in_anothers_name_cannot_have_us_send_more_than_a_few_bounces_there(parts):
    async with Peer({"rcpt": GONE}) as peer:
        wiring = await parts(bounces_per_address=3)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued(sender="victim@victim.test") for _ in range(12)]

        async def over():
            return all([(await wiring.kinds(one))[-1] in ("Failed", "Undeliverable") for one in ids])

        async with delivering(wiring):
            await eventually(over)
        ended = [await last(wiring, one) for one in ids]
        assert Counter(type(one) for one in ended) == {Failed: 3, Undeliverable: 9}
        assert {one.unsent for one in ended if isinstance(one, Undeliverable)} == {TOO_MANY}
        assert await wiring.store.redis.xlen(keys.outbox(PARTITION)) == 3
        assert await wiring.store.redis.zcard(keys.kept(PARTITION)) == 9


async def test_a_message_to_many_that_are_refused_is_one_bounce_of_all_of_them(parts):
    async with Peer({"rcpt": GONE}) as peer:
        wiring = await parts(bounces_per_address=1)
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued(b"Subject: x\r\n\r\n", *(f"r{n}@{DOMAIN}" for n in range(50)))

        async def over():
            return await wiring.head(message_id) is None

        async with delivering(wiring):
            await eventually(over)
        ((_, fields),) = await wiring.store.redis.xrange(keys.outbox(PARTITION))
        assert fields[b"b"].count(b"\r\nAction: failed\r\n") == 50


async def test_a_refused_copy_whose_sender_is_not_told_keeps_its_body_and_leaves_the_queue(parts):
    content = b"List-Id: <x.test>\r\nSubject: x\r\n\r\nhello\r\n"
    async with Peer({"rcpt": GONE}) as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await wiring.queued(content)
        async with delivering(wiring):
            await ends(wiring, message_id, "Undeliverable")
        assert await wiring.bodies.get(message_id) == content
        assert await wiring.store.redis.exists(keys.queue(PARTITION, DOMAIN)) == 0
        assert await wiring.store.redis.exists(keys.outbox(PARTITION)) == 0
        head = await wiring.head(message_id)
        assert head.ends == head.kept_until == (await last(wiring, message_id)).expires
