"""The bytes of one connection to a server: replies in, commands and data out. Knows lines and time, no SMTP beyond that.

Invariants: a reply is only ever matched with something that was sent before it, so a reply that nobody waits for breaks
the connection for further use, and is kept as the server's parting words. Whatever happens ends the wait of whoever
waits: a reply, the end of the connection, or the deadline. Memory is bounded: at most 16 KiB of an unfinished line, 100
lines of a reply, 1 MiB read for one reply.

Time is kept with one timer per connection, not one per reply: it fires at the earliest deadline it was set for, looks at
the one in force, and sleeps again. So at any number of messages per second it costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Final

from pipeline.events import Attempt
from pipeline.faults import GatepostError
from pipeline.outcome import MAX_LINES, MAX_TEXT, Reply, bounded, neutralise, nonsense, parse_reply, well_formed

MAX_LINE: Final = 16 << 10
"""Octets of one line of a reply; RFC 5321 4.5.3.1.5 allows 512."""
MAX_REPLY: Final = 1 << 20
"""Octets read for one reply before it is called nonsense."""
CLOSED: Final = "The server closed the connection."
_NEVER: Final = float("inf")


class SessionFailed(GatepostError):
    """The connection is unusable, and nothing was decided about the message: try the next server, or later.

    `attempt` says how far it came and has the server's words.
    """

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(f"{attempt.server}: {attempt.stage}: {attempt.reply}")
        self.attempt = attempt


class Broken(Exception):
    """No further reply will come. `words` says why, `enhanced` is our status for it (RFC 3463 X.4.x, X.5.x)."""

    def __init__(self, words: str, enhanced: str) -> None:
        super().__init__(words)
        self.words = words
        self.enhanced = enhanced


def explain(error: BaseException) -> str:
    """An operating system's or a library's error in a few printable words, without its class and number."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        return os.strerror(error.errno)
    return neutralise((str(error) or type(error).__name__)[:MAX_TEXT].encode("utf-8", "surrogateescape"))


class Wire(asyncio.Protocol):
    """Takes over a connected transport, plain or TLS."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._rest = b""
        self._lines: list[bytes] = []
        self._read = 0
        self._expected = 0
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._patience = 0.0
        self._deadline = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = _NEVER
        """When `_timer` fires. Kept here, since uvloop's timers know it only to the millisecond."""
        self._broken: tuple[str, str] | None = None
        self.parting: Reply | None = None
        """What the server said without having been asked, such as 421 before it closes an idle connection."""
        transport.set_protocol(self)
        if transport.is_closing():
            self.connection_lost(None)

    # What the session asks for.

    @property
    def usable(self) -> bool:
        return self._broken is None and not self._transport.is_closing()

    @property
    def answered(self) -> bool:
        """Whether a reply lies ready."""
        return bool(self._replies)

    def send(self, pieces: Sequence[bytes], replies: int, patience: float) -> None:
        """Write `pieces`. `replies` more replies are expected for them, each within `patience` seconds of the last.

        Raises Broken.
        """
        if self._broken is not None:
            raise Broken(*self._broken)
        self._expected += replies
        self._wait_at_most(patience)
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._transport.writelines(pieces)

    def allow(self, patience: float) -> None:
        """From now on `patience` seconds for each reply that is still expected."""
        if self._expected and self._broken is None:
            self._wait_at_most(patience)

    async def reply(self) -> Reply:
        """The next reply, in the order of the commands. Raises Broken."""
        while not self._replies:
            await self._wait()
        return self._replies.popleft()

    async def drain(self, patience: float) -> None:
        """Wait until the transport takes more, or until a reply interrupts. Raises Broken, also after `patience` seconds."""
        while self._paused and not self._replies:
            self._wait_at_most(patience)
            await self._wait()
        if self._broken is not None and not self._replies:
            raise Broken(*self._broken)

    def close(self) -> None:
        """Orderly: what was written is still sent."""
        self._break("The connection was closed by us.", "4.4.2")
        self._transport.close()

    def abort(self) -> None:
        """At once: what was written and not yet sent is dropped."""
        self._break("The connection was closed by us.", "4.4.2")
        self._transport.abort()

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        if self._broken is not None:
            return
        self._read += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if not self._line(line.removesuffix(b"\r")):
                return
        if len(self._rest) > MAX_LINE or self._read > MAX_REPLY:
            self._nonsense(self._rest)

    def eof_received(self) -> bool:
        self._gone(CLOSED)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone(f"The connection was lost: {explain(exc)}." if exc else CLOSED)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    # Inside.

    def _line(self, line: bytes) -> bool:
        """Whether what follows can still be understood."""
        if len(line) > MAX_LINE:
            self._nonsense(line)
            return False
        if line[3:4] == b"-" and well_formed(line):
            if len(self._lines) <= MAX_LINES:
                self._lines.append(line[:MAX_TEXT])
            return True
        reply = parse_reply([*self._lines, line[:MAX_TEXT]])
        self._lines = []
        self._read = 0
        if reply.code == 0:
            self._break(reply.text, "4.5.0")
            self._transport.abort()
            return False
        return self._answer(reply)

    def _nonsense(self, line: bytes) -> None:
        self._lines.append(line[:MAX_TEXT])
        self._break(nonsense(self._lines), "4.5.0")
        self._transport.abort()

    def _answer(self, reply: Reply) -> bool:
        if self._expected == 0:
            self.parting = reply
            self._break("The server spoke without being asked: " + reply.text, "4.5.0")
            return False
        self._expected -= 1
        self._replies.append(reply)
        if self._expected:
            self._deadline = self._loop.time() + self._patience
        else:
            self._deadline = _NEVER
        self._wake()
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        if self._broken is not None:
            raise Broken(*self._broken)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _break(self, words: str, enhanced: str) -> None:
        if self._broken is None:
            self._broken = (words, enhanced)
            self._deadline = _NEVER
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._wake()

    def _wait_at_most(self, patience: float) -> None:
        self._patience = patience
        self._deadline = self._loop.time() + patience
        if self._timer is not None and self._alarm > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._set_alarm()

    def _set_alarm(self) -> None:
        self._alarm = self._deadline
        self._timer = self._loop.call_at(self._alarm, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline == _NEVER:
            return
        if self._loop.time() < self._deadline:
            self._set_alarm()
            return
        what = "The server took no data for" if self._paused else "The server did not answer within"
        self._gone(f"{what} {self._patience:g} seconds.")
        self._transport.abort()

    def _gone(self, words: str) -> None:
        if self._lines:
            words += " It had begun to say:\n" + bounded(self._lines)
        self._break(words, "4.4.2")
