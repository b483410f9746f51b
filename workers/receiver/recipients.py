"""Who is a recipient here: the decision on one RCPT.

Recipients are the listed addresses of our domains, everybody at a domain that accepts all, and the postmaster, at any of our domains or
bare (RFC 5321 4.5.1), the bare one for the domain that was added first. A mailbox named twice, by an alias of its domain too, is kept once.
Then the domain's own limits, what its servers can take, and greylisting have their say; the postmaster is never put off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from pipeline import replies
from pipeline.address import Address
from pipeline.directory import Domain
from pipeline.events import RecipientSpec
from pipeline.replies import Reply
from workers.receiver.parameters import RcptOptions
from workers.receiver.session import ReceiverSession, Transaction

POSTMASTER: Final = "postmaster"


class Directory(Protocol):
    """Who we accept mail for (`pipeline.directory.Directory`)."""

    def domains(self) -> Mapping[str, Domain]: ...
    def home(self, name: str) -> Domain | None: ...
    async def find_home(self, name: str) -> Domain | None: ...
    async def accepts(self, key: str, domain: Domain) -> bool: ...
    async def takes_smtputf8(self, domain: Domain) -> bool: ...


class Greylist(Protocol):
    """Who has to come again (`greylisting.Greylisting`)."""

    async def puts_off(
        self, session: ReceiverSession, envelope: Transaction, domain: Domain, recipient: str
    ) -> bool: ...


class Recipients:
    def __init__(self, directory: Directory, greylist: Greylist, max_recipients: int) -> None:
        self._directory = directory
        self._greylist = greylist
        self._max = max_recipients

    async def add(
        self,
        session: ReceiverSession,
        envelope: Transaction,
        recipient: Address,
        options: RcptOptions,
        *,
        stranger: bool,
    ) -> Reply:
        """Add to the envelope, or say what is against it. `stranger`: the client has limits. Raises StoreAwayError."""
        domain = await self._home(recipient.domain)
        if isinstance(domain, Reply):
            return domain
        envelope.asked_domain = domain.name
        key = recipient.key
        if not (domain.catch_all or key == POSTMASTER or await self._directory.accepts(key, domain)):
            return replies.NO_SUCH_USER
        if (key, domain.name) in envelope.recipients:
            return replies.RECIPIENT_OK
        refusal = await self._against(envelope, domain)
        if refusal is not None:
            return refusal
        address = f"{recipient.local}@{domain.name}"
        if (
            stranger
            and domain.greylist
            and key != POSTMASTER
            and await self._greylist.puts_off(session, envelope, domain, f"{key}@{domain.name}")
        ):
            return replies.GREYLISTED
        envelope.recipients[key, domain.name] = RecipientSpec(
            address=address,
            notify=options.notify,
            orcpt=options.orcpt,
            original=str(recipient) if recipient.domain not in ("", domain.name) else "",
        )
        if domain.max_message_size:
            envelope.max_size = min(envelope.max_size, domain.max_message_size)
        return replies.RECIPIENT_OK

    async def _home(self, name: str) -> Domain | Reply:
        if name:
            return self._directory.home(name) or await self._directory.find_home(name) or replies.RELAY_DENIED
        # The one that was added first is most likely the operator's own. A gateway without a domain is being set up: the
        # postmaster's mail may wait.
        ours = [domain for domain in self._directory.domains().values() if not domain.alias_of]
        first = min(ours, key=lambda domain: (domain.created_at, domain.name), default=None)
        return replies.TROUBLE if first is None else self._directory.home(first.name) or first

    async def _against(self, envelope: Transaction, domain: Domain) -> Reply | None:
        """What a domain's limits and servers have against one more recipient there."""
        if domain.max_message_size and envelope.size > domain.max_message_size:
            return replies.TOO_BIG
        if envelope.smtp_utf8 and not await self._directory.takes_smtputf8(domain):
            return replies.NO_SMTPUTF8
        if len(envelope.recipients) >= self._max:
            return replies.TOO_MANY_RECIPIENTS
        most = domain.max_recipients
        if most and sum(name == domain.name for _, name in envelope.recipients) >= most:
            return replies.TOO_MANY_RECIPIENTS
        return None
