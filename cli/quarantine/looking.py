"""`gatepost quarantine show`, `preview` and `download`. Each look is recorded, with who looked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.preview import Piece, Preview
    from pipeline.state import Message
    from workers.quarantine import Shown

ID = Parameter(help="The id, from `gatepost quarantine list`.")


async def show(
    message_id: Annotated[str, ID],
    /,
    *,
    raw: Annotated[bool, Parameter(help="The same as download: the message's bytes, to a file or a pipe.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Show what is known of one message: its tests, who sent it, what was decided, who looked.

    For example:

      gatepost quarantine show 1nx9s4tkh2v6c8jq0d7w03
    """
    from cli.forms import event_form, message_form
    from cli.names import message_id_of
    from cli.quarantine.forms import looks_form
    from cli.render import Screen, document
    from cli.session import actor, session
    from workers.quarantine import Quarantine

    if raw:
        return await download(message_id, common=common)
    wanted = message_id_of(message_id)
    async with session(common) as opened:
        found = await Quarantine(opened.wiring, by=actor()).show(wanted)
        now = opened.now()
    if common.json:
        scan = event_form(found.scanned) if found.scanned is not None else None
        document({
            **message_form(found.message), "quarantined": list(found.recipients), "scan": scan,
            "looks": looks_form(found.message),
        })  # fmt: skip
        return 0
    _show(Screen(), found, now)
    return 0


def _show(screen: Screen, found: Shown, now: int) -> None:
    from cli.forms import UNDELIVERABLE, kept_as
    from cli.render import clean, local, relative, size
    from cli.verdicts import authentication, tell_decisions, tell_findings
    from cli.words import from_client, path, people
    from pipeline.decide import VIRUS

    message, scanned = found.message, found.scanned
    reasons = list(dict.fromkeys(why for one in message.recipients if (why := kept_as(message, one))))
    kept = [message.reason if why != UNDELIVERABLE and message.reason else why for why in reasons]
    until = message.kept_until or message.expires
    country = f" ({scanned.country})" if scanned is not None and scanned.country else ""
    knowing = " --virus" if message.verdict == VIRUS else ""
    screen.say((message.id, "bold"), "  ", (clean("; ".join(kept)), "yellow"))
    screen.facts([
        ("sender", path(message.sender)),
        ("From", clean(scanned.header_from) if scanned else ""),
        ("to", people(found.recipients)),
        ("Subject", clean(message.subject)),
        ("Message-ID", clean(message.message_id)),
        ("size", size(message.size)),
        ("received", f"{local(message.received_at)}, {relative(message.received_at, now)}"),
        ("client", from_client(message.client) + clean(country)),
        ("kept until", f"{local(until)}, {relative(until, now)}"),
        ("verdict", f"{clean(message.verdict)}, score {message.score:g}"),
        ("authenticated", authentication(scanned.auth) if scanned is not None else ""),
    ])  # fmt: skip
    if scanned is not None:
        tell_findings(screen, scanned.findings)
        tell_decisions(screen, scanned.decisions, scanned.verdict)
    _undeliverable(screen, message)
    _looks(screen, message)
    screen.say()
    screen.say("Why it is here: gatepost policy explain ", (message.id, "bold"))
    screen.say("Read it: gatepost quarantine preview ", (message.id, "bold"))
    screen.say("Release it: gatepost quarantine release ", (message.id, "bold"), knowing)


def _undeliverable(screen: Screen, message: Message) -> None:
    from cli.render import clean
    from cli.words import quoted

    for one in message.recipients:
        if one.unsent:
            screen.say()
            screen.say((f"could not be delivered to {clean(one.address)}, no bounce: {clean(one.unsent)}", "red"))
            for where, reply in quoted(one.last):
                screen.say("  ", (where, "dim"))
                screen.quote(reply, 2)


def _looks(screen: Screen, message: Message) -> None:
    """Those before this one."""
    from cli.render import clean, local
    from cli.words import LOOKS

    if len(message.looks) > 1:
        screen.say()
    for look in message.looks[:-1]:
        screen.say((f"{local(look.at)}  {clean(look.by)} looked at {LOOKS.get(look.how, clean(look.how))}", "dim"))


