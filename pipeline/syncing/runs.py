"""Running a sync: ask the source, compare, and make one change of it, or wait for approval.

A run that fails, wherever that is, has changed nothing: the list in force stays as it was. The attempt is counted before the source is
asked, so a crash loop does not hammer it. The source's marker is kept after the change was made, so a crash in between costs a
full read and no address. What each run came to is an event; runs that come to the same as the one before are not written again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from pipeline import keys
from pipeline.directory import Address, Directory
from pipeline.directory.change import Change
from pipeline.directory.inherit import home
from pipeline.events import SyncRan, SyncRemoved, SyncSet
from pipeline.faults import ConfigurationError, GatepostError, NotFoundError, RefusedError
from pipeline.sources.definitions import Definition
from pipeline.sources.faults import SourceError
from pipeline.sources.model import Entry, Listing, Progress, Source, Unchanged, silent
from pipeline.sources.opening import open_source
from pipeline.store import Store
from pipeline.syncing.difference import Difference, compare
from pipeline.syncing.memory import Memory
from pipeline.syncing.model import DAY, Staged, State, Sync, check, encode
from pipeline.units import Network

APPLIED: Final = "applied"
UNCHANGED: Final = "unchanged"
WAITING: Final = "waiting for approval"
REJECTED: Final = "rejected"
FAILED: Final = "failed"
READ_ALL: Final = DAY
"""After which everything is read, also when the source says that nothing has changed: somebody may have changed the directory."""
RETRY: Final = 900 * 1_000_000_000
"""ns until a run that failed for the moment is tried again, where its turn comes later."""
FOREIGN_NAMED: Final = 5

Open = Callable[[Definition, Sequence[Network]], Source]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to."""

    run: int
    result: str
    words: str = ""
    """Why it failed, or waits."""
    difference: Difference | None = None
    problems: tuple[str, ...] = ()
    problem_count: int = 0
    catch_all: tuple[tuple[str, str], ...] = ()
    """Domains that accept mail for any address at the source and not here, and where it goes there. A sync does not change that: it is
    for somebody to decide, as it lets everybody in who guesses.
    """
    took: int = 0


class _TooMuchError(Exception):
    def __init__(self, why: str, difference: Difference) -> None:
        super().__init__(why)
        self.why = why
        self.difference = difference


def _open(definition: Definition, allowed: Sequence[Network]) -> Source:
    return open_source(definition, allowed=allowed)


