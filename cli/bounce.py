"""`gatepost bounce`: what a sender would be told, before anybody is."""

from __future__ import annotations

import email
import email.message
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun
from pipeline.state import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.session import Session
    from pipeline.bodies import Buffer
    from pipeline.events import Attempt, MessageEvent

app = noun(
    "bounce",
    """What a sender would be told of a message that waits. Nothing is sent.

For example:

  gatepost bounce preview 1nx9s4tkh2v6c8jq0d7w03
""",
)


class Preview(msgspec.Struct, frozen=True):
    message: Message
    unsent: dict[str, str]
    """Recipient -> why nothing would be said of it."""
    language: str
    report: bytes
    """Empty when there would be none."""


@app.command
async def preview(
    message_id: Annotated[str, Parameter(help="The id of a message that waits, or is kept as undeliverable.")],
    /,
    *,
    raw: Annotated[bool, Parameter(help="The report's bytes as they would leave.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Show the bounce that would be sent if the message were given up now.

    Or why there would be none: then it would be kept in quarantine as
    undeliverable. Nothing is sent, and the message goes on waiting.

    For example:

      gatepost bounce preview 1nx9s4tkh2v6c8jq0d7w03
      gatepost bounce preview 1nx9s4tkh2v6c8jq0d7w03 --raw
    """
    from cli.acted import acted
    from cli.names import message_id_of
    from cli.render import document
    from cli.session import session

    wanted = message_id_of(message_id)
    async with session(common) as opened:
        found = await _made(opened, wanted)
        await acted(opened, "bounce_previewed", wanted, domain=found.message.domain)
    if raw:
        return _raw(found)
    if common.json:
        document(_form(found))
    else:
        _show(found)
    return 0


async def _made(opened: Session, message_id: str) -> Preview:
    """Raises NotFoundError, RefusedError."""
    from cli.heads import live_or_refuse
    from pipeline import bounces
    from pipeline.events import Failed, Undeliverable
    from pipeline.faults import RefusedError
    from pipeline.ids import partition_of
    from pipeline.state import Stage
    from workers.bounces import language

    wiring, now = opened.wiring, opened.now()
    await wiring.directory.refresh()
    message = await live_or_refuse(wiring, message_id)
    unsent = {one.address: one.unsent for one in message.recipients if one.unsent}
    if not unsent and not message.addresses(Stage.QUEUED):
        raise RefusedError(
            f"{message_id} does not wait to leave, it is {message.stage}", remedy=f"See `gatepost trace {message_id}`."
        )
    content = await wiring.bodies.get(message_id)
    route = await wiring.schedule.route(partition_of(message_id), message.domain)
    events = _given_up(opened, message, content, now, route.attempts[-1] if route.attempts else None)
    unsent |= {
        address: event.unsent
        for event in events
        if isinstance(event, Undeliverable | Failed) and event.unsent
        for address in event.recipients
    }
    spoken = language(wiring, message)
    report = b""
    if any(isinstance(event, Failed) and event.bounce for event in events):
        report = bounces.written(
            message, events, content, hostname=wiring.hostname, now=now, tried=route.at, language=spoken
        )
    return Preview(message, unsent, spoken, report)


def _given_up(
    opened: Session, message: Message, content: Buffer, now: int, route: Attempt | None
) -> Sequence[MessageEvent]:
    """What would follow if the time of all that waits were over."""
    from pipeline import bounces, decide

    ended = msgspec.structs.replace(message, expires=now, kept_until=now + 1)
    return decide.expired(
        ended,
        now=now,
        route=route,
        unsent=bounces.unsent(message, content),
        partition_of_sender=bounces.sender_partition(message, opened.wiring.store.partitions),
        retention=opened.wiring.retention_of(message.domain),
    )


def _raw(found: Preview) -> int:
    import sys

    from pipeline.faults import RefusedError

    if not found.report:
        raise RefusedError(f"no bounce would be sent: {'; '.join(dict.fromkeys(found.unsent.values()))}")
    sys.stdout.buffer.write(found.report)
    sys.stdout.buffer.flush()
    return 0


def _parts(report: bytes) -> tuple[str, str, str]:
    """Its subject, what it says to a person, and what it says to a program."""
    whole = email.message_from_bytes(report)
    parts = whole.get_payload()
    assert isinstance(parts, list)
    text, status = parts[:2]
    assert isinstance(text, email.message.Message)
    assert isinstance(status, email.message.Message)
    said = bytes(text.get_payload(decode=True) or b"").decode(text.get_content_charset("ascii"))
    groups = status.get_payload()
    if isinstance(groups, list):
        fields = "\n\n".join(
            "\n".join(f"{name}: {' '.join(str(value).split())}" for name, value in group.items())
            for group in groups
            if isinstance(group, email.message.Message)
        )
    else:
        fields = bytes(status.get_payload(decode=True) or b"").decode("utf-8", "replace").replace("\r\n", "\n")
    return str(whole["Subject"]), said.replace("\r\n", "\n"), fields


def _show(found: Preview) -> None:
    from cli.render import Screen, clean
    from cli.words import path

    screen = Screen()
    for address, why in found.unsent.items():
        screen.say(("no bounce", "yellow"), f" for {clean(address)}: {clean(why)}")
    if not found.report:
        ours = found.message.origin == "bounce"
        kept = "It is a bounce of ours: that it failed would be recorded, and nothing kept."
        screen.say(kept if ours else "It would be kept in quarantine as undeliverable, for the postmaster.")
        return
    subject, said, fields = _parts(found.report)
    screen.facts([
        ("from", "<>"), ("to", path(found.message.sender)), ("language", found.language), ("Subject", clean(subject)),
    ])  # fmt: skip
    for text in (said, fields):
        screen.say()
        screen.quote(text.rstrip("\n"), 0)


def _form(found: Preview) -> dict[str, object]:
    subject, said, fields = _parts(found.report) if found.report else ("", "", "")
    return {
        "id": found.message.id,
        "sent": bool(found.report),
        "to": found.message.sender if found.report else "",
        "unsent": found.unsent,
        "language": found.language,
        "subject": subject,
        "text": said,
        "status": fields,
        "raw": found.report.decode("utf-8", "replace"),
    }
