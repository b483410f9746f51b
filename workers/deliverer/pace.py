"""How many connections to a server may be open, and how fast messages may follow each other: what one deliverer knows of it.

Redis has the truth, for all workers and all domains that share the server (`pipeline/lua/server.lua`). The first message that is taken opens
the server, each one adds a connection, up to the setting; a server that says that we are too many, or too fast, halves them, and what it
let us have then is remembered for LEARNT. Once as many as may be are open nothing is asked for SETTLED, or until Redis says that it is fewer: a
message at full speed costs a look into a dictionary.
"""

from __future__ import annotations

import time
from typing import Final

from pipeline.units import SECOND
from workers.wiring import Wiring

LEARNT: Final = 3600 * SECOND
SETTLED: Final = 60.0
"""Seconds."""
REMEMBERED: Final = 10_000
"""Servers."""


class Pace:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._most = wiring.settings.connections_per_server
        self._rate = wiring.settings.messages_per_minute
        self._widths: dict[str, int] = {}
        self._settled: dict[str, float] = {}

    def width(self, server: str) -> int:
        """How many connections may be open, as far as is known here."""
        return self._widths.get(server, self._most)

    def heard(self, server: str, width: int) -> None:
        """Redis said so."""
        if len(self._widths) >= REMEMBERED and server not in self._widths:
            self._widths.clear()
            self._settled.clear()
        if width < self._widths.get(server, 0):
            self._settled.pop(server, None)
        self._widths[server] = width

    async def good(self, server: str) -> bool:
        """It took a message; whether one more connection may be open because of it."""
        now = time.monotonic()
        if self._settled.get(server, 0.0) > now:
            return False
        before = self._widths.get(server, 0)
        width = await self._wiring.schedule.server_good(server, self._wiring.clock(), self._most)
        self.heard(server, width)
        if width <= before:
            self._settled[server] = now + SETTLED
        return width > before

    async def limited(self, server: str, token: str) -> int:
        """It says that we are too many, or too fast; how many other connections of ours are open. The place is given back."""
        self._settled.pop(server, None)
        self._widths.pop(server, None)
        return await self._wiring.schedule.server_limited(server, token, self._wiring.clock(), self._most, LEARNT)

    async def admit(self, server: str) -> int:
        """Time (ns) until the next message may go, whose turn is reserved; negative: so long that nobody waits here."""
        if not self._rate:
            return 0
        return await self._wiring.schedule.server_admit(server, self._wiring.clock(), self._rate)
