"""Greylisting at RCPT: what is known of the client and of its right to the sender's name, and whether that is a reason to wait.

The client's name is asked once in a session, SPF once for a sender; a domain without greylisting costs nothing. Who is in doubt gets in:
what the DNS does not say in time is no reason, and neither is anything for a large sender whose SPF passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from pipeline.authentication.reverse import reverse
from pipeline.authentication.spf import Lookups, Result, spf
from pipeline.directory import Domain
from pipeline.greylist import Greylist, identity
from pipeline.suspicion import from_known_pool, reasons
from workers.receiver.session import ReceiverSession, Transaction

PATIENCE: Final = 5.0
"""Seconds for each of the two questions."""
_UNKNOWN: Final = Result("temperror")


class Directory(Protocol):
    """Which domains are ours (`pipeline.directory.Directory`)."""

    def domains(self) -> Mapping[str, Domain]: ...


class Greylisting:
    def __init__(
        self, greylist: Greylist, directory: Directory, names: Lookups, hostname: str, clock: Callable[[], int]
    ) -> None:
        self._greylist = greylist
        self._directory = directory
        self._names = names
        self._hostname = hostname.lower()
        self._clock = clock

    async def puts_off(self, session: ReceiverSession, envelope: Transaction, domain: Domain, recipient: str) -> bool:
        """Whether the client has to come again for this recipient; why is in the envelope then, and when it came first if it has.

        `recipient` is what makes it one mailbox. Raises StoreAwayError.
        """
        envelope.note = ""
        if envelope.spf is None:
            envelope.spf = await self._spf(session, envelope.mail_from or "")
        found = envelope.spf
        passed = found.result == "pass"
        if passed and from_known_pool(found.mechanism, found.domain):
            return False
        why = await self._reasons(session, found)
        if not why:
            return False
        who = identity(session.address, found.domain if passed else "")
        answer = await self._greylist.ask(who, domain.name, envelope.mail_from or "", recipient, self._clock())
        if not answer.passed:
            envelope.note = ", ".join(why)
            return True
        if answer.first:
            before = envelope.greylisted.get(domain.name, answer.first)
            envelope.greylisted[domain.name] = min(before, answer.first)
        return False

    async def _reasons(self, session: ReceiverSession, found: Result) -> tuple[str, ...]:
        if session.reverse is None:
            session.reverse = await self._reverse(session.address)
        result, name = session.reverse
        return reasons(
            address=session.address,
            name=name,
            names_known=result != "temperror",
            helo=session.host_name or "",
            ours=lambda helo: helo == self._hostname or helo in self._directory.domains(),
            spf=found.result,
        )

    async def _spf(self, session: ReceiverSession, sender: str) -> Result:
        try:
            async with asyncio.timeout(PATIENCE):
                return (await spf(session.address, session.host_name or "", sender, self._names))[0]
        except TimeoutError:
            return _UNKNOWN

    async def _reverse(self, address: str) -> tuple[str, str]:
        try:
            async with asyncio.timeout(PATIENCE):
                return await reverse(address, self._names)
        except TimeoutError:
            return "temperror", ""
