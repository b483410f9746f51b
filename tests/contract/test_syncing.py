"""Runs of syncs, on fakeredis and on a real server: with lists in files as sources, which change, break and vanish."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline.directory import Address, Directory, Domain
from pipeline.directory import history as past
from pipeline.events import SyncRan, SyncRemoved, SyncSet
from pipeline.faults import ConfigurationError, NotFoundError, RefusedError
from pipeline.log import Log
from pipeline.sources.definitions import CsvSource
from pipeline.sources.faults import MissingError, UnreachableError
from pipeline.sources.model import Entry, Listing, Unchanged
from pipeline.store import Store
from pipeline.syncing.model import DAY, Sync
from pipeline.syncing.runs import Syncing

START = 1_795_000_000_000_000_000
HOUR = 3600 * 1_000_000_000


class Office:
    """A directory, and a sync of a list in a file."""

    def __init__(self, store: Store, file) -> None:
        self.store = store
        self.file = file
        self.now = START
        self.directory = Directory(store, Log(store.redis), clock=lambda: self.now)
        self.syncing = Syncing(store, self.directory, (), clock=lambda: self.now)

    async def open(self, *names: str, **terms: object) -> None:
        await self.directory.set_domain(Domain(name="a.test", route=("mx.a.test:25",)), by="test", now=self.now)
        self.lists(*names)
        await self.syncing.set(self.sync(**terms), by="test")

    def sync(self, **terms: object) -> Sync:
        return Sync(**{"name": "office", "source": CsvSource(path=str(self.file)), "every": HOUR, **terms})

    def lists(self, *names: str) -> None:
        self.file.write_text("".join(f"{name}@a.test\n" for name in names))

    async def run(self, **how: object):
        return await self.syncing.run("office", by="sync:office", **how)

    async def rows(self) -> dict[str, Address]:
        return await self.directory.all_rows("a.test")

    async def in_force(self) -> list[str]:
        return sorted(key for key, row in (await self.rows()).items() if not row.gone)

    async def events(self) -> list[SyncRan]:
        return [event async for one in past.changes(self.store) for event in one.events if isinstance(event, SyncRan)]


@pytest.fixture
def office(store, tmp_path) -> Office:
    return Office(store, tmp_path / "list.csv")


MANY = [f"u{number}" for number in range(50)]


async def test_a_run_brings_what_is_listed_in_one_change_that_says_so(office):
    await office.open("anna", "ben")
    outcome = await office.run(note="on schedule")
    assert (outcome.run, outcome.result, outcome.difference.added) == (1, "applied", 2)
    assert await office.rows() == {name: Address(local=name, source="office") for name in ("anna", "ben")}
    newest = await anext(past.changes(office.store))
    assert [type(event).__name__ for event in newest.events] == ["AddressesSet", "SyncRan"]
    assert (newest.by, newest.note, newest.events[-1].added) == ("sync:office", "on schedule", 2)
    state = await office.syncing.memory.state("office")
    assert (state.result, state.next, state.domains) == ("applied", START + HOUR, ("a.test",))


async def test_what_is_gone_is_accepted_for_the_grace_and_then_taken_away(office):
    await office.open(*MANY)
    await office.run()
    office.lists(*MANY[1:])
    assert (await office.run()).result == "applied"
    assert (await office.rows())["u0"].gone == START + 7 * DAY
    assert await office.directory.accepts("u0", Domain(name="a.test"))
    assert await office.syncing.end_graces(by="syncer") == 0
    office.now += 7 * DAY
    assert not await office.directory.accepts("u0", Domain(name="a.test"))
    assert await office.syncing.end_graces(by="syncer") == 1
    assert sorted(await office.rows()) == sorted(MANY[1:])


async def test_what_comes_back_within_the_grace_is_as_before(office):
    await office.open(*MANY)
    await office.run()
    before = await office.rows()
    office.lists(*MANY[1:])
    await office.run()
    office.lists(*MANY)
    await office.run()
    assert await office.rows() == before


async def test_a_run_that_would_take_away_too_much_changes_nothing_until_it_is_approved(office):
    await office.open(*MANY)
    await office.run()
    office.lists(*MANY[10:], "new")
    outcome = await office.run()
    assert outcome.result == "waiting for approval"
    assert outcome.words == "it would take away 10 of 50 addresses, more than 10 %"
    assert await office.in_force() == sorted(MANY)
    staged = await office.syncing.memory.staged("office")
    assert (staged.run, staged.removed) == (2, 10)
    office.file.unlink()
    assert (await office.syncing.approve("office", by="cli:root")).result == "applied"
    assert await office.in_force() == sorted([*MANY[10:], "new"])
    assert await office.syncing.memory.staged("office") is None
    with pytest.raises(RefusedError, match="no run of office waits"):
        await office.syncing.approve("office", by="cli:root")


async def test_a_run_that_is_rejected_is_forgotten_and_one_that_is_harmless_again_takes_its_place(office):
    await office.open(*MANY)
    await office.run()
    office.lists("u0")
    await office.run()
    assert (await office.syncing.reject("office", by="cli:root")).result == "rejected"
    assert await office.in_force() == sorted(MANY)
    await office.run()
    office.lists(*MANY, "new")
    assert (await office.run()).result == "applied"
    assert await office.syncing.memory.staged("office") is None
    assert [event.result for event in await office.events()] == [
        "applied", "waiting for approval", "rejected", "waiting for approval", "applied",
    ]  # fmt: skip


@pytest.mark.parametrize("content", [None, "", "no address\nneither\n", "\xff\xfe"])
async def test_a_run_that_fails_changes_nothing_and_says_why(office, content):
    await office.open(*MANY)
    await office.run()
    if content is None:
        office.file.unlink()
    else:
        office.file.write_text(content, "latin-1")
    before = await office.rows()
    outcome = await office.run()
    assert outcome.result == "failed"
    assert outcome.words
    assert await office.rows() == before
    state = await office.syncing.memory.state("office")
    assert (state.failures, state.result, state.words) == (1, "failed", outcome.words)


async def test_a_source_that_is_down_for_long_is_one_event_and_its_return_another(office):
    await office.open("anna")
    await office.run()
    office.file.unlink()
    for _ in range(5):
        await office.run()
    assert (await office.syncing.memory.state("office")).failures == 5
    office.lists("anna", "ben")
    await office.run()
    assert [event.result for event in await office.events()] == ["applied", "failed", "applied"]
    assert (await office.syncing.memory.state("office")).failures == 0


async def test_what_was_entered_by_hand_is_never_removed_by_a_sync(office):
    await office.open(*MANY)
    await office.directory.set_addresses(
        {"a.test": [Address(local="hand"), Address(local="u0")]}, by="test", now=office.now
    )
    await office.run()
    office.lists(*MANY[1:])
    outcome = await office.run()
    assert outcome.difference.removed == 0
    assert (await office.rows())["u0"] == Address(local="u0")
    assert (await office.rows())["hand"] == Address(local="hand")


async def test_an_address_that_somebody_removed_by_hand_comes_back_when_everything_is_read_again(office):
    await office.open("anna", "ben")
    await office.run()
    await office.directory.remove_addresses({"a.test": ["anna"]}, by="test", now=office.now)
    await office.run(full=True)
    assert await office.in_force() == ["anna", "ben"]


async def test_a_change_that_meets_a_run_is_taken_into_account(office):
    """Somebody enters an address by hand between the reading and the change: it is theirs, and stays as they entered it."""
    await office.open("anna", "ben")
    normal = office.directory.change
    met = False

    async def change(build, **how):
        async def late(change):
            nonlocal met
            result = await build(change)
            if not met:
                met = True
                await Directory(office.store, Log(office.store.redis)).set_addresses(
                    {"a.test": [Address(local="anna")]}, by="eve", now=office.now
                )
            return result

        return await normal(late, **how)

    office.directory.change = change
    outcome = await office.run()
    assert outcome.difference.added == 1
    assert await office.rows() == {"anna": Address(local="anna"), "ben": Address(local="ben", source="office")}


async def test_a_preview_changes_nothing_at_all(office):
    await office.open("anna")
    before = [one.number async for one in past.changes(office.store)]
    outcome = await office.syncing.preview("office")
    assert (outcome.result, outcome.difference.added) == ("applied", 1)
    assert [one.number async for one in past.changes(office.store)] == before
    assert await office.rows() == {}
    assert (await office.syncing.memory.state("office")).run == 0


async def test_a_second_run_at_the_same_time_is_refused(office):
    await office.open("anna")
    async with office.syncing.memory.running("office"):
        with pytest.raises(RefusedError, match="under way already"):
            await office.run()
    assert (await office.run()).result == "applied"


async def test_what_a_run_did_can_be_taken_back(office):
    await office.open(*MANY)
    await office.run()
    newest = await anext(past.changes(office.store))
    await past.revert(office.directory, office.store, newest.number, by="cli:root", now=office.now)
    assert await office.rows() == {}


async def test_a_sync_is_removed_with_its_addresses_or_leaves_them_behind(office):
    for addresses, left in ((False, {"anna": Address(local="anna")}), (True, {})):
        await office.open("anna")
        await office.run(full=True)
        if addresses:
            await office.directory.set_addresses(
                {"a.test": [Address(local="anna", source="office")]}, by="test", now=office.now
            )
            state = await office.syncing.memory.state("office")
            await office.syncing.memory.remember("office", msgspec.structs.replace(state, domains=("a.test",)))
        assert await office.syncing.remove("office", by="cli:root", addresses=addresses) == 1
        assert await office.rows() == left
        with pytest.raises(NotFoundError):
            await office.run()


async def test_setting_up_changing_and_removing_a_sync_are_changes_that_can_be_taken_back(office):
    await office.open("anna")
    await office.syncing.set(office.sync(limit=50), by="test")
    await office.syncing.remove("office", by="test", addresses=False)
    kinds = [type(one.events[-1]) async for one in past.changes(office.store)][:3]
    assert kinds == [SyncRemoved, SyncSet, SyncSet]
    numbers = [one.number async for one in past.changes(office.store)]
    await past.revert(office.directory, office.store, numbers[0], by="test", now=office.now)
    assert (await office.syncing.memory.sync("office")).limit == 50
    with pytest.raises(RefusedError, match="changed again"):
        await past.revert(office.directory, office.store, numbers[2], by="test", now=office.now)
    await past.revert(office.directory, office.store, numbers[1], by="test", now=office.now)
    assert (await office.syncing.memory.sync("office")).limit == 10


@pytest.mark.parametrize(
    "terms",
    [{"name": "Bad Name"}, {"limit": 101}, {"every": 1}, {"grace": -1}, {"source": CsvSource(path="relative.csv")}],
)
async def test_a_definition_that_cannot_be_is_refused(office, terms):
    with pytest.raises(ConfigurationError):
        await office.open("anna", **terms)


async def test_a_sync_for_a_domain_that_is_not_here_is_refused(office):
    with pytest.raises(NotFoundError, match=r"no domain b\.test"):
        await office.open("anna", domains=("b.test",))


# Sources that know whether they have changed


class Answers:
    """A source that gives the answers it was given, and remembers what it was asked with."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.markers: list[bytes] = []

    async def fetch(self, *, marker=b"", progress=None, limit=0):
        self.markers.append(marker)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def listing(*names: str, marker: bytes = b"") -> Listing:
    return Listing(entries=tuple(Entry(local=name, domain="a.test") for name in names), marker=marker)


