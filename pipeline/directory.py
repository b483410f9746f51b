"""Domains and addresses: configuration, every change of which is an event (who, when, before, after).

Each process keeps the domains in memory and looks once a second whether the directory's version moved; addresses are looked
up in Redis behind a cache of those that exist. A domain that is not known is asked for once more before it is refused, so a
domain works from the moment its addition was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import msgspec

from pipeline import keys
from pipeline.events import AddressesRemoved, AddressesSet, DirectoryEvent, DomainRemoved, DomainSet
from pipeline.faults import ConflictError, NotFoundError, RefusedError, StoreError
from pipeline.ids import partition_for
from pipeline.log import Log
from pipeline.steps import Effect, directory_step
from pipeline.store import Store, faults

CACHE: Final = 50_000
"""Addresses remembered per process; about 10 MB."""
CHUNK: Final = 1000
"""Addresses per event and call: a Lua call takes some thousand words at most."""
REFRESH: Final = 1.0


class Domain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer's domain. `route`: HOST:PORT of their own servers, in order of preference."""

    name: str
    route: tuple[str, ...] = ()
    catch_all: bool = False
    created_at: int = 0


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Someone we accept mail for. `local` as it was entered."""

    local: str
    kind: str = "mailbox"


_encode = msgspec.msgpack.Encoder().encode
_decode_domain = msgspec.msgpack.Decoder(Domain).decode
_decode_address = msgspec.msgpack.Decoder(Address).decode


class Directory:
    """Reading for every worker, changing for whoever administers."""

    def __init__(self, store: Store, log: Log) -> None:
        self._store = store
        self._log = log
        self._version = -1
        self._domains: dict[str, Domain] = {}
        self._known: set[tuple[str, str]] = set()

    # Reading

    def domains(self) -> Mapping[str, Domain]:
        return self._domains

    def domain(self, name: str) -> Domain | None:
        """From memory; at most a second old."""
        return self._domains.get(name)

    async def find(self, name: str) -> Domain | None:
        """As `domain`, but asks the store before it says that there is none. Raises StoreAwayError."""
        if name not in self._domains:
            await self.refresh()
        return self._domains.get(name)

    async def knows(self, local: str, domain: str) -> bool:
        """Whether this address is listed. Raises StoreAwayError."""
        key = (local.casefold(), domain)
        if key in self._known:
            return True
        with faults():
            found = await self._store.redis.hexists(keys.addresses(domain), key[0])
        if found:
            if len(self._known) >= CACHE:
                self._known.clear()
            self._known.add(key)
        return bool(found)

    async def refresh(self) -> bool:
        """Load the domains if anything changed since the last look."""
        with faults():
            version = int(await self._store.redis.hget(keys.DIRECTORY_HEAD, "v") or 0)
            if version == self._version:
                return False
            rows = await self._store.redis.hgetall(keys.DOMAINS)
        self._domains = {name.decode(): _decode_domain(data) for name, data in rows.items()}
        self._known.clear()
        self._version = version
        return True

    async def follow(self, changed: Callable[[], None] | None = None) -> None:
        """Keep up with changes until cancelled. While the store is away the last known state serves."""
        while True:
            with contextlib.suppress(StoreError):
                if await self.refresh() and changed:
                    changed()
            await asyncio.sleep(REFRESH)

    async def addresses(self, domain: str) -> AsyncIterator[Address]:
        """All listed addresses of a domain, in no order."""
        with faults():
            async for _, data in self._store.redis.hscan_iter(keys.addresses(domain), count=1000):
                yield _decode_address(data)

    async def count_addresses(self, domain: str) -> int:
        with faults():
            return int(await self._store.redis.hlen(keys.addresses(domain)))

    # Changing

    async def set_domain(self, domain: Domain, *, by: str, now: int) -> Domain | None:
        """Add or change; what was there before."""

        def change() -> tuple[list[DirectoryEvent], list[Effect]]:
            before = self._domains.get(domain.name)
            event = DomainSet(
                at=now, domain=domain.name, by=by, before=_encode(before) if before else b"", after=_encode(domain)
            )
            return [event], [("HSET", keys.DOMAINS, domain.name, _encode(domain))]

        await self.refresh()
        before = self._domains.get(domain.name)
        await self._apply(change)
        return before

    async def remove_domain(self, name: str, *, by: str, now: int) -> None:
        """Raises NotFoundError, and RefusedError while mail of the domain is still here."""
        waiting = await self._waiting(name)
        if waiting:
            raise RefusedError(
                f"{waiting} messages for {name} are still waiting", remedy="Let them leave, or delete them first."
            )

        def change() -> tuple[list[DirectoryEvent], list[Effect]]:
            before = self._require(name)
            event = DomainRemoved(at=now, domain=name, by=by, before=_encode(before))
            return [event], [("HDEL", keys.DOMAINS, name), ("DEL", keys.addresses(name))]

        await self._apply(change)

    async def add_addresses(self, domain: str, addresses: Sequence[Address], *, by: str, now: int) -> int:
        """How many were new."""
        with faults():
            there = await self._store.redis.hmget(
                keys.addresses(domain), [a.local.casefold() for a in addresses] or [""]
            )
        new = [address for address, found in zip(addresses, there, strict=False) if found is None]
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            words = [word for address in chunk for word in (address.local.casefold(), _encode(address))]

            def change(
                chunk: Sequence[Address] = chunk, words: Sequence[str | bytes] = words
            ) -> tuple[list[DirectoryEvent], list[Effect]]:
                self._require(domain)
                event = AddressesSet(at=now, domain=domain, by=by, locals=tuple(address.local for address in chunk))
                return [event], [("HSET", keys.addresses(domain), *words)]

            await self._apply(change)
        return len(new)

    async def remove_addresses(self, domain: str, locals_: Sequence[str], *, by: str, now: int) -> int:
        """How many were there."""
        folded = [local.casefold() for local in locals_]
        with faults():
            there = await self._store.redis.hmget(keys.addresses(domain), folded or [""])
        gone = [local for local, found in zip(folded, there, strict=False) if found is not None]
        for start in range(0, len(gone), CHUNK):
            chunk = tuple(gone[start : start + CHUNK])

            def change(chunk: tuple[str, ...] = chunk) -> tuple[list[DirectoryEvent], list[Effect]]:
                event = AddressesRemoved(at=now, domain=domain, by=by, locals=chunk)
                return [event], [("HDEL", keys.addresses(domain), *chunk)]

            await self._apply(change)
        return len(gone)

    def _require(self, name: str) -> Domain:
        domain = self._domains.get(name)
        if domain is None:
            raise NotFoundError(f"no domain {name}", remedy="See `gatepost domain list`.")
        return domain

    async def _waiting(self, name: str) -> int:
        with faults():
            partition = partition_for(name, self._store.partitions)
            return int(await self._store.redis.zcard(keys.queue(partition, name)))

    async def _apply(self, change: Callable[[], tuple[list[DirectoryEvent], list[Effect]]]) -> None:
        """Two administrators at once: the second one's change is made on top of the first one's."""
        for last in (False, False, False, False, True):
            await self.refresh()
            events, effects = change()
            try:
                await self._log.commit(directory_step(max(0, self._version), events, effects), patience=5)
            except ConflictError:
                if last:
                    raise
            else:
                await self.refresh()
                return
