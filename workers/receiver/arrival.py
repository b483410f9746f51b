"""From the connection to the greeting: for whom it is, whether that client may come in, and whether it can wait.

1. A connection from one of `proxy_networks` begins with a PROXY header, or is dropped: without one nobody knows whose it is.
   Where it names nobody (LOCAL, UNKNOWN) the balancer speaks for itself, which looks every second or two whether we are there:
   it has no limits and waits for nothing, or it would take us for dead.
2. The client's limits: one look, shared with whatever else is being asked; 421 when they are used up.
3. The greeting may be held back. A mail server waits for it (RFC 5321 4.3.1); who speaks before it is a program that sends
   without listening, and gets 554. Closing without waiting for QUIT (3.1) is what 7.8 leaves to us. Of a client without
   limits nothing of this is asked.
"""

from __future__ import annotations

from typing import Final

from pipeline import replies
from pipeline.clients import Account, belongs
from workers.receiver import proxy
from workers.receiver.connection import Connection
from workers.receiver.guard import REFUSALS, Guard
from workers.receiver.session import ReceiverSession

PROXY_TIME: Final = 5.0
"""Seconds for the PROXY header, which a balancer sends with its first packet."""


class Arrival(Connection):
    async def _arrive(self) -> None:
        """Returns with the connection ready for its greeting, or ended."""
        common = self._common
        balancer = bool(common.proxies) and belongs(self.session.address, common.proxies)
        named = await self._read_header() if balancer else True
        if not self._ended:
            await self._enter(common.limiter.client(self.session.address) if named else None)
        if not self._ended and common.greeting_delay and not self.guard.known_good and not self._input:
            await self._await_input(common.greeting_delay)
        if self._input and self.guard.limited:
            self._say_and_end(replies.SPOKE_EARLY)
        elif common.closing:
            self._say_and_end(replies.SHUTTING_DOWN)

    async def _read_header(self) -> bool:
        """Learn from the balancer who the client is; what follows the header is the client's. False when it is the balancer."""
        until = self.loop.time() + PROXY_TIME
        header = proxy.parse(self._input)
        while header is None and not (self._ended or self._half_closed):
            left = until - self.loop.time()
            if left <= 0:
                header = "not within 5 s"
            else:
                await self._await_input(left)
                header = proxy.parse(self._input)
        if isinstance(header, proxy.Header):
            self._input = self._input[header.size :]
            if header.source is not None:
                self.session = ReceiverSession(self.loop, header.source)
            return header.source is not None
        # A balancer that looks whether we are there connects and says nothing.
        if self._input or not (self._ended or self._half_closed):
            self._common.bad_headers.tell(peer=self.session.address, reason=header or "incomplete")
        self._take_rest()
        self._end()
        return False

    async def _enter(self, client: str | None) -> None:
        """`client`: whose limits hold; None for one without."""
        common = self._common
        if client is None:
            self.session.limits = common.announced_unlimited
            return
        answer = await common.limiter.enter(client)
        if not isinstance(answer, Account):
            self._say_and_end(REFUSALS[answer])
        elif self._lost:
            common.limiter.leave(answer)
        else:
            self.guard = Guard(common.limiter, answer, common.bounds)
            self._session_ends = self.loop.time() + common.session_time
            self.session.limits = common.announced
