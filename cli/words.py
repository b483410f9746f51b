"""Events in words: what a person reads in a timeline. Every text of a stranger is cleaned here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from cli import render
from cli.changes import told
from cli.render import BAD, GOOD, QUIET, STRONG, WARN, clean
from pipeline.events import (
    Acted,
    AlertOver,
    AlertRaised,
    AlertsSilenced,
    AnyEvent,
    Attempt,
    Client,
    Deferred,
    Delivered,
    Discarded,
    Dropped,
    Exported,
    Failed,
    Held,
    Learned,
    Looked,
    Postponed,
    Quarantined,
    Queued,
    Received,
    Redirected,
    Refused,
    Released,
    Reported,
    ReportSent,
    Resumed,
    Retried,
    RouteDeferred,
    RouteOpened,
    Scanned,
    Undeliverable,
    Warned,
)
from pipeline.steering import ENDS

NAMED: Final = 5
"""Recipients named in a line; more are counted."""
MILLISECOND: Final = 1_000_000
REASONS: Final = {"refused": "the server refused it", "expired": "it waited as long as it may", "returned": "returned"}
LOOKS: Final = {"show": "what is known of it", "preview": "its text", "download": "its octets"}
ACTIONS: Final = {
    "work_retried": "work that was set aside was given back",
    "view_mended": "a view was put in the place of a damaged one",
    "source_forgiven": "a blocked address of ours is used again",
    "alerts_tested": "a test alert was sent",
    "delivery_tested": "a test message was sent",
    "bounce_previewed": "a bounce was looked at",
}
DISCARDS: Final = {"policy": "by policy", "retention": "kept as long as the retention says", "deleted": "deleted"}


class Told(msgspec.Struct, frozen=True):
    """One event: a verb with its colour, what happened in one line, more lines, and the other side's own words."""

    verb: str
    style: str
    text: str
    more: tuple[str, ...] = ()
    quotes: tuple[tuple[str, str], ...] = ()
    """(where it was said, the verbatim reply)."""


def path(address: str) -> str:
    """An address, or `<>` for the null sender."""
    return clean(address) or "<>"


def people(addresses: Sequence[str]) -> str:
    named = ", ".join(clean(address) for address in addresses[:NAMED])
    return named if len(addresses) <= NAMED else f"{named} and {len(addresses) - NAMED:,} more"


def from_client(client: Client | None) -> str:
    if client is None:
        return ""
    secured = f", {clean(client.tls)}" if client.tls else ""
    return f"by {clean(client.protocol)} from {clean(client.helo) or 'a client'} [{clean(client.address)}]{secured}"


def place(attempt: Attempt) -> str:
    """`mail.example.com:25 [192.0.2.1] at rcpt, after 0.2 s, TLSv1.3`."""
    words = clean(attempt.server) or "no server"
    if attempt.address and attempt.address not in attempt.server:
        words += f" [{clean(attempt.address)}]"
    if attempt.stage:
        words += f" at {clean(attempt.stage)}"
    if attempt.took >= MILLISECOND:
        words += f", after {render.age(attempt.took)}"
    if attempt.tls:
        words += f", {clean(attempt.tls)}"
    return words


def quoted(attempt: Attempt | None) -> tuple[tuple[str, str], ...]:
    return ((place(attempt), attempt.reply),) if attempt is not None else ()


def unknown(attempt: Attempt | None) -> tuple[str, ...]:
    if attempt is None or not attempt.unknown:
        return ()
    return ("the server had all of it and its last reply was lost: it may have been delivered, and may come twice",)


def describe(event: AnyEvent) -> Told:
    """An event of a message or of its route, in words."""
    match event:
        case Received():
            return _received(event)
        case Scanned() | Postponed():
            return _scanned(event)
        case Quarantined() | Queued():
            return _placed(event)
        case Released() | Looked() | Reported():
            return _seen(event)
        case Discarded() | Held() | Resumed() | Redirected():
            return _steered(event)
        case Delivered() | Deferred() | Failed() | Undeliverable() | Warned():
            return _tried(event)
        case RouteDeferred() | RouteOpened() | Retried():
            return _route(event)
        case Refused() | Learned():
            return _refused(event) if isinstance(event, Refused) else _learned(event)
        case AlertRaised() | AlertOver() | AlertsSilenced() | Exported() | ReportSent() | Dropped() | Acted():
            return _operated(event)
        case _:
            line, more = told(event)
            return Told("changed", STRONG, line, (f"by {clean(event.by)}", *more))


def _placed(event: Quarantined | Queued) -> Told:
    """Where policy put it."""
    to = people(event.recipients)
    if isinstance(event, Quarantined):
        kept = (f"kept until {render.local(event.expires)}",)
        return Told("quarantined", WARN, f"for {to}: {clean(event.reason)}", kept)
    tag = (f"tagged as {clean(event.tag.partition(chr(10))[0])}",) if event.tag else ()
    return Told("queued", "", f"for {to}", tag)


