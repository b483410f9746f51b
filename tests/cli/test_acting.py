"""Every command that changes or reveals something leaves an event that says who did it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cyclopts import App

from cli.app import build
from cli.session import actor
from pipeline import keys, parked
from pipeline.egress import Egress
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


def entries(tmp_path: Path) -> str:
    file = tmp_path / "entries.txt"
    file.write_text(f"{ENTRY}\n")
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


def kept(shop: Shop) -> str:
    return shop.quarantined()


def scheduled(shop: Shop) -> None:
    words = ["--every", "week", "--to", "boss@elsewhere.test", "--name", "weekly"]
    done = shop.run("report", "schedule", "add", DOMAIN, *words)
    assert done.code == 0, done.err


def synced(shop: Shop) -> None:
    done = shop.run("sync", "add", "csv", "staff", "--file", addresses(Path.cwd()))
    assert done.code == 0, done.err


def planned(shop: Shop) -> str:
    message_id = shop.queued()
    assert shop.run("queue", "delete", message_id, "--reason", "x", "--yes").code == 0
    return message_id


def blocked(shop: Shop) -> None:
    assert shop.run("policy", "block", ENTRY).code == 0


def unwanted(shop: Shop) -> None:
    """An address of ours that a server does not want."""

    async def work(wiring) -> None:
        egress = Egress(wiring.store.redis, wiring.settings, wiring.clock)
        await egress.block("mx.example.test:25", "192.0.2.10", "go away")

    shop.do(work)


def nothing(shop: Shop) -> None:
    del shop


Before = Callable[[Shop], object]
Words = Callable[[object, Path], list[str]]

COMMANDS: dict[str, tuple[Before, Words, str]] = {
    "domain add": (nothing, lambda x, t: ["new.test", "--route", "mx.new.test:25"], "domain_set"),
    "domain set": (nothing, lambda x, t: [DOMAIN, "--language", "de"], "domain_set"),
    "domain hold": (nothing, lambda x, t: [DOMAIN, "--reason", "x"], "domain_set"),
    "domain resume": (lambda s: s.run("domain", "hold", DOMAIN, "--reason", "x"), lambda x, t: [DOMAIN], "domain_set"),
    "domain move": (alias_of, lambda x, t: ["second.test", "--under", DOMAIN], "domain_set"),
    "domain merge": (alias_of, lambda x, t: ["second.test", DOMAIN, "--yes"], "domain_set"),
    "domain remove": (alias_of, lambda x, t: ["second.test", "--yes"], "domain_removed"),
    "address add": (nothing, lambda x, t: [f"new@{DOMAIN}"], "addresses_set"),
    "address remove": (nothing, lambda x, t: [ANNA], "addresses_removed"),
    "address import": (nothing, lambda x, t: [addresses(t)], "addresses_set"),
    "policy set": (nothing, lambda x, t: ["--domain", DOMAIN, "--action", "spam=tag"], "domain_set"),
    "policy unset": (
        lambda s: s.run("policy", "set", "--domain", DOMAIN, "--action", "spam=tag"),
        lambda x, t: ["--domain", DOMAIN, "spam"], "domain_set",
    ),
    "policy allow": (nothing, lambda x, t: [ENTRY, "--domain", DOMAIN], "rules_set"),
    "policy block": (nothing, lambda x, t: [ENTRY], "rules_set"),
    "policy remove": (blocked, lambda x, t: [ENTRY], "rules_removed"),
    "policy import": (nothing, lambda x, t: [entries(t), "--as", "block", "--domain", DOMAIN], "rules_set"),
    "directory revert": (
        lambda s: s.run("domain", "set", DOMAIN, "--language", "de"), lambda x, t: ["3", "--yes"], "domain_set",
    ),
    "sync add csv": (nothing, lambda x, t: ["staff", "--file", addresses(t)], "sync_set"),
    "sync pause": (synced, lambda x, t: ["staff"], "sync_set"),
    "sync run": (synced, lambda x, t: ["staff"], "sync_ran"),
    "sync remove": (synced, lambda x, t: ["staff", "--yes"], "sync_removed"),
    "report schedule add": (nothing, lambda x, t: [DOMAIN, "--every", "week", "--to", "boss@elsewhere.test"], "domain_set"),
    "report schedule remove": (scheduled, lambda x, t: [DOMAIN, "weekly"], "domain_set"),
    "report schedule run": (scheduled, lambda x, t: [DOMAIN, "weekly"], "report_sent"),
    "queue hold": (lambda s: s.queued(), lambda x, t: [str(x), "--reason", "x"], "held"),
    "queue resume": (held, lambda x, t: [str(x)], "resumed"),
    "queue retry": (lambda s: s.queued(), lambda x, t: [DOMAIN], "retried"),
    "queue redirect": (
        lambda s: s.queued(), lambda x, t: [str(x), "--to", f"ben@{DOMAIN}", "--reason", "x", "--yes"], "redirected",
    ),
    "queue bounce": (lambda s: s.queued(), lambda x, t: [str(x), "--reason", "x", "--yes"], "held"),
    "queue delete": (lambda s: s.queued(), lambda x, t: [str(x), "--reason", "x", "--yes"], "held"),
    "queue undo": (planned, lambda x, t: [str(x)], "resumed"),
    "quarantine show": (kept, lambda x, t: [str(x)], "looked"),
    "quarantine preview": (kept, lambda x, t: [str(x)], "looked"),
    "quarantine download": (kept, lambda x, t: [str(x), "--to", str(t)], "looked"),
    "quarantine release": (kept, lambda x, t: [str(x), "--virus", "--yes"], "released"),
    "quarantine delete": (kept, lambda x, t: [str(x), "--yes"], "discarded"),
    "quarantine report": (nothing, lambda x, t: [mail(t), "--domain", DOMAIN], "reported"),
    "learn spam": (nothing, lambda x, t: [mail(t), "--domain", DOMAIN], "learned"),
    "learn ham": (nothing, lambda x, t: [mail(t), "--domain", DOMAIN], "learned"),
    "bounce preview": (lambda s: s.queued(), lambda x, t: [str(x)], "acted"),
    "parked retry": (set_aside, lambda x, t: [str(x)], "acted"),
    "replay": (damaged, lambda x, t: ["books", "--mend"], "acted"),
    "sources forgive": (unwanted, lambda x, t: ["192.0.2.10"], "acted"),
    "alerts silence": (nothing, lambda x, t: ["down", DOMAIN, "--for", "2h"], "alerts_silenced"),
    "alerts speak": (
        lambda s: s.run("alerts", "silence", "down", DOMAIN, "--for", "2h"), lambda x, t: ["down", DOMAIN],
        "alerts_silenced",
    ),
    "alerts test": (nothing, lambda x, t: [], "acted"),
    "audit export": (nothing, lambda x, t: [], "exported"),
}  # fmt: skip
LIKE_THESE = {
    "learn both", "sync add ldap", "sync add cpanel", "sync approve", "sync reject", "sync resume", "archive drop", "test",
}  # fmt: skip
"""Do as one of these does, or need another server: their own tests are about that."""
SHOW = {
    "address list", "address show", "address tried", "alerts", "alerts history", "alerts rules", "archive", "archive verify",
    "audit key", "audit log", "audit verify", "books", "brands explain", "brands table", "check", "completion", "config sample",
    "config show", "directory history", "directory show", "domain list", "domain show", "engines", "failures", "learn status",
    "parked list", "policy explain", "policy export", "policy list", "policy show", "quarantine list", "quarantine reports",
    "quarantine search", "quarantine stats", "queue", "queue destinations", "queue list", "refused", "replies backtest",
    "replies explain", "replies list", "replies table", "replies unknown", "report outbound", "report schedule list", "scan",
    "sources list", "sync history", "sync list", "sync preview", "sync show", "trace", "version", "views",
}  # fmt: skip
"""Change nothing, and show metadata at most."""
MACHINES = {"up", "worker", "demo", "archive run"}
"""What the gateway does by itself."""


def commands(app: App, *chain: str) -> Iterator[str]:
    below = [name for name in app if not name.startswith("-")]
    if not below or app.default_command is not None:
        yield " ".join(chain)
    for name in below:
        yield from commands(app[name], *chain, name)


def test_of_every_command_it_is_known_whether_it_leaves_an_event():
    assert set(commands(build())) == {*COMMANDS, *LIKE_THESE, *SHOW, *MACHINES}


@pytest.mark.parametrize("name", COMMANDS)
def test_who_did_it_is_in_the_log(shop: Shop, tmp_path: Path, me: str, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GATEPOST_ALERT_MAIL", "ops@elsewhere.test")
    before, words, kind = COMMANDS[name]
    shop.add("anna", "ben")
    made = before(shop)
    known = actions(shop)
    done = shop.run(*name.split(), *words(made, tmp_path))
    assert not done.err or "terminal" not in done.err, done.err
    fresh = actions(shop)
    for one in known:
        fresh.remove(one)
    assert (kind, me) in fresh, (done.code, done.out, done.err)


def test_every_kind_of_event_that_names_a_person_is_in_the_log_of_actions():
    for example in ONE_OF_EACH:
        if getattr(example, "by", "") and not isinstance(example, DirectoryEvent):
            assert term(ACTOR, example.by) in terms("x", example), example
