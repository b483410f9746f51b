"""One connection: what comes in, what goes out, and when it ends. No SMTP here.

aiosmtpd reads commands and data line by line through a StreamReader, which costs ten times what everything else in a
receiver costs. Here the transport's chunks are taken whole:

- A task per connection takes complete lines and sleeps only when there is none. Replies are collected and leave in one
  write when it goes to sleep (RFC 2920 3.2).
- While a message comes in, chunks go from the transport straight into it; the task is woken once, by the end.
- A client that sends ahead of our answers is read no further than READ_AHEAD, and the task waits for one that does not
  take them.
- One timer, which looks at when something last came and at what has to be over by when; never re-armed by a command.
- A client may vanish in any state: the draft goes with it, and what the task is doing is not interrupted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, Final, cast

from aiosmtpd.smtp import SMTP

from pipeline import metrics, replies
from pipeline.replies import Reply
from workers.receiver.common import Common
from workers.receiver.incoming import Incoming
from workers.receiver.refusals import facts
from workers.receiver.session import ReceiverSession, Transaction

MAX_LINE: Final = 2048
"""Octets of a command line with its CRLF: 512 (RFC 5321 4.5.3.1.4), 500 and 528 for the DSN parameters (RFC 3461 5.4), and
room for a long sender; the same for all commands."""
READ_AHEAD: Final = 64 << 10
"""Octets of input that may wait for the task. With one chunk of the transport (256 KB) all that a client can occupy."""
LINGER: Final = 5.0
"""Seconds for the last reply to leave before the connection is cut."""
RECHECK: Final = 1.0
"""Seconds until the clock is looked at again when time was up while the task was at work."""


class Connection(SMTP):
    """The transport's side of a session. The commands are in `protocol.ReceiverProtocol`."""

    session: ReceiverSession
    envelope: Transaction
    transport: asyncio.Transport

    def __init__(self, common: Common) -> None:
        """What aiosmtpd's constructor would set is in the class: see `Common.prototype`."""
        # Every EHLO adds to it: on the class, as aiosmtpd has it, it would grow for ever.
        self.command_size_limits = {"MAIL": MAX_LINE}
        self._common = common
        self._input = b""
        self._at = 0
        self._output: list[bytes] = []
        self._incoming: Incoming | None = None
        self.guard = common.no_guard
        self._wakeup: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._resting: asyncio.Future[None] | None = None
        self._greeted = False
        self._skipping = False
        self._held = False
        self._secure = False
        self._half_closed = False
        self._ended = False
        self._shut = False
        self._lost = False
        self._heard = 0.0
        self._phase_ends = math.inf
        self._session_ends = math.inf
        self._overdue = False

    def _set_post_data_state(self) -> None:
        self.envelope = Transaction()
        if self.session.host_name:
            self._phase_ends = math.inf

    def _phase(self, seconds: float) -> None:
        """What begins now has to be over in so many seconds, whatever the client says meanwhile."""
        self._phase_ends = self.loop.time() + seconds

    def _call_handler_hook(self, command: str, *words: object) -> Coroutine[Any, Any, Any]:
        """What aiosmtpd asks the handler with. We have a hook for each of these commands."""
        asked: Coroutine[Any, Any, Any] = self._handle_hooks[command](self, self.session, self.envelope, *words)
        return asked

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.session = ReceiverSession(self.loop, transport.get_extra_info("peername"))
        self._set_post_data_state()
        common = self._common
        metrics.SMTP_CONNECTIONS.add()
        if common.closing or len(common.connections) >= common.max_sessions:
            reply = replies.SHUTTING_DOWN if common.closing else replies.TOO_MANY_SESSIONS
            self._ended = True
            self._turned_away(reply)
            self.transport.write(reply.wire)
            self.transport.close()
            return
        self._heard = self.loop.time()
        self._timeout_handle = self.loop.call_later(common.glance, self._look_at_the_clock)
        common.connections.add(self)
        task = self.loop.create_task(self._handle_client())
        self._handler_coroutine = task
        common.tasks.add(task)
        task.add_done_callback(common.tasks.discard)

    def data_received(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming is not None:
            self._heard = self.loop.time()
            self._take_data(incoming, data)
        elif not self._ended:
            self._keep(data)
            if b"\n" in data:
                # Only a whole line is heard: a command that trickles in is silence.
                self._heard = self.loop.time()
                self._wake()
            elif len(self._input) > MAX_LINE or not self._greeted:
                self._wake()

    def eof_received(self) -> bool:
        """Answers still go out to a client that has only finished sending; TLS knows no half-closed connection."""
        self._half_closed = True
        self._wake()
        return not self._ended and not self._secure

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = self._shut = self._ended = True
        self._common.connections.discard(self)
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        self._drop_incoming()
        self.guard.leave()
        self.resume_writing()
        self._rouse()
        self._wake()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # Input

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.transport.pause_reading()

    def _release(self) -> None:
        if self._held and not self._ended:
            self._held = False
            self.transport.resume_reading()

    def _wake(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)

    def _rouse(self) -> None:
        resting, self._resting = self._resting, None
        if resting is not None and not resting.done():
            resting.set_result(None)

    async def hold_back(self, seconds: float) -> None:
        """Hold back the next answer. Nothing that the client does makes it shorter but leaving."""
        self._flush()
        if not self._ended:
            self._resting = resting = self.loop.create_future()
            timer = self.loop.call_later(seconds, self._rouse)
            try:
                await resting
            finally:
                timer.cancel()

    async def _await_input(self, seconds: float) -> None:
        """Sleep until anything has come or the connection has ended, at most so long."""
        self._wakeup = wakeup = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await wakeup
        finally:
            timer.cancel()

    async def _more(self) -> None:
        """Sleep until something may have come. Only here does the client keep us waiting."""
        if self._output:
            self._flush()
        if self._writable is not None:
            await self._writable
            return
        if self._held:
            self._release()
        self._wakeup = wakeup = self.loop.create_future()
        await wakeup

    async def _yield(self) -> None:
        """Let the answers so far go out, and the other connections have their turn."""
        self._flush()
        if self._writable is not None:
            await self._writable
        else:
            await asyncio.sleep(0)

    def _take_line(self) -> bytes | None:
        """The next complete line with its LF, None when there is none, b"" for one that was too long."""
        data = self._input
        start, stop = self._at, data.find(b"\n", self._at) + 1
        if stop == 0:
            rest = self._take_rest()
            if len(rest) > MAX_LINE:
                self._skipping = True
            else:
                self._input = rest
            return None
        if stop == len(data):
            self._input, self._at = b"", 0
        else:
            self._at = stop
        if self._skipping or stop - start > MAX_LINE:
            self._skipping = False
            return b""
        return data[start:stop]

    def _keep(self, data: bytes) -> None:
        """Input for the task. What was taken is cut off when no complete line is left, not line by line."""
        self._input = self._input + data if self._input else data
        if len(self._input) > READ_AHEAD:
            self._hold()

    def _take_rest(self) -> bytes:
        """All that no command has taken."""
        rest, self._input, self._at = self._input[self._at :], b"", 0
        return rest

    async def _receive(self, incoming: Incoming) -> bool:
        """Feed everything to `incoming` until its end. False when the connection ends before that; the draft is gone then."""
        self._incoming = incoming
        self._phase(self._common.data_time)
        if self._input:
            self._take_data(incoming, self._take_rest())
        while self._incoming is not None and not self._ended:
            if self._half_closed:
                self._end()
            else:
                await self._more()
        self._phase_ends = math.inf
        if self._ended:
            incoming.discard()
        return not self._ended

    def _take_data(self, incoming: Incoming, data: bytes) -> None:
        rest = incoming.feed(data)
        if rest is not None:
            self._incoming = None
            self._input = rest
            self._wake()
        elif incoming.endless:
            self._say_and_end(replies.FLOODED)

    def _drop_incoming(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.discard()

    # Output

    def _send(self, reply: Reply) -> None:
        self._output.append(reply.wire)

    async def push(self, status: Reply | str | bytes) -> None:
        """What aiosmtpd's command handlers answer with."""
        if isinstance(status, Reply):
            self._output.append(status.wire)
        else:
            self._output.append((status.encode("ascii") if isinstance(status, str) else status) + b"\r\n")

    def _flush(self) -> None:
        if self._output and not self._shut:
            self.transport.write(b"".join(self._output))
            self._heard = self.loop.time()
        self._output.clear()

    def _say_and_end(self, reply: Reply) -> None:
        """The last words, also from outside the task."""
        if not self._ended:
            self._turned_away(reply)
            self._send(reply)
            self._end()

    def _turned_away(self, reply: Reply) -> None:
        """Write it down when mail did not get in by this reply."""
        envelope = self.envelope
        if reply.code >= 400:
            metrics.SMTP_REFUSALS.add(reply.name or "unnamed", "4xx" if reply.code < 500 else "5xx")
        if replies.turns_away(reply, under_way=envelope.mail_from is not None):
            common = self._common
            for fact in facts(reply, self.session, envelope, greeted=self._greeted, at=common.clock()):
                common.refusals.add(fact)

    def _end(self) -> None:
        """Nothing is read any more; what was answered still leaves, if the client takes it within LINGER."""
        self._ended = True
        self._flush()
        self._drop_incoming()
        if not self._shut:
            self._shut = True
            if self._timeout_handle is not None:
                self._timeout_handle.cancel()
            if self._secure or self.transport.get_write_buffer_size():
                self._timeout_handle = self.loop.call_later(LINGER, self.transport.abort)
            self.transport.close()
        self._rouse()
        self._wake()

    # Time, and the end of the process

    def _look_at_the_clock(self) -> None:
        now = self.loop.time()
        # Before the greeting it is we who let the client wait.
        waits_for_client = self._greeted and (self._wakeup is not None or self._writable is not None)
        if now >= self._session_ends:
            # A transaction that is under way may still end; the task says 421 after it.
            self._overdue, self._session_ends = True, math.inf
            if waits_for_client and self.envelope.mail_from is None:
                self._say_and_end(replies.SESSION_OVER)
                return
        due = min(self._phase_ends, self._session_ends, self._heard + self._common.timeout)
        if now < due:
            left = min(due - now, self._common.glance)
        elif waits_for_client:
            self._say_and_end(replies.TOO_SLOW if now >= self._phase_ends else replies.IDLE)
            return
        else:
            left = RECHECK
        self._timeout_handle = self.loop.call_later(left, self._look_at_the_clock)

    def wind_down(self) -> None:
        """Say 421: now when nothing is under way, else the task does at the end of the transaction."""
        if self._wakeup is not None and self.envelope.mail_from is None:
            self._say_and_end(replies.SHUTTING_DOWN)

    def cut_short(self) -> None:
        """Time is up: say 421 to a client that keeps us waiting. What the task works on is not ours to judge."""
        if self._wakeup is not None or self._writable is not None or self._resting is not None:
            self._say_and_end(replies.SHUTTING_DOWN)

    def cut(self) -> None:
        if not self._lost:
            self.transport.abort()