class Syncing:
    """`clock`: ns since 1970. `opened` makes a source of a definition."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        allowed: Sequence[Network],
        *,
        clock: Callable[[], int] = time.time_ns,
        opened: Open = _open,
    ) -> None:
        self.memory = Memory(store)
        self._directory = directory
        self._allowed = allowed
        self._clock = clock
        self._open = opened

    # Definitions

    async def set(self, sync: Sync, *, by: str) -> Sync | None:
        """Add or change; what was there before. Raises ConfigurationError, NotFoundError (a domain that is not here)."""
        check(sync)
        for name in sync.domains:
            if await self._directory.find(name) is None:
                raise NotFoundError(f"no domain {name}", remedy="See `gatepost domain list`.")
        before = (await self.memory.syncs()).get(sync.name)
        data = encode(sync)

        async def build(change: Change) -> None:
            change.add(
                SyncSet,
                ("HSET", keys.SYNCS, sync.name, data),
                domain="",
                name=sync.name,
                before=encode(before) if before is not None else b"",
                after=data,
            )

        await self._directory.change(build, by=by, now=self._clock())
        if before is None or (before.source, before.every) != (sync.source, sync.every):
            state = await self.memory.state(sync.name)
            await self.memory.remember(sync.name, msgspec.structs.replace(state, marker=b"", next=self._clock()))
        return before

    async def remove(self, name: str, *, by: str, addresses: bool) -> int:
        """Forget a sync; how many addresses it had. `addresses`: they go with it; else they stay, as if entered by hand."""
        sync = await self.memory.sync(name)
        async with self.memory.running(name):
            state = await self.memory.state(name)

            async def build(change: Change) -> int:
                number = 0
                for domain, rows in (await self._rows(state.domains)).items():
                    mine = [address for address in rows.values() if address.source == name]
                    number += len(mine)
                    if addresses:
                        change.remove_addresses(domain, mine)
                    else:
                        change.set_addresses(
                            domain, [msgspec.structs.replace(address, source="", gone=0) for address in mine], rows
                        )
                change.add(SyncRemoved, ("HDEL", keys.SYNCS, name), domain="", name=name, before=encode(sync))
                return number

            had = await self._directory.change(build, by=by, now=self._clock(), note=f"removes sync {name}")
            await self.memory.forget(name)
        return had

    # Runs

    async def preview(self, name: str, *, progress: Progress = silent) -> Outcome:
        """What a run would change now; nothing is. Raises SourceError, ConfigurationError, RefusedError."""
        sync, state, started = await self.memory.sync(name), await self.memory.state(name), self._clock()
        listing = await self._open(sync.source, self._allowed).fetch(progress=progress)
        assert isinstance(listing, Listing), "without a marker everything is read"
        await self._directory.refresh()
        difference = await self._compare(sync, state, listing.entries)
        problems, number = _problems(listing.problems, listing.problem_count, difference)
        return Outcome(
            run=state.run + 1,
            result=WAITING if difference.too_much(sync.limit) else UNCHANGED if difference.empty else APPLIED,
            words=difference.too_much(sync.limit),
            difference=difference,
            problems=problems,
            problem_count=number,
            catch_all=self._stricter(sync, listing.catch_all),
            took=self._clock() - started,
        )

    async def run(
        self, name: str, *, by: str, note: str = "", full: bool = False, progress: Progress = silent
    ) -> Outcome:
        """One run. `full`: read everything, whatever the source says has changed. Raises NotFoundError, RefusedError, StoreAwayError."""
        sync = await self.memory.sync(name)
        async with self.memory.running(name):
            now = self._clock()
            state = await self.memory.state(name)
            after = now + (sync.every or DAY)
            state = msgspec.structs.replace(state, run=state.run + 1, started=now, next=after)
            await self.memory.remember(name, state)
            fresh = not full and now - state.read < READ_ALL
            try:
                source = self._open(sync.source, self._allowed)
                found = await source.fetch(marker=state.marker if fresh else b"", progress=progress)
            except (SourceError, ConfigurationError, RefusedError) as error:
                return await self._failed(sync, state, error, by=by, note=note)
            if isinstance(found, Unchanged):
                outcome = Outcome(run=state.run, result=UNCHANGED, took=self._clock() - now)
                await self._record(sync, state, outcome, by=by, note=note)
                return outcome
            staged = Staged(
                run=state.run, at=now, entries=found.entries, words="", marker=found.marker, problems=found.problems,
                problem_count=found.problem_count, catch_all=found.catch_all,
            )  # fmt: skip
            return await self._take_over(sync, state, staged, by=by, note=note, approved=False)

    async def approve(self, name: str, *, by: str) -> Outcome:
        """Make what a staged run found happen. Raises NotFoundError, RefusedError when none waits."""
        sync = await self.memory.sync(name)
        async with self.memory.running(name):
            staged, state = await self._waiting(name)
            return await self._take_over(sync, state, staged, by=by, note=f"approves run {staged.run}", approved=True)

    async def reject(self, name: str, *, by: str) -> Outcome:
        """Forget what a staged run found. Raises NotFoundError, RefusedError when none waits."""
        sync = await self.memory.sync(name)
        async with self.memory.running(name):
            staged, state = await self._waiting(name)
            outcome = Outcome(run=staged.run, result=REJECTED, words=staged.words)
            await self._record(sync, state, outcome, by=by, note="")
            await self.memory.stage(name, None)
            return outcome

    async def end_graces(self, *, by: str) -> int:
        """Take away the addresses whose time of grace is over; how many."""
        number = 0
        for name in await self.memory.syncs():
            state = await self.memory.state(name)
            now = self._clock()

            async def build(change: Change, name: str = name, state: State = state, now: int = now) -> int:
                ended = 0
                for domain, rows in (await self._rows(state.domains)).items():
                    over = [row for row in rows.values() if row.source == name and row.gone and now >= row.gone]
                    ended += change.remove_addresses(domain, over)
                return ended

            number += await self._directory.change(build, by=by, now=now, note=f"the grace of sync {name} is over")
        return number

    # Inside

    async def _waiting(self, name: str) -> tuple[Staged, State]:
        staged = await self.memory.staged(name)
        if staged is None:
            raise RefusedError(f"no run of {name} waits for approval", remedy=f"See `gatepost sync history {name}`.")
        return staged, await self.memory.state(name)

    async def _rows(self, domains: Iterable[str]) -> dict[str, dict[str, Address]]:
        """The addresses of those of `domains` that are still here and have mailboxes of their own."""
        known = self._directory.domains()
        here = [name for name in domains if name in known and not known[name].alias_of]
        return {name: await self._directory.all_rows(name) for name in here}

    async def _compare(self, sync: Sync, state: State, entries: Sequence[Entry]) -> Difference:
        return (await self._compared(sync, state, entries))[0]

    async def _compared(
        self, sync: Sync, state: State, entries: Sequence[Entry]
    ) -> tuple[Difference, Mapping[str, Mapping[str, Address]]]:
        known = self._directory.domains()
        homes = {name: where.name for name in known if (where := home(known, name)) is not None}
        listed = {homes[name] for name in {entry.domain for entry in entries} if name in homes}
        rows = await self._rows(sorted({*state.domains, *listed}))
        return compare(sync, entries, rows, homes, self._clock()), rows

    async def _take_over(
        self, sync: Sync, state: State, staged: Staged, *, by: str, note: str, approved: bool
    ) -> Outcome:
        started = self._clock()

        async def build(change: Change) -> Outcome:
            difference, rows = await self._compared(sync, state, staged.entries)
            why = "" if approved else difference.too_much(sync.limit)
            if why:
                raise _TooMuchError(why, difference)
            for domain, part in difference:
                after = [*part.added, *(address for _, address in part.changed), *part.leaving]
                change.set_addresses(domain, after, rows.get(domain, {}))
                change.remove_addresses(domain, part.ended)
            outcome = self._outcome(sync, staged, UNCHANGED if difference.empty else APPLIED, difference, started)
            if _worth_writing(state, outcome):
                _write(change, sync, outcome)
            return outcome

        try:
            outcome = await self._directory.change(
                build, by=by, now=started, note=note or f"sync {sync.name}, run {staged.run}"
            )
        except _TooMuchError as too_much:
            return await self._put_aside(sync, state, staged, too_much, by=by, note=note)
        assert outcome.difference is not None
        touched = tuple(domain for domain, part in outcome.difference if part.owns)
        state = msgspec.structs.replace(state, marker=staged.marker, read=staged.at, domains=touched)
        await self.memory.remember(sync.name, _after(state, outcome, self._clock()))
        await self.memory.stage(sync.name, None)
        return outcome

    async def _put_aside(
        self, sync: Sync, state: State, staged: Staged, too_much: _TooMuchError, *, by: str, note: str
    ) -> Outcome:
        """Somebody has to look at it first."""
        difference = too_much.difference
        waiting = msgspec.structs.replace(staged, words=too_much.why, removed=difference.removed)
        await self.memory.stage(sync.name, waiting)
        outcome = self._outcome(sync, staged, WAITING, difference, staged.at, too_much.why)
        await self._record(sync, state, outcome, by=by, note=note)
        return outcome

    async def _failed(self, sync: Sync, state: State, error: GatepostError, *, by: str, note: str) -> Outcome:
        words = f"{error}. {error.remedy}" if error.remedy else str(error)
        if isinstance(error, SourceError) and error.temporary:
            state = msgspec.structs.replace(state, next=min(state.next, self._clock() + RETRY))
        outcome = Outcome(run=state.run, result=FAILED, words=words, took=self._clock() - state.started)
        await self._record(sync, state, outcome, by=by, note=note)
        return outcome

    def _stricter(self, sync: Sync, catch_all: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Of the domains that accept everybody at the source those that are here, and do not."""
        known = self._directory.domains()
        found = []
        for name, target in catch_all:
            where = home(known, name)
            if where is not None and not where.catch_all and (not sync.domains or name in sync.domains):
                found.append((where.name, target))
        return tuple(dict.fromkeys(found))

    def _outcome(
        self, sync: Sync, staged: Staged, result: str, difference: Difference, started: int, words: str = ""
    ) -> Outcome:
        problems, number = _problems(staged.problems, staged.problem_count, difference)
        return Outcome(
            run=staged.run, result=result, words=words, difference=difference, problems=problems, problem_count=number,
            catch_all=self._stricter(sync, staged.catch_all), took=self._clock() - started,
        )  # fmt: skip

    async def _record(self, sync: Sync, state: State, outcome: Outcome, *, by: str, note: str) -> None:
        """A run that changed no address."""

        async def build(change: Change) -> None:
            if _worth_writing(state, outcome):
                _write(change, sync, outcome)

        await self._directory.change(build, by=by, now=self._clock(), note=note)
        await self.memory.remember(sync.name, _after(state, outcome, self._clock()))


