"""What is kept, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.render import rfc3339

if TYPE_CHECKING:
    from pipeline.preview import Preview
    from pipeline.state import Message
    from projections.readers.quarantine import Kept, Stats
    from workers.releasing import Done


def kept_form(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.id,
        "domain": kept.domain,
        "sender": kept.sender,
        "from": kept.header_from,
        "quarantined": list(kept.recipients),
        "kept_as": list(kept.classes),
        "subject": kept.subject,
        "score": kept.score,
        "tests": list(kept.tests),
        "country": kept.country,
        "reason": kept.reason,
        "size": kept.size,
        "client": kept.client,
        "received_at": rfc3339(kept.received),
        "kept_since": rfc3339(kept.since),
        "expires_at": rfc3339(kept.expires),
    }


def looks_form(message: Message) -> list[dict[str, Any]]:
    return [{"at": rfc3339(look.at), "by": look.by, "how": look.how} for look in message.looks]


def preview_form(message: Message, found: Preview) -> dict[str, Any]:
    return {
        "id": message.id,
        "sender": message.sender,
        "size": message.size,
        "header": dict(found.fields),
        "parts": [
            {
                "name": piece.name or None,
                "html": piece.is_html,
                "text": piece.text,
                "hidden": piece.hidden,
                "links": [{"target": one.target, "text": one.text, "deceives": one.deceives} for one in piece.links],
                "forms": list(piece.forms),
                "images": piece.images,
                "scripts": piece.scripts,
            }
            for piece in found.pieces
        ],
        "attachments": [
            {"name": one.name, "declared": one.declared, "found": one.found, "size": one.size}
            for one in found.attachments
        ],
        "attachments_left_off": found.attachments_left_off,
        "flaws": list(found.flaws),
        "cut": found.cut,
    }


def stats_form(stats: Stats) -> dict[str, Any]:
    return {
        "domain": stats.domain,
        "messages": stats.messages,
        "bytes": stats.bytes,
        "classes": stats.classes,
        "countries": stats.countries,
        "oldest_since": rfc3339(stats.oldest or 0),
    }


def done_form(message_id: str, done: Done) -> dict[str, Any]:
    return {
        "id": message_id,
        "result": done.words,
        "changed": done.changed,
        "goes_on_as": done.message or None,
        "allowed": done.allowed or None,
        "learned": done.learned,
    }
