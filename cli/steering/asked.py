"""What people type when they steer: a time, a server, an address."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

from pipeline.faults import ConfigurationError, RefusedError
from pipeline.units import SECOND, Duration, Endpoint

if TYPE_CHECKING:
    from pipeline.directory import Directory

SMTP_PORT: Final = 25
POSTMASTER: Final = "postmaster"
LONGEST: Final = 3650 * 86400 * SECOND
"""A hold of more than ten years is a slip of the keyboard."""
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\]")
WHY: Final = 500
"""Characters of a reason: it stands in the event of every message."""


def until_of(text: str, now: int) -> int:
    """A moment (ns) from `2h`, `18:00` (the next one), `2026-11-25 08:00` or RFC 3339; 0 for nothing. Local time where no zone is given.

    Raises ConfigurationError.
    """
    wanted = text.strip()
    if not wanted:
        return 0
    at = _moment(wanted, now)
    if at is None:
        raise ConfigurationError(f"{text!a} is no time", remedy="Write it as 2h, 18:00, or 2026-11-25 08:00.")
    if not now < at <= now + LONGEST:
        raise ConfigurationError(f"{text} is not a time to come within ten years")
    return at


def _moment(text: str, now: int) -> int | None:
    try:
        return now + Duration.parse(text)
    except ValueError:
        pass
    try:
        clock = _CLOCK.fullmatch(text)
        if clock is None:
            return int(dt.datetime.fromisoformat(text).timestamp()) * SECOND
        today = dt.datetime.fromtimestamp(now / SECOND).astimezone()
        at = today.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0, tzinfo=None)
        if at.timestamp() * SECOND <= now:
            at += dt.timedelta(days=1)
        return int(at.timestamp()) * SECOND
    except (ValueError, OverflowError, OSError):
        return None


def age_of(text: str) -> int:
    """Raises ConfigurationError."""
    try:
        return int(Duration.parse(text)) if text else 0
    except ValueError as error:
        raise ConfigurationError(f"--older-than {text}: {error}") from None


def why(text: str) -> str:
    """A reason, in one line. Raises ConfigurationError."""
    # What a shell handed over that is no UTF-8 cannot be written down.
    words = " ".join(text.encode("utf-8", "replace").decode().split())
    if not words:
        raise ConfigurationError("why?", remedy='Say it with --reason "...": it is recorded and shown.')
    if len(words) > WHY:
        raise ConfigurationError(f"the reason has {len(words)} characters; {WHY} at most")
    return words


def server_of(text: str) -> str:
    """HOST:PORT in lower case, as routes are stored; port 25 where none is given. Raises ConfigurationError."""
    wanted = text.strip().lower()
    if not re.search(r":\d+\Z", wanted) or wanted.endswith("]"):
        wanted = f"{wanted}:{SMTP_PORT}"
    try:
        endpoint = Endpoint.parse(wanted)
    except ValueError as error:
        raise ConfigurationError(f"server {text!a}: {error}") from None
    if not endpoint.port or _HOST.fullmatch(wanted.rpartition(":")[0]) is None:
        raise ConfigurationError(f"server {text!a} is not HOST:PORT")
    return str(endpoint)


async def destination(directory: Directory, text: str, *, outside: bool) -> str:
    """The address that mail may be redirected to, with an alias of a domain replaced by the domain.

    Raises ConfigurationError, and RefusedError for who is not known here, unless `outside` allows a foreign domain.
    """
    from pipeline.address import AddressError, parse

    try:
        address = parse(text.strip())
    except AddressError as error:
        raise ConfigurationError(f"{text!a}: {error}", remedy="Write it as anna@example.com.") from None
    home = await directory.find_home(address.domain)
    if home is None:
        if not outside:
            raise RefusedError(
                f"{address.domain} is not a domain of this gateway",
                remedy="Mail may go there all the same with --outside.",
            )
        return str(address)
    if not (home.catch_all or address.key == POSTMASTER or await directory.accepts(address.key, home)):
        raise RefusedError(f"no address {address}", remedy=f"See `gatepost address list {home.name}`.")
    return f"{address.local}@{home.name}"
