"""The way of a message: who handed it to us and under what name, and what the Received fields say of the way before.

Of a client in a private network nothing is said, nor of one that is not known (see scanning/relays.py). What a name in HELO may
be is in RFC 5321 4.1.1.1 and 4.1.3; a wrong one must not be refused for that alone (4.1.4), and is not.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Client, Finding
from pipeline.mime import Header, plain
from pipeline.mime.fields import date_of
from pipeline.mime.words import unfold
from pipeline.scanning.builtin.bulk import is_list
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import is_private, registrable
from pipeline.units import SECOND

HOUR: Final = 3600 * SECOND
AHEAD: Final = 6 * HOUR
"""A Date so far after we took the message is no slow clock; from 2 days on it is DATE_FUTURE."""
LATE: Final = 4 * 24 * HOUR
"""Most queues give up earlier than that; from 30 days on it is DATE_PAST."""
BACKWARDS: Final = 12 * HOUR
MAX_RECEIVED: Final = 20
"""Fields whose dates are compared."""

PROVIDERS: Final = frozenset({
    "aol.com", "gmail.com", "gmx.de", "gmx.net", "google.com", "hotmail.com", "live.com", "mail.ru", "msn.com",
    "outlook.com", "proton.me", "t-online.de", "web.de", "yahoo.com", "yandex.ru",
})  # fmt: skip
"""Whose names strangers like to say; their own servers have names below them, confirmed by the DNS."""

_NO_NAME: Final = Finding(
    name="NO_REVERSE_NAME", score=1.0, text="the client's address has no name that leads back to it (RFC 8601 3)"
)
_DYNAMIC: Final = Finding(name="DYNAMIC_NAME", score=1.0, text="the client's name looks like that of a home connection")
_ORDER: Final = Finding(
    name="RECEIVED_BACKWARDS", score=0.6, text="Received fields whose times run backwards by more than 12 hours"
)
_AHEAD: Final = Finding(name="DATE_AHEAD", score=1.2, text="Date is more than 6 hours after the message came in")
_LATE: Final = Finding(name="DATE_LATE", score=0.6, text="Date is more than 4 days before the message came in")

_NUMBERS: Final = re.compile(r"\[?(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]?", re.IGNORECASE)
_HOME: Final = re.compile(
    r"(?:\A|[.-])(?:adsl|broadband|cable|catv|client|customer|dhcp|dial|dialin|dialup|dsl|dyn|dynamic|dynip|modem|pool|ppp|pppoe|res"
    r"|residential|vdsl|wifi|wlan|xdsl)\d*+(?=[.-])"
)  # fmt: skip
_DIGITS: Final = re.compile(r"\d++")


class Path:
    def __init__(self, hostname: str) -> None:
        """`hostname`: our own name."""
        self._hostname = hostname.lower()

    def look(self, mail: Mail) -> list[Finding]:
        found: list[Finding] = []
        client = mail.message.client
        if client is not None and not is_private(client.address):
            found += self._helo(mail, client)
            found += _name(mail, client)
        found += _times(mail.header, mail.message.received_at)
        return found

    def _helo(self, mail: Mail, client: Client) -> Iterator[Finding]:
        helo = client.helo.lower().rstrip(".")
        if not helo:
            return
        spf = mail.authentication.spf
        proved = spf is not None and spf.result == "pass"
        numbers = _NUMBERS.fullmatch(helo)
        if numbers is not None and (literal := _address(numbers[1])):
            if literal != client.address:
                yield _helo_finding("HELO_OTHER_ADDRESS", 1.5, helo, "which is not its address")
            elif not helo.startswith("["):
                yield _helo_finding("HELO_ADDRESS", 1.2, helo, "an address without brackets (RFC 5321 4.1.3)")
        elif helo == self._hostname:
            yield _helo_finding("HELO_OURS", 2.5, helo, "which is our own name")
        elif helo == mail.message.domain and not proved:
            yield _helo_finding("HELO_RECIPIENT", 2.0, helo, "the domain that it brings mail for")
        elif "." not in helo:
            yield _helo_finding("HELO_NO_DOMAIN", 1.2, helo, "which is no full name (RFC 5321 2.3.5)")
        elif not proved and _pretends(helo, mail):
            yield _helo_finding("HELO_PROVIDER", 2.0, helo, "which is another's")


def _pretends(helo: str, mail: Mail) -> bool:
    provider = registrable(helo)
    if provider not in PROVIDERS or _iprev(mail) not in ("pass", "fail"):
        return False
    return registrable(mail.authentication.client_name) != provider


def _helo_finding(name: str, score: float, helo: str, why: str) -> Finding:
    return Finding(name=name, score=score, text=plain(f"the client calls itself {helo[:100]}, {why}", 200))


def _address(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


def _iprev(mail: Mail) -> str:
    return next((result.result for result in mail.authentication.results if result.method == "iprev"), "")


def _name(mail: Mail, client: Client) -> Iterator[Finding]:
    if _iprev(mail) == "fail":
        yield _NO_NAME
    elif mail.authentication.client_name and is_dynamic(mail.authentication.client_name, client.address):
        yield _DYNAMIC


@functools.lru_cache(4096)
def is_dynamic(name: str, address: str) -> bool:
    """Whether a name is like those that providers give to the lines of their customers: with the address in it, or its kind."""
    if _HOME.search(name.lower()):
        return True
    numbers = address.split(".")
    if len(numbers) != 4:
        return False
    digits = {found.lstrip("0") or "0" for found in _DIGITS.findall(name)}
    return numbers[2] in digits and numbers[3] in digits and sum(number in digits for number in numbers) >= 3


def _times(header: Header, now: int) -> Iterator[Finding]:
    date = header.date
    if date is not None and now + AHEAD < date <= now + 48 * HOUR:
        yield _AHEAD
    elif date is not None and now - 30 * 24 * HOUR <= date < now - LATE and not is_list(header):
        yield _LATE
    later = None
    for value in header.values(b"received")[:MAX_RECEIVED]:
        at = date_of(unfold(value[-200:].rpartition(b";")[2]).strip())
        if at is None:
            continue
        if later is not None and at > later + BACKWARDS:
            yield _ORDER
            return
        later = at
