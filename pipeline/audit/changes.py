"""Whether each change of the directory begins with what the one before it left, and whether the directory is what they left.

Of each value a number is remembered, not the value: about a hundred octets for each domain, address and entry of a list that is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from pipeline import keys
from pipeline.address import local_key
from pipeline.events import (
    AddressesRemoved,
    AddressesSet,
    DirectoryEvent,
    DomainRemoved,
    DomainSet,
    RulesRemoved,
    RulesSet,
    ServerHeld,
    ServerResumed,
    SyncRemoved,
    SyncSet,
)
from pipeline.store import Client, faults

PAGE: Final = 1000
Change = tuple[str, str, bytes | None, bytes | None]
"""Key of a hash, field, what was there, what is there; empty: nothing; None: an old release did not write it down."""


class Changes:
    def __init__(self, begin: int = 0) -> None:
        """`begin` 0: from the first change on; else the first that is seen of a thing is believed."""
        self.whole = not begin
        self._known: dict[str, dict[str, int | None]] = {}

    def see(self, event: DirectoryEvent) -> str:
        """What is wrong with a change, in words; empty when nothing is."""
        wrong = ""
        for key, field, before, after in changes(event):
            there = self._known.setdefault(key, {})
            said = there.get(field, 0 if self.whole else None)
            if before is not None and said is not None and said != _number(before):
                wrong = wrong or f"what was there of {field} before this change is not what the one before it left"
            if after or after is None or not self.whole:
                there[field] = None if after is None else _number(after)
            else:
                there.pop(field, None)
        return wrong

    async def differences(self, redis: Client) -> AsyncIterator[str]:
        """Where the directory is not what its log says, in words. Only of what was seen, unless all was."""
        for key, fields in self._known.items():
            left = {field for field, said in fields.items() if said}
            cursor = 0
            while True:
                with faults():
                    cursor, rows = await redis.hscan(key, cursor, count=PAGE)
                for name, data in rows.items():
                    field = name.decode("utf-8", "replace")
                    left.discard(field)
                    said = fields.get(field, 0 if self.whole else None)
                    if said is not None and said != _number(data):
                        yield f"{field} in {key} is not what the log says"
                if not cursor:
                    break
            for field in sorted(left):
                yield f"{field} in {key} is gone, and the log says that it is there"


def changes(event: DirectoryEvent) -> Iterator[Change]:
    """What an event changed in Redis."""
    match event:
        case DomainSet():
            yield keys.DOMAINS, event.domain, event.before, event.after
        case DomainRemoved():
            yield keys.DOMAINS, event.domain, event.before, b""
        case AddressesSet() | AddressesRemoved():
            names = [local_key(local) for local in event.locals]
            after = event.after if isinstance(event, AddressesSet) else (b"",) * len(names)
            yield from _several(keys.addresses(event.domain), names, event.before, after)
        case RulesSet() | RulesRemoved():
            after = event.after if isinstance(event, RulesSet) else (b"",) * len(event.rules)
            yield from _several(keys.rules(event.domain), event.rules, event.before, after)
        case SyncSet():
            yield keys.SYNCS, event.name, event.before, event.after
        case SyncRemoved():
            yield keys.SYNCS, event.name, event.before, b""
        case ServerHeld():
            yield keys.SERVERS, event.server, event.before, event.after
        case ServerResumed():
            yield keys.SERVERS, event.server, event.before, b""
        case _:
            pass


def _several(key: str, names: Any, before: tuple[bytes, ...], after: tuple[bytes, ...]) -> Iterator[Change]:
    for place, name in enumerate(names):
        old = before[place] if len(before) == len(names) else None
        new = after[place] if len(after) == len(names) else None
        yield key, name, old, new


def _number(data: bytes) -> int:
    """0 for nothing."""
    return hash(data) or 1 if data else 0
