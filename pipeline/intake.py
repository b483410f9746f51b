"""The step behind a 250: one message per recipient domain, on disk before anybody is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from pipeline.bodies import Bodies, Draft
from pipeline.events import Client, Received, RecipientSpec
from pipeline.faults import StoreAwayError, StoreError, StoreFullError
from pipeline.ids import new_id, partition_for
from pipeline.log import Log
from pipeline.steps import Step, received_step

PATIENCE: Final = 20.0
"""Seconds to wait for a Redis that is away before the sender gets 451; senders wait 10 minutes for the reply to the dot."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What the transaction said (RFC 5321 4.1.1.2 and 4.1.1.3)."""

    sender: str
    recipients: tuple[RecipientSpec, ...]
    client: Client
    eight_bit: bool = False
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""
    greylisted: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Domain -> when the client was first told to come again (ns)."""


class Intake:
    def __init__(
        self, log: Log, bodies: Bodies, *, partitions: int, lifetime: Callable[[str], int], clock: Callable[[], int]
    ) -> None:
        self._log = log
        self._bodies = bodies
        self._partitions = partitions
        self._lifetime = lifetime
        self._clock = clock
        self.waits: Callable[[str], bool] = lambda _domain: False
        """Whether mail for a domain has to wait, as far as is known here: then its body need not be where it is read soon."""

    async def accept(self, envelope: Envelope, draft: Draft) -> tuple[str, ...]:
        """Make the message ours: the ids, one per recipient domain. Returning means that it is on disk.

        Raises StoreFullError, and StoreAwayError after PATIENCE. Takes over the draft in any case.
        """
        now = self._clock()
        domains: dict[str, list[RecipientSpec]] = {}
        for recipient in envelope.recipients:
            domains.setdefault(recipient.address.rpartition("@")[2], []).append(recipient)
        ids = {domain: new_id(now, partition_for(domain, self._partitions)) for domain in domains}
        waits = any(map(self.waits, domains))
        async with self._bodies.settled(draft, tuple(ids.values()), waits=waits) as hot:
            results = await self._commit(
                received_step(ids[domain], self._received(envelope, domain, recipients, draft.size, now), hot)
                for domain, recipients in domains.items()
            )
        for message_id, result in zip(ids.values(), results, strict=True):
            if isinstance(result, StoreFullError):
                with contextlib.suppress(StoreAwayError):  # then it is swept up
                    await self._bodies.cold.drop_many([message_id])
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return tuple(ids.values())

    async def _commit(self, steps: Iterable[Step]) -> list[bool | BaseException]:
        """What became of each. All of them are waited for, so that a body is dropped only where its step surely did not happen."""
        commits = [self._log.submit(step, patience=PATIENCE) for step in steps]
        if len(commits) > 1:
            return await asyncio.gather(*commits, return_exceptions=True)
        try:
            return [await commits[0]]
        except StoreError as fault:
            return [fault]

    def _received(
        self, envelope: Envelope, domain: str, recipients: list[RecipientSpec], size: int, now: int
    ) -> Received:
        return Received(
            at=now,
            domain=domain,
            sender=envelope.sender,
            recipients=tuple(recipients),
            size=size,
            expires=now + self._lifetime(domain),
            client=envelope.client,
            eight_bit=envelope.eight_bit,
            smtputf8=envelope.smtputf8,
            envid=envelope.envid,
            ret=envelope.ret,
            greylisted=envelope.greylisted.get(domain, 0),
        )
