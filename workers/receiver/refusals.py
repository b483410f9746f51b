"""Writing down what did not get in: bounded, whatever strangers do.

A refusal is a fact as well as a delivery, so that a trace finds a message that never got in. But a stranger can be refused as often
as they like, and the log is kept for long: of each client, domain and reason the first few in a minute are events of their own, and all
further ones become one event with a count, at the end of the minute. When there are more clients than can be told apart, they are
counted together. Nobody waits for these events; what was not written yet when a process is killed, half a second's worth, is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import structlog

from pipeline import keys
from pipeline.events import Client, Refused, encode
from pipeline.faults import StoreError
from pipeline.ids import new_id, partition_for
from pipeline.log import Log
from pipeline.pause import pause
from pipeline.replies import Reply
from pipeline.steps import Step
from pipeline.units import SECOND
from workers.receiver.session import ReceiverSession, Transaction

OWN: Final = 10
"""Refusals of one client, domain and reason in a minute that are events of their own."""
ALL: Final = 1000
"""The same of all together in a process: 17 a second, some 10 MB of log in an hour at worst."""
MINUTE: Final = 60 * SECOND
COUNTED: Final = 5000
"""Counts that are kept apart (client, domain and reason); about 5 MB."""
FLUSH: Final = 0.5
"""Seconds between two looks whether there is something to write."""
BATCH: Final = 500
MAX_TEXT: Final = 320
"""Octets of an address that are kept (RFC 5321 4.5.3.1)."""
MANY: Final = Client(address="")
"""Who is meant when too many clients are refused to tell them apart."""

log = structlog.get_logger()


class Refusals:
    """One per receiver. `add` from anywhere, `run` beside it."""

    def __init__(self, log: Log, partitions: int, clock: Callable[[], int]) -> None:
        self._log = log
        self._partitions = partitions
        self._clock = clock
        self._pending: list[Refused] = []
        self._counted: dict[tuple[str, str, str], Refused] = {}
        self._own: dict[tuple[str, str, str], int] = {}
        """How many were events of their own in this minute."""
        self._all = 0
        self._minute_ends = 0
        self._writing: set[asyncio.Future[bool]] = set()

    def add(self, refused: Refused) -> None:
        if refused.at >= self._minute_ends:
            self._new_minute(refused.at)
        key = (refused.client.address, refused.domain, refused.reason)
        own = self._own.get(key, 0)
        if own < OWN and self._all < ALL:
            self._own[key] = own + 1
            self._all += 1
            self._pending.append(refused)
            return
        if key not in self._counted and len(self._counted) >= COUNTED:
            key = ("", "", refused.reason)
            refused = msgspec.structs.replace(refused, client=MANY, domain="", sender="", recipient="")
        before = self._counted.get(key)
        self._counted[key] = msgspec.structs.replace(
            refused,
            count=1 if before is None else before.count + 1,
            since=refused.at if before is None else before.since,
        )

    def _new_minute(self, now: int) -> None:
        """What was counted becomes events; the rest of the memory is empty again."""
        self._pending += self._counted.values()
        self._counted = {}
        self._own = {}
        self._all = 0
        self._minute_ends = now + MINUTE

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop`, and then what is left."""
        while not await pause(stop, FLUSH):
            self.flush()
        self._new_minute(self._clock())
        while self._pending or self._writing:
            self.flush()
            if self._writing:
                await asyncio.wait(self._writing)

    def flush(self) -> None:
        """Hand some of what there is to the log; the rest waits for the next time."""
        if self._counted and self._clock() >= self._minute_ends:
            self._new_minute(self._clock())
        if self._writing:
            return
        chunk, self._pending = self._pending[:BATCH], self._pending[BATCH:]
        for refused in chunk:
            done = self._log.submit(self._step(refused), patience=FLUSH)
            self._writing.add(done)
            done.add_done_callback(self._written)

    def _written(self, done: asyncio.Future[bool]) -> None:
        self._writing.discard(done)
        if not done.cancelled() and isinstance(error := done.exception(), Exception):
            # With the store away nothing is accepted either, and whoever is turned away then is told to come again.
            level = log.debug if isinstance(error, StoreError) else log.error
            level("a refusal could not be written down", reason=str(error))

    def _step(self, refused: Refused) -> Step:
        """A subject of its own without a head: nothing follows a refusal."""
        partition = partition_for(refused.domain, self._partitions)
        refusal_id = new_id(refused.at, partition)
        return Step(
            head=keys.head(partition, refusal_id),
            log=keys.log(partition),
            subject=refusal_id,
            expected=0,
            events=(encode(refused),),
            state=b"",
            effects=(),
        )


def facts(
    reply: Reply, session: ReceiverSession, envelope: Transaction, *, greeted: bool, at: int
) -> Iterator[Refused]:
    """What is to be written down when mail did not get in by `reply`: one fact for each recipient that had been accepted, when it
    turns away the message or the client; else one for what was asked last.
    """
    if not greeted:
        stage = "connect"
    elif not session.host_name:
        stage = "hello"
    elif envelope.mail_from is None:
        stage = "mail"
    else:
        stage = "data" if envelope.in_data else "rcpt"
    named = [(envelope.asked_recipient, envelope.asked_domain)]
    if envelope.recipients and (envelope.in_data or reply.code == 421):
        named = [(spec.original or spec.address, home) for (_, home), spec in envelope.recipients.items()]
    client = session.client(smtputf8=envelope.smtp_utf8)
    for recipient, domain in named:
        yield Refused(
            at=at,
            domain=domain,
            reason=reply.name,
            client=client,
            stage=stage,
            code=reply.code,
            enhanced=reply.enhanced,
            reply=reply.text,
            sender=_shortened(envelope.asked_sender),
            recipient=_shortened(recipient),
            note=envelope.note,
        )


def _shortened(address: str) -> str:
    return address if len(address) <= MAX_TEXT else address[:MAX_TEXT] + "..."
