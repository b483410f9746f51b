"""What the webhook is posted: a JSON object, signed so that its receiver can tell that it is ours, whole, and new. Pure.

The signature is HMAC-SHA256 (RFC 2104) of the timestamp, a full stop and the body, in hexadecimal. `docs/alerts.md` says how to verify it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.alerts.notices import Notice
from pipeline.faults import ConfigurationError
from pipeline.units import SECOND

FIRST_PAUSE: Final = 10 * SECOND
LONGEST_PAUSE: Final = 600 * SECOND
SHORTEST_SECRET: Final = 16
MAX_SECRET: Final = 4096


def pause(tries: int) -> int:
    """How long (ns) the webhook is left alone after it failed so often in a row: doubled each time, ten minutes at most."""
    return min(LONGEST_PAUSE, FIRST_PAUSE << min(max(0, tries - 1), 20))


def secret(path: str) -> bytes:
    """What the file holds, without white space around it. Raises ConfigurationError; nothing of the secret is in that."""
    try:
        with Path(path).open("rb") as file:
            found = file.read(MAX_SECRET + 1).strip()
    except OSError as error:
        raise ConfigurationError(
            f"alert_webhook_secret_file {path}: {error.strerror or 'cannot be read'}",
            remedy="Make it readable for the user that Gatepost runs as.",
        ) from None
    if not SHORTEST_SECRET <= len(found) <= MAX_SECRET:
        raise ConfigurationError(
            f"alert_webhook_secret_file {path} holds {len(found)} octets",
            remedy=f"Put {SHORTEST_SECRET} or more random characters into it: openssl rand -hex 32",
        )
    return found


def form(notice: Notice, gateway: str) -> Mapping[str, Any]:
    return {
        "id": notice.id,
        "event": "test" if notice.test else "over" if notice.over else "raised",
        "gateway": gateway,
        "rule": notice.rule,
        "what": notice.what,
        "domain": notice.domain or None,
        "text": notice.text,
        "value": notice.value or None,
        "limit": notice.limit or None,
        "detail": notice.detail or None,
        "at": _written(notice.at),
        "since": _written(notice.since),
    }


def body(notice: Notice, gateway: str) -> bytes:
    """ASCII, the same for every try."""
    return json.dumps(form(notice, gateway)).encode("ascii")


def signature(key: bytes, timestamp: int, content: bytes) -> str:
    """`timestamp`: seconds since 1970 UTC."""
    return hmac.new(key, b"%d." % timestamp + content, hashlib.sha256).hexdigest()


def headers(key: bytes, timestamp: int, content: bytes, notice: Notice) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": "Gatepost",
        "Gatepost-Id": notice.id,
        "Gatepost-Timestamp": str(timestamp),
        "Gatepost-Signature": f"sha256={signature(key, timestamp, content)}",
    }


def _written(at: int) -> str | None:
    if not at:
        return None
    return dt.datetime.fromtimestamp(at // SECOND, dt.UTC).isoformat().replace("+00:00", "Z")
