"""`gatepost report schedule`: reports that go out by mail from time to time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    import datetime as dt

    from cli.session import Session
    from pipeline.directory import Domain
    from pipeline.directory.reports import ReportSchedule
    from workers.report_mail import Sent

    Seen: TypeAlias = tuple[Domain, ReportSchedule, Sent, int, dt.tzinfo]
    """(..., what was sent last, when the next is due, the zone)."""

app = noun(
    "schedule",
    """Reports of a domain's outbound mail that go out by mail every day, week or month.

They are in the language and the time zone of the domain (UTC, where it has
none). Every change is kept, and can be taken back: see `gatepost directory history`.

For example:

  gatepost report schedule add example.com --every week --at 07:00 --to boss@elsewhere.example
  gatepost report schedule list
  gatepost report schedule run example.com weekly
  gatepost report schedule remove example.com weekly
""",
)

DOMAIN = Parameter(help="The domain.")
NAME = Parameter(help="Of the report, as `gatepost report schedule list` shows it.")
NAMES: Final = {"day": "daily", "week": "weekly", "month": "monthly"}


@app.command
async def add(
    domain: Annotated[str, DOMAIN],
    /,
    *,
    every: Annotated[
        str,
        Parameter(
            help="day: of yesterday; week: of Monday to Sunday, on Monday; month: of the last month, on the first."
        ),
    ],
    to: Annotated[str, Parameter(help="Whom it goes to; better an address outside the domain.")],
    at: Annotated[str, Parameter(help="From which hour of the domain's zone on, such as 07:00.")] = "07:00",
    format_: Annotated[
        str,
        Parameter(
            name="--format",
            help="csv: a summary, and the rows as a file; html: the summary; text: the summary as text alone.",
        ),
    ] = "csv",
    status: Annotated[
        tuple[str, ...],
        Parameter(help="Only delivered, deferred, no_server, failed, undeliverable; repeat it for more."),
    ] = (),
    name: Annotated[str, Parameter(help="What it is called; daily, weekly or monthly when left out.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Have a report sent by mail every day, week or month.

    The first one goes out when it is due next. After a time without a gateway only
    the newest is sent.

    For example:

      gatepost report schedule add example.com --every week --at 07:00 --to boss@elsewhere.example
      gatepost report schedule add example.com --every day --to post@elsewhere.example --status failed --format text
    """
    from cli.render import Screen, document
    from cli.session import session
    from pipeline.address import AddressError, parse
    from pipeline.directory.reports import ReportSchedule
    from pipeline.faults import ConfigurationError
    from projections.reports.model import statuses_of

    try:
        address = str(parse(to.strip()))
    except AddressError as error:
        raise ConfigurationError(f"--to {to!a}: {error}", remedy="Write it as boss@example.com.") from None
    async with session(common) as opened:
        wanted = ReportSchedule(
            name=name, every=every, to=address, at=_minutes(at), format=format_,
            statuses=tuple(sorted(statuses_of(status))), since=opened.now(),
        )  # fmt: skip
        after = await _alter(opened, domain, lambda before: (*before, _named(wanted, before)))
        added = after.reports[-1]
        row = await _seen(opened, after, added)
    if common.json:
        document(_form(*row))
        return 0
    screen = Screen()
    screen.say((added.name, "bold"), f" of {after.name} goes to {added.to} every {added.every}; {_next(row)}")
    return 0


