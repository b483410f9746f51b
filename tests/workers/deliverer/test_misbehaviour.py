"""A server that misbehaves, once, in each phase and in each way: what becomes of the message it met, and of the one behind it.

Five things can come of it, and the table below says which: see the head of workers/deliverer/slot.py for why.
"""

from __future__ import annotations

from itertools import product

import pytest

from pipeline.events import Deferred, RouteDeferred
from pipeline.outcome import MAX_LINES, MAX_TEXT
from pipeline.route import Resolver
from tests.support.peer import Do, Peer
from tests.support.servers import eventually
from tests.workers.conftest import DOMAIN, PARTITION, running
from workers.deliverer.role import Deliverer

INTERVAL = 920
PATIENCE = "1500ms"
"""For a server that stalls; much longer than one that works takes on a busy machine."""

OPENING, ENVELOPE, DOT = ("greeting", "ehlo"), ("mail", "rcpt", "data"), ("dot",)
PHASES = (*OPENING, *ENVELOPE, *DOT)

BROKEN = {
    "stalls": Do(b"", after="stall"),
    "closes": Do(b"", after="close"),
    "resets": Do(b"", after="reset"),
    "is cut off in its words": Do(b"250-2.0.0 I thi", after="close"),
    "talks nonsense": Do(b"HTTP/1.1 400 Bad Request"),
    "answers with octets": Do(b"\x16\x03\x01\x00\xff\x00"),
    "says an endless line": Do(b"250 " + b"x" * 20_000),
    "says endless lines": Do(b"250-x\r\n" * 200_000),
}
"""Nothing that could be understood."""
CLOSING = {
    "says 421": Do(b"421 4.3.2 going down"),
    "says 421 in lines and closes": Do(b"421-4.3.2 I am\r\n421 4.3.2 going down", after="close"),
}
LATER = {
    "says 450": Do(b"450 4.2.1 come again"),
    "says 450 in lines": Do(b"450-4.2.1 come\r\n450-4.2.1 again\r\n450 4.2.1 please"),
    "says 450 in Latin-1": Do(b"450 4.2.1 sp\xe4ter"),
    "says 450 at length": Do(b"450-4.2.1 " + b"\r\n450-4.2.1 ".join([b"word " * 90] * 150) + b"\r\n450 4.2.1 again"),
}
NEVER = {
    "says 550": Do(b"550 5.1.1 no such user"),
    "says 550 in UTF-8": Do("550 5.1.1 kein Empfänger: no such user".encode()),
    "says 550 in lines": Do(b"550-5.1.1 no such user\r\n550 5.1.1 here"),
}
GOOD = {
    "says yes in lines": b"%d-2.0.0 well\r\n%d 2.0.0 yes",
    "says yes in UTF-8": "%d 2.0.0 schön".encode(),
    "says yes with a tab": b"%d\tyes",
    "says yes in octets": Do,
}

UNTOUCHED = ("the domain waits and its mail is untouched", ["", ""], 1)
ALONE = ("the message waits alone", ["Deferred", "Delivered"], 0)
BOTH = ("the message waits, and so does its domain", ["", "Deferred"], 1)
RETURNED = ("the message is returned", ["Delivered", "Failed"], 0)
NOTHING = ("nothing comes of it", ["Delivered", "Delivered"], 0)

EXPECTED = {
    **dict.fromkeys(product(OPENING, BROKEN | CLOSING | LATER | NEVER), UNTOUCHED),
    **dict.fromkeys(product((*ENVELOPE, *DOT), BROKEN | LATER), ALONE),
    **dict.fromkeys(product((*ENVELOPE, *DOT), CLOSING), BOTH),
    **dict.fromkeys(product((*ENVELOPE, *DOT), NEVER), RETURNED),
    **dict.fromkeys(product(PHASES, GOOD), NOTHING),
    # A server that refuses EHLO for good may still speak HELO (RFC 5321 3.2).
    **{("ehlo", how): NOTHING for how in NEVER},
}
TOO_LONG = {("greeting", "says 450 at length"), ("ehlo", "says 450 at length")}
"""67 KB in place of a greeting are more than aiosmtplib reads."""
CODES = {"greeting": 220, "data": 354}