async def preview(message_id: Annotated[str, ID], /, *, common: Common = DEFAULT) -> int:
    """Read a message safely: its text without its markup, links with where they really go.

    Nothing is fetched, nothing runs, and nothing of it reaches the terminal but
    characters that can be seen.

    For example:

      gatepost quarantine preview 1nx9s4tkh2v6c8jq0d7w03
    """
    from cli.names import message_id_of
    from cli.quarantine.forms import preview_form
    from cli.render import Screen, document
    from cli.session import actor, session
    from workers.quarantine import Quarantine

    wanted = message_id_of(message_id)
    async with session(common) as opened:
        message, found = await Quarantine(opened.wiring, by=actor()).preview(wanted)
    if common.json:
        document(preview_form(message, found))
        return 0
    _preview(Screen(), message, found)
    return 0


def _preview(screen: Screen, message: Message, found: Preview) -> None:
    from cli.render import clean, size
    from cli.words import path

    screen.say((message.id, "bold"), "  ", (clean(message.reason), "yellow"))
    names = {"message-id": "Message-ID", "cc": "Cc", "reply-to": "Reply-To"}
    header = [(names.get(name, name.capitalize()), clean(text)) for name, text in found.fields]
    screen.facts([("sender", path(message.sender)), *header, ("size", size(message.size))])
    for flaw in found.flaws:
        screen.say((f"odd: {flaw}", "yellow"))
    for piece in found.pieces:
        _piece(screen, piece)
    if found.attachments:
        screen.say()
        screen.table(
            ["attachment", ">size", "sent as", "by its content"],
            [
                [clean(one.name) or ("without a name", "dim"), size(one.size), clean(one.declared), clean(one.found)]
                for one in found.attachments
            ],
        )
    if found.attachments_left_off:
        screen.say((f"and {found.attachments_left_off:,} more", "dim"))
    if found.cut:
        screen.say()
        screen.say(("There is more; this is its beginning.", "yellow"))


def _piece(screen: Screen, piece: Piece) -> None:
    from cli.render import clean, count

    screen.say()
    if piece.name:
        screen.say(("in the file ", "dim"), (clean(piece.name), "bold"))
    screen.quote(piece.text)
    if piece.hidden:
        screen.say(("  hidden text: ", "yellow"), clean(piece.hidden))
    for link in piece.links:
        shown = f"  shown as: {clean(link.text)}" if link.text and link.text != link.target else ""
        warning = ("  goes elsewhere than it says", "red") if link.deceives else ""
        screen.say(("  link  ", "dim"), clean(link.target), (shown, "dim"), warning)
    for form in piece.forms:
        screen.say(("  form  ", "yellow"), clean(form))
    rest = [count(number, name) for number, name in ((piece.images, "picture"), (piece.scripts, "script")) if number]
    if rest:
        screen.say((f"  not shown: {', '.join(rest)}", "dim"))


async def download(
    *message_ids: Annotated[str, Parameter(help="One or more ids.")],
    to: Annotated[
        Path | None, Parameter(help="A directory, for a file ID.eml of each; or a file, for one message.")
    ] = None,
    mbox: Annotated[Path | None, Parameter(help="A file that all of them are put into, as an mbox.")] = None,
    common: Common = DEFAULT,
) -> int:
    """Write messages as they came: to a pipe, a file, a directory or an mbox, never to a terminal.

    For example:

      gatepost quarantine download 1nx9s4tkh2v6c8jq0d7w03 > message.eml
      gatepost quarantine download 1nx9s4tkh2v6c8jq0d7w03 --to evidence/
      gatepost quarantine download 1nx9s4tkh2v6c8jq0d7w03 --mbox evidence.mbox
    """
    from cli.names import message_id_of
    from cli.quarantine.writing import Target
    from cli.session import actor, session
    from workers.quarantine import Quarantine

    wanted = list(dict.fromkeys(message_id_of(text) for text in message_ids))
    target = Target(wanted, to, mbox, json=common.json)
    written: list[dict[str, Any]] = []
    async with session(common) as opened:
        quarantine = Quarantine(opened.wiring, by=actor())
        for message_id in wanted:
            message, content = await quarantine.download(message_id)
            written.append({"id": message_id, "file": target.write(message, content), "size": len(content)})
    target.tell(written)
    return 0
