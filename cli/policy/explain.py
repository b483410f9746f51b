"""`gatepost policy explain`: why a message was kept, tagged, discarded or delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.events import Decision, Received, Scanned

NOTHING_AGAINST = "the score is below what would keep it, and no entry of a list spoke of its sender"


async def explain(
    message_id: Annotated[str, Parameter(help="The message's id, as every list shows it.")],
    /,
    *,
    common: Common = DEFAULT,
) -> int:
    """Why a message was kept, tagged, discarded or delivered, for each recipient.

    The findings with their scores, what they come to, the thresholds and where
    they were set, and the entries of lists that spoke of the sender.

    For example:

      gatepost policy explain 1nx9s4tkh2v6c8jq0d7w03
    """
    from cli.names import message_id_of
    from cli.render import Screen, clean, document, local, rfc3339
    from cli.session import session
    from cli.verdicts import authentication, authentication_forms, decision_forms, finding_forms, tell
    from cli.words import path

    wanted = message_id_of(message_id)
    async with session(common) as opened:
        received, scanned = await _found(opened, wanted)
    decisions = _decisions(received, scanned)
    if common.json:
        document({
            "id": wanted, "at": rfc3339(scanned.at), "sender": received.sender if received else "", "subject": scanned.subject,
            "country": scanned.country, "verdict": scanned.verdict, "score": scanned.score,
            "findings": finding_forms(scanned.findings), "authentication": authentication_forms(scanned.auth),
            "decisions": decision_forms(decisions),
        })  # fmt: skip
        return 0
    screen = Screen()
    screen.heading(wanted)
    client = received.client if received else None
    screen.facts([
        ("scanned", local(scanned.at)),
        ("from", path(received.sender) if received else ""),
        ("author", clean(scanned.header_from)),
        ("subject", clean(scanned.subject)),
        ("client", clean(f"{client.helo} [{client.address}]") if client else ""),
        ("country", clean(scanned.country)),
        ("authentication", authentication(scanned.auth)),
    ])  # fmt: skip
    tell(screen, scanned.findings, decisions, scanned.verdict, scanned.score)
    if not decisions:
        screen.say(("It was scanned by a release that did not keep why.", "dim"))
    screen.say()
    screen.say(("What became of it: ", "dim"), f"gatepost trace {wanted}")
    return 0


def _decisions(received: Received | None, scanned: Scanned) -> Sequence[Decision]:
    """As recorded. Of clean mail that went to all nothing is, because there is nothing to explain."""
    from pipeline.events import Decision

    if scanned.decisions or scanned.verdict != "clean" or received is None:
        return scanned.decisions
    recipients = tuple([spec.address for spec in received.recipients])
    return (Decision(recipients=recipients, action="deliver", verdict="clean", why=(NOTHING_AGAINST,)),)


async def _found(opened: Any, wanted: str) -> tuple[Received | None, Scanned]:
    """Raises NotFoundError."""
    from pipeline.events import Received, Scanned
    from pipeline.faults import NotFoundError
    from pipeline.ids import partition_of

    received: Received | None = None
    if partition_of(wanted) < opened.wiring.store.partitions:
        async for entry in opened.wiring.past.message(wanted):
            if entry.subject != wanted:
                continue
            if isinstance(entry.event, Received):
                received = entry.event
            elif isinstance(entry.event, Scanned):
                return received, entry.event
    if received is not None:
        raise NotFoundError(f"{wanted} has not been scanned yet", remedy=f"See `gatepost trace {wanted}`.")
    raise NotFoundError(f"no message {wanted}", remedy="The id is in the reply to the sender, and in every list.")
