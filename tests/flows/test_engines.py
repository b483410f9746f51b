"""A whole gateway with real engines: what they find, and what happens to mail when one is killed or stands still under load."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import smtplib
import zipfile
from collections.abc import Callable, Iterator, Mapping

import msgspec
import pytest

from pipeline.directory import Domain
from pipeline.events import Delivered, MessageEvent, Postponed, Quarantined, Scanned
from pipeline.scanning.engines.board import Board
from pipeline.scanning.engines.health import together
from tests.support import engines
from tests.support.customer import Customer, customer
from tests.support.dns import names_in_a_thread
from tests.support.engines import EngineServer
from tests.support.gateway import Gateway, gateway, send_on
from tests.support.mail import GTUBE, HEAD, attachment, with_parts
from tests.support.servers import wait_until
from workers.wiring import Wiring

RULES = ("pass", "wait", "quarantine")
HARMLESS = HEAD + b"\r\nAt noon?\r\n"
MARK = b"\r\nX-Gatepost-Not-Scanned-By: "
OVER = (Delivered, Quarantined)
SENDERS = {
    (name, kind): (value,)
    for name in ("a.example", "elsewhere.test")
    for kind, value in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("MX", f"10 {name}"))
}
"""Names that Rspamd looks up; of one that does not exist it waits for a better answer."""


class Setup(msgspec.Struct):
    """A gateway with one engine, and a domain for each rule."""

    name: str
    engine: EngineServer
    running: Gateway
    server: Customer

    def state(self) -> str:
        """As `gatepost engines` shows it."""
        return asyncio.run(self._state())

    async def _state(self) -> str:
        wiring = await Wiring.connect(self.running.settings())
        try:
            return together(await Board(wiring.store).read(), (self.name,))[0].state
        finally:
            await wiring.close()

    async def add_domains(self) -> None:
        """One for each rule, where everybody gets mail."""
        wiring = await Wiring.connect(self.running.settings())
        try:
            for rule in RULES:
                domain = Domain(name=f"{rule}.test", route=(self.server.route,), catch_all=True, engines_missing=rule)
                await wiring.directory.set_domain(domain, by="test", now=wiring.clock())
        finally:
            await wiring.close()

    def send(self, number: int, content: bytes = HARMLESS) -> dict[str, str]:
        """`number` messages in turns to the domains: id -> rule."""
        with smtplib.SMTP("127.0.0.1", self.running.port, timeout=30) as client:
            client.ehlo("sender.test")
            rules = [RULES[turn % 3] for turn in range(number)]
            return {send_on(client, content, f"anna@{rule}.test"): rule for rule in rules}

    def fates(self) -> dict[str, list[MessageEvent]]:
        return self.running.message_events()

    def wait(
        self, ids: Mapping[str, str], condition: Callable[[list[MessageEvent]], object], within: float = 60
    ) -> None:
        """Until it is true of the history of every message."""
        wait_until(
            lambda: all(condition(found.get(one, [])) for found in [self.fates()] for one in ids),
            within=within, what="the fate of all messages",
        )  # fmt: skip


def over(events: list[MessageEvent]) -> bool:
    return bool(events) and isinstance(events[-1], OVER)


@contextlib.contextmanager
def _engine(name: str) -> Iterator[EngineServer]:
    if name == "clamav":
        with engines.clamd() as server:
            yield server
    elif name == "spamassassin":
        with engines.spamd() as server:
            yield server
    else:
        with names_in_a_thread(SENDERS) as names, engines.rspamd(f"127.0.0.1:{names.port}") as server:
            yield server


@contextlib.contextmanager
def _setup(name: str, deadline: str) -> Iterator[Setup]:
    settings = {name: "", f"{name}_deadline": deadline, "scan_budget": "10s", "engines_retry": "1s"}
    with _engine(name) as engine, customer() as server, gateway(**{**settings, name: engine.address}) as running:
        one = Setup(name, engine, running, server)
        for rule in RULES:
            # The rule comes with the domain: workers look at once for a domain that they do not know, and within a second for what changes.
            running.cli("domain", "add", f"{rule}.test", "--route", server.route, "--engines-missing", rule)
            running.cli("address", "add", f"anna@{rule}.test")
        wait_until(lambda: one.state() == "ok", within=30, what=f"{name} to be seen")
        yield one


@pytest.fixture(scope="module")
def clamav():
    with _setup("clamav", "1s") as one:
        yield one


def _outage(one: Setup, number: int, stop: Callable[[], None], back: Callable[[], None]) -> None:
    """Mail comes all the while: an engine goes away and comes back; nothing is lost, and each rule is kept to."""
    already = len(one.server.arrived)
    ids = one.send(number)
    stop()
    ids |= one.send(number)
    unseen = {name: rule for name, rule in ids.items() if rule != "wait"}
    one.wait(unseen, over)
    wait_until(lambda: one.state() == "away", within=30, what="the outage to show")
    during = one.send(3)
    ids |= during
    one.wait(during, lambda events: isinstance(events[-1], (*OVER, Postponed)) if events else False)
    back()
    ids |= one.send(number)
    one.wait(ids, over, within=90)
    wait_until(lambda: one.state() != "away", within=30, what="it to be back")
    _check_rules(one, ids, already)


def _check_rules(one: Setup, ids: Mapping[str, str], already: int) -> None:
    fates = one.fates()
    delivered = {name for name in ids if isinstance(fates[name][-1], Delivered)}
    one.server.wait(already + len(delivered))
    arrived = {mail.id: mail for mail in one.server.arrived[already:]}
    assert set(arrived) == delivered
    assert len(arrived) == len(one.server.arrived) - already, "something came twice"
    missed = {name: next(event for event in fates[name] if isinstance(event, Scanned)).missing for name in ids}
    for name, rule in ids.items():
        if rule == "quarantine" and missed[name]:
            kept = fates[name][-1]
            assert isinstance(kept, Quarantined)
            assert kept.reason.startswith(f"not scanned by {one.name} (")
            continue
        assert isinstance(fates[name][-1], Delivered)
        assert arrived[name].original == HARMLESS
        assert (MARK + one.name.encode() + b"\r\n" in arrived[name].content) is bool(missed[name])
        assert rule == "pass" or not missed[name]
    for rule in ("pass", "quarantine"):
        assert any(missed[name] for name in ids if ids[name] == rule)
    assert any(isinstance(event, Postponed) for name in ids if ids[name] == "wait" for event in fates[name])
    assert one.running.cli("books").returncode == 0


def test_a_virus_in_an_archive_that_only_clamd_knows_is_kept(clamav):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("letter.txt", engines.BAD_LETTER)
    message_id = clamav.running.send(
        with_parts(attachment(file.getvalue(), "letter.zip", "application/zip")), "anna@pass.test"
    )
    clamav.running.wait_kinds(message_id, "Received", "Scanned", "Quarantined")
    scanned, kept = clamav.fates()[message_id][1:]
    assert isinstance(scanned, Scanned)
    assert isinstance(kept, Quarantined)
    assert (scanned.verdict, scanned.missing) == ("virus", ())
    assert any(finding.engine == "clamav" for finding in scanned.findings)
    assert "ClamAV found" in kept.reason


def test_mail_flows_by_each_domain_s_rule_while_clamd_is_killed_and_when_it_is_back(clamav):
    _outage(clamav, 90, clamav.engine.kill, clamav.engine.start)


def test_mail_flows_by_each_domain_s_rule_while_clamd_stands_still_and_when_it_goes_on(clamav):
    _outage(clamav, 60, clamav.engine.freeze, clamav.engine.thaw)


def test_what_waits_is_told_everywhere_and_a_killed_scanner_loses_none_of_it(clamav):
    clamav.engine.kill()

    def known() -> bool:
        """Workers learn of a domain's rule within a second."""
        (name,) = (name for name, rule in clamav.send(3).items() if rule == "wait")
        clamav.wait({name: "wait"}, lambda events: any(isinstance(event, (*OVER, Postponed)) for event in events))
        return any(isinstance(event, Postponed) for event in clamav.fates()[name])

    wait_until(known, within=60, what="the rule of each domain to be known")
    ids = {name: rule for name, rule in clamav.send(60).items() if rule == "wait"}
    clamav.wait(ids, lambda events: any(isinstance(event, Postponed) for event in events))
    running = clamav.running
    # They go back to the scanners again and again, to be tried: how many wait at one moment is any number of them.
    wait_until(lambda: running.json("queue")["waiting_for_engines"]["messages"], within=60, what="some to wait")
    for words in (("queue",), ("queue", "list"), ("trace", next(iter(ids))), ("check",)):
        wait_until(lambda words=words: "clamav (" in running.cli(*words, ok=False).stdout, within=60, what=str(words))
    wait_until(lambda: running.json("engines", ok=False)["waiting"], within=60, what="some to be told of")
    assert running.cli("engines", ok=False).returncode == 1
    clamav.engine.start()
    for _ in range(3):
        for pid, role in running.children().items():
            if role == "scanner":
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "scanner" in running.children().values(), what="a new scanner")
    clamav.wait(ids, over, within=90)
    fates = clamav.fates()
    assert all(isinstance(fates[name][-1], Delivered) for name in ids)
    wait_until(lambda: set(ids) <= {mail.id for mail in clamav.server.arrived}, what="all of them")
    assert len({mail.id for mail in clamav.server.arrived}) == len(clamav.server.arrived)
    assert running.cli("books").returncode == 0


