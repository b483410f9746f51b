"""What waits, and the servers that it waits for, in words and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.render import BAD, WARN, age, clean, local, relative
from projections.readers.ages import NAMES

if TYPE_CHECKING:
    from pipeline.directory import Hold
    from projections.readers import DomainQueue, ServerQueue
    from projections.readers.rates import Rate

Coloured = tuple[str, str]


def domain_state(domain: DomainQueue, now: int) -> Coloured:
    server = clean(domain.server)
    if domain.hold is not None or (domain.messages and domain.held == domain.messages):
        return "held", WARN
    if domain.server_hold is not None:
        return f"{server} held", WARN
    if domain.state == "deferred":
        down = f" for {age(now - domain.since)}" if domain.since else ""
        return f"{server} down{down}", BAD
    apart = [f"{domain.backing_off:,} told to wait"] if domain.backing_off else []
    if domain.held:
        apart.append(f"{domain.held:,} held")
    if apart:
        return f"{server} open, {', '.join(apart)}", WARN
    return f"{server} open", ""


def server_state(server: ServerQueue, now: int) -> Coloured:
    """`open`; `down for 2 h`; `held by anna: they move house`."""
    if server.hold is not None and server.state == "held":
        of = f" ({clean(server.hold_of)})" if server.hold_of else ""
        return f"held by {clean(server.hold.by)}: {clean(server.hold.reason)}{of}", WARN
    if server.state == "deferred":
        return f"down for {age(now - server.since)}" if server.since else "down", BAD
    if server.state == "mixed":
        return "differs by domain", WARN
    return server.state, "" if server.state == "open" else WARN


def next_attempt(at: int | None, now: int) -> str:
    if at is None:
        return ""
    return relative(at, now) if at > now else "now"


def ages(counted: Sequence[int]) -> str:
    """`12 <15 min, 3 <1 h, 40 older`; empty buckets are left out."""
    return ", ".join(f"{number:,} {name}" for name, number in zip(NAMES, counted, strict=False) if number)


def kept(hold: Hold, now: int) -> str:
    until = f", until {local(hold.until)}" if hold.until else ""
    return f"held {relative(hold.since, now)} by {clean(hold.by)}{until}: {clean(hold.reason)}"


def per_minute(rate: Rate | None) -> str:
    """`12/min`; empty when it is not known."""
    if rate is None:
        return ""
    return f"{rate.delivered:,.0f}/min" if rate.delivered >= 10 or not rate.delivered else f"{rate.delivered:.1f}/min"


def gone_in(messages: int, rate: Rate | None) -> str:
    """When so many will have gone, at the rate of the last minutes; empty when that cannot be said."""
    if rate is None or not messages:
        return ""
    left = rate.drained(messages)
    if left is None:
        return ""
    return f"{age(left)}, and grows" if rate.grows else age(left)
