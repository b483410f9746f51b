"""Reading for every worker, changing for whoever administers.

A change is judged and made on top of the newest state: when two administrators change something at once, the second one's is made
anew on top of the first one's, or refused by what the first one did.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from pipeline import keys
from pipeline.address import local_key
from pipeline.directory import rules
from pipeline.directory.change import Change
from pipeline.directory.inherit import home
from pipeline.directory.lists import changes as list_changes
from pipeline.directory.lists.changes import Listed, Lists
from pipeline.directory.lists.entries import Rule
from pipeline.directory.model import Address, Domain, Hold
from pipeline.directory.policy import NOTHING, Policy, check
from pipeline.directory.reading import Reading
from pipeline.faults import ConflictError, NotFoundError, RefusedError
from pipeline.ids import partition_for
from pipeline.log import Log
from pipeline.store import Store, faults

TRIES: Final = 5
PATIENCE: Final = 5.0
"""Seconds to wait for a Redis that is away."""

T = TypeVar("T")


class Directory(Reading):
    def __init__(self, store: Store, log: Log, *, clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(store, clock=clock)
        self._log = log

    async def change(self, build: Callable[[Change], Awaitable[T]], *, by: str, now: int, note: str = "") -> T:
        """Make what `build` puts into a Change happen, as one step; what `build` answers.

        `build` may be called again when somebody else was faster. Raises what `build` and the rules raise, StoreAwayError, and
        ConflictError when somebody else was faster each time.
        """
        for last in range(1, TRIES + 1):
            await self.refresh()
            change = Change(self._domains, self._version, by=by, now=now, note=note)
            result = await build(change)
            rules.check(change.domains, change.changed)
            if not change.events:
                return result
            try:
                await self._log.commit(change.step(), patience=PATIENCE)
            except ConflictError:
                if last == TRIES:
                    raise
            else:
                await self.refresh()
                return result
        raise AssertionError

    # Domains

    async def set_domain(self, domain: Domain, *, by: str, now: int, note: str = "") -> Domain | None:
        """Add or change; what was there before."""

        async def build(change: Change) -> Domain | None:
            before = change.domains.get(domain.name)
            change.set_domain(domain)
            return before

        return await self.change(build, by=by, now=now, note=note)

    async def update_domain(
        self, name: str, alter: Callable[[Domain], Domain], *, by: str, now: int, note: str = ""
    ) -> tuple[Domain, Domain]:
        """Change a domain that is there; (before, after). Raises NotFoundError."""

        async def build(change: Change) -> tuple[Domain, Domain]:
            before = existing(change.domains, name)
            after = alter(before)
            change.set_domain(after)
            return before, after

        return await self.change(build, by=by, now=now, note=note)

    async def remove_domain(self, name: str, *, by: str, now: int, note: str = "") -> int:
        """How many addresses went with it. Raises NotFoundError, and RefusedError while mail of the domain is still here."""

        async def build(change: Change) -> int:
            existing(change.domains, name)
            await self.refuse_waiting(name)
            addresses = [address async for address in self.addresses(name)]
            await self._take_rules(change, Lists(self._store, name), None)
            change.remove_domain(name, addresses)
            return len(addresses)

        return await self.change(build, by=by, now=now, note=note)

    async def hold(self, name: str, reason: str, *, by: str, now: int, until: int = 0, probed: bool = False) -> bool:
        """Accept and keep a domain's mail from now on; False when it is held already. Raises NotFoundError.

        `until`: when it ends by itself (ns); 0: when somebody says so. `probed`: it ends when the server takes a message again; a
        person's hold takes the place of such a one.
        """

        async def build(change: Change) -> bool:
            domain = self._home(change, name)
            if domain.hold is not None and domain.hold.holds(now) and (probed or not domain.hold.probed):
                return False
            hold = Hold(since=now, reason=reason, by=by, until=until, probed=probed)
            held = msgspec.structs.replace(domain, hold=hold)
            change.set_domain(held)
            return True

        return await self.change(build, by=by, now=now)

    async def resume(self, name: str, *, by: str, now: int, note: str = "", only_probed: bool = False) -> Hold | None:
        """Let a domain's mail flow again; the hold that was on it, None when there was none. Raises NotFoundError.

        `only_probed`: a hold that somebody set meanwhile stays.
        """

        async def build(change: Change) -> Hold | None:
            domain = self._home(change, name)
            if only_probed and not (domain.hold and domain.hold.probed):
                return None
            change.set_domain(msgspec.structs.replace(domain, hold=None))
            return domain.hold

        return await self.change(build, by=by, now=now, note=note)

    # Servers

    async def hold_server(self, server: str, reason: str, *, by: str, now: int, until: int = 0) -> bool:
        """Send nothing to a server (HOST:PORT), whichever domain's mail it is; False when it is held already."""

        async def build(change: Change) -> bool:
            before = self.server_hold(server)
            if before is not None and before.holds(now):
                return False
            change.set_server(server, Hold(since=now, reason=reason, by=by, until=until), before)
            return True

        return await self.change(build, by=by, now=now)

    async def resume_server(self, server: str, *, by: str, now: int, note: str = "") -> Hold | None:
        """Send to a server again; the hold that was on it, None when there was none."""

        async def build(change: Change) -> Hold | None:
            before = self.server_hold(server)
            change.set_server(server, None, before)
            return before

        return await self.change(build, by=by, now=now, note=note)

    # Addresses

    async def set_addresses(
        self, addresses: Mapping[str, Sequence[Address]], *, by: str, now: int, note: str = "", add: bool = False
    ) -> dict[str, int]:
        """Add or change addresses of any number of domains, in one step; per domain how many were not so already.

        `add`: those that are listed already stay as they are, unless they were about to go. What a person has said of their own mail
        stays unless it is said anew; `set_policy` takes it away. Raises NotFoundError.
        """

        async def build(change: Change) -> dict[str, int]:
            counts = {}
            for name, wanted in addresses.items():
                self._holds_mailboxes(change, name)
                before = await self.rows(name, [local_key(address.local) for address in wanted])
                rows = wanted
                if add:
                    there = {key for key, address in before.items() if not address.gone}
                    rows = [address for address in wanted if local_key(address.local) not in there]
                rows = [_with_policy(address, before.get(local_key(address.local))) for address in rows]
                counts[name] = change.set_addresses(name, rows, before)
            return counts

        return await self.change(build, by=by, now=now, note=note)

    async def set_policy(
        self, name: str, local: str, alter: Callable[[Policy], Policy], *, by: str, now: int, note: str = ""
    ) -> tuple[Address, Address]:
        """Change what a person wants done with their own mail; (before, after). Raises NotFoundError, ConfigurationError."""

        async def build(change: Change) -> tuple[Address, Address]:
            self._holds_mailboxes(change, name)
            there = await self.rows(name, [local_key(local)])
            before = there.get(local_key(local))
            if before is None:
                raise NotFoundError(f"{local}@{name} is not listed", remedy=f"See `gatepost address list {name}`.")
            wanted = alter(before.policy or NOTHING)
            check(wanted, personal=True)
            after = msgspec.structs.replace(before, policy=None if wanted == NOTHING else wanted)
            change.set_addresses(name, [after], there)
            return before, after

        return await self.change(build, by=by, now=now, note=note)

    async def remove_addresses(
        self, locals_: Mapping[str, Sequence[str]], *, by: str, now: int, note: str = ""
    ) -> dict[str, int]:
        """Take away addresses of any number of domains, in one step; per domain how many were there. Raises NotFoundError."""

        async def build(change: Change) -> dict[str, int]:
            counts = {}
            for name, wanted in locals_.items():
                existing(change.domains, name)
                there = await self.rows(name, list({local_key(local): None for local in wanted}))
                counts[name] = change.remove_addresses(name, list(there.values()))
            return counts

        return await self.change(build, by=by, now=now, note=note)

    # Allow and block lists

    async def set_rules(
        self, domain: str, entries: Sequence[Rule], *, by: str, now: int, note: str = "", replace: str | None = None
    ) -> Listed:
        """Add or change entries of the lists of a domain and its people; `domain` empty: of the operator's.

        `replace`: the person whose other entries go ("" for the domain's or the operator's own). Raises NotFoundError, RefusedError.
        """
        entries = [msgspec.structs.replace(rule, by=by, at=now) for rule in entries]

        async def build(change: Change) -> Listed:
            self._may_have_rules(change, domain)
            lists = Lists(self._store, domain)
            removed = 0
            if replace is not None:
                removed = await self._take_rules(change, lists, replace, but={rule.key for rule in entries})
            before = await lists.rules(list({rule.key: None for rule in entries}))
            summaries = await lists.summaries(rule.person for rule in entries)
            return list_changes.put(change, domain, entries, before, summaries)._replace(removed=removed)

        return await self.change(build, by=by, now=now, note=note)

    async def remove_rules(self, domain: str, names: Sequence[str], *, by: str, now: int, note: str = "") -> int:
        """Take entries away, by their keys; how many were there. Raises NotFoundError."""

        async def build(change: Change) -> int:
            self._may_have_rules(change, domain)
            lists = Lists(self._store, domain)
            there = list((await lists.rules(list(dict.fromkeys(names)))).values())
            return list_changes.take(change, domain, there, await lists.summaries(rule.person for rule in there))

        return await self.change(build, by=by, now=now, note=note)

    async def _take_rules(
        self, change: Change, lists: Lists, person: str | None, *, but: Collection[str] = frozenset()
    ) -> int:
        gone = [rule for key, rule in (await lists.all_rules(person)).items() if key not in but]
        return list_changes.take(change, lists.domain, gone, await lists.summaries(rule.person for rule in gone))

    def _may_have_rules(self, change: Change, domain: str) -> None:
        if domain:
            self._holds_mailboxes(change, domain)

    # What is asked on the way

    def _home(self, change: Change, name: str) -> Domain:
        existing(change.domains, name)
        domain = home(change.domains, name)
        if domain is None:
            raise NotFoundError(f"{name} is an alias of a domain that is not there")
        return domain

    def _holds_mailboxes(self, change: Change, name: str) -> None:
        domain = existing(change.domains, name)
        if domain.alias_of:
            raise RefusedError(
                f"{name} is an alias of {domain.alias_of} and has no addresses of its own",
                remedy=f"Say {domain.alias_of} instead.",
            )

    async def refuse_waiting(self, name: str) -> None:
        """Raises RefusedError while mail of the domain waits to be forwarded."""
        with faults():
            partition = partition_for(name, self._store.partitions)
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.zcard(keys.queue(partition, name))
            pipe.zcard(keys.held_of(partition, name))
            waiting = sum(await pipe.execute())
        if waiting:
            raise RefusedError(
                f"{waiting:,} messages for {name} are still waiting", remedy="Let them leave, or delete them first."
            )


def _with_policy(address: Address, before: Address | None) -> Address:
    if address.policy is not None or before is None or before.policy is None:
        return address
    return msgspec.structs.replace(address, policy=before.policy)


def existing(domains: Mapping[str, Domain], name: str) -> Domain:
    """Raises NotFoundError."""
    domain = domains.get(name)
    if domain is None:
        raise NotFoundError(f"no domain {name}", remedy="See `gatepost domain list`.")
    return domain
