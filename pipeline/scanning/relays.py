"""Who handed a message to the first of the relays that we trust, read from the Received field that the relay wrote.

Behind a relay (a provider's filter, the customer's own front server) all mail comes from one address, and whoever is asked about
that address says nothing about the sender. The field on top is the relay's own, because each server writes above what was there;
it is believed as far as the chain of relays goes, and nothing below the first stranger's name is. Pure.

The forms are those of common servers, `from` and `by` in RFC 5321 4.4's order. What has another form is not guessed at: then the
client is not known, and the tests that need one say nothing.

    Postfix, Gatepost   from HELO (NAME [ADDRESS]) by ...       from HELO ([ADDRESS]) by ...
    Sendmail            from HELO (IDENT:user@NAME [ADDRESS] (may be forged)) by ...
    Exim                from NAME ([ADDRESS] helo=HELO) by ...  from [ADDRESS] (helo=HELO) by ...
    Exchange            from HELO (ADDRESS) by ...
    qmail               from NAME (HELO HELO) (ADDRESS) by ...
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from pipeline.clients import belongs
from pipeline.events import Client
from pipeline.mime import Header
from pipeline.units import Network

MAX_RELAYS: Final = 10
"""Trusted relays in a row; more is a loop or a mistake in the settings."""
MAX_LINE: Final = 2000
"""Octets of a field that are looked at: the beginning of one says who sent, and who wrote it."""
UNKNOWN: Final = Client(address="")
"""A client of whom nothing is known."""

_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_WORD: Final = rb"[^\s()\[\]<>\"\\;,]{1,255}+"
_LITERAL: Final = rb"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}+\]"
_SPACE: Final = rb"[ \t\r\n]++"
_ADDRESS: Final = rb"\[(?:[Ii][Pp][Vv]6:)?(?P<address>[0-9A-Fa-f:.]{2,45}+)\](?::\d{1,5}+)?"
_BY: Final = rb"(?P<by>" + _WORD + rb"|" + _LITERAL + rb")"
# What Postfix says of TLS stands before `by`.
_COMMENTS: Final = rb"(?:\((?:[^()]++|\([^()]*+\))*\)" + _SPACE + rb"){0,4}"
# Exim's words within the comment, each perhaps there.
_EXIM: Final = (
    rb"(?:[ \t\r\n]++(?:port=\d{1,5}+|ident=[^\s()]{1,255}+|helo=(?P<helo>" + _LITERAL + rb"|" + _WORD + rb")))"
)
_FORMS: Final = tuple(
    re.compile(rb"from" + _SPACE + form + _SPACE + _COMMENTS + rb"by" + _SPACE + _BY, re.IGNORECASE)
    for form in (
        rb"(?P<helo>" + _LITERAL + rb"|" + _WORD + rb")" + _SPACE + rb"\((?:(?:IDENT:)?[^\s()\[\]@]{0,255}+@)?(?P<name>" + _WORD
        + rb")" + _SPACE + _ADDRESS + rb"(?:" + _SPACE + rb"\(may be forged\))?(?:\s++\([^()]{0,200}+\))?\)",
        rb"(?P<name>" + _LITERAL + rb"|" + _WORD + rb")" + _SPACE + rb"\(" + _ADDRESS + _EXIM + rb"{0,3}\)",
        _ADDRESS + rb"(?:" + _SPACE + rb"\((?:helo=(?P<helo>" + _LITERAL + rb"|" + _WORD + rb")|port=\d{1,5}+)" + _EXIM.replace(b"<helo>", b"<helo2>")
        + rb"{0,3}\))?",
        rb"(?P<helo>" + _LITERAL + rb"|" + _WORD + rb")" + _SPACE + rb"\((?P<address>[0-9A-Fa-f:.]{2,45}+)\)",
        rb"(?P<name>" + _WORD + rb")" + _SPACE + rb"\(HELO" + _SPACE + rb"(?P<helo>" + _LITERAL + rb"|" + _WORD
        + rb")\)" + _SPACE + rb"\((?:[^\s()\[\]@]{1,255}+@)?(?P<address>[0-9A-Fa-f:.]{2,45}+)\)",
    )
)  # fmt: skip


class Hop(NamedTuple):
    """What a Received field says of who sent and who wrote it. Only what is in a known form."""

    address: str
    """IPv4 or IPv6, as ipaddress writes it."""
    helo: str
    """As the client called itself; empty when that is not said."""
    name: str
    """What the writer found in the DNS for the address; empty when nothing, or that is not said."""
    by: str
    """In lower case."""


def read_hop(value: bytes) -> Hop | None:
    """A Received field's value, folded or not. None when it is in no form that is known."""
    head = value[:MAX_LINE]
    for form in _FORMS:
        match = form.match(head)
        if match is not None:
            return _hop(match.groupdict())
    return None


def _hop(said: dict[str, bytes | None]) -> Hop | None:
    try:
        found = ipaddress.ip_address((said["address"] or b"").decode("ascii"))
    except ValueError:
        return None
    name = said.get("name")
    helo = said.get("helo") or said.get("helo2") or name
    # Sendmail and we write HELO where Exim writes the name, so without `helo=` it is only what somebody said.
    known = helo is not name and name is not None and name.lower() != b"unknown" and not name.startswith(b"[")
    return Hop(
        address=str(getattr(found, "ipv4_mapped", None) or found),
        helo=_text(helo),
        name=_text(name).lower() if known else "",
        by=_text(said["by"]).lower(),
    )


def _text(octets: bytes | None) -> str:
    return (octets or b"").decode("utf-8", "replace")


def taken_from(header: Header, hostname: str) -> Client:
    """Who handed us a message that we passed on, by the Received field that we wrote as `hostname`. UNKNOWN where there is none.

    Ours is the first in our name: a stranger's that claims to be ours stands below it.
    """
    for value in header.values(b"received")[:MAX_RELAYS]:
        hop = read_hop(value)
        if hop is not None and hop.by == hostname.lower():
            return msgspec.structs.replace(UNKNOWN, address=hop.address, helo=hop.helo)
    return UNKNOWN


def true_client(client: Client, header: Header, trusted: Sequence[Network]) -> Client:
    """Who handed the message to the outermost relay of `trusted`: the client itself where it is none of them.

    UNKNOWN where that cannot be read. What a relay hands on within itself (its filter, over the loopback) is part of the relay.
    """
    if not trusted or not belongs(client.address, trusted):
        return client
    for value in header.values(b"received")[:MAX_RELAYS]:
        hop = read_hop(value)
        if hop is None:
            return UNKNOWN
        if not belongs(hop.address, trusted) and not belongs(hop.address, _LOOPBACK):
            return msgspec.structs.replace(UNKNOWN, address=hop.address, helo=hop.helo)
    return UNKNOWN
