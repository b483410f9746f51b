"""An event in fields that people read: as everywhere, with what is stored in octets decoded where we know what it is."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from cli.forms import event_form
from cli.render import rfc3339
from pipeline.events import AnyEvent, Exported

STRUCTS: Final = frozenset({"before", "after"})
"""MessagePack of what the directory keeps."""
MOMENTS: Final = frozenset({"warn_at", "received", "greylisted"})


def readable(event: AnyEvent) -> dict[str, Any]:
    form = event_form(event)
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if name in MOMENTS or (isinstance(event, Exported) and name in ("start", "end")):
            form[name] = rfc3339(value)
        elif isinstance(value, bytes):
            form[name] = _octets(name, value)
        elif name in STRUCTS and isinstance(value, tuple):
            form[name] = [_octets(name, one) for one in value]
    return form


def _octets(name: str, data: bytes) -> Any:
    """What is in them; base64 where that is not known, null when there is nothing."""
    if not data:
        return None
    if name in STRUCTS:
        try:
            return _plain(msgspec.msgpack.decode(data))
        except (msgspec.DecodeError, RecursionError):
            pass
    return base64.b64encode(data).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
