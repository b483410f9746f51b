"""LDAP messages as octets: what we ask, and what comes back (RFC 4511). Pure.

Requests are made with ldap3, which knows how filters are written. Answers are read here: ldap3's connections hold a whole page
as dictionaries (9 s for 100,000 entries against 1 s), buffer without bound, know no time but that of one read, and cannot be
cancelled; and its decoder spends quadratic time on a long integer, which a hostile server may send. So this reads exactly the
forms that LDAP has (5.1: definite lengths), each element within its parent, in linear time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

with warnings.catch_warnings():
    # On import ldap3 uses two names that pyasn1 renamed.
    warnings.filterwarnings("ignore", r"(tag|type)Map is deprecated", DeprecationWarning)
    from ldap3 import ANONYMOUS, DEREF_NEVER, SIMPLE
    from ldap3.core.exceptions import LDAPExceptionError
    from ldap3.operation.bind import bind_operation
    from ldap3.operation.extended import extended_operation
    from ldap3.operation.search import parse_filter, search_operation
    from ldap3.operation.unbind import unbind_operation
    from ldap3.protocol.convert import build_controls_list
    from ldap3.protocol.rfc2696 import paged_search_control
    from ldap3.protocol.rfc4511 import LDAPMessage, MessageID, ProtocolOp
    from ldap3.utils.asn1 import encode

PAGED: Final = "1.2.840.113556.1.4.319"
SYNC_REQUEST: Final = "1.3.6.1.4.1.4203.1.9.1.1"
SYNC_DONE: Final = "1.3.6.1.4.1.4203.1.9.1.3"
START_TLS: Final = "1.3.6.1.4.1.1466.20037"

MAX_MESSAGE: Final = 4 << 20
"""Octets of one answer; an entry with ten thousand addresses has half a MiB."""
_MAX_LENGTH: Final = 4
"""Octets of a length: 4 GiB are enough for everybody, and Active Directory always writes four."""

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_ENUMERATED: Final = 0x0A
_REFERRAL: Final = 0xA3
_CONTROLS: Final = 0xA0
_ENTRY: Final = 0x64
_REFERENCE: Final = 0x73
_INTERMEDIATE: Final = 0x79
_RESULTS: Final = frozenset({0x61, 0x65, 0x78})
"""Answers to a bind, a search and an extended request."""
_SCOPES: Final = {"base": 0, "one": 1, "sub": 2}


class MalformedError(ValueError):
    """Not LDAP."""


class Found(NamedTuple):
    """An entry of the directory."""

    dn: bytes
    attributes: dict[str, list[bytes]]
    """By description in lower case, with its options."""


class Reference(NamedTuple):
    """A part of the directory that another server has."""

    urls: tuple[bytes, ...]


class Result(NamedTuple):
    """How it ended."""

    code: int
    matched: bytes = b""
    words: bytes = b""
    referrals: tuple[bytes, ...] = ()
    controls: dict[str, bytes] = {}

    @property
    def cookie(self) -> bytes:
        """Of a paged search; empty when there is no further page (RFC 2696 3). Raises MalformedError."""
        value = self.controls.get(PAGED)
        if value is None:
            return b""
        start, stop = _expect(value, 0, len(value), _SEQUENCE)
        _, at = _expect(value, start, stop, _INTEGER)
        start, stop = _expect(value, at, stop, _OCTETS)
        return value[start:stop]

    @property
    def sync_cookie(self) -> bytes:
        """The state of the directory, of a server that synchronises others (RFC 4533 2.4); empty when it says none."""
        value = self.controls.get(SYNC_DONE, b"")
        if not value:
            return b""
        start, stop = _expect(value, 0, len(value), _SEQUENCE)
        if start == stop or value[start] != _OCTETS:
            return b""
        start, stop = _expect(value, start, stop, _OCTETS)
        return value[start:stop]


Answer: TypeAlias = Found | Reference | Result


# What we ask


def filter_fault(text: str) -> str:
    """Why `text` is no filter (RFC 4515), in words; empty when it is one."""
    try:
        search_operation("", text, 0, DEREF_NEVER, ["1.1"], 0, 0, False, True, False)
        parse_filter(text, None, True, False, None, False)
    except LDAPExceptionError as error:
        return str(error)[:100]
    except Exception:  # noqa: BLE001 - it trips over its own feet on some
        return "not a filter"
    return ""


def bind_request(number: int, dn: str, password: str) -> bytes:
    """Anonymous without a name. The password goes as octets: as text, ldap3 would change or refuse some characters of it."""
    if not dn:
        return _message(number, "bindRequest", bind_operation(3, ANONYMOUS))
    return _message(number, "bindRequest", bind_operation(3, SIMPLE, dn, password.encode()))


def starttls_request(number: int) -> bytes:
    return _message(number, "extendedReq", extended_operation(START_TLS))


def unbind_request(number: int) -> bytes:
    return _message(number, "unbindRequest", unbind_operation())


def search_request(
    number: int,
    base: str,
    scope: str,
    condition: str,
    attributes: Sequence[str],
    *,
    page: tuple[int, bytes] | None = None,
    sync: bool = False,
) -> bytes:
    """`page`: how many entries, and the cookie of the page before. `sync`: ask for the state of the directory, or fail."""
    controls: list[object] = []
    if page is not None:
        controls.append(paged_search_control(False, *page))
    if sync:
        controls.append((SYNC_REQUEST, True, b"\x30\x03\x0a\x01\x01"))  # mode refreshOnly (RFC 4533 2.2)
    operation = search_operation(
        base,
        condition,
        _SCOPES[scope],
        DEREF_NEVER,
        list(attributes),
        0,
        0,
        False,
        True,
        False,
    )
    return _message(number, "searchRequest", operation, controls)


def _message(number: int, name: str, operation: object, controls: Sequence[object] = ()) -> bytes:
    message = LDAPMessage()
    message["messageID"] = MessageID(number)
    message["protocolOp"] = ProtocolOp().setComponentByName(name, operation)
    built = build_controls_list(list(controls))
    if built is not None:
        message["controls"] = built
    return bytes(encode(message))


# What comes back


def size(head: bytes | bytearray) -> int:
    """Octets of the message that begins with `head`; 0 while that cannot be said. Raises MalformedError."""
    if len(head) < 2:
        if head and head[0] != _SEQUENCE:
            raise MalformedError("not an LDAP message")
        return 0
    if head[0] != _SEQUENCE:
        raise MalformedError("not an LDAP message")
    if head[1] < 0x80:
        return 2 + head[1]
    octets = head[1] - 0x80
    if not 1 <= octets <= _MAX_LENGTH:
        raise MalformedError("a length that LDAP does not have")
    return 2 + octets + int.from_bytes(head[2 : 2 + octets], "big") if len(head) >= 2 + octets else 0


def read(message: bytes) -> tuple[int, Answer | None]:
    """(its number, the answer; None for one that says nothing to us). Raises MalformedError."""
    start, stop = _expect(message, 0, len(message), _SEQUENCE)
    first, at = _expect(message, start, stop, _INTEGER)
    number = _integer(message, first, at)
    tag, start, end = _element(message, at, stop)
    if tag == _ENTRY:
        return number, _found(message, start, end)
    if tag in _RESULTS:
        return number, _result(message, start, end, stop)
    if tag == _REFERENCE:
        return number, Reference(tuple(_strings(message, start, end)))
    if tag == _INTERMEDIATE:
        return number, None
    raise MalformedError("an answer that was not asked for")


def _element(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """(tag, start, stop) of the element at `at`, which ends by `end`."""
    if at + 2 > end:
        raise MalformedError("cut off")
    length = data[at + 1]
    start = at + 2
    if length >= 0x80:
        octets = length - 0x80
        if not 1 <= octets <= _MAX_LENGTH or start + octets > end:
            raise MalformedError("a length that LDAP does not have")
        length = int.from_bytes(data[start : start + octets], "big")
        start += octets
    stop = start + length
    if stop > end:
        raise MalformedError("longer than what it is in")
    return data[at], start, stop


def _expect(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    found, start, stop = _element(data, at, end)
    if found != tag:
        raise MalformedError("not what belongs there")
    return start, stop


def _integer(data: bytes, start: int, stop: int) -> int:
    if not 1 <= stop - start <= 4:
        raise MalformedError("a number that LDAP does not have")
    return int.from_bytes(data[start:stop], "big", signed=True)


def _strings(data: bytes, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        first, start = _expect(data, start, end, _OCTETS)
        yield data[first:start]


def _found(data: bytes, start: int, end: int) -> Found:
    first, at = _expect(data, start, end, _OCTETS)
    dn = data[first:at]
    attributes: dict[str, list[bytes]] = {}
    at, last = _expect(data, at, end, _SEQUENCE)
    while at < last:
        inner, stop = _expect(data, at, last, _SEQUENCE)
        name, after = _expect(data, inner, stop, _OCTETS)
        values, until = _expect(data, after, stop, _SET)
        description = data[name:after].decode("ascii", "replace").lower()
        attributes[description] = list(_strings(data, values, until))
        at = stop
    return Found(dn, attributes)


def _result(data: bytes, start: int, end: int, stop: int) -> Result:
    first, at = _expect(data, start, end, _ENUMERATED)
    code = _integer(data, first, at)
    first, at = _expect(data, at, end, _OCTETS)
    matched = data[first:at]
    first, at = _expect(data, at, end, _OCTETS)
    words = data[first:at]
    referrals: tuple[bytes, ...] = ()
    if at < end and data[at] == _REFERRAL:
        first, last = _expect(data, at, end, _REFERRAL)
        referrals = tuple(_strings(data, first, last))
    controls = dict(_controls(data, *_expect(data, end, stop, _CONTROLS))) if end < stop else {}
    return Result(code, matched, words, referrals, controls)


def _controls(data: bytes, at: int, end: int) -> Iterator[tuple[str, bytes]]:
    """(what it is, its value) of each; whether it was critical does not matter in an answer."""
    while at < end:
        inner, stop = _expect(data, at, end, _SEQUENCE)
        first, after = _expect(data, inner, stop, _OCTETS)
        name = data[first:after].decode("ascii", "replace")
        value = b""
        while after < stop:
            tag, first, after = _element(data, after, stop)
            if tag == _OCTETS:
                value = data[first:after]
        yield name, value
        at = stop
