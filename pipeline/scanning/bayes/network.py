"""Words for who handed a message over: its network and what it called itself.

Whoever looks them up must know the client for certain, so they are made of the client alone and never of Received fields that strangers
may have written. The name of its address is not among them: our own Received field, from which a client is known later, has none.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from pipeline.events import Client
from pipeline.scanning.organisation import is_private, registrable

SHAPE: Final = 30
"""Characters of the shape of a name."""
# IPv4: an operator's network and a customer's; IPv6: what the same is given (RFC 6177).
_LENGTHS: Final = {4: (16, 24), 6: (32, 48)}
_LETTERS: Final = re.compile(r"[a-z]++")
_DIGITS: Final = re.compile(r"\d++")


def network_words(client: Client | None) -> Iterator[str]:
    """None of a client in a private network, nor of one that is not known."""
    networks = _networks(client.address) if client is not None else ()
    if client is None or not networks:
        return
    yield from networks
    helo = client.helo.lower()[:255]
    yield "helo:" + (registrable(helo) or "none")
    yield "helo:shape:" + _LETTERS.sub("a", _DIGITS.sub("0", helo))[:SHAPE]


@functools.lru_cache(4096)
def _networks(text: str) -> tuple[str, ...]:
    if is_private(text):
        return ()
    given = ipaddress.ip_address(text)
    address = getattr(given, "ipv4_mapped", None) or given
    found = [ipaddress.ip_network((address.packed, length), strict=False) for length in _LENGTHS[address.version]]
    return tuple([f"client:{network}" for network in found])