@app.command
async def remove(domain: Annotated[str, DOMAIN], name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Send a report no more.

    For example:

      gatepost report schedule remove example.com weekly
    """
    from cli.render import Screen, document
    from cli.session import session

    async with session(common) as opened:
        found = await _existing(opened, domain, name)
        after = await _alter(opened, domain, lambda before: tuple(one for one in before if one.name != found.name))
    if common.json:
        document({"domain": after.name, "name": found.name, "removed": True})
        return 0
    Screen().say((found.name, "bold"), f" of {after.name} is sent no more")
    return 0


@app.command(name="list")
async def list_(
    domain: Annotated[str | None, Parameter(help="Only of this domain.")] = None, /, *, common: Common = DEFAULT
) -> int:
    """List the reports that go out by mail: to whom, when next, what was sent last.

    For example:

      gatepost report schedule list
      gatepost report schedule list example.com --json
    """
    from cli.names import domain_of
    from cli.render import Screen, clean, document
    from cli.session import session

    wanted = domain_of(domain) if domain is not None else None
    async with session(common) as opened:
        await opened.wiring.directory.refresh()
        domains = opened.wiring.directory.domains()
        rows = [
            await _seen(opened, one, schedule)
            for name, one in sorted(domains.items())
            if wanted in (None, name)
            for schedule in one.reports
        ]
    if common.json:
        document({"reports": [_form(*row) for row in rows]})
        return 0
    screen = Screen()
    if not rows:
        screen.say("No report goes out by mail. Add one: gatepost report schedule add DOMAIN --every week --to ADDRESS")
        return 0
    screen.table(
        ["domain", "name", "every", "to", "format", "only", "next", "sent last", "as"],
        [
            [
                (one.name, "bold"), schedule.name, f"{schedule.every} at {_hour(schedule.at)}", clean(schedule.to), schedule.format,
                ", ".join(schedule.statuses), _moment(following, zone), _moment(sent.at, zone), sent.message,
            ]
            for one, schedule, sent, following, zone in rows
        ],
    )  # fmt: skip
    return 0


@app.command
async def run(domain: Annotated[str, DOMAIN], name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Send a report now: the newest whole day, week or month. When it is due it is sent all the same.

    For example:

      gatepost report schedule run example.com weekly
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from workers.report_mail import ReportMail

    async with session(common, views=True) as opened:
        found = await _existing(opened, domain, name)
        message = await ReportMail(opened.wiring).send_now(domain_of(domain), found, by=actor())
        offline = opened.offline
    if common.json:
        document({"domain": domain_of(domain), "name": found.name, "to": found.to, "id": message})
        return 0
    later = "; it leaves when the gateway runs" if offline else ""
    Screen().say((found.name, "bold"), f" goes to {found.to} as {message}{later}")
    return 0


async def _alter(
    opened: Session, name: str, alter: Callable[[tuple[ReportSchedule, ...]], tuple[ReportSchedule, ...]]
) -> Domain:
    """Raises NotFoundError, ConfigurationError, RefusedError."""
    import msgspec

    from cli.names import domain_of
    from cli.session import actor

    _, after = await opened.wiring.directory.update_domain(
        domain_of(name),
        lambda before: msgspec.structs.replace(before, reports=alter(before.reports)),
        by=actor(),
        now=opened.now(),
    )
    return after


def _named(wanted: ReportSchedule, others: Sequence[ReportSchedule]) -> ReportSchedule:
    """With a name, where none was said: the first that is free."""
    import itertools

    import msgspec

    if wanted.name:
        return wanted
    taken = {one.name for one in others}
    stem = NAMES.get(wanted.every, "report")
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return msgspec.structs.replace(wanted, name=next(name for name in names if name not in taken))


async def _existing(opened: Session, domain: str, name: str) -> ReportSchedule:
    """Raises NotFoundError."""
    from cli.domain.common import existing
    from cli.names import domain_of
    from pipeline.faults import NotFoundError

    reports = (await existing(opened, domain_of(domain))).reports
    found = next((one for one in reports if one.name == name.strip()), None)
    if found is None:
        raise NotFoundError(f"{domain} has no report {name!a}", remedy=f"See `gatepost report schedule list {domain}`.")
    return found


async def _seen(opened: Session, domain: Domain, schedule: ReportSchedule) -> Seen:
    """With what was sent last, and when the next is due."""
    from projections.reports.due import following
    from workers.report_mail import ReportMail

    report_mail = ReportMail(opened.wiring)
    zone = report_mail.zone(domain.name)
    sent = await report_mail.sent(domain.name, schedule.name)
    return domain, schedule, sent, following(schedule, zone, opened.now()).at, zone


def _next(row: Seen) -> str:
    return f"the next is due at {_moment(row[3], row[4])}"


def _minutes(text: str) -> int:
    """Raises ConfigurationError."""
    import re

    from pipeline.faults import ConfigurationError

    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text.strip(), re.ASCII)
    if found is None:
        raise ConfigurationError(f"--at: {text!a} is no time of day", remedy="Write it as 07:00.")
    return int(found[1]) * 60 + int(found[2])


def _hour(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _moment(at: int, zone: dt.tzinfo) -> str:
    from projections.reports.writing import shown

    return shown(at, zone) if at else ""


def _form(domain: Domain, schedule: ReportSchedule, sent: Sent, following: int, zone: dt.tzinfo) -> dict[str, Any]:
    """The field names are promises."""
    from cli.render import rfc3339
    from projections.reports.writing import named

    return {
        "domain": domain.name,
        "name": schedule.name,
        "every": schedule.every,
        "at": _hour(schedule.at),
        "zone": named(zone),
        "to": schedule.to,
        "format": schedule.format,
        "only": list(schedule.statuses),
        "since": rfc3339(schedule.since),
        "next": rfc3339(following),
        "last": {"sent_at": rfc3339(sent.at), "before": rfc3339(sent.end), "id": sent.message} if sent.at else None,
    }
