"""A person says of a message that it was judged wrongly: recorded, learned from, and its sender's mail judged otherwise from then on.

A delivered message leaves no copy, so what can be learned from is what the person gives. Which of our messages that was, our own
Received line in it says. Anybody can write such a line: it is believed only when the message that it names had the same Message-ID.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pipeline import keys
from pipeline.bodies import Buffer
from pipeline.directory.lists.entries import ALLOW, BLOCK, parse
from pipeline.events import Client, Received, Reported, Scanned, encode
from pipeline.faults import ConfigurationError, CorruptError, NotFoundError
from pipeline.ids import is_id, new_id, partition_for, partition_of
from pipeline.mime import Header
from pipeline.steps import Step
from workers.learning import Learning
from workers.steering import PATIENCE
from workers.wiring import Wiring

LINES: Final = 50
"""Received lines that are looked at."""
_BARE: Final = re.compile(rb"\r\n|\r|\n")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    report: str
    """Id of what was recorded."""
    message: str
    """Id of the message; empty when it could not be told."""
    domain: str
    sender: str
    learned: bool
    """The classifier counts it from now on; False also when it knew."""
    read: bool
    """There was something to learn from."""
    listed: str
    """The entry that blocks or allows the sender from now on."""


class _Known(msgspec.Struct, frozen=True):
    """What our log says of a message."""

    id: str = ""
    domain: str = ""
    sender: str = ""
    message_id: str = ""
    author: str = ""
    client: Client | None = None


class Reporting:
    def __init__(self, wiring: Wiring, *, by: str) -> None:
        self._wiring = wiring
        self._by = by

    async def report(
        self,
        *,
        spam: bool,
        message_id: str = "",
        content: bytes | None = None,
        domain: str = "",
        list_sender: bool = False,
        note: str = "",
    ) -> Outcome:
        """By its id, or by its octets with any line ends, or by both. `domain`: whose mail it is, where that cannot be told.

        `list_sender`: block the sender of bad mail, allow that of good mail. Raises NotFoundError, ConfigurationError, StoreError.
        """
        octets = None if content is None else _BARE.sub(b"\r\n", content)
        known = await self._known(message_id) if message_id else await self._named_in(octets or b"")
        if message_id and not known.id:
            raise NotFoundError(
                f"no message {message_id}", remedy="The id is in our Received line, and in `gatepost trace`."
            )
        whose = known.domain or domain
        if not whose:
            raise ConfigurationError(
                "no Received line of ours is in it: whose mail was it?", remedy="Say it with --domain."
            )
        body: Buffer | None = octets if octets is not None else await self._kept_body(known.id)
        entry = self._entry(body, known, spam=spam) if list_sender else ""
        learned = body is not None and await Learning(self._wiring, by=self._by).learn(
            whose, body, spam=spam, client=known.client, message_id=known.id, how="reported"
        )
        if entry:
            rule = parse(entry, BLOCK if spam else ALLOW, note=f"reported {known.id}".strip())
            await self._wiring.directory.set_rules(whose, [rule], by=self._by, now=self._wiring.clock())
        event = Reported(
            at=self._wiring.clock(), domain=whose, by=self._by, spam=spam, message=known.id, sender=known.sender,
            learned=learned, note=note,
        )  # fmt: skip
        return Outcome(
            report=await self._record(event), message=known.id, domain=whose, sender=known.sender, learned=learned,
            read=body is not None, listed=entry,
        )  # fmt: skip

    async def _known(self, message_id: str) -> _Known:
        found = _Known()
        if not is_id(message_id) or partition_of(message_id) >= self._wiring.store.partitions:
            return found
        async for entry in self._wiring.past.message(message_id):
            event = entry.event
            if entry.subject != message_id:
                continue
            if isinstance(event, Received):
                found = _Known(message_id, event.domain, event.sender, client=event.client)
            elif isinstance(event, Scanned):
                return msgspec.structs.replace(found, message_id=event.message_id, author=event.header_from)
        return found

    async def _named_in(self, content: bytes) -> _Known:
        """The message that it was, as our Received line in it says."""
        header = Header(content)
        ours = re.compile(
            rb"\bby\s+" + re.escape(self._wiring.hostname.encode()) + rb"\s[^;]{0,500}?\bid\s+([0-9a-z]{22})\b"
        )
        for line in header.values(b"received")[:LINES]:
            match = ours.search(line[:2000])
            if match is not None:
                known = await self._known(match[1].decode())
                if known.id and known.message_id == header.message_id:
                    return known
        return _Known()

    async def _kept_body(self, message_id: str) -> Buffer | None:
        """None when it has left: good mail leaves no copy."""
        try:
            return await self._wiring.bodies.get(message_id)
        except CorruptError:
            return None

    def _entry(self, body: Buffer | None, known: _Known, *, spam: bool) -> str:
        """Whom a list is to name: the author that readers see, else the envelope's sender. Raises ConfigurationError."""
        authors = Header(body).authors if body is not None else Header(f"From: {known.author}\r\n\r\n".encode()).authors
        named = [author.address for author in authors if "@" in author.address]
        sender = named[0] if named else known.sender
        if not sender:
            raise ConfigurationError("it names no sender", remedy="Report it without naming its sender in a list.")
        return parse(sender, BLOCK if spam else ALLOW).entry

    async def _record(self, event: Reported) -> str:
        """Under an id of its own: the message may be long finished, and what is finished has no head to check a version of."""
        partition = partition_for(event.domain, self._wiring.store.partitions)
        report = new_id(event.at, partition)
        step = Step(
            head=keys.head(partition, report), log=keys.log(partition), subject=report, expected=0,
            events=(encode(event),), state=b"", effects=(),
        )  # fmt: skip
        await self._wiring.log.commit(step, patience=PATIENCE)
        return report
