"""The directory as workers read it: the domains in memory, the addresses in Redis behind a cache of those that exist.

Once a second each process looks whether the directory has changed, and then reads what has changed from its log and nothing else:
ten thousand domains are loaded once, and a sync that adds an address costs a process one small reply. A domain that is not known
is asked for once more before it is refused, and an address that is not known is asked for each time, so both work from the
moment their addition was acknowledged. While the store is away the last known state serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.address import local_key
from pipeline.asking import Asking
from pipeline.directory.inherit import effective, home
from pipeline.directory.model import Address, Domain, Hold, decode_address, decode_domain, decode_hold
from pipeline.events import (
    AddressesRemoved,
    AddressesSet,
    AnyEvent,
    DomainRemoved,
    DomainSet,
    ServerHeld,
    ServerResumed,
    decode,
)
from pipeline.faults import CorruptError, StoreError
from pipeline.servers import parsed
from pipeline.store import Store, faults

CACHE: Final = 100_000
"""Addresses remembered per process; about 15 MB."""
REFRESH: Final = 1.0
"""Seconds between two looks whether something has changed."""
BEHIND: Final = 5000
"""Entries of the log after which it is quicker to load everything anew."""
PAGE: Final = 1000


class Reading:
    """`clock`: ns since 1970, for the grace of removed addresses."""

    def __init__(self, store: Store, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._asking = Asking(store.redis)
        self._clock = clock
        self._version = -1
        self._entry = "0"
        """The last entry of the log that is in memory."""
        self._domains: Mapping[str, Domain] = {}
        self._servers: Mapping[str, Hold] = {}
        self._known: dict[str, dict[str, int]] = {}
        """Domain -> key -> until when the address is accepted (ns), 0 without an end."""
        self._known_count = 0
        self._lock = asyncio.Lock()
        self._looks = self._seen = 0
        """Looks at the store that were begun, and the last of them that ended well."""
        self.watchers: list[Callable[[AnyEvent | None], None]] = []
        """Told of each change as it is taken in; of None when everything was loaded anew."""

    @property
    def loaded(self) -> bool:
        """Whether it was read from the store at all."""
        return self._version >= 0

    # Domains

    def domains(self) -> Mapping[str, Domain]:
        """All, as they were set. The mapping never changes: a change makes a new one."""
        return self._domains

    def domain(self, name: str) -> Domain | None:
        """As it was set; from memory, at most a second old."""
        return self._domains.get(name)

    def home(self, name: str) -> Domain | None:
        """The domain whose mailboxes mail for `name` is for, with what it takes from its parents; None: not ours."""
        domain = home(self._domains, name)
        return effective(self._domains, domain) if domain is not None else None

    async def find(self, name: str) -> Domain | None:
        """As `domain`, but asks the store before it says that there is none. Raises StoreAwayError."""
        if name not in self._domains:
            await self.refresh()
        return self._domains.get(name)

    async def find_home(self, name: str) -> Domain | None:
        """As `home`, but asks the store before it says that there is none. Raises StoreAwayError."""
        await self.find(name)
        return self.home(name)

    def held_servers(self) -> Mapping[str, Hold]:
        """HOST:PORT -> its hold, which may be over. The mapping never changes: a change makes a new one."""
        return self._servers

    def server_hold(self, server: str) -> Hold | None:
        """From memory, at most a second old."""
        return self._servers.get(server)

    async def takes_smtputf8(self, domain: Domain) -> bool:
        """Whether the servers of a home domain are known to take internationalised mail (RFC 6531): as the domain says, or as they
        said themselves when they were last connected to. Raises StoreAwayError.
        """
        if domain.smtputf8 or not domain.route:
            return domain.smtputf8 == "yes"
        with faults():
            names = [server.name for server in parsed(domain.route)] or list(domain.route)
            offers: Any = await self._store.redis.hmget(keys.SMTPUTF8, names)
        known = [offer == b"1" for offer in offers if offer is not None]
        return bool(known) and all(known)

    async def note_smtputf8(self, server: str, *, offered: bool) -> None:
        """Remember what a server of a route said. Raises StoreAwayError."""
        with faults():
            await self._store.redis.hset(keys.SMTPUTF8, server, int(offered))

    # Addresses

    async def accepts(self, key: str, domain: Domain) -> bool:
        """Whether mail for a local part (`address.local_key`) is accepted at a home domain, catch-all aside.

        Raises StoreAwayError.
        """
        if await self._listed(key, domain.name):
            return True
        if domain.delimiter:
            name, found, _ = key.partition(domain.delimiter)
            return bool(found and name) and await self._listed(name, domain.name)
        return False

    async def _listed(self, key: str, domain: str) -> bool:
        until = self._known.get(domain, {}).get(key)
        if until is None:
            row = (await self.rows(domain, [key])).get(key)
            if row is None:
                return False
            until = row.gone
            self._remember(domain, key, until)
        return not until or self._clock() < until

    def _remember(self, domain: str, key: str, until: int) -> None:
        if self._known_count >= CACHE:
            self._known.clear()
            self._known_count = 0
        self._known.setdefault(domain, {})[key] = until
        self._known_count += 1

    async def rows(self, domain: str, wanted: Sequence[str]) -> dict[str, Address]:
        """Those of a domain's addresses that are listed, by key. Raises StoreAwayError."""
        found: dict[str, Address] = {}
        for start in range(0, len(wanted), PAGE):
            page = list(wanted[start : start + PAGE])
            (answers,) = await self._asking.fields((keys.addresses(domain), page))
            found |= {
                key: _decoded(domain, key, data) for key, data in zip(page, answers, strict=True) if data is not None
            }
        return found

    async def addresses(self, domain: str) -> AsyncIterator[Address]:
        """All listed addresses of a domain, in no order; those in their time of grace too."""
        seen: set[bytes] = set()
        with faults():
            async for key, data in self._store.redis.hscan_iter(keys.addresses(domain), count=PAGE):
                if key not in seen:
                    seen.add(key)
                    yield _decoded(domain, key.decode("utf-8", "replace"), data)

    async def all_rows(self, domain: str) -> dict[str, Address]:
        """All listed addresses of a domain, by key."""
        return {local_key(address.local): address async for address in self.addresses(domain)}

    async def count_addresses(self, domain: str) -> int:
        with faults():
            return int(await self._store.redis.hlen(keys.addresses(domain)))

    async def counts(self, domains: Iterable[str]) -> dict[str, int]:
        """How many addresses each of `domains` has."""
        names = list(domains)
        counted: dict[str, int] = {}
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            with faults():
                pipe = self._store.redis.pipeline(transaction=False)
                for name in page:
                    pipe.hlen(keys.addresses(name))
                counted |= dict(zip(page, await pipe.execute(), strict=True))
        return counted

    # Keeping up

    async def refresh(self) -> bool:
        """Take in what has changed; whether anything has since this was asked. Raises StoreAwayError.

        One look serves all who asked before it began.
        """
        known, asked = self._version, self._looks
        async with self._lock:
            if self._seen <= asked:
                self._looks += 1
                await self._look()
                self._seen = self._looks
        return self._version != known

    async def _look(self) -> None:
        with faults():
            version = int(await self._store.redis.hget(keys.DIRECTORY_HEAD, "v") or 0)
        if version != self._version and not (0 <= self._version < version and await self._catch_up()):
            await self._load()

    async def follow(self, changed: Callable[[], None] | None = None) -> None:
        """Keep up with changes until cancelled."""
        while True:
            with contextlib.suppress(StoreError):
                if await self.refresh() and changed:
                    changed()
            await asyncio.sleep(REFRESH)

    async def _load(self) -> None:
        with faults():
            pipe = self._store.redis.pipeline(transaction=True)
            pipe.hget(keys.DIRECTORY_HEAD, "v")
            pipe.xrevrange(keys.DIRECTORY_LOG, count=1)
            pipe.hgetall(keys.DOMAINS)
            pipe.hgetall(keys.SERVERS)
            version, last, rows, servers = await pipe.execute()
        self._servers = {name.decode(): decode_hold(data) for name, data in servers.items()}
        self._domains = {name.decode(): decode_domain(data) for name, data in rows.items()}
        self._known = {}
        self._known_count = 0
        self._version = int(version or 0)
        self._entry = last[0][0].decode() if last else "0"
        for tell in self.watchers:
            tell(None)

    async def _catch_up(self) -> bool:
        """Read on in the log; False when that does not lead to the present: there is too much, or it cannot be read."""
        domains = dict(self._domains)
        taken: list[AnyEvent] = []
        for _ in range(BEHIND // PAGE):
            with faults():
                rows: Any = await self._store.redis.xrange(
                    keys.DIRECTORY_LOG, min="(" + self._entry, max="+", count=PAGE
                )
            try:
                for entry, fields in rows:
                    event = decode(fields[b"e"])
                    self._take_in(event, domains)
                    taken.append(event)
                    self._version, self._entry = int(fields[b"v"]), entry.decode()
            except (KeyError, ValueError, msgspec.DecodeError):
                return False
            if len(rows) < PAGE:
                self._domains = domains
                for event in taken:
                    for tell in self.watchers:
                        tell(event)
                return True
        return False

    def _take_in(self, event: AnyEvent, domains: dict[str, Domain]) -> None:
        if isinstance(event, DomainSet):
            domains[event.domain] = decode_domain(event.after)
        elif isinstance(event, DomainRemoved):
            domains.pop(event.domain, None)
            self._known_count -= len(self._known.pop(event.domain, ()))
        elif isinstance(event, ServerHeld):
            self._servers = {**self._servers, event.server: decode_hold(event.after)}
        elif isinstance(event, ServerResumed):
            self._servers = {name: hold for name, hold in self._servers.items() if name != event.server}
        elif isinstance(event, AddressesSet | AddressesRemoved):
            known = self._known.get(event.domain)
            if known:
                for local in event.locals:
                    self._known_count -= known.pop(local_key(local), None) is not None


def _decoded(domain: str, key: str, data: bytes) -> Address:
    try:
        return decode_address(data)
    except msgspec.DecodeError as error:
        raise CorruptError(
            f"the directory's row of {key!a} at {domain} cannot be read: {error}", remedy="Remove and add the address."
        ) from None
