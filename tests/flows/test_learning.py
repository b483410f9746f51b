"""Through a whole gateway: what people teach is found in the next message, for whom it was taught, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.events import Scanned
from tests.support.customer import Customer, customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import wait_until

TAUGHT, OTHER = "taught.test", "other.test"
SPAM = (
    "Dear winner, your lottery ticket has won {n},000 dollars, claim the prize today and pay only the small processing fee",
    "Claim your lottery prize today, dear winner: only a small fee and the {n},000 dollars of the jackpot are yours",
    "Lottery winner! The jackpot of {n},000 dollars waits, pay the processing fee and claim it today",
)
HAM = (
    "The minutes of our meeting on Monday are attached, please send corrections to item {n} before Friday noon",
    "Could we move the project meeting to room {n}? Corrections to the minutes can wait until Friday",
    "Attached are the drawings for item {n}, the customer asked for corrections before the next project meeting",
)


def mail(text: str, number: int) -> bytes:
    return (
        f"From: Sender <s{number}@elsewhere.test>\r\nTo: anna@{TAUGHT}\r\nSubject: {' '.join(text.split()[:3])}\r\n"
        f"Message-ID: <{number}.{len(text)}@elsewhere.test>\r\nDate: Mon, 30 Nov 2026 09:00:00 +0000\r\n\r\n"
        f"{text.format(n=number)}\r\n"
    ).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: Customer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    files = tmp_path_factory.mktemp("mail")
    with gateway(learning_minimum=5) as started:
        for domain in (TAUGHT, OTHER):
            started.add(server.route, f"anna@{domain}", domain=domain)
        for kind, texts in (("spam", SPAM), ("ham", HAM)):
            (files / kind).mkdir()
            for number in range(9):
                (files / kind / f"{number}.eml").write_bytes(mail(texts[number % 3], number + 1))
            started.cli("learn", kind, str(files / kind), "--domain", TAUGHT)
        wait_until(lambda: status(started)["ham"] == 9 == status(started)["spam"], what="the counts")
        yield started


def status(running: Gateway) -> dict[str, object]:
    tables = running.json("learn", "status", "--domain", TAUGHT)["tables"]
    return next((one for one in tables if one["domain"] == TAUGHT), {"spam": 0, "ham": 0})


def scanned(running: Gateway, content: bytes, domain: str) -> Scanned:
    message_id = running.send(content, f"anna@{domain}")
    wait_until(lambda: "Scanned" in running.kinds(message_id), within=20, what="the verdict")
    (event,) = [event for event in running.message_events()[message_id] if isinstance(event, Scanned)]
    return event


def names(event: Scanned) -> list[str]:
    return [finding.name for finding in event.findings if finding.name.startswith("BAYES")]


LIKE = mail("Dear winner, the lottery jackpot of {n},000 dollars is yours today, claim it and pay the fee", 77)


def test_mail_like_what_was_taught_is_caught(running):
    event = scanned(running, LIKE, TAUGHT)
    assert names(event) == ["BAYES_SPAM"]
    assert event.verdict == "spam"
    (finding,) = [one for one in event.findings if one.name == "BAYES_SPAM"]
    assert finding.text.endswith("learnt from 18 messages")
    assert "classifier/1" in event.engines


def test_mail_unlike_it_is_not(running):
    event = scanned(running, mail("Please send the corrections for the meeting on Friday, item {n}", 78), TAUGHT)
    assert (event.verdict, names(event)) == ("clean", ["BAYES_HAM"])


def test_mail_for_another_domain_is_judged_without_it(running):
    event = scanned(running, LIKE, OTHER)
    assert (event.verdict, names(event)) == ("clean", [])


def test_the_counts_come_out_the_same_from_the_events(running):
    shown = running.cli("replay", "classifier").stdout
    assert "equal to the live one" in shown


def test_what_was_taught_is_shown(running, tmp_path: Path):
    assert status(running)["active"] is True
    again = tmp_path / "again.eml"
    again.write_bytes(mail(SPAM[0], 1))
    taught = running.json("learn", "spam", str(again), "--domain", TAUGHT)
    assert (taught["learned"], taught["known_before"]) == (0, 1)
