"""A chain of hashes over records: none can be changed, left out, put in or moved without the first such place showing.

A record is one line of JSON whose first field is its hash: SHA-256 of the hash before it (64 zeros before the first), in hexadecimal, followed
by the rest of the line, from the octet behind the hash's comma to its closing brace. So whoever checks it needs no JSON.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from pipeline.audit.entries import Entry, milliseconds
from pipeline.events import AnyEvent

START: Final = "0" * 64
PREFIX: Final = b'{"hash":"'
BODY: Final = len(PREFIX) + len(START) + len('",')
"""Where what is hashed begins."""
MAX_LINE: Final = 16 << 20
"""Octets of a record. An event of a thousand addresses, the largest that there are, is about two MiB."""

Form = Callable[[AnyEvent], dict[str, Any]]
"""An event in fields that people read."""


_json: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


def body(number: int, entry: Entry, form: Form) -> bytes:
    """What a record says, without its hash. ASCII only, so that no text of a stranger does anything to a terminal."""
    event = form(entry.event) if entry.event is not None else {"fault": entry.fault}
    fields: dict[str, Any] = {
        "n": number,
        "partition": entry.partition,
        "entry": entry.id,
        "subject": entry.subject,
        "version": entry.version,
        "time": written(entry.id),
        "kind": entry.kind,
        "domain": entry.domain,
        "event": event,
        "raw": base64.b64encode(entry.data).decode(),
    }
    try:
        return _json(fields)[1:].encode("ascii")
    except (ValueError, TypeError) as error:
        # JSON has no word for some numbers; the octets say what it was.
        return _json({**fields, "event": {"fault": str(error)}})[1:].encode("ascii")


def written(entry: str) -> str:
    """When an entry was written down."""
    at = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=milliseconds(entry))
    return at.isoformat("T", "milliseconds")[:23] + "Z"


def moment(text: str) -> int:
    """What `written` wrote, in ms. Raises ValueError."""
    at = dt.datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!a} names no zone")
    return (at - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(milliseconds=1)


def link(previous: str, content: bytes) -> str:
    """The hash of a record whose body is `content`, behind one whose hash is `previous`."""
    return hashlib.sha256(previous.encode("ascii") + content).hexdigest()


def line(digest: str, content: bytes) -> bytes:
    return PREFIX + digest.encode("ascii") + b'",' + content
