"""Changes of the directory in words: what was there, and what is there now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli import render
from cli.domain.way import way_line
from cli.render import clean
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
    SyncRan,
    SyncRemoved,
    SyncSet,
)

if TYPE_CHECKING:
    from pipeline.directory import Address, Domain
    from pipeline.directory.lists.entries import Rule
    from pipeline.directory.policy import Policy

NAMED: Final = 5
SAID: Final = {
    "route": "route",
    "route_options": "route's options",
    "catch_all": "catch-all",
    "alias_of": "alias of",
    "parent": "under",
    "former_mx": "former MX",
    "delimiter": "delimiter",
    "greylist": "greylisting",
    "smtputf8": "SMTPUTF8",
    "engines_missing": "engine missing",
    "max_message_size": "largest message",
    "max_recipients": "recipients",
    "timezone": "time zone",
    "language": "language",
    "contact": "contact",
    "contact_outside": "contact outside",
    "policy": "policy",
    "trusted_relays": "trusted relays",
    "protected_names": "protected names",
    "reports": "reports by mail",
}
"""The fields of a domain that are told, in order."""


def told(event: DirectoryEvent) -> tuple[str, tuple[str, ...]]:
    """One line, and the details. Raises nothing: what an older release wrote has fewer details."""
    match event:
        case DomainSet():
            return _domain_set(event)
        case DomainRemoved():
            return f"domain {clean(event.domain)} removed", _lines(_domain(event.before), None)
        case AddressesSet():
            return _addresses_set(event)
        case AddressesRemoved():
            return f"{_number(event)} removed from {clean(event.domain)}", (_names(event.locals),)
        case SyncSet():
            return f"sync {clean(event.name)} {'changed' if event.before else 'added'}", ()
        case SyncRemoved():
            return f"sync {clean(event.name)} removed", ()
        case SyncRan():
            return _ran(event)
        case ServerHeld() | ServerResumed():
            return _server(event)
        case RulesSet() | RulesRemoved():
            return _rules(event)


def _server(event: ServerHeld | ServerResumed) -> tuple[str, tuple[str, ...]]:
    if isinstance(event, ServerResumed):
        return f"server {clean(event.server)} flows again", ()
    until = (f"until {render.local(event.until)}",) if event.until else ()
    return f"server {clean(event.server)} held: {clean(event.reason)}", until


def _rules(event: RulesSet | RulesRemoved) -> tuple[str, tuple[str, ...]]:
    from pipeline.directory.lists.changes import decoded
    from pipeline.directory.lists.file import written

    after = event.after if isinstance(event, RulesSet) else (b"",) * len(event.rules)
    pairs = [(decoded(old), decoded(new)) for old, new in zip(event.before, after, strict=False)]
    words = []
    for number, done in (
        (sum(old is None for old, _ in pairs), "added"),
        (sum(old is not None and new is not None for old, new in pairs), "changed"),
        (sum(new is None for _, new in pairs), "removed"),
    ):
        if number:
            words.append(f"{number:,} {done}")
    lines = [
        f"{clean(written(rule))}{f' of {clean(rule.person)}' if rule.person else ''}: {_said(old)} -> {_said(new)}"
        for old, new in pairs[:NAMED]
        if (rule := new or old) is not None
    ]
    if len(pairs) > NAMED:
        lines.append(f"and {len(pairs) - NAMED:,} more")
    where = f"of {clean(event.domain)}" if event.domain else "for all domains"
    return f"allow and block lists {where}: {', '.join(words)}", tuple(lines)


def _said(rule: Rule | None) -> str:
    if rule is None:
        return "not listed"
    words = [clean(rule.action)]
    words += ["with blocked content"] if rule.content else []
    words += [f"until {render.local(rule.expires)}"] if rule.expires else []
    return " ".join([*words, f"({clean(rule.note)})" if rule.note else ""]).strip()


def combined(events: Iterable[DirectoryEvent]) -> list[DirectoryEvent]:
    """As few events as say the same: a change of thousands of addresses is written in pieces, and told as one."""
    found: list[DirectoryEvent] = []
    for event in events:
        last = found[-1] if found else None
        if (
            isinstance(event, AddressesSet | AddressesRemoved | RulesSet | RulesRemoved)
            and isinstance(last, type(event))
            and last.domain == event.domain
        ):
            fields = [name for name in ("locals", "rules", "before", "after") if hasattr(event, name)]
            joined = {name: getattr(last, name) + getattr(event, name) for name in fields}
            found[-1] = msgspec.structs.replace(last, **joined)
        else:
            found.append(event)
    return found


def _domain(data: bytes) -> Domain | None:
    from pipeline.directory.model import decode_domain

    try:
        return decode_domain(data) if data else None
    except msgspec.DecodeError:
        return None


def _domain_set(event: DomainSet) -> tuple[str, tuple[str, ...]]:
    before, after = _domain(event.before), _domain(event.after)
    name = clean(event.domain)
    if after is not None and (before.hold if before is not None else None) != after.hold:
        if after.hold is not None:
            return f"domain {name} held: {clean(after.hold.reason)}", ()
        return f"domain {name} flows again", _lines(before, after)
    return f"domain {name} {'changed' if event.before else 'added'}", _lines(before, after)


def _lines(before: Domain | None, after: Domain | None) -> tuple[str, ...]:
    lines = []
    for field, name in SAID.items():
        old, new = getattr(before, field, None), getattr(after, field, None)
        if (old or None) == (new or None):
            continue
        if before is None or after is None:
            lines.append(f"{name}: {_value(field, new if after is not None else old)}")
        else:
            lines.append(f"{name}: {_value(field, old)} -> {_value(field, new)}")
    return tuple(lines)


def _value(field: str, value: Any) -> str:
    if not value:
        return "no" if isinstance(value, bool) else "none"
    if field == "reports":
        return ", ".join(clean(f"{one.name} (every {one.every} to {one.to})") for one in value)
    if isinstance(value, tuple):
        return ", ".join(clean(part) for part in value)
    if isinstance(value, bool):
        return "yes"
    if field == "route_options":
        return way_line(value)
    if field == "policy":
        return _policy(value)
    return render.size(value) if field == "max_message_size" else clean(str(value))


def _policy(policy: Policy) -> str:
    return ", ".join(
        f"{field.replace('_', ' ')} {clean(f'{value:g}' if isinstance(value, float) else value)}"
        for field in policy.__struct_fields__
        if (value := getattr(policy, field))
    )


def _address(data: bytes) -> Address | None:
    from pipeline.directory.model import decode_address

    try:
        return decode_address(data) if data else None
    except msgspec.DecodeError:
        return None


def _addresses_set(event: AddressesSet) -> tuple[str, tuple[str, ...]]:
    new = [local for local, before in zip(event.locals, event.before, strict=False) if not before]
    if not event.before:
        return f"{_number(event)} added to {clean(event.domain)}", (_names(event.locals),)
    changed = [
        f"{clean(local)}: {_kind(_address(before))} -> {_kind(_address(after))}"
        for local, before, after in zip(event.locals, event.before, event.after, strict=False)
        if before
    ]
    words = []
    if new:
        words.append(f"{len(new):,} added to")
    if changed:
        words.append(f"{len(changed):,} changed at")
    more = [_names(new)] if new else []
    more += changed[:NAMED]
    if len(changed) > NAMED:
        more.append(f"and {len(changed) - NAMED:,} more")
    return f"addresses: {' and '.join(words)} {clean(event.domain)}", tuple(more)


def _kind(address: Address | None) -> str:
    if address is None:
        return "?"
    words = [address.kind.value]
    if address.targets:
        words.append(f"to {clean(', '.join(address.targets[:NAMED]))}")
    if address.source:
        words.append(f"by {clean(address.source)}")
    if address.policy is not None:
        words.append(f"with {_policy(address.policy)}")
    if address.gone:
        words.append(f"until {render.local(address.gone)}")
    return " ".join(words)


def _number(event: AddressesSet | AddressesRemoved) -> str:
    return render.count(len(event.locals), "address", "addresses")


def _names(locals_: tuple[str, ...] | list[str]) -> str:
    named = ", ".join(clean(local) for local in locals_[:NAMED])
    return named if len(locals_) <= NAMED else f"{named} and {len(locals_) - NAMED:,} more"


def _ran(event: SyncRan) -> tuple[str, tuple[str, ...]]:
    counts = f"{event.found:,} found, {event.added:,} added, {event.changed:,} changed, {event.removed:,} removed"
    line = f"sync {clean(event.name)}, run {event.run}: {clean(event.result)}"
    more = [] if event.result == "failed" else [counts]
    more += [clean(problem) for problem in event.problems[:NAMED]]
    if event.problem_count > NAMED:
        more.append(f"and {event.problem_count - NAMED:,} more problems")
    return line, tuple(more)