async def test_a_marker_is_given_back_after_it_was_taken_over_and_everything_is_read_once_a_day(office, store):
    await office.open()
    source = Answers(
        listing("anna", marker=b"1"), Unchanged(marker=b"1"), UnreachableError("away"), listing("anna", marker=b"2"),
        Unchanged(marker=b"2"), listing("anna", marker=b"3"), listing("anna", marker=b"4"),
    )  # fmt: skip
    office.syncing = Syncing(store, office.directory, (), clock=lambda: office.now, opened=lambda *_: source)
    results = [(await office.run()).result for _ in range(4)]
    assert results == ["applied", "unchanged", "failed", "unchanged"]
    office.now += DAY - 1
    await office.run()
    office.now += 1
    await office.run()
    await office.run(full=True)
    assert source.markers == [b"", b"1", b"1", b"1", b"2", b"", b""]


async def test_the_marker_of_a_run_that_waits_is_not_taken_over(office, store):
    await office.open()
    source = Answers(listing(*MANY, marker=b"1"), listing("u0", marker=b"2"), listing("u0", marker=b"2"))
    office.syncing = Syncing(store, office.directory, (), clock=lambda: office.now, opened=lambda *_: source)
    for _ in range(3):
        await office.run()
    assert source.markers == [b"", b"1", b"1"]
    await office.syncing.approve("office", by="cli:root")
    assert (await office.syncing.memory.state("office")).marker == b"2"


