"""The scanner and our own store: what it does not know it waits for, and what it ends leaves nothing."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.directory import Domain
from pipeline.directory.policy import Policy
from pipeline.faults import StoreAwayError
from pipeline.ids import partition_of
from pipeline.rescan import Rescans
from pipeline.scanning.bayes.engine import Classifier
from pipeline.units import SECOND
from tests.support.examples import DOMAIN
from tests.support.mail import GTUBE, HEAD
from tests.workers.conftest import PARTITION
from tests.workers.test_engines import NoNames
from workers.consume import Entry, ensure_groups
from workers.janitor import Janitor
from workers.scanner import Scanner
from workers.scanning import engines


async def entries(wiring):
    redis, stream = wiring.store.redis, keys.scan(PARTITION)
    await ensure_groups(redis, [stream], keys.SCANNERS)
    rows = await redis.xreadgroup(keys.SCANNERS, "me", {stream: ">"}, count=100)
    return [Entry(PARTITION, stream, entry.decode(), fields) for _, found in rows for entry, fields in found]


class Away:
    """Counts in a store that cannot be reached."""

    def untrained(self, domain):
        return False

    async def trained(self, domain):
        return True

    async def key(self):
        return b"k" * 16

    async def of(self, domain, tokens):
        raise StoreAwayError("away")


async def test_a_message_is_not_judged_without_what_our_own_store_knows(parts):
    wiring = await parts()
    await wiring.customer("mx.example.test:25")
    message_id = await wiring.accept()
    (entry,) = await entries(wiring)
    failed = await Scanner(wiring, [Classifier(Away(), 5.0)], NoNames()).handle([entry])
    assert isinstance(failed[entry.id], StoreAwayError)
    assert await wiring.kinds(message_id) == ["Received"]
    assert await Scanner(wiring, [], NoNames()).handle([entry]) == {}
    assert await wiring.kinds(message_id) == ["Received", "Scanned", "Queued"]


@pytest.mark.parametrize("size", [10, 300_000])
async def test_what_policy_discards_leaves_no_body(parts, size):
    wiring = await parts()
    domain = Domain(name=DOMAIN, route=("mx.example.test:25",), policy=Policy(spam="discard"))
    await wiring.directory.set_domain(domain, by="test", now=1)
    await wiring.directory.refresh()
    content = HEAD + b"\r\n" + GTUBE + b"\r\n" + (b"x" * 70 + b"\r\n") * (size // 72)
    message_id = await wiring.accept(content)
    looking = engines(wiring, NoNames(), stored=False)
    assert await Scanner(wiring, looking, NoNames()).handle(await entries(wiring)) == {}
    assert await wiring.kinds(message_id) == ["Received", "Scanned", "Discarded"]
    await wiring.bodies.close()
    assert not await wiring.store.redis.exists(keys.body(partition_of(message_id), message_id))
    assert [name async for some in wiring.bodies.cold.listed(PARTITION, 1e12) for name in some] == []


async def test_entries_that_wait_for_an_engine_of_messages_that_are_finished_do_no_harm(parts):
    """Who died between two steps may leave a message in both places, or one of a message that has left."""
    wiring = await parts()
    await wiring.customer("mx.example.test:25")
    message_id = await wiring.accept()
    scanner = Scanner(wiring, [], NoNames())
    assert await scanner.handle(await entries(wiring)) == {}
    redis = wiring.store.redis
    await redis.zadd(keys.rescan(PARTITION), {message_id: 1, "0" * 22: 1})
    assert await Rescans(wiring.store).put_back(wiring.clock()) == 2
    assert await scanner.handle(await entries(wiring)) == {}
    assert await wiring.kinds(message_id) == ["Received", "Scanned", "Queued"]
    assert await redis.xlen(keys.scan(PARTITION)) == 0
    assert (await redis.xpending(keys.scan(PARTITION), keys.SCANNERS))["pending"] == 0


async def test_mail_of_a_domain_that_was_removed_stays_in_quarantine_and_ends_there(parts):
    wiring = await parts()
    await wiring.customer("mx.example.test:25")
    message_id = await wiring.accept(HEAD + b"\r\n" + GTUBE + b"\r\n")
    await wiring.directory.remove_domain(DOMAIN, by="test", now=wiring.clock())
    await wiring.directory.refresh()
    looking = engines(wiring, NoNames(), stored=False)
    assert await Scanner(wiring, looking, NoNames()).handle(await entries(wiring)) == {}
    assert await wiring.kinds(message_id) == ["Received", "Scanned", "Quarantined"]
    wiring.forward(31 * 86400)
    await Janitor(wiring).expire()
    assert (await wiring.kinds(message_id))[-1] == "Discarded"
    assert wiring.clock() > 31 * 86400 * SECOND