def _operated(event: AlertRaised | AlertOver | AlertsSilenced | Exported | ReportSent | Dropped | Acted) -> Told:
    if isinstance(event, Acted):
        done = ACTIONS.get(event.action, clean(event.action))
        note = (clean(event.note),) if event.note else ()
        return Told(
            "done", STRONG, f"{done}{f': {clean(event.what)}' if event.what else ''}, by {clean(event.by)}", note
        )
    if isinstance(event, AlertRaised):
        heard = (clean(event.detail),) if event.detail else ()
        return Told(
            "alert", BAD, clean(event.text), (f"{clean(event.value)}; the limit is {clean(event.limit)}", *heard)
        )
    if isinstance(event, AlertOver):
        since = (f"it began at {render.local(event.since)}",) if event.since else ()
        return Told("alert over", GOOD, clean(event.text), since)
    if isinstance(event, AlertsSilenced):
        return _silenced(event)
    if isinstance(event, Exported):
        what = clean(event.domain) or "all domains"
        text = f"{render.count(event.events, 'event')} of {what}, by {clean(event.by)}"
        return Told("exported", STRONG, text, (f"SHA-256 {clean(event.digest)}",) if event.digest else ())
    if isinstance(event, ReportSent):
        who = f", by {clean(event.by)}" if event.by else ""
        text = f"{clean(event.schedule)} of {clean(event.domain)} to {clean(event.to)}, {render.count(event.rows, 'row')}{who}"
        return Told("report sent", STRONG, text, (f"as {clean(event.message)}",))
    days = f"{clean(event.start)} to {clean(event.end)}"
    return Told(
        "dropped", QUIET, f"{days} of the archive, {render.count(event.events, 'event')}: their retention was over"
    )


def _silenced(event: AlertsSilenced) -> Told:
    about = clean(f"{event.rule} {event.what}".strip())
    note = (clean(event.note),) if event.note else ()
    if not event.until:
        return Told("alerts told", STRONG, f"{about}, by {clean(event.by)}", note)
    return Told("silenced", STRONG, f"alerts of {about} until {render.local(event.until)}, by {clean(event.by)}", note)


def _seen(event: Released | Looked | Reported) -> Told:
    """What people do with what is kept."""
    who = clean(event.by)
    if isinstance(event, Released):
        virus = ("it carries a virus, and whoever released it said that they know",) if event.virus else ()
        return Told("released", GOOD, f"for {people(event.recipients)}, by {who}", virus)
    if isinstance(event, Looked):
        how = LOOKS.get(event.how, clean(event.how))
        return Told("looked at", QUIET, f"by {who}: {how}, for {people(event.recipients)}")
    note = (clean(event.note),) if event.note else ()
    return Told("reported", STRONG, f"as {'bad' if event.spam else 'good'} mail by {who}", note)


def _refused(event: Refused) -> Told:
    who = f"from {path(event.sender)}" if event.stage not in ("connect", "hello") else ""
    to = f" to {clean(event.recipient)}" if event.recipient else ""
    often = f", {event.count:,} times since {render.local(event.since)}" if event.count > 1 else ""
    said = f"{event.code} {event.enhanced} {clean(event.reply)}"
    more = [from_client(event.client), said]
    if event.note:
        more.append(f"because of {clean(event.note)}")
    return Told("refused", BAD, f"{who}{to} at {clean(event.stage)}{often}".strip(), tuple(more))


def _received(event: Received) -> Told:
    addresses = [spec.original or spec.address for spec in event.recipients]
    text = f"from {path(event.sender)} to {people(addresses)}, {render.size(event.size)}"
    if event.origin == "bounce":
        return Told("received", STRONG, text, (f"a bounce that we wrote about {clean(event.cause)}",))
    if event.origin in ("report", "alert"):
        return Told(
            "received",
            STRONG,
            text,
            ("an alert that we wrote" if event.origin == "alert" else "a report that we wrote",),
        )
    client = from_client(event.client)
    more = [client] if client else []
    if event.origin in ("redirect", "release"):
        first = people([spec.original for spec in event.recipients if spec.original])
        what = "redirected" if event.origin == "redirect" else "released from quarantine"
        return Told("received", STRONG, text, (*more, f"{what}: it came for {first} as {clean(event.cause)}"))
    aliases = {spec.original.rpartition("@")[2] for spec in event.recipients if spec.original}
    if aliases:
        more.append(f"{clean(', '.join(sorted(aliases)))} is an alias of {clean(event.domain)}")
    if event.greylisted:
        more.append(f"greylisted first, at {render.local(event.greylisted)}")
    return Told("received", STRONG, text, tuple(more))


