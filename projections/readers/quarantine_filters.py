"""Which kept messages are meant: what the index is asked for, and what a row has to meet. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pipeline.address import mailbox_key
from pipeline.terms import folded, words
from projections.quarantine import Row, senders

Value = tuple[str, str]
"""Kind and value, as projections.quarantine.values has them."""
ALL: Final = ("a", "")
Check = Callable[[Row], bool]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages are meant: those that match all that is said."""

    domain: str = ""
    sender: str = ""
    """An address, `@domain`, `<>` for none, or a part of an address or of the From field."""
    recipient: str = ""
    """An address, or a part of one."""
    subject: str = ""
    """Words that are all in it; one with a `*` is a part of a word."""
    class_: str = ""
    """What it was judged to be; undeliverable."""
    country: str = ""
    test: str = ""
    since: int = 0
    """Kept at this moment (ns) or later."""
    until: int = 0
    """Kept before this moment (ns); 0: any time."""
    recipients: frozenset[str] | None = None
    """Who looks: copies for other addresses are not there. None: whoever may see all."""


def plan(query: Query) -> tuple[list[list[Value]], list[Check]]:
    """What the index can be asked for: each a list of values of which a message has one; and what a row has to meet."""
    sources: list[list[Value]] = [[("d", query.domain) if query.domain else ALL]]
    checks: list[Check] = []
    if query.domain:
        checks.append(lambda row: row.domain == query.domain)
    for part in (_of_sender, _of_recipient, _of_subject, _of_rest, _of_time):
        part(query, sources, checks)
    return sources, checks


def _of_sender(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    wanted = folded(query.sender.strip())
    local, at, domain = wanted.rpartition("@")
    if not wanted:
        return
    if wanted == "<>" or (local and domain):
        sources.append([("s", wanted)])
        checks.append(lambda row: wanted in senders(row))
    elif at and domain:
        sources.append([("h", domain)])
        checks.append(lambda row: any(one.rpartition("@")[2] == domain for one in senders(row)))
    else:
        checks.append(lambda row: wanted in folded(row.sender) or wanted in folded(row.header_from))


def _of_recipient(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    wanted = folded(query.recipient.strip())
    seen = seen_by(query)

    def visible(row: Row) -> list[str]:
        return [folded(one) for one in row.kept if seen is None or mailbox_key(one) in seen]

    local, _, domain = wanted.rpartition("@")
    if local and domain:
        sources.append([("r", wanted)])
        checks.append(lambda row: wanted in visible(row))
    elif wanted:
        checks.append(lambda row: any(wanted in one for one in visible(row)))
    if query.recipients is not None:
        sources.append(copies_of(query.recipients))
        checks.append(lambda row: bool(visible(row)))


def copies_of(recipients: frozenset[str]) -> list[Value]:
    return [("r", one) for one in sorted({folded(address) for address in recipients})]


def seen_by(query: Query) -> frozenset[str] | None:
    """The mailboxes whose copies may be seen; None: all."""
    return None if query.recipients is None else frozenset(map(mailbox_key, query.recipients))


def _of_subject(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    for text in query.subject.split():
        if "*" in text:
            checks += [_has_part(folded(piece)) for piece in text.split("*") if piece]
        else:
            sources += [[("w", word)] for word in words(text)]
            checks += [_has_word(word) for word in words(text)]


def _has_part(part: str) -> Check:
    return lambda row: part in folded(row.subject)


def _has_word(word: str) -> Check:
    return lambda row: word in words(row.subject)


def _of_rest(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:
    if query.class_:
        sources.append([("c", query.class_)])
        seen = seen_by(query)
        checks.append(
            lambda row: any(
                name == query.class_ for one, name in row.kept.items() if seen is None or mailbox_key(one) in seen
            )
        )
    if query.country:
        country = folded(query.country)
        sources.append([("n", country)])
        checks.append(lambda row: folded(row.country) == country)
    if query.test:
        test = folded(query.test)
        sources.append([("t", test)])
        checks.append(lambda row: any(folded(name) == test for name in row.tests))


def _of_time(query: Query, sources: list[list[Value]], checks: list[Check]) -> None:  # noqa: ARG001 - as the others
    if query.since:
        checks.append(lambda row: row.since >= query.since)
    if query.until:
        checks.append(lambda row: row.since < query.until)
