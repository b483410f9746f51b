"""The addresses in a directory: which questions to ask, and what an entry means."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from pipeline.sources.checking import endpoint
from pipeline.sources.definitions import LdapSource
from pipeline.sources.faults import (
    BusyError,
    ForbiddenError,
    GarbledError,
    LimitedError,
    SlowError,
    SourceError,
    UnreachableError,
    UntrustedError,
    shown,
)
from pipeline.sources.ldap import changes
from pipeline.sources.ldap.connection import Connection, Server, connected
from pipeline.sources.ldap.entries import Question
from pipeline.sources.ldap.messages import Found, MalformedError, Reference, Result
from pipeline.sources.ldap.profiles import PROFILES
from pipeline.sources.model import LIMIT, Collector, Listing, Mark, Progress, Unchanged, digest, opened, silent
from pipeline.sources.secrets import Secret
from pipeline.units import Network

MAX_VALUES: Final = 100_000
"""Of one attribute that comes in ranges."""
MAX_REFERENCES: Final = 1000

_VERSION: Final = 1
"""Of how entries are understood: another one makes earlier markers void."""
_PORTS: Final = {"ldap": 389, "ldaps": 636}
_RANGE: Final = re.compile(r"([a-z0-9.-]+);range=(\d{1,9})-(\d{1,9}|\*)")
_NEXT_SERVER: Final = (UnreachableError, SlowError, BusyError, UntrustedError, ForbiddenError, GarbledError)
"""Faults that another server need not have. The others are the definition's, and wrong passwords lock accounts."""


class LdapReader:
    """A source over one definition, which was checked. May be used again and again."""

    def __init__(
        self, definition: LdapSource, secret: Secret | None, trust: ssl.SSLContext, allowed: Sequence[Network]
    ) -> None:
        self._definition = definition
        self._secret = secret
        self._trust = trust
        self._allowed = allowed
        profile = PROFILES[definition.profile]
        self._partitions = tuple(name.lower() for name in profile.partitions)
        self._queries = tuple(Question(query, definition) for query in definition.queries or profile.queries)
        self._asked = digest(
            _VERSION, definition.bind_dn, definition.domain, *(question.identity for question in self._queries)
        )

    async def fetch(
        self, *, marker: bytes = b"", progress: Progress = silent, limit: int = LIMIT
    ) -> Listing | Unchanged:
        """See `Source`."""
        failures: list[SourceError] = []
        try:
            async with asyncio.timeout(self._definition.time_limit):
                for server in _servers(self._definition):
                    try:
                        return await self._from(server, opened(marker), progress, limit)
                    except _NEXT_SERVER as error:
                        failures.append(error)
        except TimeoutError:
            said = "".join(f"; {error}" for error in failures)
            raise SlowError(
                f"the list was not complete within {self._definition.time_limit:g} s{said}",
                remedy="Raise time_limit, or ask for less.",
            ) from None
        first = failures[0]
        raise type(first)("; ".join(map(str, failures)), remedy=first.remedy) from None

    async def _from(self, server: Server, mark: Mark | None, progress: Progress, limit: int) -> Listing | Unchanged:
        definition = self._definition
        async with connected(server, self._trust, self._allowed, definition.timeout) as connection:
            if definition.starttls and not server.tls:
                await connection.starttls(self._trust)
            await connection.bind(definition.bind_dn, self._secret)
            # Before the list: what changes while it is read will be read again.
            state = await changes.state(connection, dict.fromkeys(question.base for question in self._queries))
            now = Mark(self._asked, server.name, state)
            if state and mark == now:
                return Unchanged(marker=now.seal())
            collector = Collector(limit, definition.domain)
            elsewhere: set[str] = set()
            for question in self._queries:
                await self._read(connection, question, collector, elsewhere, progress)
            return collector.listing(now.seal() if state else b"")

    async def _read(
        self,
        connection: Connection,
        question: Question,
        collector: Collector,
        elsewhere: set[str],
        progress: Progress,
    ) -> None:
        """All pages of one query."""
        cookie = b""
        while True:
            ranged: list[Found] = []
            search = connection.search(
                question.base, question.scope, question.filter, question.attributes, (self._definition.page, cookie)
            )
            async with contextlib.aclosing(search) as answers:
                async for answer in answers:
                    if isinstance(answer, Found):
                        if any(";range=" in name for name in answer.attributes):
                            ranged.append(answer)
                        else:
                            question.take(answer, collector)
                    elif isinstance(answer, Reference):
                        self._note(answer, elsewhere, collector)
                    else:
                        cookie = _cookie(answer, connection)
            for found in ranged:
                question.take(await _completed(connection, found), collector)
            progress(len(collector))
            if not cookie:
                return

    def _note(self, reference: Reference, elsewhere: set[str], collector: Collector) -> None:
        """Referrals are not followed: they lead to servers that the definition does not name, with its password."""
        url = shown(reference.urls[0] if reference.urls else b"?")
        try:
            dn = unquote(urlsplit(url).path).removeprefix("/").lower()
        except ValueError:
            dn = ""
        if url in elsewhere or len(elsewhere) >= MAX_REFERENCES or dn.startswith(self._partitions or ("\0",)):
            return
        elsewhere.add(url)
        collector.problem("", f"a part of the directory is on another server and was not read: {url}")


def _servers(definition: LdapSource) -> Iterator[Server]:
    for text in definition.servers:
        url = urlsplit(text)
        host, port = endpoint(url, _PORTS[url.scheme])
        yield Server(text, host, port, url.scheme == "ldaps")


def _cookie(result: Result, connection: Connection) -> bytes:
    try:
        return result.cookie
    except MalformedError:
        raise GarbledError(f"{connection.server.name} sends pages that cannot be told apart") from None


async def _completed(connection: Connection, found: Found) -> Found:
    """An entry with all values of its attributes, where Active Directory sent only the first 1,500 (MS-ADTS 3.1.1.3.1.3.3)."""
    attributes: dict[str, list[bytes]] = {}
    for name, values in found.attributes.items():
        match = _RANGE.fullmatch(name)
        plain = match[1] if match else name
        gathered = attributes.setdefault(plain, [])
        gathered += values
        while match and match[3] != "*":
            match, further = await _further(connection, found.dn, plain, int(match[3]) + 1)
            gathered += further
            if len(gathered) > MAX_VALUES:
                raise LimitedError(f"{shown(found.dn)} has more than {MAX_VALUES:,} values of {plain}")
    return Found(found.dn, attributes)


async def _further(connection: Connection, dn: bytes, name: str, following: int) -> tuple[re.Match[str], list[bytes]]:
    """(what part they are, further values) of an attribute."""
    entry, _ = await connection.look(dn.decode("utf-8", "replace"), (f"{name};range={following}-*",))
    for description, values in (entry.attributes if entry is not None else {}).items():
        match = _RANGE.fullmatch(description)
        if match and match[1] == name and int(match[2]) == following and values:
            return match, values
    # It changed meanwhile, or the server miscounts: with a part of an entry the list would not be complete.
    raise GarbledError(f"{connection.server.name} does not send all values of {name} of {shown(dn)}")
