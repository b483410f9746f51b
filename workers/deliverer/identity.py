"""Telling a customer's server who sent a message to us: XCLIENT and XFORWARD, as Postfix describes them. Pure.

XFORWARD is for the server's log and its filters, and holds for one message. XCLIENT makes the server believe that it talks to the
client itself, with all that its rules say about it, and holds until it is said again; the session then begins anew with EHLO.
Everything in it was said by a stranger, so it goes out as xtext (RFC 3461 4), or as [UNAVAILABLE].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from pipeline.events import Client

UNKNOWN: Final = "[UNAVAILABLE]"
MAX_HELO: Final = 128
"""Octets; three times as many are within a command's 512 (RFC 5321 4.5.3.1.4)."""
_NOT_XTEXT: Final = re.compile(rb"[^!-*,-<>-~]")


def xtext(text: str) -> str:
    octets = text.encode("utf-8", "backslashreplace")[:MAX_HELO]
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], octets).decode("ascii")


def attributes(client: Client | None) -> dict[str, str]:
    """What is known of a client; of a message that we wrote ourselves nothing is."""
    if client is None:
        return dict.fromkeys(("NAME", "ADDR", "PORT", "PROTO", "HELO"), UNKNOWN)
    address = f"IPV6:{client.address}" if ":" in client.address else client.address
    return {
        "NAME": UNKNOWN,
        "ADDR": xtext(address) or UNKNOWN,
        "PORT": str(client.port) if client.port else UNKNOWN,
        "PROTO": "SMTP" if client.protocol == "SMTP" else "ESMTP",
        "HELO": xtext(client.helo) or UNKNOWN,
    }


def command(verb: str, client: Client | None, offered: Collection[str]) -> str:
    """The command with those attributes that the server offers to take; empty when that is none."""
    known = [f"{name}={value}" for name, value in attributes(client).items() if name in offered]
    return " ".join([verb, *known]) if known else ""


def keywords(lines: Sequence[str]) -> dict[str, str]:
    """What a reply to EHLO offers: keyword in lower case -> its parameters. `lines`: with their codes."""
    found = {}
    for line in lines[1:]:
        keyword, _, parameters = line[4:].strip().partition(" ")
        if keyword:
            found[keyword.lower()] = parameters
    return found
