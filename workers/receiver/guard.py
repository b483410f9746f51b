"""How much one connection may still ask for: the limits of its session, and its share of its client's.

Everything that leads to nothing counts as wasted: what was refused for good (but an unknown recipient, which has limits of its
own), NOOP, RSET, VRFY, HELP, another greeting. A message that was accepted makes up for all of it. What the client's other
connections are charged with is less: the first FORGIVEN before a message are how many a mail server works (a RSET, a
NOOP, VRFY), and count only in a session that never delivered anything.

What we put off (4xx) is no waste of the client's, nor what it has to say after that; but nobody may ask for it for ever.

A connection from a network without limits has a guard that has nothing against anything.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from pipeline import replies
from pipeline.clients import Account, Limit
from pipeline.limits import Limiter
from pipeline.replies import Reply
from pipeline.settings import Settings

FORGIVEN: Final = 4
TARPIT: Final = 2.0
"""Seconds that the answer about an unknown recipient is held back: trying names out takes time, and nothing else."""
TARPIT_TOTAL: Final = 60.0
"""Seconds of one session together, so that with a high limit nobody is held for ever."""

REFUSALS: Final = {
    Limit.CONNECTIONS: replies.TOO_MANY_CONNECTIONS,
    Limit.CONNECTION_RATE: replies.CONNECTING_TOO_FAST,
    Limit.MESSAGES: replies.MESSAGES_TOO_FAST,
    Limit.RECIPIENTS: replies.RECIPIENTS_TOO_FAST,
    Limit.WASTED: replies.WASTED_TOO_MUCH,
    Limit.UNKNOWN: replies.UNKNOWN_TOO_OFTEN,
    Limit.CLIENTS: replies.TOO_MANY_SESSIONS,
}


class Bounds(msgspec.Struct, frozen=True):
    """Of one session."""

    messages: float = math.inf
    wasted: float = math.inf
    unknown: float = math.inf
    put_off: float = math.inf

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        # A list server that sends everything at once may have as many put off as a message has recipients.
        return cls(
            settings.session_messages, settings.session_wasted, settings.session_unknown, settings.max_recipients
        )


NO_BOUNDS: Final = Bounds()


class Guard:
    """Of one connection, from its greeting to its end, STARTTLS or not."""

    __slots__ = (
        "_account", "_bounds", "_delivered", "_excused", "_limiter", "_messages", "_put_off", "_tarpit", "_unknown", "_wasted",
    )  # fmt: skip

    def __init__(self, limiter: Limiter, account: Account | None, bounds: Bounds) -> None:
        """`account`: of the client, entered; None for one without limits, whose bounds are NO_BOUNDS."""
        self._limiter = limiter
        self._account = account
        self._bounds = bounds
        self._messages = self._wasted = self._unknown = self._put_off = 0
        self._tarpit = TARPIT_TOTAL
        self._delivered = False
        self._excused = False
        """Something was put off, and the client has yet to say RSET."""

    @property
    def limited(self) -> bool:
        return self._account is not None

    @property
    def known_good(self) -> bool:
        """The client needs no test: it has no limits, or has delivered good mail lately."""
        return self._account is None or self._account.good

    async def message(self) -> Reply | None:
        """MAIL was said: what is against it. Failed ones count (RFC 9422 4.1)."""
        self._messages += 1
        if self._messages > self._bounds.messages:
            return replies.ENOUGH_MESSAGES
        return await self._take(Limit.MESSAGES)

    async def recipient(self) -> Reply | None:
        """RCPT was said: what is against it."""
        return await self._take(Limit.RECIPIENTS)

    async def wasted(self, *, reset: bool = False) -> Reply | None:
        """Something led to nothing, maybe RSET: 421 when that was once too often."""
        if reset and self._excused:
            self._excused = False
            return None
        self._wasted += 1
        if self._wasted > self._bounds.wasted:
            return replies.TOO_MANY_ERRORS
        return await self._take(Limit.WASTED) if self._wasted > FORGIVEN else None

    async def unknown(self) -> Reply | None:
        """A recipient is unknown: 421 when that was the last one."""
        self._unknown += 1
        if self._unknown >= self._bounds.unknown:
            return replies.ENOUGH_UNKNOWN
        return await self._take(Limit.UNKNOWN)

    def tarpit(self) -> float:
        """Seconds to hold back the answer about the last unknown recipient."""
        if self._unknown <= self._bounds.unknown / 2:
            return 0.0
        seconds = min(TARPIT, self._tarpit)
        self._tarpit -= seconds
        return seconds

    async def refusal(self, reply: Reply) -> Reply:
        """A refusal is about to be said: `reply`, or 421 instead."""
        if reply.code >= 500 and not (reply is replies.NO_VALID_RECIPIENTS and self._excused):
            return await self.wasted() or reply
        self._excused = True
        self._put_off += 1
        return replies.TOO_MANY_ERRORS if self._put_off > self._bounds.put_off else reply

    def delivered(self) -> None:
        """A message was accepted."""
        self._wasted = self._put_off = 0
        self._excused = False
        self._delivered = True
        if self._account is not None:
            self._limiter.delivered(self._account)

    def leave(self) -> None:
        """The connection has ended."""
        account, self._account = self._account, None
        if account is not None:
            if not self._delivered:
                self._limiter.charge(account, Limit.WASTED, min(self._wasted, FORGIVEN))
            self._limiter.leave(account)

    async def _take(self, limit: Limit) -> Reply | None:
        if self._account is None or await self._limiter.take(self._account, limit):
            return None
        return REFUSALS[limit]
