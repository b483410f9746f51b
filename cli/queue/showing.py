"""What waits, as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.queue.words import ages, domain_state, gone_in, kept, next_attempt, per_minute, server_state
from cli.render import age, clean, count, relative, size
from cli.words import place

if TYPE_CHECKING:
    from cli.queue.reading import Seen
    from cli.render import Screen
    from cli.session import Session
    from pipeline.directory import Hold
    from pipeline.rescan import Waiting
    from projections.readers import DomainQueue, ServerQueue
    from projections.readers.rates import Rates

MOST_SERVERS = 5
"""Named below the domains; all of them are in `gatepost queue destinations`."""


def show(screen: Screen, seen: Seen) -> None:
    report, rates, now, one = seen.report, seen.rates, seen.now, seen.domain is not None
    if not report.messages:
        screen.say(("Nothing waits.", "green"))
        return
    waiting = [domain for domain in report.domains if domain.messages]
    screen.table(
        ["domain", ">waiting", ">recipients", ">size", ">oldest", "destination", "next attempt"],
        [_row(domain, now) for domain in waiting],
    )
    for domain in report.domains:
        _hold(screen, domain, now)
        _error(screen, domain, now)
    screen.say()
    if not one and len(waiting) > 1:
        screen.say((f"{count(report.messages, 'message')} in {len(waiting)} domains, {size(report.bytes)}", "dim"))
    _pace(screen, seen)
    if not one and len({domain.server for domain in waiting}) < len(waiting):
        screen.say()
        destinations(screen, report.servers[:MOST_SERVERS], rates, now)


def _pace(screen: Screen, seen: Seen) -> None:
    """How long it has waited, and how fast it moves."""
    moved = seen.moved
    screen.say(("by age: ", "dim"), ages(seen.report.ages))
    if moved[0] is None:
        return
    delivered = " and ".join(f"{rate.delivered:,.1f}" for rate in moved if rate is not None)
    screen.say(("a minute: ", "dim"), f"{moved[0].arrived:,.1f} come, {delivered} delivered (5 and 15 minutes)")
    if left := gone_in(*seen.draining):
        screen.say(("at that rate gone in: ", "dim"), left)


def destinations(screen: Screen, servers: tuple[ServerQueue, ...], rates: Rates, now: int) -> None:
    screen.table(
        ["server", ">waiting", ">domains", ">size", ">oldest", "state", "next attempt", ">delivers", ">gone in"],
        [_server_row(server, rates, now) for server in servers],
    )


def _server_row(server: ServerQueue, rates: Rates, now: int) -> list[Any]:
    moved = rates.of(server.domains)
    return [
        (clean(server.server) or "not known yet", "bold"), f"{server.messages:,}", f"{len(server.domains):,}", size(server.bytes),
        age(now - server.oldest) if server.oldest else "", server_state(server, now), next_attempt(server.next_try, now),
        per_minute(moved[0]), gone_in(0 if server.state == "held" else server.messages, moved[0]),
    ]  # fmt: skip


def errors(screen: Screen, servers: tuple[ServerQueue, ...], now: int) -> None:
    """The last words of each, with the domain whose mail they were said to."""
    for server in servers:
        if server.error is None:
            continue
        screen.say()
        about = f"  last error, {relative(server.error.at, now)}, for {clean(server.error_of)}"
        screen.say((clean(server.server) or "not known yet", "bold"), (about, "dim"))
        for attempt in server.error.attempts:
            screen.say("  ", (place(attempt), "dim"))
            screen.quote(attempt.reply, 4)


def _row(domain: DomainQueue, now: int) -> list[Any]:
    return [
        (clean(domain.domain), "bold"), f"{domain.messages:,}", f"{domain.recipients:,}", size(domain.bytes),
        age(now - domain.oldest) if domain.oldest else "", domain_state(domain, now), next_attempt(domain.next_try, now),
    ]  # fmt: skip


def _hold(screen: Screen, domain: DomainQueue, now: int) -> None:
    hold = domain.hold
    if hold is not None:
        screen.say()
        screen.say((clean(domain.domain), "bold"), f": {kept(hold, now)}")
        if hold.probed:
            screen.say("  One message is tried each interval, and the first that is taken lets the rest flow.")
            screen.say("  What is wrong there, and how to mend it: gatepost failures ", (clean(domain.domain), "bold"))
        screen.say("  Let its mail flow again: gatepost domain resume ", (clean(domain.domain), "bold"))
    if domain.held:
        screen.say()
        screen.say(
            (clean(domain.domain), "bold"),
            f": {count(domain.held, 'message')} held or about to end; see gatepost queue list",
        )


def held_servers(screen: Screen, servers: dict[str, Hold], now: int) -> None:
    for server, hold in sorted(servers.items()):
        screen.say()
        screen.say("server ", (clean(server), "bold"), f": {kept(hold, now)}")
        screen.say("  Let mail flow to it again: gatepost queue resume --server ", (clean(server), "bold"))


def _error(screen: Screen, domain: DomainQueue, now: int) -> None:
    if domain.error is None or not domain.messages:
        return
    about = f" ({clean(domain.error.message)})" if domain.error.message else ""
    screen.say()
    screen.say((clean(domain.domain), "bold"), f": last error, {relative(domain.error.at, now)}{about}")
    for attempt in domain.error.attempts:
        screen.say("  ", (place(attempt), "dim"))
        screen.quote(attempt.reply, 4)


def unseen_by_engines(screen: Screen, unseen: Waiting) -> None:
    if unseen.messages:
        screen.say()
        verb = "waits" if unseen.messages == 1 else "wait"
        screen.say((f"{count(unseen.messages, 'message')} {verb} for {clean(unseen.engines)}", "yellow"))
        screen.say("  How they are: gatepost engines")


def offline(screen: Screen, opened: Session) -> None:
    if opened.offline:
        screen.say()
        screen.say(("Gatepost is not running here; nothing moves until `gatepost up`.", "yellow"))