def misbehaviour(phase, how):
    if how not in GOOD:
        return (BROKEN | CLOSING | LATER | NEVER)[how]
    if how == "says yes in octets":
        return Do(bytewise=True)
    words = GOOD[how]
    return Do(words.replace(b"%d", b"%d" % CODES.get(phase, 250)))


async def kinds(wiring, *ids):
    """What happened to each message after it was queued, as one word; sorted."""
    return sorted(["".join((await wiring.kinds(message_id))[3:]) for message_id in ids])


async def outages(wiring):
    return [row.event for row in await wiring.events() if isinstance(row.event, RouteDeferred)]


@pytest.mark.parametrize(("phase", "how"), [pytest.param(*case, id=" ".join(case)) for case in EXPECTED])
async def test_each_misbehaviour_in_each_phase_has_one_outcome_and_the_other_message_is_delivered(parts, phase, how):
    _, expected, stops = EXPECTED[phase, how]
    async with Peer({phase: [misbehaviour(phase, how)]}, features=("8BITMIME",)) as peer:
        wiring = await parts(
            connections_per_server=1, keep_connection="50ms",
            **{f"{name}_timeout": PATIENCE for name in ("connect", "greeting", "reply", "data", "dot")},
        )  # fmt: skip
        await wiring.customer(f"127.0.0.1:{peer.port}")
        ids = [await wiring.queued(), await wiring.queued(b"Subject: y\r\n\r\nworld\r\n", f"ben@{DOMAIN}")]

        async def as_expected():
            return (await kinds(wiring, *ids), len(await outages(wiring))) == (expected, stops)

        async def all_done():
            return [await wiring.head(message_id) for message_id in ids] == [None, None]

        deliverer = None

        async def work(stop):
            nonlocal deliverer
            deliverer = Deliverer(wiring, Resolver(""), stop)
            await deliverer.run()

        async with running(work):
            await eventually(as_expected, within=20)
            wiring.forward(INTERVAL)
            deliverer.look_at(PARTITION, DOMAIN)
            await eventually(all_done, within=20)
        assert len(await outages(wiring)) == stops
        said = [row.event.attempt for row in await wiring.events() if isinstance(row.event, Deferred)]
        said += [attempt for outage in await outages(wiring) for attempt in outage.attempts]
        for attempt in said:
            assert attempt.stage == phase
            assert (attempt.code == 0) == (how in BROKEN or (phase, how) in TOO_LONG)
            assert attempt.unknown == (phase == "dot" and how in BROKEN)
            assert attempt.reply
            assert len(attempt.reply) <= MAX_TEXT
            assert attempt.reply.count("\n") <= MAX_LINES
            assert attempt.reply.replace("\n", "").isprintable()
            assert attempt.reply.isascii()


async def test_a_server_that_misbehaves_in_each_message_stops_its_domain_and_not_another_one(parts):
    async with Peer({"data": Do(b"", after="close")}) as bad, Peer() as good:
        wiring = await parts()
        await wiring.customer(f"127.0.0.1:{bad.port}")
        await wiring.customer(f"127.0.0.1:{good.port}", domain="good.test")
        for _ in range(5):
            await wiring.queued()
        others = [await wiring.queued(b"Subject: x\r\n\r\n", "anna@good.test") for _ in range(5)]

        async def done():
            finished = [await wiring.head(message_id) is None for message_id in others]
            return all(finished) and len(await outages(wiring)) == 1

        async with running(lambda stop: Deliverer(wiring, Resolver(""), stop).run()):
            await eventually(done)
        assert await kinds(wiring, *others) == ["Delivered"] * 5
