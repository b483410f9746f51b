"""Teaching the classifier: what is said of a message counts once, can be taken back, and is a fact in the log."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_network

import pytest

from pipeline import keys
from pipeline.events import Client, Learned
from pipeline.history import History
from pipeline.ids import partition_for
from pipeline.log import Log
from pipeline.scanning.bayes.tokens import SIZE, unpacked
from pipeline.settings import Settings
from tests.support.examples import DOMAIN
from tests.support.topologies import all_keys
from workers.learning import Learning, learning_key

MAIL = b"From: A <a@b.example>\r\nMessage-ID: <1@b.example>\r\nSubject: cheap pills\r\n\r\nBuy them today\r\n"
OTHER = b"From: B <b@c.example>\r\nMessage-ID: <2@c.example>\r\nSubject: minutes\r\n\r\nof our meeting on Monday\r\n"


class Wired:
    """What a command or a worker brings along."""

    def __init__(self, store) -> None:
        self.store = store
        self.log = self.intake_log = Log(store.redis)
        self.history = History(self.log)
        self.clock = time.time_ns
        self.hostname = "mx.gate.example"
        self.settings = Settings(trusted_relays=(ip_network("198.51.100.1"),))


@pytest.fixture
def wiring(store) -> Wired:
    return Wired(store)


@pytest.fixture
def learning(wiring) -> Learning:
    return Learning(wiring, by="cli:anna")


async def events(wiring, domain=DOMAIN):
    return [one.event for one in await wiring.log.read(partition_for(domain, wiring.store.partitions), "0", 100)]


async def test_what_is_learnt_is_a_fact_without_a_word_of_the_message(wiring, learning):
    assert await learning.learn(DOMAIN, MAIL, spam=True, message_id="an id", how="reported")
    (event,) = await events(wiring)
    assert isinstance(event, Learned)
    assert (event.domain, event.spam, event.by, event.how, event.message, event.undone) == (
        DOMAIN, True, "cli:anna", "reported", "an id", False,
    )  # fmt: skip
    assert len(event.tokens) % SIZE == 0
    assert len(event.tokens) > 5 * SIZE
    assert b"pills" not in event.tokens


async def test_a_message_counts_once_however_it_came_here(wiring, learning):
    assert await learning.learn(DOMAIN, MAIL, spam=True)
    traced = b"Received: by us\r\nSubject: [SPAM] cheap pills\r\n" + MAIL.replace(b"Subject: cheap pills\r\n", b"")
    for again in (MAIL, MAIL.replace(b"\r\n", b"\n"), traced):
        assert not await learning.learn(DOMAIN, again, spam=True, how="released")
    assert len(await events(wiring)) == 1


async def test_said_otherwise_it_is_moved_in_one_step(wiring, learning):
    await learning.learn(DOMAIN, MAIL, spam=True)
    assert await learning.learn(DOMAIN, MAIL, spam=False, how="released")
    first, back, second = await events(wiring)
    assert (back.undone, back.spam, back.tokens) == (True, True, first.tokens)
    assert (second.undone, second.spam, second.at) == (False, False, back.at)


async def test_what_is_forgotten_is_what_was_learnt_even_if_the_message_has_other_tokens_now(wiring, learning):
    await learning.learn(DOMAIN, MAIL, spam=True)
    (first,) = await events(wiring)
    assert await learning.forget(DOMAIN, MAIL.replace(b"cheap", b"other"))
    assert (await events(wiring))[1].tokens == first.tokens
    assert not await learning.forget(DOMAIN, MAIL)
    assert await learning.learn(DOMAIN, MAIL, spam=True)
    assert len(await events(wiring)) == 3


async def test_domains_learn_apart_from_each_other_and_from_all(wiring, learning):
    for domain in (DOMAIN, "other.test", ""):
        assert await learning.learn(domain, MAIL, spam=True)
    assert not await learning.forget("third.test", MAIL)
    assert [event.domain for event in await events(wiring, "")] == [""]


async def test_several_people_at_once_count_as_one(wiring, learning):
    done = await asyncio.gather(*(learning.learn(DOMAIN, MAIL, spam=True) for _ in range(8)))
    assert done.count(True) == 1
    assert len(await events(wiring)) == 1


async def test_different_messages_are_learnt_side_by_side(learning):
    assert await asyncio.gather(learning.learn(DOMAIN, MAIL, spam=True), learning.learn(DOMAIN, OTHER, spam=False)) == [
        True,
        True,
    ]


async def test_what_was_said_of_a_message_is_not_remembered_for_ever(store, learning):
    await learning.learn(DOMAIN, MAIL, spam=True)
    (head,) = await all_keys(store.redis, "gp:*:learned:*")
    assert 0 < await store.redis.pttl(head) <= 180 * 86_400_000


async def test_the_key_of_the_tokens_is_the_stores_own_and_stays(store):
    first = await learning_key(store.redis)
    assert len(first) == 32
    assert await learning_key(store.redis) == first == await store.redis.hget(keys.STORE, "learning")


CLIENT = Client(address="192.0.2.7", helo="out.b.example")
OURS = b"Received: from %s ([%s]) by mx.gate.example\r\n\twith ESMTPS id 0k3x9v2qd7m1c0f5tz8a03; Mon, 30 Nov 2026 10:00:00 +0000\r\n"
FORGED = OURS % (b"bank.example", b"203.0.113.9")


@pytest.mark.parametrize(
    "way",
    [
        OURS % (b"out.b.example", b"192.0.2.7") + FORGED,
        b"Received: from mx.gate.example (mx [10.0.0.1]) by inner.example; x\r\n"
        + OURS % (b"out.b.example", b"192.0.2.7"),
        OURS % (b"relay.example", b"198.51.100.1")
        + b"Received: from out.b.example (unknown [192.0.2.7]) by relay.example; x\r\n",
    ],
)
async def test_of_what_we_passed_on_the_client_is_learnt_as_our_received_field_says(wiring, learning, way):
    await learning.learn(DOMAIN, MAIL, spam=True, client=CLIENT)
    (event,) = await events(wiring)
    assert await learning.tokens(way + MAIL) == unpacked(event.tokens)
    assert len(await learning.tokens(MAIL)) < len(unpacked(event.tokens))


async def test_nobody_is_learnt_as_client_whom_a_stranger_names(learning):
    stranger = b"Received: from bank.example (bank.example [203.0.113.9]) by mx.b.example; x\r\n"
    assert await learning.tokens(stranger + MAIL) == await learning.tokens(MAIL)
