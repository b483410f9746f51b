"""The commands: what waits, destinations, single messages, trying again; holding and ending are in `cli/steering`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.state import Message
    from projections.readers import QueueReport, WaitingMessage

app = noun(
    "queue",
    """What waits, per domain. 0 is normal.

For example:

  gatepost queue
  gatepost queue example.com
  gatepost queue --json
  gatepost queue --watch
  gatepost queue example.com --watch 10
  gatepost queue destinations
  gatepost queue list example.com
  gatepost queue retry example.com
  gatepost queue hold --domain example.com --reason "server moves" --until 18:00
""",
)

MOST = 1000
"""Messages listed unless more are asked for."""
PAGE = 500


@app.default
async def show(
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None,
    seconds: Annotated[str | None, Parameter(help="With --watch: between two looks; 2 unless said.")] = None,
    /,
    *,
    watch: Annotated[
        bool, Parameter(help="Go on showing it, until q or Ctrl-C; in a pipe a line for each look.")
    ] = False,
    common: Common = DEFAULT,
) -> int:
    """As the help of `app` says."""
    if watch:
        from cli.queue.watch import watch_queue

        return await watch_queue(common, [word for word in (domain, seconds) if word is not None])
    if seconds is not None:
        from pipeline.faults import ConfigurationError

        raise ConfigurationError(f"unexpected: {seconds!a}", remedy="See `gatepost queue --help`.")
    from cli.forms import destination_form, hold_form, queue_total_form, queued_domain_form, waiting_form
    from cli.queue import showing
    from cli.queue.reading import held_servers, read
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from pipeline.rescan import Rescans

    async with session(common, views=True) as opened:
        seen = await read(opened, domain)
        report, rates, now = seen.report, seen.rates, seen.now
        servers = held_servers(opened)
        unseen = await Rescans(opened.wiring.store).waiting()
        if common.json:
            waiting = await _messages(opened, report, MOST)
    if common.json:
        document({
            "at": rfc3339(now),
            "running": not opened.offline,
            **queue_total_form(seen),
            "domains": [queued_domain_form(one, rates) for one in report.domains],
            "destinations": [destination_form(server, rates) for server in report.servers],
            "waiting_for_engines": {"messages": unseen.messages, "engines": unseen.engines if unseen.messages else ""},
            "held_servers": [{"server": server, **hold_form(hold)} for server, hold in sorted(servers.items())],
            "messages": [waiting_form(row, message) for row, message in waiting],
            "messages_left_off": max(0, report.messages - len(waiting)),
        })  # fmt: skip
        return 0
    screen = Screen()
    showing.show(screen, seen)
    showing.held_servers(screen, servers, now)
    showing.unseen_by_engines(screen, unseen)
    showing.offline(screen, opened)
    return 0


@app.command
async def destinations(*, common: Common = DEFAULT) -> int:
    """List the servers that mail waits for, those that most waits for first.

    Each with its state, when it is tried next, what it said last, how many
    messages a minute it takes, and when what waits will have gone at that rate.

    For example:

      gatepost queue destinations
      gatepost queue destinations --json
    """
    from cli.forms import destination_form
    from cli.queue import showing
    from cli.queue.reading import read
    from cli.render import Screen, document, rfc3339
    from cli.session import session

    async with session(common, views=True) as opened:
        seen = await read(opened)
    servers = seen.report.servers
    if common.json:
        document({
            "at": rfc3339(seen.now),
            "destinations": [destination_form(server, seen.rates) for server in servers],
        })  # fmt: skip
        return 0
    screen = Screen()
    if not servers:
        screen.say(("Nothing waits.", "green"))
        return 0
    showing.destinations(screen, servers, seen.rates, seen.now)
    showing.errors(screen, servers, seen.now)
    showing.offline(screen, opened)
    return 0


async def _report(opened: Session, domain: str | None) -> QueueReport:
    from cli.queue.reading import read_report

    return await read_report(opened, domain)


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
    from cli.queue import showing
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
                message.id, relative(row.since, now), _own_state(message, now), str(row.tries),
                "" if message.waits_since else _when(row, report, now),
                path(message.sender), people(row.recipients),
            ]
            for row, message in waiting
        ],
    )  # fmt: skip
    screen.say()
    more = f"; {left:,} more, see --limit" if left else ""
    screen.say((count(len(waiting), "message") + more, "dim"))
    showing.offline(screen, opened)
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


def _own_state(message: Message, now: int) -> str:
    from cli.render import clean, local, relative
    from pipeline.steering import ENDS

    hold = message.hold
    if message.waits_since:
        return f"waits for {clean('; '.join(message.missing))}"
    if hold is None:
        return message.stage.value
    if hold.then:
        return f"to be {ENDS.get(hold.then, clean(hold.then))} at {local(hold.until)}, by {clean(hold.by)}: {clean(hold.reason)}"
    until = f", until {local(hold.until)}" if hold.until else ""
    return f"held {relative(hold.since, now)} by {clean(hold.by)}{until}: {clean(hold.reason)}"


def _when(row: WaitingMessage, report: QueueReport, now: int) -> str:
    from cli.render import relative

    if row.held:
        return ""
    at = max(row.next_try, next((one.next_try or 0 for one in report.domains if one.domain == row.domain), 0))
    return relative(at, now) if at > now else "now"


@app.command
async def retry(
    what: Annotated[str | None, Parameter(help="A domain, or the id of a message.")] = None,
    /,
    *,
    domain: Annotated[str, Parameter(help="As a domain that is named.")] = "",
    server: Annotated[str, Parameter(help="Every domain whose mail waits for this server, HOST:PORT.")] = "",
    all_: Annotated[bool, Parameter(name="--all", help="Every domain for which something waits.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Try waiting mail now, without waiting for the next attempt.

    A retry is the domain's: with a message's id, its domain is tried.

    For example:

      gatepost queue retry example.com
      gatepost queue retry 1nx9s4tkh2v6c8jq0d7w03
      gatepost queue retry --server mail.example.com:25
      gatepost queue retry --all
    """
    from cli.queue import showing
    from cli.render import Screen, clean, count, document
    from cli.session import actor, session
    from pipeline.faults import ConfigurationError
    from workers.steering import retry_domain

    if (what is not None) + bool(domain) + bool(server) + all_ != 1:
        raise ConfigurationError(
            "give a domain, an id, or --all; or --server", remedy="See `gatepost queue retry --help`."
        )
    async with session(common, views=True) as opened:
        domains = await _behind(opened, server) if server else await _asked_for(opened, what or domain or None)
        waiting = {domain: await retry_domain(opened.wiring, domain, by=actor()) for domain in domains}
    if common.json:
        document({"domains": [{"domain": domain, "waiting": number} for domain, number in waiting.items()]})
        return 0
    screen = Screen()
    for name, number in waiting.items():
        words = f"{count(number, 'message')} tried now" if number else "nothing waits"
        screen.say((clean(name), "bold"), f": {words}")
    if not waiting:
        screen.say(("Nothing waits.", "green"))
    showing.offline(screen, opened)
    return 0


async def _behind(opened: Session, server: str) -> list[str]:
    from cli.steering.asked import server_of
    from workers.steering import domains_behind

    return await domains_behind(opened.wiring, server_of(server))


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
        way = f"gatepost queue resume {message.id}" if message.stage is Stage.HELD else f"gatepost trace {message.id}"
        raise RefusedError(f"{message.id} does not wait to leave, it is {message.stage}", remedy=f"See `{way}`.")
    return [message.domain]


app.command("cli.steering.holding:hold", name="hold")
app.command("cli.steering.holding:resume", name="resume")
app.command("cli.steering.redirecting:redirect", name="redirect")
app.command("cli.steering.ending:bounce", name="bounce")
app.command("cli.steering.ending:delete", name="delete")
app.command("cli.steering.ending:undo", name="undo")
