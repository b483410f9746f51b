"""Every command that changes or reveals something leaves an event that says who did it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.session import actor
from pipeline import keys, parked
from pipeline.events import DirectoryEvent
from pipeline.ids import partition_for
from pipeline.log import decode_entry
from pipeline.terms import ACTOR, term, terms
from projections.builds import live_prefixes
from tests.cli.conftest import ANNA, DOMAIN, Shop
from tests.support.examples import ONE_OF_EACH

ENTRY = "newsletter@partner.test"


def actions(shop: Shop) -> list[tuple[str, str]]:
    """(tag, by) of all events in all logs that say who did it."""

    async def work(wiring) -> list[tuple[str, str]]:
        found = []
        for partition in range(-1, wiring.store.partitions):
            for entry, fields in await wiring.store.redis.xrange(keys.log(partition)):
                event = decode_entry(partition, entry, fields).event
                if getattr(event, "by", ""):
                    found.append((event.__struct_config__.tag, event.by))
        return found

    return shop.do(work)


@pytest.fixture
def me() -> str:
    return actor()


def mail(tmp_path: Path) -> str:
    file = tmp_path / "mail.eml"
    file.write_bytes(b"From: max@partner.test\r\nSubject: Cheap watches\r\n\r\nbuy watches now\r\n")
    return str(file)


def addresses(tmp_path: Path) -> str:
    file = tmp_path / "addresses.csv"
    file.write_text(f"dora@{DOMAIN}\n")
    return str(file)


def set_aside(shop: Shop) -> str:
    message_id = shop.queued()

    async def work(wiring) -> str:
        partition = partition_for(DOMAIN, wiring.store.partitions)
        await parked.park_message(wiring.store, partition, DOMAIN, message_id, "a fault of ours", now=wiring.clock())
        return f"queue:{partition}:{message_id}"

    return str(shop.do(work))


def damaged(shop: Shop) -> None:
    shop.queued()
    shop.fold()

    async def work(wiring) -> None:
        prefixes = await live_prefixes(wiring.store.redis, range(wiring.store.partitions), "books")
        for prefix in prefixes.values():
            if await wiring.store.redis.exists(f"{prefix}d:{DOMAIN}"):
                await wiring.store.redis.hincrby(f"{prefix}d:{DOMAIN}", "delivered", 1)

    shop.do(work)


def held(shop: Shop) -> str:
    message_id = shop.queued()
    assert shop.run("queue", "hold", message_id, "--reason", "x").code == 0
    return message_id


def alias_of(shop: Shop) -> None:
    shop.add(domain="second.test")


COMMANDS: dict[str, tuple[Callable[[Shop], object], Callable[[object, Path], list[str]], str]] = {
    "domain add": (lambda s: None, lambda x, t: ["domain", "add", "new.test", "--route", "mx.new.test:25"], "domain_set"),
    "domain set": (lambda s: None, lambda x, t: ["domain", "set", DOMAIN, "--language", "de"], "domain_set"),
    "domain hold": (lambda s: None, lambda x, t: ["domain", "hold", DOMAIN, "--reason", "x"], "domain_set"),
    "domain resume": (lambda s: s.run("domain", "hold", DOMAIN, "--reason", "x"), lambda x, t: ["domain", "resume", DOMAIN], "domain_set"),
    "domain remove": (alias_of, lambda x, t: ["domain", "remove", "second.test", "--yes"], "domain_removed"),
    "address add": (lambda s: None, lambda x, t: ["address", "add", f"new@{DOMAIN}"], "addresses_set"),
    "address remove": (lambda s: None, lambda x, t: ["address", "remove", ANNA], "addresses_removed"),
    "address import": (lambda s: None, lambda x, t: ["address", "import", addresses(t)], "addresses_set"),
    "policy set": (lambda s: None, lambda x, t: ["policy", "set", "--domain", DOMAIN, "--action", "spam=tag"], "domain_set"),
    "policy allow": (lambda s: None, lambda x, t: ["policy", "allow", ENTRY, "--domain", DOMAIN], "rules_set"),
    "policy block": (lambda s: None, lambda x, t: ["policy", "block", ENTRY], "rules_set"),
    "directory revert": (lambda s: s.run("domain", "set", DOMAIN, "--language", "de"), lambda x, t: ["directory", "revert", "3", "--yes"], "domain_set"),
    "queue hold": (lambda s: s.queued(), lambda x, t: ["queue", "hold", str(x), "--reason", "x"], "held"),
    "queue resume": (held, lambda x, t: ["queue", "resume", str(x)], "resumed"),
    "queue retry": (lambda s: s.queued(), lambda x, t: ["queue", "retry", DOMAIN], "retried"),
    "queue redirect": (lambda s: s.queued(), lambda x, t: ["queue", "redirect", str(x), "--to", f"ben@{DOMAIN}", "--reason", "x", "--yes"], "redirected"),
    "queue bounce": (lambda s: s.queued(), lambda x, t: ["queue", "bounce", str(x), "--reason", "x", "--yes"], "held"),
    "queue delete": (lambda s: s.queued(), lambda x, t: ["queue", "delete", str(x), "--reason", "x", "--yes"], "held"),
    "quarantine show": (lambda s: s.quarantined(), lambda x, t: ["quarantine", "show", str(x)], "looked"),
    "quarantine release": (lambda s: s.quarantined(), lambda x, t: ["quarantine", "release", str(x), "--virus", "--yes"], "released"),
    "quarantine delete": (lambda s: s.quarantined(), lambda x, t: ["quarantine", "delete", str(x), "--yes"], "discarded"),
    "quarantine report": (lambda s: None, lambda x, t: ["quarantine", "report", mail(t), "--domain", DOMAIN], "reported"),
    "learn spam": (lambda s: None, lambda x, t: ["learn", "spam", mail(t), "--domain", DOMAIN], "learned"),
    "bounce preview": (lambda s: s.queued(), lambda x, t: ["bounce", "preview", str(x)], "acted"),
    "parked retry": (set_aside, lambda x, t: ["parked", "retry", str(x)], "acted"),
    "replay --mend": (damaged, lambda x, t: ["replay", "books", "--mend"], "acted"),
    "alerts test": (lambda s: None, lambda x, t: ["alerts", "test"], "acted"),
    "audit export": (lambda s: None, lambda x, t: ["audit", "export"], "exported"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_who_did_it_is_in_the_log(shop: Shop, tmp_path: Path, me: str, name: str):
    before, words, kind = COMMANDS[name]
    shop.add("anna", "ben")
    made = before(shop)
    known = actions(shop)
    done = shop.run(*words(made, tmp_path))
    assert not done.err or "terminal" not in done.err, done.err
    fresh = actions(shop)
    for one in known:
        fresh.remove(one)
    assert (kind, me) in fresh, (done.code, done.out, done.err)


def test_every_kind_of_event_that_names_a_person_is_in_the_log_of_actions():
    for example in ONE_OF_EACH:
        if getattr(example, "by", "") and not isinstance(example, DirectoryEvent):
            assert term(ACTOR, example.by) in terms("x", example), example
