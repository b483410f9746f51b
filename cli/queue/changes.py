"""What is new between two looks at the queue, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.render import clean, count
from projections.readers import DomainQueue, QueueReport

Change = tuple[str, str]
"""What happened, and a colour."""


def changes(before: QueueReport, after: QueueReport) -> Iterator[Change]:
    """What a postmaster wants to notice: mail that begins to wait or has left, servers that go or come, holds."""
    old, new = _named(before), _named(after)
    for name in sorted(old.keys() | new.keys()):
        yield from _of_domain(name, old.get(name), new.get(name))


def _named(report: QueueReport) -> Mapping[str, DomainQueue]:
    return {one.domain: one for one in report.domains if one.messages}


def _of_domain(name: str, before: DomainQueue | None, after: DomainQueue | None) -> Iterator[Change]:
    domain = clean(name)
    if after is None:
        if before is not None and before.state != "open":
            yield f"{domain}: nothing waits any more", "green"
        return
    was = before.state if before is not None else "open"
    server = clean(after.server)
    if after.state != was:
        if after.state == "deferred":
            yield f"{domain}: {server} cannot be used, {count(after.messages, 'message')} waiting", "red"
        elif after.state == "held":
            hold = after.hold or after.server_hold
            by = f" by {clean(hold.by)}: {clean(hold.reason)}" if hold is not None else ""
            yield f"{domain}: held{by}", "yellow"
        else:
            yield f"{domain}: {server} works again, {count(after.messages, 'message')} on the way", "green"
    elif before is not None and after.error is not None and after.error != before.error and after.error.attempts:
        attempt = after.error.attempts[-1]
        yield f"{domain}: {clean(attempt.server)}: {first_line(attempt.reply)}", "yellow"


def first_line(reply: str) -> str:
    lines = reply.split("\n", 1)
    return clean(lines[0]) + (" ..." if len(lines) > 1 else "")
