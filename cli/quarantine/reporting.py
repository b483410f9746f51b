"""`gatepost quarantine report`: a message was judged wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from workers.misjudged import Outcome

LARGEST: Final = 64 << 20
"""Octets: larger than any message that comes in."""


async def report(
    message: Annotated[
        str,
        Parameter(help="The id of a message, or a file with it, or - for standard input.", allow_leading_hyphen=True),
    ],
    /,
    *,
    good: Annotated[bool, Parameter(help="It is good mail that was taken for bad; else it is bad mail.")] = False,
    file: Annotated[
        Path | None,
        Parameter(
            help="With an id: a file with the message (or -), for the classifier to learn from.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    domain: Annotated[str, Parameter(help="Whose mail it was, where the message does not tell.")] = "",
    list_sender: Annotated[
        bool, Parameter(help="Block the sender of bad mail in that domain; allow the one of good mail.")
    ] = False,
    note: Annotated[str, Parameter(help="In a few words; it is recorded.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Say of a message that it was judged wrongly: bad mail that was delivered, or good mail (--good).

    It is recorded, and the domain's classifier learns from it. A delivered message
    leaves no copy: to be learned from it has to be given, as the mail program saved
    it. Which message it was is read off our Received line in it.

    For example:

      gatepost quarantine report message.eml
      gatepost quarantine report 1nx9s4tkh2v6c8jq0d7w03 --file message.eml --list-sender
      gatepost quarantine report 1nx9s4tkh2v6c8jq0d7w03 --good
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.ids import is_id
    from workers.misjudged import Reporting

    named = message.strip().lower()
    message_id = named if is_id(named) else ""
    where = file if message_id else message
    content = _read(str(where)) if where is not None else None
    wanted = domain_of(domain) if domain else ""
    words = " ".join(note.encode("utf-8", "replace").decode().split())[:500]
    async with session(common) as opened:
        found = await Reporting(opened.wiring, by=actor()).report(
            spam=not good, message_id=message_id, content=content, domain=wanted, list_sender=list_sender, note=words
        )
    if common.json:
        document({
            "report": found.report, "id": found.message or None, "domain": found.domain, "sender": found.sender,
            "spam": not good, "learned": found.learned, "listed": found.listed or None,
        })  # fmt: skip
        return 0
    screen = Screen()
    for line in _lines(found, good=good):
        screen.say(line)
    return 0


def _read(file: str) -> bytes:
    """Raises ConfigurationError."""
    from cli.files import content_of
    from pipeline.faults import ConfigurationError

    content = content_of(file, LARGEST)
    if not content.strip():
        raise ConfigurationError(f"{file} is empty", remedy="Give the message itself.")
    return content


def _lines(found: Outcome, *, good: bool) -> list[str]:
    from cli.render import clean
    from cli.words import path

    what = f"{found.message}, from {path(found.sender)}," if found.message else "a message"
    lines = [f"recorded: {what} for {clean(found.domain)} is {'good' if good else 'bad'} mail"]
    if found.learned:
        lines.append("  the classifier has learned from it")
    elif found.read:
        lines.append("  the classifier knew that")
    else:
        lines.append("  nothing to learn from: it has left, and leaves no copy; give the message itself with --file")
    if found.listed:
        lines.append(f"  mail from {clean(found.listed)} is {'allowed' if good else 'blocked'} from now on")
    return lines