async def test_trouble_that_may_pass_is_tried_again_soon_and_other_trouble_at_its_turn(office, store):
    await office.open(every=DAY)
    source = Answers(UnreachableError("away"), MissingError("no such base", remedy="Check base."))
    office.syncing = Syncing(store, office.directory, (), clock=lambda: office.now, opened=lambda *_: source)
    assert (await office.run()).words == "away"
    assert (await office.syncing.memory.state("office")).next == START + 900 * 1_000_000_000
    assert (await office.run()).words == "no such base. Check base."
    assert (await office.syncing.memory.state("office")).next == START + DAY


async def test_a_run_that_is_cut_off_has_changed_nothing_and_leaves_the_way_free(office, store):
    await office.open("anna")
    reached = asyncio.Event()

    class Stalled:
        async def fetch(self, **_how):
            reached.set()
            await asyncio.Event().wait()

    stalled = Syncing(store, office.directory, (), clock=lambda: office.now, opened=lambda *_: Stalled())
    task = asyncio.create_task(stalled.run("office", by="test"))
    await reached.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await office.rows() == {}
    assert (await office.run()).result == "applied"


async def test_a_domain_that_accepts_everybody_at_its_source_is_named_and_left_as_it_is(office):
    listing = Listing(
        entries=(Entry(local="anna", domain="a.test"),),
        catch_all=(("a.test", "anna"), ("b.test", "ben"), ("alias.test", "anna"), ("strange.test", "x")),
    )

    class Source:
        async def fetch(self, **_: object) -> Listing:
            return listing

    await office.open()
    await office.directory.set_domain(Domain(name="alias.test", alias_of="a.test"), by="test", now=office.now)
    await office.directory.set_domain(
        Domain(name="b.test", route=("mx:25",), catch_all=True), by="test", now=office.now
    )
    office.syncing._open = lambda *_: Source()
    assert (await office.syncing.preview("office")).catch_all == (("a.test", "anna"),)
    assert (await office.run()).catch_all == (("a.test", "anna"),)
    assert not office.directory.domains()["a.test"].catch_all
    await office.directory.update_domain(
        "a.test", lambda domain: msgspec.structs.replace(domain, catch_all=True), by="test", now=office.now
    )
    assert (await office.run()).catch_all == ()