def _scanned(event: Scanned | Postponed) -> Told:
    if isinstance(event, Postponed):
        until = f"it is scanned again and again until {render.local(event.until)}, and then kept in quarantine"
        return Told("waits", WARN, f"for {clean('; '.join(event.missing))}", (until,))
    more = []
    if event.subject:
        more.append(f"subject: {clean(event.subject)}")
    if event.header_from:
        more.append(f"author: {clean(event.header_from)}")
    if event.auth:
        from cli.verdicts import authentication

        more.append(authentication(event.auth))
    if event.country:
        from pipeline.country import name_of

        more.append(f"from {clean(name_of(event.country))}")
    more += [
        f"{clean(finding.name)} {finding.score:+g}" + (f": {clean(finding.text)}" if finding.text else "")
        for finding in event.findings
    ]
    if event.missing:
        more.append(f"not scanned by {clean('; '.join(event.missing))}")
    more += [
        f"{clean(one.action)} for {people(one.recipients)}: {clean('; '.join(one.why))}"
        for one in event.decisions
        if one.why
    ]
    style = GOOD if event.verdict in ("clean", "bulk") else WARN
    took = f", in {render.age(event.took)}" if event.took else ""
    return Told("scanned", style, f"{clean(event.verdict)}, score {event.score:g}{took}", tuple(more))


def _tried(event: Delivered | Deferred | Failed | Undeliverable | Warned) -> Told:
    to = people(event.recipients)
    quotes = quoted(event.attempt)
    if isinstance(event, Delivered):
        waited = f", {render.age(event.waited)} after it came" if event.waited else ""
        return Told("delivered", GOOD, f"to {to}{waited}", quotes=quotes)
    if isinstance(event, Deferred):
        wait = render.relative(event.next_try, event.at)
        text = f"try {event.tries} for {to}; next try {wait}, at {render.local(event.next_try)}"
        return Told("deferred", WARN, text, unknown(event.attempt), quotes)
    if isinstance(event, Warned):
        text = f"{path(event.sender)} was told that it still waits for {to}"
        until = f"in {clean(event.warning)}; it will be given up at {render.local(event.until)}"
        return Told("warned", WARN, text, (until,), quotes)
    why = REASONS.get(event.reason, clean(event.reason))
    if isinstance(event, Failed) and event.by:
        why = f"{why} by {clean(event.by)}: {clean(event.note)}"
    if isinstance(event, Undeliverable):
        kept = (f"no bounce: {clean(event.unsent)}", f"kept for the postmaster until {render.local(event.expires)}")
        return Told("undelivered", BAD, f"for {to}: {why}", (*kept, *unknown(event.attempt)), quotes)
    more = (
        f"returned to {path(event.sender)} as {clean(event.bounce)}"
        if event.bounce
        else f"no bounce: {clean(event.unsent)}"
    )
    return Told("failed", BAD, f"for {to}: {why}", (more, *unknown(event.attempt)), quotes)


def _discarded(event: Discarded) -> Told:
    who = f", by {clean(event.by)}" if event.by else ""
    why = DISCARDS.get(event.reason, clean(event.reason))
    note = (clean(event.note),) if event.note else ()
    return Told("discarded", QUIET, f"for {people(event.recipients)}: {why}{who}", note)


def _steered(event: Discarded | Held | Resumed | Redirected) -> Told:
    if isinstance(event, Discarded):
        return _discarded(event)
    to, who = people(event.recipients), clean(event.by)
    if isinstance(event, Redirected):
        return Told(
            "redirected", QUIET, f"from {to} to {clean(event.to)}, by {who}: {clean(event.reason)}",
            (f"it goes on as {clean(event.message)}",),
        )  # fmt: skip
    undone = (f"takes back {clean(event.undoes)}",) if event.undoes else ()
    if isinstance(event, Resumed):
        why = f": {clean(event.reason)}" if event.reason else ""
        return Told("resumed", GOOD, f"for {to}, by {who}{why}", undone)
    if event.then:
        end = ENDS.get(event.then, clean(event.then))
        more = (f"taken back until then with: gatepost queue undo {clean(event.action)}",)
        return Told(
            "ends", WARN, f"for {to}: to be {end} at {render.local(event.until)}, by {who}: {clean(event.reason)}", more
        )
    until = f", until {render.local(event.until)}" if event.until else ""
    held = f" (held by {clean(event.holder)} since {render.local(event.since)})" if event.undoes else ""
    return Told("held", WARN, f"for {to}, by {who}{until}: {clean(event.reason)}{held}", undone)


def _route(event: RouteDeferred | RouteOpened | Retried) -> Told:
    if isinstance(event, Retried):
        waiting = render.count(event.waiting, "message")
        return Told("retried", "", f"{waiting} for {clean(event.domain)} at once, by {clean(event.by)}")
    if isinstance(event, RouteOpened):
        return Told("open again", GOOD, f"{clean(event.server)} takes mail for {clean(event.domain)} again")
    wait = render.relative(event.next_try, event.at)
    text = f"no server of {clean(event.domain)} can be used (try {event.tries}); next attempt {wait}, at {render.local(event.next_try)}"
    return Told("waits", WARN, text, quotes=tuple((place(attempt), attempt.reply) for attempt in event.attempts))


def _learned(event: Learned) -> Told:
    what = "spam" if event.spam else "no spam"
    whose = f"for {clean(event.domain)}" if event.domain else "for all domains"
    text = f"that it is {what}, {whose}, by {clean(event.by)} ({clean(event.how)})"
    return Told("forgot" if event.undone else "learned", QUIET, text)
