"""Copies that say something else of our verdict leave as transactions of their own, each recorded once."""

from __future__ import annotations

from pipeline.events import Deferred, Delivered, Queued, Scanned
from pipeline.route import Resolver
from pipeline.state import Recipient, Stage
from pipeline.steps import message_step
from tests.support.examples import DOMAIN
from tests.support.peer import Peer
from tests.support.servers import eventually
from tests.workers.conftest import running
from workers.deliverer.role import Deliverer
from workers.deliverer.slot import RECIPIENTS, transactions

ANNA, BEN, CARL = f"anna@{DOMAIN}", f"ben@{DOMAIN}", f"carl@{DOMAIN}"


async def queued(wiring, **tags: str) -> str:
    message_id = await wiring.accept(b"Subject: x\r\n\r\nhello\r\n", *[f"{name}@{DOMAIN}" for name in tags])
    message = await wiring.head(message_id)
    common = {"at": wiring.clock(), "domain": DOMAIN}
    events = [Scanned(**common, verdict="spam", score=7.0)]
    events += [Queued(**common, recipients=(f"{name}@{DOMAIN}",), size=9, tag=tag) for name, tag in tags.items()]
    step, _ = message_step(message, events, now=wiring.clock())
    await wiring.log.commit(step)
    return message_id


async def outcomes(wiring, kind) -> list[tuple[str, ...]]:
    return [row.event.recipients for row in await wiring.events() if isinstance(row.event, kind)]


async def test_recipients_with_the_same_tag_share_a_transaction_and_others_do_not(parts):
    async with Peer() as peer:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await queued(wiring, anna="spam; score=7\n[SPAM]", ben="", carl="spam; score=7\n[SPAM]")
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):

            async def gone():
                return await wiring.head(message_id) is None

            await eventually(gone)
        sent = {tuple(one.rcpts): one.message for one in peer.transactions}
        assert len(peer.transactions) == 2
        (tagged,) = [message for rcpts, message in sent.items() if len(rcpts) == 2]
        (plain,) = [message for rcpts, message in sent.items() if len(rcpts) == 1]
        assert b"\r\nX-Gatepost-Verdict: spam; score=7\r\nSubject: [SPAM] x\r\n" in tagged
        assert b"X-Gatepost-Verdict" not in plain
        assert b"\r\nSubject: x\r\n" in plain
        assert sorted(await outcomes(wiring, Delivered)) == [(ANNA, CARL), (BEN,)]


async def test_one_copy_that_waits_keeps_its_tag_and_the_other_is_not_sent_again(parts):
    async with Peer({"rcpt": [b"452 4.2.2 mailbox full"]}) as peer:
        wiring = await parts(retry_interval="1s")
        await wiring.customer(f"127.0.0.1:{peer.port}")
        message_id = await queued(wiring, anna="spam; score=7", ben="")
        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):

            async def gone():
                return await wiring.head(message_id) is None

            await eventually(gone, within=20)
        assert await outcomes(wiring, Deferred) == [(ANNA,)]
        assert sorted(await outcomes(wiring, Delivered)) == [(ANNA,), (BEN,)]
        assert [b"X-Gatepost-Verdict: spam" in one.message for one in peer.transactions if one.wire] == [False, True]


def test_a_transaction_has_one_tag_and_not_too_many_recipients():
    people = [Recipient(address=f"p{n}@x.test", stage=Stage.QUEUED, tag="t" if n % 3 else "") for n in range(350)]
    found = transactions(people)
    assert sorted(one.address for some in found for one in some) == sorted(one.address for one in people)
    assert all(len({one.tag for one in some}) == 1 and len(some) <= RECIPIENTS for some in found)
