"""What somebody looks for, and whether a message is it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from pipeline.events import AnyEvent, Recorded, Refused
from pipeline.places import HOUR_MS
from pipeline.state import Message
from pipeline.terms import (
    CLIENT,
    DOMAIN,
    MESSAGE_ID,
    RECIPIENT,
    SENDER,
    SERVER,
    WORD,
    facts,
    folded,
    host,
    message_id,
    term,
    words,
)
from projections.readers.past.hot import FOREVER

LATE_MS: Final = 31 * 24 * HOUR_MS
"""How long after its arrival something that a message is found by may be written down: it waits to be scanned, is tried, goes to
somebody else. Only matters where a search ends before today.
"""
Key: TypeAlias = tuple[int, int, int]
"""(milliseconds, number, partition) of an entry: the order in which all logs together were written."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must be true of a message. Empty: it does not matter."""

    message_id: str = ""
    """The Message-ID of its header, with or without angle brackets."""
    sender: str = ""
    """An address, or `@` and a domain, of the envelope or of the From field; `<>` for the null sender."""
    recipient: str = ""
    """An address, as the client named it or as it was delivered to."""
    subject: str = ""
    """Words, all of which are in the subject line."""
    client: str = ""
    """The IP address that it came from."""
    server: str = ""
    """A server that it was tried at, by name or address."""
    domain: str = ""
    """The domain that it was for, as mail for its aliases is."""
    start: int = 0
    """It came from this moment on (ns) ..."""
    end: int = FOREVER
    """... and before this."""


class Group(NamedTuple):
    """Facts that are all of one event, whichever event that is."""

    name: str
    facts: frozenset[tuple[str, str]]
    late: int
    """ms after the arrival until which that event may be."""

    @property
    def terms(self) -> list[int]:
        return [term(field, value) for field, value in sorted(self.facts)]

    @property
    def telling(self) -> int:
        """The term that is likely to be the rarest: long words are."""
        field, value = max(self.facts, key=lambda fact: (fact[0] == MESSAGE_ID, len(fact[1]), fact))
        return term(field, value)

    def of(self, event: AnyEvent) -> bool:
        return self.facts <= set(facts(event))


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A message, or mail that was refused, in short. Text of strangers is as it came."""

    id: str
    at: int
    """When it came (ns)."""
    domain: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    client: str
    size: int
    verdict: str
    """Empty before it was scanned."""
    state: str
    """The stage that it is in, or `refused`."""
    last: AnyEvent
    """What was written down of it last, as far as that was looked at."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    found: tuple[Found, ...]
    """By when what they are found by was written down, the newest first."""
    following: str
    """Where the next page begins; empty: there is none."""
    examined: int
    """Places of the log that were looked at."""
    complete: bool
    """Nothing newer was left off; False while the view of the index is far behind."""


def groups(query: Query) -> tuple[Group, ...]:
    """What is asked for, by the event that says it; what is usually rarest comes first."""
    scanned = {(WORD, word) for word in words(query.subject)}
    if query.message_id:
        scanned.add((MESSAGE_ID, message_id(query.message_id)))
    arrival = {(DOMAIN, query.domain)} if query.domain else set()
    if query.client:
        arrival.add((CLIENT, query.client))
    sender = query.sender and (folded(query.sender) if query.sender != "<>" else "<>")
    found = [
        Group("scanned", frozenset(scanned), LATE_MS),
        Group("recipient", frozenset({(RECIPIENT, folded(query.recipient))} if query.recipient else ()), LATE_MS),
        Group("sender", frozenset({(SENDER, sender)} if sender else ()), LATE_MS),
        Group("arrival", frozenset(arrival), HOUR_MS),
        Group("server", frozenset({(SERVER, host(query.server))} if query.server else ()), LATE_MS),
    ]
    return tuple(group for group in found if group.facts)


def matches(query: Query, wanted: Sequence[Group], own: Sequence[Recorded]) -> bool:
    """Whether the events of a message say all of it."""
    if not own or not query.start <= own[0].event.at < query.end:
        return False
    return all(any(group.of(one.event) for one in own) for group in wanted)


def found_of(subject: str, own: Sequence[Recorded], message: Message | None) -> Found | None:
    """`message`: as its events, or its head, leave it. None for what begins with neither arrival nor refusal."""
    first, last = own[0].event, own[-1].event
    if isinstance(first, Refused):
        return Found(
            id=subject, at=first.at, domain=first.domain, sender=first.sender,
            recipients=(first.recipient,) if first.recipient else (), subject="", message_id="",
            client=first.client.address, size=0, verdict="", state="refused", last=first,
        )  # fmt: skip
    if message is None:
        return None
    return Found(
        id=subject, at=message.received_at, domain=message.domain, sender=message.sender,
        recipients=tuple([one.address for one in message.recipients]), subject=message.subject,
        message_id=message.message_id, client=message.client.address if message.client is not None else "",
        size=message.size, verdict=message.verdict, state=message.stage.value, last=last,
    )  # fmt: skip


# Where a page begins


def cursor(anchor: int, key: Key) -> str:
    return f"{anchor}.{key[0]}-{key[1]}.{key[2]}"


def parsed(text: str, wanted: Sequence[Group]) -> tuple[int, Key]:
    """The group that is walked along, and behind which entry. Raises ValueError."""
    anchor, entry, partition = text.split(".")
    ms, number = entry.split("-")
    if not all(part.isascii() and part.isdecimal() and len(part) < 20 for part in (anchor, ms, number, partition)):
        raise ValueError(text)
    if int(anchor) >= max(1, len(wanted)):
        raise ValueError(text)
    return int(anchor), (int(ms), int(number), int(partition))
