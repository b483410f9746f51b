"""The command: one message in full, or those that are what is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.diagnoses import LANGUAGE
from cli.options import DEFAULT, Common, at_least_one
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    from cli.diagnoses import Diagnoses
    from cli.render import Screen
    from cli.session import Session
    from projections.readers.past.finding import Found, Query

MOST = 20
STYLES = {"delivered": "green", "failed": "red", "refused": "red", "discarded": "dim"}


async def trace(
    what: Annotated[
        str,
        Parameter(
            help="Its id: it is in the reply to the sender, in the Received line we add, and in every list. Or a Message-ID, an address, words of the subject, an IP address or a domain."
        ),
    ] = "",
    /,
    *,
    sender: Annotated[
        str, Parameter(help="From this address, or from anybody at @domain; <> is the null sender.")
    ] = "",
    recipient: Annotated[str, Parameter(help="To this address.")] = "",
    subject: Annotated[str, Parameter(help="With all of these words in the subject.")] = "",
    client: Annotated[str, Parameter(help="From this IP address.")] = "",
    server: Annotated[str, Parameter(help="Tried at this server, by its name or IP address.")] = "",
    message_id: Annotated[str, Parameter(help="With this Message-ID.")] = "",
    domain: Annotated[str, Parameter(help="For this domain, or an alias of it.")] = "",
    period: Period = WHOLE,
    limit: Annotated[int, Parameter(help="How many at most, the newest first.")] = MOST,
    after: Annotated[str, Parameter(help="Go on where a page ended, as it says.")] = "",
    full: Annotated[bool, Parameter(help="Everything that happened to each of them.")] = False,
    language: Annotated[str, LANGUAGE] = "",
    common: Common = DEFAULT,
) -> int:
    """Everything that happened to one message, with every server's exact words; or which messages there were.

    All that is asked for must be true of a message. Mail that was refused is
    found as well. What a refusal is about, and what can be done, is said with it.
    Days, such as --from 2026-11-20, are when it came, in this machine's time zone.

    For example:

      gatepost trace 1nx9s4tkh2v6c8jq0d7w03
      gatepost trace anna@example.com --days 2
      gatepost trace --sender @partner.example --recipient anna@example.com --subject "invoice november"
      gatepost trace --client 192.0.2.7 --from 2026-11-20 --to 2026-11-21 --json
    """
    from cli.diagnoses import diagnoses
    from cli.session import session
    from cli.trace.asked import asked
    from pipeline.ids import is_id

    at_least_one(limit)
    given = {
        "sender": sender, "recipient": recipient, "subject": subject, "client": client, "server": server,
        "message_id": message_id, "domain": domain,
    }  # fmt: skip
    alone = not any(given.values()) and not period.given
    wanted = what.strip().lower()
    async with session(common, views=True) as opened:
        meant = await diagnoses(opened, language)
        if alone and is_id(wanted):
            return await _one(opened, wanted, meant, json=common.json)
        queries = await asked(opened, what, given, period)
        return await _search(opened, queries, meant, limit=limit, after=after, full=full, json=common.json)


async def _one(opened: Session, wanted: str, meant: Diagnoses, *, json: bool) -> int:
    from cli import timeline
    from cli.render import Screen, document

    recorded, message, parked = await timeline.read(opened, wanted)
    if json:
        document(timeline.form(wanted, recorded, message, parked, meant))
    else:
        timeline.show(Screen(), wanted, recorded, message, parked, meant, opened.now())
    return 0


async def _search(
    opened: Session, queries: Sequence[Query], meant: Diagnoses, *, limit: int, after: str, full: bool, json: bool
) -> int:
    from cli import timeline
    from cli.render import Screen, document, rfc3339
    from pipeline.faults import NotFoundError

    found, following, complete = await _found(opened, queries, limit, after)
    if json:
        forms = [found_form(one) for one in found]
        for form in forms if full else []:
            form["events"] = timeline.form(form["id"], *await timeline.read(opened, form["id"]), meant)["events"]
        document({"at": rfc3339(opened.now()), "messages": forms, "following": following, "complete": complete})
        return 0
    if not found and not following and not after:
        raise NotFoundError("nothing was found", remedy="See what can be asked for: gatepost trace --help.")
    screen = Screen()
    for number, one in enumerate(found):
        if full or (len(found) == 1 and not following and not after):
            screen.say(*(["\n"] if number else []), end="")
            timeline.show(screen, one.id, *await timeline.read(opened, one.id), meant, opened.now())
        else:
            _line(screen, one)
    if following:
        screen.say(("There may be more: go on with --after ", "dim"), following)
    if not complete:
        screen.say(("The index is far behind: what came last may be missing. Does the projector run?", "yellow"))
    return 0


async def _found(opened: Session, queries: Sequence[Query], limit: int, after: str) -> tuple[list[Found], str, bool]:
    """What any of the queries finds, the newest first; where to go on, which only a single query can say; whether all was seen."""
    from pipeline.faults import ConfigurationError

    found: dict[str, Found] = {}
    following, complete = "", True
    for query in queries:
        position = after if len(queries) == 1 else ""
        more: list[Found] = []
        while len(more) < limit:
            try:
                page = await opened.wiring.past.page(query, limit - len(more), position)
            except ValueError:
                raise ConfigurationError(f"--after {after!a} is not where a page ended") from None
            more += page.found
            complete = complete and page.complete
            position = page.following
            if not position:
                break
        found.update({one.id: one for one in more})
        following = position if len(queries) == 1 else ""
        if found and query.message_id and len(queries) > 1:
            break  # nobody's address is also a Message-ID
    ordered = list(found.values()) if len(queries) == 1 else sorted(found.values(), key=lambda one: -one.at)
    return ordered[:limit], following, complete


def _line(screen: Screen, one: Found) -> None:
    from cli.render import clean, local, size
    from cli.words import path, people

    octets = f", {size(one.size)}" if one.size else ""
    screen.say(
        (local(one.at), "bold"),
        "  ",
        (f"{one.state:<11}", STYLES.get(one.state, "yellow")),
        f"  from {path(one.sender)}" + (f" to {people(one.recipients)}" if one.recipients else "") + octets,
    )
    if one.subject:
        screen.say("  ", clean(one.subject))
    screen.say("  ", (f"{one.verdict}  " if one.verdict else "", "dim"), (f"gatepost trace {one.id}", "dim"))


def found_form(one: Found) -> dict[str, Any]:
    from cli.forms import event_form
    from cli.render import rfc3339

    return {
        "id": one.id,
        "at": rfc3339(one.at),
        "state": one.state,
        "domain": one.domain,
        "sender": one.sender,
        "recipients": list(one.recipients),
        "subject": one.subject,
        "message_id": one.message_id,
        "client": one.client,
        "size": one.size,
        "verdict": one.verdict,
        "last": event_form(one.last),
    }
