"""`gatepost refused`: mail that did not get in, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.render import Screen
    from projections.readers import DomainRefusals
    from projections.refusals import Refusal

MOST = 50


async def refused(
    domain: Annotated[str | None, Parameter(help="Only mail for this domain; all domains when left out.")] = None,
    /,
    *,
    sender: Annotated[str, Parameter(help="Only from senders that contain this.")] = "",
    recipient: Annotated[str, Parameter(help="Only to recipients that contain this.")] = "",
    client: Annotated[str, Parameter(help="Only from this IP address.")] = "",
    reason: Annotated[
        str, Parameter(help="Only for this reason, such as no_such_user, relay_denied, greylisted.")
    ] = "",
    limit: Annotated[int, Parameter(help="How many at most, the newest first.")] = MOST,
    common: Common = DEFAULT,
) -> int:
    """Mail that did not get in, and what its sender was told; the newest 50 of each domain.

    One client that is refused again and again is one line with a count. Mail that
    named none of our domains stands last.

    For example:

      gatepost refused
      gatepost refused example.com --sender @partner.example
      gatepost refused --client 192.0.2.7 --json
    """
    from cli.names import domain_of
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from projections.readers import read_refusals

    wanted = domain_of(domain) if domain is not None else None
    async with session(common, views=True) as opened:
        found = await read_refusals(opened.wiring.store.redis, opened.wiring.store.partitions, wanted)
        now = opened.now()
    chosen = sorted(
        (
            refusal
            for one in found
            for refusal in one.refusals
            if _matches(refusal, sender.lower(), recipient.lower(), client, reason.lower())
        ),
        key=lambda refusal: -refusal.event.at,
    )
    if common.json:
        document({
            "at": rfc3339(now),
            "counts": {one.domain: one.counts for one in found if one.counts},
            "refusals": [refusal_form(refusal) for refusal in chosen[:limit]],
            "left_off": max(0, len(chosen) - limit),
        })  # fmt: skip
        return 0
    screen = Screen()
    tell_refusals(screen, chosen[:limit], len(chosen))
    tell_counts(screen, found)
    return 0


def _matches(refusal: Refusal, sender: str, recipient: str, client: str, reason: str) -> bool:
    event = refusal.event
    return (
        sender in event.sender.lower()
        and recipient in event.recipient.lower()
        and client in ("", event.client.address)
        and reason in ("", event.reason)
    )


def tell_refusals(screen: Screen, refusals: Sequence[Refusal], total: int) -> None:
    from cli.render import clean, count, local
    from cli.words import path

    if not refusals:
        screen.say(("Nothing was refused.", "green"))
        return
    for refusal in refusals:
        event = refusal.event
        times = f"  {event.count:,} times since {local(event.since)}" if event.count > 1 else ""
        who = clean(event.client.helo) or "a client"
        screen.say(
            (local(event.at), "bold"),
            "  ",
            (clean(event.reason), "yellow"),
            f"  at {clean(event.stage)}",
            (times, "bold"),
        )
        if event.stage not in ("connect", "hello"):
            screen.say(
                "  ", f"from {path(event.sender)}" + (f" to {clean(event.recipient)}" if event.recipient else "")
            )
        screen.say(
            "  ",
            (
                f"{who} [{clean(event.client.address) or 'many'}] was told: {event.code} {event.enhanced} {clean(event.reply)}",
                "dim",
            ),
        )
        if event.note:
            screen.say("  ", (f"because of {clean(event.note)}", "dim"))
        screen.say("  ", (f"gatepost trace {refusal.id}", "dim"))
    if total > len(refusals):
        screen.say((f"{count(total - len(refusals), 'older one')}, see --limit", "dim"))


def tell_counts(screen: Screen, found: Sequence[DomainRefusals]) -> None:
    from cli.render import clean

    rows = [
        [clean(one.domain) or ("none of ours", "dim"), f"{number:,}", clean(reason)]
        for one in found
        for reason, number in sorted(one.counts.items(), key=lambda pair: -pair[1])
    ]
    if rows:
        screen.say()
        screen.table(["domain", ">in all", "reason"], rows)


def refusal_form(refusal: Refusal) -> dict[str, Any]:
    from cli.render import rfc3339

    event = refusal.event
    return {
        "id": refusal.id,
        "at": rfc3339(event.at),
        "domain": event.domain,
        "reason": event.reason,
        "stage": event.stage,
        "code": event.code,
        "enhanced": event.enhanced,
        "reply": event.reply,
        "sender": event.sender,
        "recipient": event.recipient,
        "client": {"address": event.client.address, "helo": event.client.helo, "tls": event.client.tls},
        "count": event.count,
        "since": rfc3339(event.since),
        "note": event.note,
    }
