"""Fixed events of a weekend on which clocks go back, and the reports of them.

`python -m tests.support.outbound` writes the golden reports anew, to be looked at before they are kept.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from cli.render import Screen
from cli.report.table import TableWriter
from pipeline import diagnosis, ownmail
from pipeline.events import (
    AnyEvent,
    Attempt,
    Deferred,
    Delivered,
    Event,
    Failed,
    Recorded,
    RouteDeferred,
    Undeliverable,
)
from pipeline.ids import new_id
from pipeline.zones import begins, ns, zone_of
from projections.reports.csv_rows import CsvWriter
from projections.reports.json_rows import JsonLinesWriter, JsonWriter
from projections.reports.letter import Rows, Told, letter
from projections.reports.model import Heading, Wanted, classes, titles
from projections.reports.page import PageWriter
from projections.reports.totals import Totals
from projections.reports.writing import Writer, rows, write

GOLDEN = Path(__file__).parents[1] / "golden"
BERLIN = zone_of("Europe/Berlin")
DOMAIN = "example.test"
SECOND = 1_000_000_000
MAIL = {"server": "mail.example.test:25", "address": "192.0.2.10", "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384"}
SENDER = "maria@elsewhere.test"


def at(text: str) -> int:
    return ns(dt.datetime.fromisoformat(text))


def recorded(when: str, subject: str, make: Callable[[dict[str, object]], AnyEvent], age: int = 3) -> Recorded:
    """`age`: seconds since the message came."""
    moment = at(when)
    name = subject if subject.startswith("@") else new_id(moment - age * SECOND, 3, sum(subject.encode()))
    return Recorded(3, f"{moment // 1_000_000}-0", name, 1, make({"at": moment, "domain": DOMAIN}))


def tried(
    kind: type[Deferred | Delivered | Failed | Undeliverable], attempt: Attempt | None, *to: str, **more: object
) -> Callable[[dict[str, object]], AnyEvent]:
    fields = {
        "recipients": tuple(f"{name}@{DOMAIN}" for name in to),
        "sender": SENDER,
        "size": 4711,
        "tries": 1,
        "attempt": attempt,
    }
    return lambda common: kind(**{**common, **fields, **more})


OK = Attempt(**MAIL, stage="dot", code=250, enhanced="2.0.0", reply="250 2.0.0 Ok: queued as 4c8d")
FULL = Attempt(
    **MAIL,
    stage="rcpt",
    code=452,
    enhanced="4.2.2",
    reply="452-4.2.2 The mailbox is full.\n452 4.2.2 Please try again later.",
)
UNKNOWN_USER = Attempt(**MAIL, stage="rcpt", code=550, enhanced="5.1.1", reply="550 5.1.1 <eve>: User unknown")
LOST = Attempt(**MAIL, stage="dot", reply="The connection was lost after the final dot", unknown=True)
AWAY = Attempt(server="mail.example.test:25", address="192.0.2.10", stage="connect", reply="Connection refused")
SPARE = Attempt(server="backup.example.test:25", stage="connect", reply="Name not known")

EVENTS = [
    recorded("2026-10-24T09:00:00+02:00", "one", tried(Delivered, OK, "anna", "ben", waited=1_234_567_890)),
    recorded("2026-10-24T23:59:59.999+02:00", "two", tried(Deferred, FULL, "carl", next_try=1)),
    recorded("2026-10-25T02:30:00+02:00", "two", tried(Delivered, OK, "carl", tries=2, waited=9_003 * SECOND)),
    recorded("2026-10-25T02:30:00+01:00", "three", tried(Failed, UNKNOWN_USER, "eve", reason="refused", bounce="0" * 22)),
    recorded("2026-10-25T12:00:00+01:00", "four", tried(Deferred, LOST, "anna", next_try=1, sender="")),
    recorded(
        "2026-10-25T18:00:00+01:00", "@" + DOMAIN,
        lambda common: RouteDeferred(**common, tries=3, since=at("2026-10-25T17:15:00+01:00"), next_try=1, attempts=(AWAY, SPARE)),
    ),
    recorded(
        "2026-10-25T23:59:59+01:00", "five",
        tried(Undeliverable, AWAY, "ben", reason="expired", unsent="null sender", expires=1, tries=0), age=7 * 86400,
    ),
    recorded("2026-10-26T00:00:00+01:00", "behind", tried(Delivered, OK, "anna", waited=SECOND)),
]  # fmt: skip


class Source:
    """As `Past`, of any events."""

    def __init__(self, events: Iterable[Recorded] = EVENTS) -> None:
        self._events = events

    async def attempts(
        self, domain: str, start: int, end: int, kinds: frozenset[type[Event]]
    ) -> AsyncIterator[Recorded]:
        for one in self._events:
            if one.event.domain == domain and start <= one.event.at < end and type(one.event) in kinds:
                yield one


def heading(language: str = "en", wanted: Wanted | None = None) -> Heading:
    return Heading(
        domains=(DOMAIN,),
        start=begins(dt.date(2026, 10, 24), BERLIN),
        end=begins(dt.date(2026, 10, 26), BERLIN),
        zone=BERLIN,
        made=at("2026-10-26T07:00:00+01:00"),
        wanted=wanted or Wanted(),
        language=language,
        titles=titles(diagnosis.in_force(""), language),
    )


def streamed(head: Heading, writer: Writer, source: Source, put: Callable[[str], object]) -> Totals:
    totals = Totals(head.zone)
    asyncio.run(write(rows(source, head, classes(diagnosis.in_force(""))), writer, totals, put, lambda _: None))
    return totals


def written(head: Heading, writer: Writer, source: Source | None = None) -> str:
    pieces: list[str] = []
    streamed(head, writer, source or Source(), pieces.append)
    return "".join(pieces)


def mailed(language: str) -> str:
    head, totals, attached = heading(language), Totals(BERLIN), Rows()
    about = classes(diagnosis.in_force(""))
    asyncio.run(write(rows(Source(), head, about), CsvWriter(BERLIN, mark=True), totals, attached.put, attached.told))
    told = Told(to="boss@elsewhere.test", hostname="gateway.test", rows=attached)
    octets = ownmail.compose(
        letter(head, totals, told), hostname="gateway.test", now=head.made, message_id="1nx9s4tkh2v6c8jq0d7w03"
    )
    return octets.decode("ascii")


REPORTS: dict[str, Callable[[], str]] = {
    "outbound.txt": lambda: written(heading(), TableWriter(heading(), Screen())),
    "outbound.csv": lambda: written(heading(), CsvWriter(BERLIN)),
    "outbound.json": lambda: written(heading(), JsonWriter(heading())),
    "outbound.jsonl": lambda: written(heading(), JsonLinesWriter(heading())),
    "outbound.html": lambda: written(heading(), PageWriter(heading())),
    "outbound.de.html": lambda: written(heading("de"), PageWriter(heading("de"))),
    "outbound.eml": lambda: mailed("en"),
    "outbound.de.eml": lambda: mailed("de"),
}

if __name__ == "__main__":
    for name, make in REPORTS.items():
        (GOLDEN / name).write_text(make(), "utf-8", newline="")
