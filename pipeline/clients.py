"""Who a client is, which limits it has, and what one process remembers of it. No I/O, no clock.

A client is an IPv4 address, or an IPv6 /64: whoever has one address of that has them all (RFC 6177 2).
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.units import Network


class Limit(enum.IntEnum):
    """The first five are buckets, in the order of limit.lua."""

    CONNECTION_RATE = 0
    MESSAGES = 1
    RECIPIENTS = 2
    WASTED = 3
    UNKNOWN = 4
    CONNECTIONS = 5
    """At once."""
    CLIENTS = 6
    """There are more clients than a receiver can remember."""


BUCKETS: Final = range(5)
_BARS: Final = (Limit.WASTED, Limit.UNKNOWN)
"""A client with none of these left does not get in."""


class Bucket(msgspec.Struct, frozen=True):
    """`size` tokens at most, 0 for no limit; one is there again `cost` us after it was taken, rounded so that never more than
    `size` come in a period.
    """

    size: int
    cost: int

    @classmethod
    def of(cls, size: int, period: int) -> Bucket:
        return cls(size, math.ceil(period / size) if size else 0)


def client_of(address: str) -> str:
    """The client behind an address: `192.0.2.1`, `2001:db8:1:2::/64`. A mapped IPv6 address is the IPv4 address in it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"


def belongs(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks; a mapped one is looked for as the IPv4 address as well."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(found, "ipv4_mapped", None) or found
    return any(found in network or inner in network for network in networks)


class Account:
    """What this process holds of one client's limits, and what it knows about the client."""

    __slots__ = (
        "asked", "back", "calling", "closed", "debts", "fresh", "good", "mark", "name", "remind", "renew", "reserve", "sessions", "slots",
        "tokens", "until", "waiting",
    )  # fmt: skip

    def __init__(self, name: str, tokens: Sequence[float], slots: float) -> None:
        self.name = name
        self.tokens = list(tokens)
        """Given to us and not yet spent; infinite where there is no limit. `until` when each may be spent."""
        self.until = [0] * len(BUCKETS)
        self.back = [0] * len(BUCKETS)
        """To be given back with the next call."""
        self.debts = [0] * len(BUCKETS)
        """Spent before they were ours."""
        self.closed = [0] * len(Limit)
        """Until when there is surely nothing to be had."""
        self.sessions = 0
        self.slots = slots
        """Connections that Redis holds for us; infinite where there is no limit."""
        self.reserve = 0
        """Slots that may be kept for the next connections."""
        self.waiting: list[tuple[Limit, asyncio.Future[Limit | None]]] = []
        self.asked = False
        """It has something to say with the next call."""
        self.calling = False
        """It is part of the call that is under way."""
        self.fresh = 0
        """Until when what is known here needs no asking."""
        self.renew = 0
        """When the lease of the slots has to be renewed."""
        self.good = False
        """It has delivered good mail lately."""
        self.mark = False
        self.remind = 0
        """When good mail is worth telling again."""

    def spend(self, limit: Limit) -> bool:
        if self.tokens[limit] >= 1:
            self.tokens[limit] -= 1
            return True
        return False

    def admit(self, now: int) -> Limit | None:
        """One more connection of the client, or the limit that keeps it out."""
        for bar in _BARS:
            if self.tokens[bar] < 1 and now < self.closed[bar]:
                return bar
        if self.sessions >= self.slots:
            return Limit.CONNECTIONS
        if not self.spend(Limit.CONNECTION_RATE):
            return Limit.CONNECTION_RATE
        self.sessions += 1
        return None

    def forget_times(self) -> None:
        """The clock was put back: what was to end in a second would last for as long as it was put back."""
        self.fresh = self.renew = self.remind = 0
        self.until = [0] * len(BUCKETS)
        self.closed = [0] * len(Limit)

    @property
    def leased(self) -> bool:
        """It has slots that end when we are silent."""
        return 0 < self.slots < math.inf

    @property
    def idle(self) -> bool:
        return not (self.sessions or self.asked or self.calling or self.waiting or self.leased)