def _after(state: State, outcome: Outcome, now: int) -> State:
    failures = state.failures + 1 if outcome.result == FAILED else 0
    return msgspec.structs.replace(state, ended=now, result=outcome.result, words=outcome.words, failures=failures)


def _worth_writing(state: State, outcome: Outcome) -> bool:
    """Whether a run says something new. A source that is down for a week is one event."""
    return outcome.result in (APPLIED, REJECTED) or (outcome.result, outcome.words) != (state.result, state.words)


def _write(change: Change, sync: Sync, outcome: Outcome) -> None:
    difference = outcome.difference
    words = (outcome.words,) if outcome.words else ()
    change.add(
        SyncRan,
        domain="",
        name=sync.name,
        run=outcome.run,
        result=outcome.result,
        found=difference.found if difference is not None else 0,
        added=difference.added if difference is not None else 0,
        changed=difference.changed if difference is not None else 0,
        removed=difference.removed if difference is not None else 0,
        problems=(*words, *outcome.problems)[:100],
        problem_count=outcome.problem_count + len(words),
        took=outcome.took,
    )


def _problems(problems: Sequence[str], number: int, difference: Difference) -> tuple[tuple[str, ...], int]:
    """Those of the source, and domains that are none of ours."""
    foreign = [
        f"{domain} is not a domain that this sync is for: {count:,} addresses passed over"
        for domain, count in difference.foreign.most_common(FOREIGN_NAMED)
    ]
    if len(difference.foreign) > FOREIGN_NAMED:
        foreign.append(f"and {len(difference.foreign) - FOREIGN_NAMED:,} more domains")
    return (*foreign, *problems), number + len(foreign)