def test_gatepost_engines_gives_each_engine_what_it_has_to_find(clamav):
    clamav.wait(clamav.send(3), over)
    wait_until(lambda: clamav.state() == "ok", within=30, what="no scanner that saw it away")
    shown = clamav.running.json("engines", "--test")
    assert {(trial["engine"], trial["message"], trial["passed"]) for trial in shown["trials"]} == {
        ("builtin", "harmless", True), ("builtin", "EICAR", True), ("builtin", "GTUBE", True),
        ("clamav", "harmless", True), ("clamav", "EICAR", True),
    }  # fmt: skip

    def measured() -> bool:
        rows = {one["name"]: one for one in clamav.running.json("engines")["engines"]}
        return all(rows[name]["messages"] >= 3 and rows[name]["median"] > 0 for name in ("builtin", "clamav"))

    wait_until(measured, within=30, what="what was scanned to show")
    table = clamav.running.cli("engines").stdout
    assert clamav.engine.address not in table or "last error" in table
    assert "good" in clamav.running.cli("check", ok=False).stdout


@pytest.mark.parametrize(("name", "deadline", "number"), [("rspamd", "2s", 21), ("spamassassin", "4s", 9)])
def test_mail_flows_while_another_engine_is_killed_or_stands_still_and_it_finds_gtube(name, deadline, number):
    with _setup(name, deadline) as one:
        bad = one.send(3, HEAD + b"\r\n" + GTUBE + b"\r\n")
        one.wait(bad, over)
        for events in (one.fates()[message_id] for message_id in bad):
            (scanned,) = (event for event in events if isinstance(event, Scanned))
            assert any(finding.engine == name and finding.score >= 5 for finding in scanned.findings)
            assert isinstance(events[-1], Quarantined)
        _outage(one, number, one.engine.kill, one.engine.start)
        _outage(one, number, one.engine.freeze, one.engine.thaw)
