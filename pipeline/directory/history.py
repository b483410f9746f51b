"""Past changes of the directory, the newest first, and taking one back.

A change is taken back as a whole, and only while everything that it touched still is as it left it: what was changed again since is
somebody's later decision. Taking back is a change like any other, and can be taken back itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.address import local_key
from pipeline.directory.change import Change
from pipeline.directory.directory import Directory
from pipeline.directory.lists import changes as list_changes
from pipeline.directory.lists import entries
from pipeline.directory.lists.changes import Lists
from pipeline.directory.lists.entries import decode_rule
from pipeline.directory.model import Address, decode_address, decode_domain, decode_hold
from pipeline.events import (
    AddressesRemoved,
    AddressesSet,
    DirectoryEvent,
    DomainRemoved,
    DomainSet,
    Recorded,
    RulesRemoved,
    RulesSet,
    ServerHeld,
    ServerResumed,
    SyncRemoved,
    SyncSet,
)
from pipeline.faults import NotFoundError, RefusedError
from pipeline.log import Damaged, decode_entry
from pipeline.steps import Effect
from pipeline.store import Store, faults

PAGE: Final = 200
LATER: Final = "See what came later with `gatepost directory history`."


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """One change: all events of it, in their order."""

    number: int
    at: int
    by: str
    note: str
    events: tuple[DirectoryEvent, ...]


async def changes(store: Store, before: int = 0) -> AsyncIterator[Past]:
    """The changes, the newest first; only those with a number below `before` when that is given. What cannot be read is passed over."""
    group: list[DirectoryEvent] = []
    number = 0
    async for version, event in _backwards(store):
        belongs_to = event.change or version
        if group and belongs_to != number:
            if not before or number < before:
                yield _past(number, group)
            group = []
        number = belongs_to
        group.append(event)
    if group and (not before or number < before):
        yield _past(number, group)


def _past(number: int, group: Sequence[DirectoryEvent]) -> Past:
    last = group[0]
    return Past(number=number, at=last.at, by=last.by, note=last.note, events=tuple(reversed(group)))


async def _backwards(store: Store) -> AsyncIterator[tuple[int, DirectoryEvent]]:
    end = "+"
    while True:
        with faults():
            rows: Any = await store.redis.xrevrange(keys.DIRECTORY_LOG, max=end, count=PAGE)
        for entry, fields in rows:
            recorded: Recorded | Damaged = decode_entry(-1, entry, fields)
            if isinstance(recorded, Recorded) and isinstance(recorded.event, DirectoryEvent):
                yield recorded.version, recorded.event
        if len(rows) < PAGE:
            return
        end = "(" + rows[-1][0].decode()


async def find(store: Store, number: int) -> Past:
    """Raises NotFoundError."""
    async for past in changes(store):
        if past.number == number:
            return past
        if past.number < number:
            break
    raise NotFoundError(f"no change {number}", remedy="See `gatepost directory history`.")


async def revert(directory: Directory, store: Store, number: int, *, by: str, now: int) -> Past:
    """Take a change back; the change that was taken back.

    Raises NotFoundError, and RefusedError when something that it touched was changed again.
    """
    past = await find(store, number)

    async def build(change: Change) -> None:
        for event in reversed(past.events):
            if isinstance(event, SyncSet | SyncRemoved):
                await _undo_sync(store, change, event)
            elif isinstance(event, RulesSet | RulesRemoved):
                await _undo_rules(store, change, event)
            else:
                await _undo(directory, store, change, event)

    await directory.change(build, by=by, now=now, note=f"takes back change {number}")
    return past


async def _undo(directory: Directory, store: Store, change: Change, event: DirectoryEvent) -> None:
    if isinstance(event, DomainSet):
        await _undo_set(directory, store, change, event)
    elif isinstance(event, DomainRemoved):
        if event.domain in change.domains:
            raise RefusedError(f"{event.domain} was added again since", remedy=LATER)
        change.set_domain(decode_domain(event.before))
    elif isinstance(event, AddressesSet):
        await _undo_addresses_set(directory, change, event)
    elif isinstance(event, AddressesRemoved):
        await _undo_addresses_removed(directory, change, event)
    elif isinstance(event, ServerHeld | ServerResumed):
        _undo_server(directory, change, event)


def _undo_server(directory: Directory, change: Change, event: ServerHeld | ServerResumed) -> None:
    left = decode_hold(event.after) if isinstance(event, ServerHeld) else None
    there = directory.server_hold(event.server)
    if there != left:
        raise RefusedError(f"{event.server} was held or resumed again since", remedy=LATER)
    change.set_server(event.server, decode_hold(event.before) if event.before else None, there)


async def _undo_set(directory: Directory, store: Store, change: Change, event: DomainSet) -> None:
    name = event.domain
    if change.domains.get(name) != decode_domain(event.after):
        raise RefusedError(f"{name} was changed again since", remedy=LATER)
    if event.before:
        change.set_domain(decode_domain(event.before))
        return
    await directory.refuse_waiting(name)
    if await directory.count_addresses(name) > change.removed[name]:
        raise RefusedError(f"{name} has addresses by now", remedy=f"Remove it: gatepost domain remove {name}.")
    if await Lists(store, name).count() > change.removed_rules[name]:
        raise RefusedError(
            f"{name} has allow and block lists by now", remedy=f"Remove it: gatepost domain remove {name}."
        )
    change.remove_domain(name, ())


def _recorded(event: AddressesSet | AddressesRemoved) -> None:
    if len(event.before) != len(event.locals):
        raise RefusedError("this change was recorded by a release that did not keep what was there before")


async def _undo_addresses_set(directory: Directory, change: Change, event: AddressesSet) -> None:
    _recorded(event)
    there = await directory.rows(event.domain, [local_key(local) for local in event.locals])
    gone: list[Address] = []
    restored: list[Address] = []
    for local, before, after in zip(event.locals, event.before, event.after, strict=True):
        address = decode_address(after)
        if there.get(local_key(local)) != address:
            raise RefusedError(f"{local}@{event.domain} was changed again since", remedy=LATER)
        if before:
            restored.append(decode_address(before))
        else:
            gone.append(address)
    change.set_addresses(event.domain, restored, there)
    change.remove_addresses(event.domain, gone)


async def _undo_addresses_removed(directory: Directory, change: Change, event: AddressesRemoved) -> None:
    _recorded(event)
    again = await directory.rows(event.domain, [local_key(local) for local in event.locals])
    if again:
        local = next(iter(again.values())).local
        raise RefusedError(f"{local}@{event.domain} was added again since", remedy=LATER)
    change.set_addresses(event.domain, [decode_address(before) for before in event.before], {})


async def _undo_rules(store: Store, change: Change, event: RulesSet | RulesRemoved) -> None:
    lists = Lists(store, event.domain)
    there = await lists.rules(event.rules)
    after = event.after if isinstance(event, RulesSet) else (b"",) * len(event.rules)
    gone, restored = [], []
    for key, old, new in zip(event.rules, event.before, after, strict=True):
        left = decode_rule(new) if new else None
        if there.get(key) != left:
            raise RefusedError(f"{entries.named_by(key)} was changed again since", remedy=LATER)
        if old:
            restored.append(decode_rule(old))
        elif left is not None:
            gone.append(left)
    summaries = await lists.summaries(rule.person for rule in (*gone, *restored))
    list_changes.take(change, event.domain, gone, summaries)
    list_changes.put(change, event.domain, restored, there, summaries)


async def _undo_sync(store: Store, change: Change, event: SyncSet | SyncRemoved) -> None:
    """What a sync is does not matter here: its definition is there as it was written, or it was changed again."""
    left = event.after if isinstance(event, SyncSet) else b""
    with faults():
        there: Any = await store.redis.hget(keys.SYNCS, event.name)
    if (there or b"") != left:
        raise RefusedError(f"the sync {event.name} was changed again since", remedy=LATER)
    if event.before:
        effect: Effect = ("HSET", keys.SYNCS, event.name, event.before)
        change.add(SyncSet, effect, domain="", name=event.name, before=left, after=event.before)
    else:
        change.add(SyncRemoved, ("HDEL", keys.SYNCS, event.name), domain="", name=event.name, before=left)
