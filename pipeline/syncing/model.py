"""What a sync is, and what is remembered of it between runs."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pipeline.faults import ConfigurationError
from pipeline.sources.definitions import Definition
from pipeline.sources.model import Entry
from pipeline.units import SECOND

DAY: Final = 86400 * SECOND
LIMIT: Final = 10
GRACE: Final = 7 * DAY
SHORTEST: Final = 60 * SECOND
"""Between two runs: a source is somebody's production server."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


class Sync(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A source of addresses, and what may be done with what it lists."""

    name: str
    source: Definition
    every: int = 0
    """ns between the starts of two runs; 0: only when somebody says so."""
    domains: tuple[str, ...] = ()
    """Only addresses of these; empty: of all domains that are here."""
    limit: int = LIMIT
    """Percent of its addresses that a run may take away without being asked; the same for each domain."""
    grace: int = GRACE
    """ns for which an address that is not listed any more is still accepted."""
    paused: bool = False
    created_at: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a sync's runs."""

    run: int = 0
    """The number of the last one."""
    started: int = 0
    ended: int = 0
    result: str = ""
    """As in `events.SyncRan`; empty: it never ran."""
    words: str = ""
    """Why it failed, or what it waits for."""
    failures: int = 0
    """Runs that failed since the last one that did not."""
    next: int = 0
    """When it is due (ns)."""
    marker: bytes = b""
    """The source's, of the last listing that was taken over."""
    read: int = 0
    """When everything was last read."""
    domains: tuple[str, ...] = ()
    """In which it has addresses."""


class Staged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run that waits for approval, with all that its source listed."""

    run: int
    at: int
    entries: tuple[Entry, ...]
    words: str
    """Why it waits."""
    marker: bytes = b""
    problems: tuple[str, ...] = ()
    problem_count: int = 0
    removed: int = 0
    """Addresses that would be taken away, when it was staged."""
    catch_all: tuple[tuple[str, str], ...] = ()
    """As the source said it: (domain, where its mail for unlisted addresses goes)."""


encode: Final = msgspec.msgpack.Encoder().encode
decode_sync: Final = msgspec.msgpack.Decoder(Sync).decode
decode_state: Final = msgspec.msgpack.Decoder(State).decode
decode_staged: Final = msgspec.msgpack.Decoder(Staged).decode


def check(sync: Sync) -> None:
    """Raises ConfigurationError."""
    from pipeline.sources.checking import check as check_source  # noqa: PLC0415 - loads ldap3 for one

    if not _NAME.fullmatch(sync.name):
        raise ConfigurationError(
            f"{sync.name!a} cannot be the name of a sync", remedy="Small letters, digits, and . _ - between them."
        )
    if not 0 <= sync.limit <= 100:
        raise ConfigurationError("limit is a percentage, 0 to 100")
    if sync.every and sync.every < SHORTEST:
        raise ConfigurationError(f"a sync runs every {SHORTEST // SECOND} seconds at most")
    if not 0 <= sync.grace <= 365 * DAY:
        raise ConfigurationError("grace is a time up to 365d")
    check_source(sync.source)
