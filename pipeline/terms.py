"""What an event can be found by: the one list of it, for the index of what is in Redis and for the archive.

A *term* is a field and an exact value, such as the sender and `anna@example.org`, as a number of 32 bits. Different values may
share a number: who finds an event by one looks whether it really says so.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pipeline.events import (
    Acted,
    AlertsSilenced,
    AnyEvent,
    Attempt,
    Deferred,
    Delivered,
    Discarded,
    Dropped,
    Event,
    Exported,
    Failed,
    Held,
    Learned,
    Looked,
    Received,
    Redirected,
    Refused,
    Released,
    Reported,
    ReportSent,
    Resumed,
    Retried,
    RouteDeferred,
    Scanned,
    Undeliverable,
)

SUBJECT: Final = "i"
"""The subject: of every event, so that all that was written down of one message is found."""
DOMAIN: Final = "d"
"""The domain, of what begins a history: a message that came, mail that did not get in."""
SENDER: Final = "f"
"""An address that a message says it is from, of the envelope or of its From field, and `@` with the domain of each; `<>` is the null sender."""
RECIPIENT: Final = "t"
CLIENT: Final = "c"
"""The address of who brought it."""
SERVER: Final = "s"
"""A server that was tried, by its name without the port, and by its address."""
MESSAGE_ID: Final = "m"
"""The Message-ID, without its angle brackets."""
WORD: Final = "w"
"""A word of the subject line."""

ACTOR: Final = "b"
"""Who did it, of what people do; and empty, of all that anybody but Gatepost itself did."""
ITSELF: Final = "gatepost"

MAX_WORDS: Final = 24
_WORD: Final = re.compile(r"\w+")
_ADDRESS: Final = re.compile(r"[^\s<>@,;:\"'()]{1,64}@[^\s<>@,;:\"'()]{1,255}")


def folded(text: str) -> str:
    """What two texts have in common that people take to be the same."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    """The distinct words of a subject line, as many as are indexed."""
    return list(dict.fromkeys(_WORD.findall(folded(text))))[:MAX_WORDS]


def addresses(header: str) -> list[str]:
    """The addresses in a From field, folded; at most three."""
    return [folded(address) for address in _ADDRESS.findall(header)[:3]]


def message_id(text: str) -> str:
    return text.strip().removeprefix("<").removesuffix(">")


def host(server: str) -> str:
    """A server's name, or its address, without the port."""
    return folded(server.rpartition(":")[0].strip("[]") or server)


def term(field: str, value: str) -> int:
    return zlib.crc32(f"{field}{value}".encode("utf-8", "surrogateescape"))


def terms(subject: str, event: AnyEvent) -> list[int]:
    """The terms of an event, each once."""
    values = _VALUES.get(type(event))
    if values is None:
        return [term(SUBJECT, subject)]
    return list(dict.fromkeys([term(SUBJECT, subject), *(term(field, value) for field, value in values(event))]))


Values = Iterable[tuple[str, str]]


def facts(event: AnyEvent) -> Values:
    """What an event can be found by besides its subject, as (field, value): for whoever looks whether it really says so."""
    values = _VALUES.get(type(event))
    return () if values is None else values(event)


def _from(found: Iterable[str]) -> Values:
    for address in found:
        yield SENDER, address or "<>"
        if "@" in address:
            yield SENDER, "@" + address.rpartition("@")[2]


def _received(event: Received) -> Values:
    yield DOMAIN, event.domain
    yield from _from([folded(event.sender)])
    for spec in event.recipients:
        yield RECIPIENT, folded(spec.address)
        if spec.original:
            yield RECIPIENT, folded(spec.original)
    if event.client is not None:
        yield CLIENT, event.client.address


def _refused(event: Refused) -> Values:
    yield DOMAIN, event.domain
    yield CLIENT, event.client.address
    if event.sender:
        yield from _from([folded(event.sender)])
    if event.recipient:
        yield RECIPIENT, folded(event.recipient)


def _scanned(event: Scanned) -> Values:
    if event.message_id:
        yield MESSAGE_ID, message_id(event.message_id)
    for word in words(event.subject):
        yield WORD, word
    yield from _from(addresses(event.header_from))


def _redirected(event: Redirected) -> Values:
    yield RECIPIENT, folded(event.to)
    yield from _acted(event)


def _acted(event: Any) -> Values:
    """What people do, as every such event has it in `by`."""
    if event.by:
        yield ACTOR, event.by
        if event.by != ITSELF:
            yield ACTOR, ""


def _failed(event: Failed) -> Values:
    yield from _attempted(event)
    yield from _acted(event)


def _of_attempts(attempts: Iterable[Attempt | None]) -> Values:
    for attempt in attempts:
        if attempt is not None and attempt.server:
            yield SERVER, host(attempt.server)
            if attempt.address:
                yield SERVER, attempt.address


def _attempted(event: Deferred | Delivered | Failed | Undeliverable) -> Values:
    return _of_attempts([event.attempt])


def _route_deferred(event: RouteDeferred) -> Values:
    return _of_attempts(event.attempts)


_VALUES: Final[Mapping[type[Event], Callable[[Any], Values]]] = {
    Received: _received,
    Refused: _refused,
    Scanned: _scanned,
    Redirected: _redirected,
    Deferred: _attempted,
    Delivered: _attempted,
    Failed: _failed,
    Undeliverable: _attempted,
    RouteDeferred: _route_deferred,
    **dict.fromkeys(
        (
            Released,
            Looked,
            Discarded,
            Held,
            Resumed,
            Retried,
            Reported,
            Learned,
            Exported,
            ReportSent,
            Dropped,
            AlertsSilenced,
            Acted,
        ),
        _acted,
    ),
}
