"""Words for who handed a message over: its network and what it called itself.

Whoever looks them up must know the client for certain, so they are made of the client alone and never of Received fields that strangers
may have written. The name of its address is not among them: our own Received field, from which a client is known later, has none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Client
from pipeline.scanning.organisation import is_private, organisation

SHAPE: Final = 30
"""Characters of the shape of a name."""
# IPv4: an operator's network and a customer's; IPv6: what the same is given (RFC 6177).
_PREFIXES: Final = {4: (16, 24), 6: (32, 48)}
_LETTERS: Final = re.compile(r"[a-z]++")
_DIGITS: Final = re.compile(r"\d++")


def network_words(client: Client | None) -> Iterator[str]:
    """None of a client in a private network, nor of one that is not known."""
    if client is None or is_private(client.address):
        return
    address = ipaddress.ip_address(client.address)
    for prefix in _PREFIXES[address.version]:
        yield f"client:{ipaddress.ip_network((int(address), prefix), strict=False)}"
    helo = client.helo.lower()[:255]
    yield "helo:" + (organisation(helo) or "none")
    yield "helo:shape:" + _LETTERS.sub("a", _DIGITS.sub("0", helo))[:SHAPE]
