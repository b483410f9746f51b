"""The books are compared with the messages that are really there, and only what is certain is reported as such."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import pytest

from pipeline.events import Delivered, Quarantined, Queued, Scanned
from pipeline.ids import new_id, partition_of
from pipeline.log import Log
from pipeline.state import Message, evolve
from projections import builds
from projections.base import Portion, advance, position
from projections.books import Books
from projections.readers import Mismatch, check_books
from tests.support.examples import ANNA, AT, BEN, DOMAIN, event, received
from tests.support.histories import legal, recorded, write_log

ID = new_id(AT, 0, 1)


class Heads:
    """Live messages as a dictionary; `meanwhile` happens after the first look at all of them."""

    def __init__(self, messages: dict[str, Message], meanwhile=None) -> None:
        self.messages = {name: message for name, message in messages.items() if message.live}
        self._meanwhile = meanwhile

    async def live(self, partition: int) -> AsyncIterator[Message]:
        for message in list(self.messages.values()):
            if partition_of(message.id) == partition:
                yield message
        if self._meanwhile is not None:
            await self._meanwhile()
            self._meanwhile = None

    async def read(self, message_ids: Sequence[str]) -> list[Message]:
        return [self.messages[name] for name in message_ids if name in self.messages]


async def fold_all(redis, log: Log) -> None:
    view, _ = await builds.to_fold(redis, 0, Books())
    reached = await position(redis, view)
    if entries := await log.read(0, reached, 10_000):
        assert await advance(redis, [Portion([view], reached, entries)]) == [True]


async def happen(redis, heads: Heads, *steps) -> None:
    """Facts about message ID, in the log and in its head."""
    message = heads.messages.get(ID)
    for step in steps:
        message = evolve(message, step, ID)
        await write_log(redis, recorded([(ID, step)]))
    if message is not None and message.live:
        heads.messages[ID] = message
    else:
        heads.messages.pop(ID, None)


@pytest.mark.parametrize("seed", range(3))
async def test_books_and_messages_agree(redis, log, seed):
    events, messages = legal(random.Random(seed), messages=30, steps=300)
    await write_log(redis, events)
    await fold_all(redis, log)
    assert await check_books(redis, 8, Heads(messages)) == []


async def test_a_message_that_the_books_do_not_know_is_named(redis, log):
    heads = Heads({})
    await fold_all(redis, log)
    heads.messages[ID] = evolve(None, received(ANNA, BEN), ID)
    expected = Mismatch(id=ID, domain=DOMAIN, message={ANNA: "waiting", BEN: "waiting"}, books={}, certain=True)
    assert await check_books(redis, 1, heads) == [expected]


async def test_a_message_that_is_gone_without_an_outcome_is_named(redis, log):
    heads = Heads({})
    await happen(redis, heads, received(ANNA))
    await fold_all(redis, log)
    heads.messages.clear()
    expected = Mismatch(id=ID, domain="", message={}, books={ANNA: "waiting"}, certain=True)
    assert await check_books(redis, 1, heads) == [expected]


async def test_a_message_in_another_place_than_the_books_say_is_named(redis, log):
    heads = Heads({})
    await happen(redis, heads, received(ANNA))
    await fold_all(redis, log)
    heads.messages[ID] = evolve(evolve(heads.messages[ID], event(Scanned), ID), event(Quarantined), ID)
    (mismatch,) = await check_books(redis, 1, heads)
    assert (mismatch.message, mismatch.books) == ({ANNA: "quarantined"}, {ANNA: "waiting"})


async def test_mail_that_moves_while_it_is_looked_at_is_no_mismatch(redis, log):
    async def delivered() -> None:
        await happen(redis, heads, event(Scanned), event(Queued), event(Delivered))
        await fold_all(redis, log)

    heads = Heads({}, delivered)
    await happen(redis, heads, received(ANNA))
    await fold_all(redis, log)
    assert await check_books(redis, 1, heads) == []


async def test_a_message_that_arrives_while_all_are_looked_at_is_no_mismatch(redis, log):
    async def arrived() -> None:
        await happen(redis, heads, received(ANNA))
        await fold_all(redis, log)

    heads = Heads({}, arrived)
    await fold_all(redis, log)
    assert await check_books(redis, 1, heads) == []


async def test_when_the_books_do_not_catch_up_in_time_nothing_is_certain(redis, log):
    heads = Heads({})
    await fold_all(redis, log)
    await happen(redis, heads, received(ANNA))
    (mismatch,) = await check_books(redis, 1, heads, patience=0.0)
    assert not mismatch.certain
