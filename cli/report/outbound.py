"""`gatepost report outbound`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from cli.diagnoses import LANGUAGE
from cli.options import DEFAULT, Common
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    import datetime as dt

    from cli.session import Session
    from projections.reports.model import Heading, Wanted
    from projections.reports.writing import Writer

FORMATS: Final = ("table", "csv", "json", "jsonl", "html")
SUFFIXES: Final = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".html": "html",
    ".htm": "html",
}
LAST_DAYS: Final = 7


async def outbound(
    *,
    domain: Annotated[
        tuple[str, ...], Parameter(help="Mail for this domain; repeat it for more. All domains when left out.")
    ] = (),
    period: Period = WHOLE,
    tz: Annotated[
        str,
        Parameter(
            help="Whose days and times these are, such as Europe/Berlin. Left out: the domain's, else this machine's."
        ),
    ] = "",
    status: Annotated[
        tuple[str, ...],
        Parameter(help="Only delivered, deferred, no_server, failed, undeliverable; repeat it for more."),
    ] = (),
    class_: Annotated[
        tuple[str, ...],
        Parameter(name="--class", help="Only answers of this class (see `gatepost replies`); repeat it for more."),
    ] = (),
    recipient: Annotated[str, Parameter(help="Only to recipients that contain this.")] = "",
    sender: Annotated[str, Parameter(help="Only from senders that contain this; <> is the null sender.")] = "",
    format_: Annotated[
        str, Parameter(name="--format", help="table, csv, json, jsonl (a line of JSON for each row) or html.")
    ] = "",
    output: Annotated[Path | None, Parameter(help="Write it to this file, which appears when it is whole.")] = None,
    language: Annotated[str, LANGUAGE] = "",
    common: Common = DEFAULT,
) -> int:
    """Every attempt to deliver mail in a stretch of time, and what they add up to.

    A row is one try at one server, for those recipients of a message that had the
    same answer; where no server could be used at all, one for each that was tried.
    Behind them: totals by status, class and day, percentiles of the time from
    received to delivered, a chart. CSV has the rows only.

    Days are those of the zone: the last 7, today among them, where nothing is said.
    Several domains come one after the other, by name.

    For example:

      gatepost report outbound --domain example.com
      gatepost report outbound --domain example.com --from 2026-11-01 --to 2026-11-22 --tz Europe/Berlin
      gatepost report outbound --days 1 --status failed --status undeliverable --format csv
      gatepost report outbound --domain example.com --output november.html
    """
    from contextlib import aclosing

    from cli.progress import Progress
    from cli.session import session
    from projections.reports.model import classes
    from projections.reports.totals import Totals
    from projections.reports.writing import rows, write

    chosen = _format(format_, output, common)
    wanted = _wanted(status, class_, recipient, sender)
    async with session(common, views=True) as opened:
        heading = await _heading(opened, domain, period, tz, language, wanted)
        totals = Totals(heading.zone)
        found = rows(opened.wiring.past, heading, classes(opened.wiring.table))
        with _target(output) as put, Progress("rows", None, shown=output is not None or not sys.stdout.isatty()) as bar:
            async with aclosing(found):
                await write(found, _writer(chosen, heading), totals, put, bar.advance)
    if output is not None and not common.json:
        _tell(output, totals.rows)
    return 0


def _format(text: str, output: Path | None, common: Common) -> str:
    """Raises ConfigurationError."""
    from pipeline.faults import ConfigurationError

    if not text:
        return (
            "json" if common.json else SUFFIXES.get(output.suffix.lower(), "table") if output is not None else "table"
        )
    if text not in FORMATS:
        raise ConfigurationError(f"no format {text!a}", remedy=f"One of {', '.join(FORMATS)}.")
    return text


def _wanted(statuses: tuple[str, ...], classes: tuple[str, ...], recipient: str, sender: str) -> Wanted:
    """Raises ConfigurationError."""
    from projections.reports.model import Wanted, statuses_of

    return Wanted(
        statuses=statuses_of(statuses),
        classes=frozenset(name.strip().lower() for name in classes),
        recipient=recipient.lower(),
        sender=sender.lower(),
    )


async def _heading(
    opened: Session, domains: tuple[str, ...], period: Period, tz: str, language: str, wanted: Wanted
) -> Heading:
    """Raises ConfigurationError."""
    from cli.diagnoses import language_of
    from cli.names import domain_of
    from pipeline.zones import system_zone, zone_of
    from projections.reports.model import Heading, titles

    directory = opened.wiring.directory
    await directory.refresh()
    homes = [(name, directory.home(name)) for name in map(domain_of, domains)]
    names = sorted({home.name if home is not None else name for name, home in homes})
    own = directory.home(names[0]) if len(names) == 1 else None
    named = tz or (own.timezone if own is not None else "")
    zone = zone_of(named) if named else system_zone()
    spoken = language_of(language) or (own.language if own is not None else "") or "en"
    start, end = _bounds(period, opened.now(), zone)
    return Heading(
        domains=tuple(names or await _all(opened)),
        every=not names,
        start=start,
        end=end,
        zone=zone,
        made=opened.now(),
        wanted=wanted,
        language=spoken,
        titles=titles(opened.wiring.table, spoken),
    )


def _bounds(period: Period, now: int, zone: dt.tzinfo) -> tuple[int, int]:
    """(the first ns, the first behind the last)."""
    import datetime as dt

    from pipeline.zones import begins, day_of

    first, last = period.bounds(now, zone)
    end = last + 1 if period.to else max(begins(day_of(now, zone) + dt.timedelta(days=1), zone), first + 1)
    if not (period.from_ or period.days):
        first = begins(day_of(end - 1, zone) - dt.timedelta(days=LAST_DAYS - 1), zone)
    return first, end


async def _all(opened: Session) -> list[str]:
    """Every domain that mail ever went to, those of senders to whom mail was returned among them."""
    from projections.readers.books import read_books

    store, directory = opened.wiring.store, opened.wiring.directory
    books = await read_books(store.redis, store.partitions)
    ours = {name for name, domain in directory.domains().items() if not domain.alias_of}
    return sorted(ours | {one.domain for one in books.domains})


def _writer(chosen: str, heading: Heading) -> Writer:
    match chosen:
        case "csv":
            from projections.reports.csv_rows import CsvWriter

            return CsvWriter(heading.zone)
        case "html":
            from projections.reports.page import PageWriter

            return PageWriter(heading)
        case "json" | "jsonl":
            from projections.reports.json_rows import JsonLinesWriter, JsonWriter

            return JsonWriter(heading) if chosen == "json" else JsonLinesWriter(heading)
        case _:
            from cli.render import Screen
            from cli.report.table import TableWriter

            return TableWriter(heading, Screen())


@contextlib.contextmanager
def _target(output: Path | None) -> Iterator[Callable[[str], object]]:
    """Where the pieces go. Raises ConfigurationError. A file of that name is replaced when all is written, and only then."""
    from cli.files import to_be_written
    from pipeline.faults import ConfigurationError

    if output is None:
        yield sys.stdout.write
        return
    to_be_written(output)
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # It says who writes to whom: for whoever asked for it, and for nobody else on this machine.
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline=""
        ) as file:
            yield file.write
        part.replace(output)
    except OSError as error:
        raise ConfigurationError(f"{output}: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _tell(output: Path, rows: int) -> None:
    from cli.render import Screen, clean, count

    Screen().say((clean(str(output)), "bold"), f" written: {count(rows, 'row')}")
