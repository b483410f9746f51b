"""`gatepost queue`: what waits, for whom, why, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.session import Session
    from pipeline.state import Message
    from projections.readers import DomainQueue, QueueReport, WaitingMessage

app = noun(
    "queue",
    """What waits, per domain. 0 is normal.

For example:

  gatepost queue
  gatepost queue example.com
  gatepost queue --json
  gatepost queue list example.com
  gatepost queue retry example.com
""",
)

MOST = 1000
"""Messages listed unless more are asked for."""
PAGE = 500


@app.default
async def show(
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None, /, *, common: Common = DEFAULT
) -> int:
    """As the help of `app` says."""
    from cli.forms import queued_domain_form, waiting_form
    from cli.render import Screen, document, rfc3339
    from cli.session import session

    async with session(common, views=True) as opened:
        report = await _report(opened, domain)
        now = opened.now()
        if common.json:
            waiting = await _messages(opened, report, MOST)
    if common.json:
        document({
            "at": rfc3339(now),
            "running": not opened.offline,
            "waiting": {"messages": report.messages, "recipients": report.recipients, "bytes": report.bytes},
            "oldest_at": rfc3339(report.oldest or 0),
            "domains": [queued_domain_form(one) for one in report.domains],
            "messages": [waiting_form(row, message) for row, message in waiting],
            "messages_left_off": max(0, report.messages - len(waiting)),
        })  # fmt: skip
        return 0
    screen = Screen()
    _show(screen, report, now, one=domain is not None)
    _offline(screen, opened)
    return 0


async def _report(opened: Session, domain: str | None) -> QueueReport:
    from cli.names import domain_of
    from pipeline.servers import names
    from projections.readers.queue import read_queue

    wiring, directory = opened.wiring, opened.wiring.directory
    await directory.refresh()
    homes = {name: home for name in directory.domains() if (home := directory.home(name)) is not None}
    wanted = domain_of(domain) if domain is not None else None
    return await read_queue(
        wiring.store.redis,
        wiring.store.partitions,
        wanted,
        routes={name: names(home.route) for name, home in homes.items()},
        holds={name: home.hold for name, home in homes.items() if home.hold is not None},
    )


def _show(screen: Screen, report: QueueReport, now: int, *, one: bool) -> None:
    from cli.render import count, size

    if not report.messages:
        screen.say(("Nothing waits.", "green"))
        return
    rows = [_row(domain, now) for domain in report.domains if domain.messages]
    screen.table(
        ["domain", ">waiting", ">recipients", ">size", ">oldest", "destination", "next attempt"],
        [row for row, _ in rows],
    )
    for domain in report.domains:
        _hold(screen, domain, now)
        _error(screen, domain, now)
    if not one and len(rows) > 1:
        screen.say()
        screen.say((f"{count(report.messages, 'message')} in {len(rows)} domains, {size(report.bytes)}", "dim"))


def _row(domain: DomainQueue, now: int) -> tuple[list[Any], int]:
    from cli.render import age, clean, size

    oldest = age(now - domain.oldest) if domain.oldest else ""
    return [
        (clean(domain.domain), "bold"), f"{domain.messages:,}", f"{domain.recipients:,}", size(domain.bytes), oldest,
        _state(domain, now), _next(domain, now),
    ], domain.messages  # fmt: skip


def _state(domain: DomainQueue, now: int) -> tuple[str, str]:
    from cli.render import age, clean

    server = clean(domain.server)
    if domain.hold is not None:
        return "held", "yellow"
    if domain.state == "deferred":
        down = f" for {age(now - domain.since)}" if domain.since else ""
        return f"{server} down{down}", "red"
    if domain.backing_off:
        return f"{server} open, {domain.backing_off:,} told to wait", "yellow"
    return f"{server} open", ""


def _next(domain: DomainQueue, now: int) -> str:
    from cli.render import relative

    if domain.next_try is None:
        return ""
    return relative(domain.next_try, now) if domain.next_try > now else "now"


def _hold(screen: Screen, domain: DomainQueue, now: int) -> None:
    from cli.render import clean, relative

    hold = domain.hold
    if hold is not None:
        screen.say()
        screen.say(
            (clean(domain.domain), "bold"),
            f": held {relative(hold.since, now)} by {clean(hold.by)}: {clean(hold.reason)}",
        )
        screen.say("  Let its mail flow again: gatepost domain resume ", (clean(domain.domain), "bold"))


def _error(screen: Screen, domain: DomainQueue, now: int) -> None:
    from cli.render import clean, relative
    from cli.words import place

    if domain.error is None or not domain.messages:
        return
    about = f" ({clean(domain.error.message)})" if domain.error.message else ""
    screen.say()
    screen.say((clean(domain.domain), "bold"), f": last error, {relative(domain.error.at, now)}{about}")
    for attempt in domain.error.attempts:
        screen.say("  ", (place(attempt), "dim"))
        screen.quote(attempt.reply, 4)


def _offline(screen: Screen, opened: Session) -> None:
    if opened.offline:
        screen.say()
        screen.say(("Gatepost is not running here; nothing moves until `gatepost up`.", "yellow"))


@app.command(name="list")
async def list_(
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None,
    /,
    *,
    limit: Annotated[int, Parameter(help=f"Messages at most; {MOST} unless said.")] = MOST,
    common: Common = DEFAULT,
) -> int:
    """List the waiting messages, the longest waiting first within each domain.

    For example:

      gatepost queue list
      gatepost queue list example.com --limit 20
      gatepost queue list --json
    """
    from cli.forms import waiting_form
    from cli.render import Screen, count, document, relative, rfc3339
    from cli.session import session
    from cli.words import path, people

    async with session(common, views=True) as opened:
        report = await _report(opened, domain)
        waiting = await _messages(opened, report, limit)
        now = opened.now()
    left = max(0, report.messages - len(waiting))
    if common.json:
        messages = [waiting_form(row, message) for row, message in waiting]
        document({"at": rfc3339(now), "messages": messages, "messages_left_off": left})
        return 0
    screen = Screen()
    if not waiting:
        screen.say(("Nothing waits.", "green"))
        return 0
    screen.table(
        ["id", "since", "state", ">tries", "next try", "from", "to"],
        [
            [
                message.id, relative(row.since, now), message.stage.value, str(row.tries), _when(row, report, now),
                path(message.sender), people(row.recipients),
            ]
            for row, message in waiting
        ],
    )  # fmt: skip
    screen.say()
    more = f"; {left:,} more, see --limit" if left else ""
    screen.say((count(len(waiting), "message") + more, "dim"))
    _offline(screen, opened)
    return 0


async def _messages(opened: Session, report: QueueReport, limit: int) -> list[tuple[WaitingMessage, Message]]:
    from cli.heads import LiveHeads
    from projections.readers.queue import read_waiting

    store, heads = opened.wiring.store, LiveHeads(opened.wiring)
    found: list[tuple[WaitingMessage, Message]] = []
    for domain in report.domains:
        start = 0
        while len(found) < limit:
            rows = await read_waiting(
                store.redis, store.partitions, domain.domain, start=start, count=min(PAGE, limit - len(found))
            )
            messages = {message.id: message for message in await heads.read([row.id for row in rows])}
            found += [(row, messages[row.id]) for row in rows if row.id in messages]
            start += len(rows)
            if not rows:
                break
    return found


def _when(row: WaitingMessage, report: QueueReport, now: int) -> str:
    from cli.render import relative

    at = max(row.next_try, next((one.next_try or 0 for one in report.domains if one.domain == row.domain), 0))
    return relative(at, now) if at > now else "now"


@app.command
async def retry(
    what: Annotated[str | None, Parameter(help="A domain, or the id of a message.")] = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", help="Every domain for which something waits.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Try waiting mail now, without waiting for the next attempt.

    A retry is the domain's: with a message's id, its domain is tried.

    For example:

      gatepost queue retry example.com
      gatepost queue retry 1nx9s4tkh2v6c8jq0d7w03
      gatepost queue retry --all
    """
    from cli.render import Screen, clean, count, document
    from cli.session import session
    from pipeline.faults import ConfigurationError

    if (what is None) == (not all_):
        raise ConfigurationError("give a domain, an id, or --all", remedy="See `gatepost queue retry --help`.")
    async with session(common, views=True) as opened:
        domains = await _asked_for(opened, what)
        waiting = {domain: await _retry(opened, domain) for domain in domains}
    if common.json:
        document({"domains": [{"domain": domain, "waiting": number} for domain, number in waiting.items()]})
        return 0
    screen = Screen()
    for domain, number in waiting.items():
        words = f"{count(number, 'message')} tried now" if number else "nothing waits"
        screen.say((clean(domain), "bold"), f": {words}")
    if not waiting:
        screen.say(("Nothing waits.", "green"))
    _offline(screen, opened)
    return 0


async def _asked_for(opened: Session, what: str | None) -> list[str]:
    """The domains to try. Raises NotFoundError, RefusedError."""
    from cli.heads import live_or_refuse
    from cli.names import domain_of
    from pipeline import ids
    from pipeline.faults import RefusedError
    from pipeline.state import Stage

    if what is None:
        return [one.domain for one in (await _report(opened, None)).domains]
    if not ids.is_id(what.lower()):
        return [domain_of(what)]
    message = await live_or_refuse(opened.wiring, what.lower())
    if not message.addresses(Stage.QUEUED):
        raise RefusedError(
            f"{message.id} does not wait to leave, it is {message.stage}", remedy=f"See `gatepost trace {message.id}`."
        )
    return [message.domain]


async def _retry(opened: Session, domain: str) -> int:
    from pipeline.ids import partition_for
    from pipeline.rerouting import forgiven

    wiring = opened.wiring
    partition = partition_for(domain, wiring.store.partitions)
    known = await wiring.directory.find_home(domain)
    state = await wiring.schedule.route(partition, domain)
    servers = forgiven(known.route if known else (), state)
    return await wiring.schedule.retry_now(partition, domain, opened.now(), servers)
