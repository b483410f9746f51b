"""Sending what we write ourselves."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.events import Received
from pipeline.ownmail import Letter, id_of
from pipeline.steps import Step
from tests.workers.conftest import PARTITION
from workers import ownmail
from workers.consume import Entry
from workers.janitor import Janitor

BOSS = "boss@elsewhere.test"
SUBJECT = "!rule:what"


def step(effects, expected: int = 0) -> Step:
    return Step(
        head=f"gp:{{{PARTITION}}}:x", log=keys.log(PARTITION), subject=SUBJECT, expected=expected, events=(b"\x80",), state=b"x",
        effects=effects,
    )  # fmt: skip


async def janitor_turn(wiring) -> None:
    janitor = Janitor(wiring)
    rows = await wiring.store.redis.xrange(keys.outbox(PARTITION))
    await janitor.send_bounces([Entry(PARTITION, keys.outbox(PARTITION), row.decode(), fields) for row, fields in rows])


@pytest.mark.parametrize("size", [100, 400_000])
async def test_what_a_step_promises_becomes_one_message_whatever_its_size(parts, size):
    wiring = await parts()
    body = b"Subject: x\r\n\r\n" + b"x" * size
    message_id = id_of(BOSS, 8, wiring.clock(), "cause")
    event = ownmail.received(wiring, BOSS, origin="alert", size=len(body), now=wiring.clock())
    effects = await ownmail.promise(wiring, PARTITION, SUBJECT, message_id, event, body)
    await wiring.log.commit(step(effects))
    await janitor_turn(wiring)
    message = await wiring.head(message_id)
    assert (message.sender, message.origin, message.domain) == ("", "alert", "elsewhere.test")
    assert bytes((await wiring.bodies.get(message_id))[:]) == body
    assert await wiring.store.redis.xlen(keys.outbox(PARTITION)) == 0
    assert await wiring.store.redis.scard(keys.promised(PARTITION)) == 0


async def test_what_is_sent_at_once_is_a_message(parts):
    wiring = await parts()
    message_id = await ownmail.send(wiring, Letter(to=BOSS, subject="hello", text="x"), origin="report")
    (row,) = await wiring.events(message_id)
    assert isinstance(row.event, Received)
    assert b"Subject: hello\r\n" in await wiring.bodies.get(message_id)
