"""Domains whose mail is for a server that has enough slots already: they wait here, in the order in which they came, and claim nothing.

Each slot more would claim messages, find no connection free, and give them back. Where a thousand domains share a server, nearly all
would, again and again. The schedule still has them due, so nothing is lost with what is remembered here.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeAlias

Place: TypeAlias = tuple[int, str]
"""Partition, domain."""

REMEMBERED: Final = 10_000
"""Domains of one server; the others are found by a later look at the schedule."""


class Crowds:
    def __init__(self, most: int) -> None:
        """`most`: slots that may work for one server, or wait for it, at once."""
        self._most = most
        self._inside: Counter[str] = Counter()
        self._waiting: dict[str, dict[Place, None]] = {}

    def enter(self, server: str, domain: Place) -> bool:
        """Whether a slot may begin; if not, the domain is told by `leave` when it is its turn. `server` empty: there is no single one."""
        if server and self._inside[server] >= self._most:
            waiting = self._waiting.setdefault(server, {})
            if len(waiting) < REMEMBERED:
                waiting[domain] = None
            return False
        if server:
            self._inside[server] += 1
        return True

    def leave(self, server: str) -> Place | None:
        """A slot has ended; whose turn it is now."""
        if not server:
            return None
        self._inside[server] -= 1
        if not self._inside[server]:
            del self._inside[server]
        waiting = self._waiting.get(server)
        if not waiting:
            return None
        following = next(iter(waiting))
        del waiting[following]
        if not waiting:
            del self._waiting[server]
        return following
