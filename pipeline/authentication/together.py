"""All methods applied to one message, within a limit of time: what Authentication-Results will say, and what policy can build on.

Nearly all mail is from clients and domains of which everything is in the resolver's cache; then this is some hundred microseconds of
computing. Otherwise the questions that are sure to come are asked at once, before the first answer is waited for. A method whose
answers do not come in time is `temperror`; nothing that a message holds raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from pipeline.authentication import arc, dkim, dmarc
from pipeline.authentication.arc import Chain
from pipeline.authentication.canonical import Body, Fields
from pipeline.authentication.results import forged
from pipeline.authentication.reverse import reverse
from pipeline.authentication.spf import Result as SpfResult
from pipeline.authentication.spf import spf
from pipeline.events import AuthResult
from pipeline.mime import Buffer, Header
from pipeline.state import Message
from pipeline.units import SECOND

LATE: Final = "the DNS did not answer in time"


class Lookups(Protocol):
    """Questions to the DNS (`pipeline.resolver.Resolver`)."""

    async def a(self, name: str) -> tuple[str, ...]: ...
    async def aaaa(self, name: str) -> tuple[str, ...]: ...
    async def mx(self, name: str) -> tuple[tuple[int, str], ...]: ...
    async def txt(self, name: str) -> tuple[bytes, ...]: ...
    async def cname(self, name: str) -> tuple[str, ...]: ...
    async def ptr(self, address: str) -> tuple[str, ...]: ...
    def expect(self, name: str, kind: str) -> None: ...


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about a message."""

    results: tuple[AuthResult, ...] = ()
    """For Authentication-Results, and for the event."""
    spf: SpfResult | None = None
    dkim: tuple[dkim.Signature, ...] = ()
    dmarc: dmarc.Result | None = None
    chain: Chain | None = None
    client_name: str = ""
    """The client's name, confirmed by its address; empty when there is none."""
    drop: tuple[tuple[int, int], ...] = ()
    """Fields that claim results in our name."""
    flooded: bool = False
    """There are more such fields than anybody honest writes: the message must not go on as it is."""


async def authenticate(
    message: Message, content: Buffer, header: Header, names: Lookups, *, authserv_id: str, now: int, seconds: float
) -> Authentication:
    """`now` in ns, `seconds` for all of it. A message that we wrote ourselves has nothing to prove. Of a client without an address
    (see scanning/relays.py) nothing is asked, and nothing said.
    """
    claims = forged(header, authserv_id)
    drop, flooded = claims or (), claims is None
    if message.client is None:
        return Authentication(drop=drop, flooded=flooded)
    check = _Check(message, content, header, names, now)
    check.expect()
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await check.run()
    except TimeoutError:
        if not limit.expired():
            raise
    return check.found(drop, flooded=flooded)


class _Check:
    """One message under way. What is None was not finished."""

    def __init__(self, message: Message, content: Buffer, header: Header, names: Lookups, now: int) -> None:
        assert message.client is not None
        self._message = message
        self._client = message.client
        self._content = content
        self._header = header
        self._names = names
        self._now = now
        authors = {author.address.rpartition("@")[2].lower() for author in header.authors if "@" in author.address}
        self._author = authors.pop() if len(authors) == 1 else ""
        self._several = bool(authors) and not self._author
        self._signatures: tuple[dkim.Signature, ...] | None = None
        self._chain: Chain | None = None
        self._spf: SpfResult | None = None
        self._scope = "mailfrom" if message.sender else "helo"
        self._dmarc: dmarc.Result | None = None
        self._iprev: str | None = None
        self._name = ""

    def expect(self) -> None:
        """Have the questions asked that are sure to come."""
        if self._author:
            self._names.expect(f"_dmarc.{self._author}", "TXT")
        if not self._client.address:
            return
        sender = self._message.sender.rpartition("@")[2] if self._message.sender else self._client.helo
        if "." in sender:
            self._names.expect(sender, "TXT")
        self._names.expect(self._client.address, "PTR")

    async def run(self) -> None:
        fields, body = Fields(self._header), Body(self._content, self._header.body)
        self._signatures = await dkim.verify(
            self._content, self._header, self._names, now=self._now, fields=fields, body=body
        )
        self._chain = await arc.verify(
            self._content, self._header, self._names, now=self._now, fields=fields, body=body
        )
        if self._client.address:
            self._spf, self._scope = await spf(
                self._client.address, self._client.helo, self._message.sender, self._names, now=self._now // SECOND
            )
        if self._author:
            self._dmarc = await dmarc.evaluate(
                self._author,
                # What nobody can check leaves it open whether the message passes.
                spf=(self._spf.result, self._spf.domain)
                if self._spf is not None
                else ("temperror", self._message.sender.rpartition("@")[2] or self._author),
                dkim=[("none" if one.testing else one.result, one.domain) for one in self._signatures],
                names=self._names,
            )
        if self._client.address:
            self._iprev, self._name = await reverse(self._client.address, self._names)

    def found(self, drop: tuple[tuple[int, int], ...], *, flooded: bool) -> Authentication:
        return Authentication(
            results=(
                *([self._iprev_result(), self._spf_result()] if self._client.address else ()),
                *self._dkim_results(),
                *self._arc_results(),
                *self._dmarc_results(),
            ),
            spf=self._spf,
            dkim=self._signatures or (),
            dmarc=self._dmarc,
            chain=self._chain,
            client_name=self._name,
            drop=drop,
            flooded=flooded,
        )

    def _iprev_result(self) -> AuthResult:
        return AuthResult(
            method="iprev", result=self._iprev or "temperror", properties=(("policy.iprev", self._client.address),)
        )

    def _spf_result(self) -> AuthResult:
        named = self._message.sender if self._scope == "mailfrom" else self._client.helo
        properties = ((f"smtp.{self._scope}", named),) if named else ()
        if self._spf is None:
            return AuthResult(method="spf", result="temperror", reason=LATE, properties=properties)
        return AuthResult(method="spf", result=self._spf.result, reason=self._spf.problem, properties=properties)

    def _dkim_results(self) -> Sequence[AuthResult]:
        if self._signatures is None:
            return (AuthResult(method="dkim", result="temperror", reason=LATE),)
        return dkim.as_results(self._signatures)

    def _arc_results(self) -> Sequence[AuthResult]:
        # Of a chain that nobody could judge nothing is said: a word of ours would count as one.
        if self._chain is None or self._chain.temporary or self._chain.result == "none":
            return ()
        return (self._chain.as_result(self._client.address),)

    def _dmarc_results(self) -> Sequence[AuthResult]:
        if self._several:
            return (AuthResult(method="dmarc", result="permerror", reason="From names authors of several domains"),)
        if not self._author:
            return ()
        properties = [("header.from", self._author)]
        if self._dmarc is None:
            return (AuthResult(method="dmarc", result="temperror", reason=LATE, properties=tuple(properties)),)
        if self._dmarc.policy:
            properties.append(("policy.published-domain-policy", self._dmarc.policy))
        return (
            AuthResult(
                method="dmarc", result=self._dmarc.result, reason=self._dmarc.problem, properties=tuple(properties)
            ),
        )
