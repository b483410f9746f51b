"""The directory, on fakeredis and on a real server: what changes, what readers see, what can be taken back."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from pipeline import keys
from pipeline.directory import Address, Directory, Domain, Kind
from pipeline.directory import history as past
from pipeline.directory.change import CHUNK
from pipeline.events import AddressesRemoved, AddressesSet, DomainRemoved, DomainSet
from pipeline.faults import ConflictError, NotFoundError, RefusedError
from pipeline.log import Log
from pipeline.steps import directory_step
from pipeline.store import Store

ROUTE = ("mx.example.test:25",)
A = Domain(name="a.test", route=ROUTE)
NOW = 1_795_000_000_000_000_000
BY = {"by": "test", "now": NOW}


@pytest.fixture
def directory(store: Store, log: Log) -> Directory:
    return Directory(store, log, clock=lambda: NOW)


@pytest.fixture
def other(store: Store) -> Directory:
    """As another process has it."""
    return Directory(store, Log(store.redis), clock=lambda: NOW)


def people(*locals_: str, **fields: object) -> list[Address]:
    return [Address(local=local, **fields) for local in locals_]


async def listed(directory: Directory, domain: str = "a.test") -> list[str]:
    return sorted([address.local async for address in directory.addresses(domain)])


async def numbers(store: Store) -> list[tuple[int, list[str]]]:
    return [(one.number, [type(event).__name__ for event in one.events]) async for one in past.changes(store)]


async def test_a_domain_and_an_address_work_in_another_process_from_the_moment_they_were_added(directory, other):
    await other.refresh()
    await directory.set_domain(A, **BY)
    assert await other.find_home("a.test") == A
    await directory.set_addresses({"a.test": people("Anna")}, **BY)
    assert await other.accepts("anna", A)
    assert not await other.accepts("ben", A)


async def test_what_was_removed_is_refused_from_the_next_look_on(directory, other):
    await directory.set_domain(A, **BY)
    await directory.set_addresses({"a.test": people("anna", "ben")}, **BY)
    await other.refresh()
    assert await other.accepts("anna", A)
    await directory.remove_addresses({"a.test": ["ANNA"]}, **BY)
    assert await other.refresh()
    assert not await other.accepts("anna", A)
    await directory.remove_domain("a.test", **BY)
    assert await other.refresh()
    assert other.home("a.test") is None
    assert not await other.accepts("ben", A)
    assert not await other.refresh()


async def test_who_asks_at_the_same_time_shares_a_look_that_began_afterwards(directory, other, monkeypatch):
    await other.refresh()
    await directory.set_domain(A, **BY)
    look, looks = other._look, []

    async def counted():
        looks.append(1)
        await look()

    monkeypatch.setattr(other, "_look", counted)
    assert await asyncio.gather(*(other.refresh() for _ in range(20))) == [True] * 20
    assert len(looks) == 2
    assert not await other.refresh()


async def test_a_reader_that_keeps_up_has_what_one_that_loads_everything_has(directory, other, store):
    turn = count()
    for number in range(30):
        await directory.set_domain(Domain(name=f"d{number % 7}.test", route=ROUTE, created_at=next(turn)), **BY)
        if number % 5 == 0:
            await other.refresh()
        if number % 11 == 10:
            await directory.remove_domain(f"d{number % 7}.test", **BY)
    await other.refresh()
    fresh = Directory(store, Log(store.redis))
    await fresh.refresh()
    assert other.domains() == fresh.domains() == directory.domains()


async def test_a_log_that_cannot_be_read_on_is_no_reason_to_be_behind(directory, other, store):
    await directory.set_domain(A, **BY)
    await other.refresh()
    await store.redis.xadd(keys.DIRECTORY_LOG, {"s": "@directory", "v": "2", "e": b"damaged"})
    await store.redis.hset(keys.DIRECTORY_HEAD, "v", 2)
    await directory.set_domain(Domain(name="b.test", route=ROUTE), **BY)
    await other.refresh()
    assert set(other.domains()) == {"a.test", "b.test"}


async def test_a_detail_behind_the_name_is_accepted_where_the_domain_says_so(directory):
    plus = Domain(name="a.test", route=ROUTE, delimiter="+")
    await directory.set_domain(plus, **BY)
    await directory.set_addresses({"a.test": people("anna", "with+plus")}, **BY)
    for key, expected in {
        "anna+shop": True, "anna+": True, "anna+a+b": True, "with+plus": True, "ben+anna": False, "+anna": False, "+": False,
    }.items():  # fmt: skip
        assert await directory.accepts(key, plus) is expected, key
        assert await directory.accepts(key, A) is (key == "with+plus"), key


async def test_an_address_in_its_time_of_grace_is_accepted_until_that_ends(store, log):
    now = NOW
    directory = Directory(store, log, clock=lambda: now)
    await directory.set_domain(A, **BY)
    await directory.set_addresses({"a.test": people("anna", gone=NOW + 100)}, **BY)
    assert await directory.accepts("anna", A)
    now += 100
    assert not await directory.accepts("anna", A)


async def test_a_change_of_any_size_is_one_step(directory, store):
    await directory.set_domain(A, **BY)
    many = people(*(f"user{number}" for number in range(3 * CHUNK + 1)))
    assert await directory.set_addresses({"a.test": many}, **BY) == {"a.test": len(many)}
    assert await directory.count_addresses("a.test") == len(many)
    assert await directory.set_addresses({"a.test": many}, **BY) == {"a.test": 0}
    assert (await numbers(store))[0] == (2, ["AddressesSet"] * 4)


async def test_adding_leaves_what_is_listed_as_it_is_and_setting_changes_it(directory):
    await directory.set_domain(A, **BY)
    await directory.set_addresses({"a.test": people("anna", kind=Kind.GROUP)}, **BY)
    assert await directory.set_addresses({"a.test": people("ANNA", "ben")}, add=True, **BY) == {"a.test": 1}
    assert (await directory.rows("a.test", ["anna"]))["anna"].kind is Kind.GROUP
    assert await directory.set_addresses({"a.test": people("ANNA")}, **BY) == {"a.test": 1}
    assert (await directory.rows("a.test", ["anna"]))["anna"] == Address(local="ANNA")


async def test_nothing_is_done_when_one_of_several_domains_is_not_there(directory):
    await directory.set_domain(A, **BY)
    with pytest.raises(NotFoundError, match=r"no domain b\.test"):
        await directory.set_addresses({"a.test": people("anna"), "b.test": people("ben")}, **BY)
    assert await listed(directory) == []


async def test_an_alias_has_no_addresses_of_its_own(directory):
    await directory.set_domain(A, **BY)
    await directory.set_domain(Domain(name="alias.test", alias_of="a.test"), **BY)
    with pytest.raises(RefusedError, match=r"alias\.test is an alias of a\.test"):
        await directory.set_addresses({"alias.test": people("anna")}, **BY)


async def test_of_two_administrators_at_once_the_second_ones_change_is_made_on_top_of_the_first_ones(directory, other):
    await directory.set_domain(A, **BY)
    await other.refresh()
    raced = 0

    async def build(change):
        nonlocal raced
        raced += 1
        if raced == 1:
            await directory.set_domain(Domain(name="a.test", route=ROUTE, catch_all=True), **BY)
        domain = change.domains["a.test"]
        change.set_domain(Domain(name="a.test", route=("other.test:25",), catch_all=domain.catch_all))

    await other.change(build, **BY)
    assert raced == 2
    await directory.refresh()
    assert directory.domain("a.test") == Domain(name="a.test", route=("other.test:25",), catch_all=True)


async def test_who_is_always_too_late_is_told(directory, other):
    await directory.set_domain(A, **BY)
    turn = count()

    async def build(change):
        await directory.set_domain(Domain(name="a.test", route=(f"r{next(turn)}.test:25",)), **BY)
        change.set_domain(Domain(name="b.test", route=ROUTE))

    with pytest.raises(ConflictError):
        await other.change(build, **BY)


async def test_a_hold_is_on_the_domain_that_has_the_mailboxes_and_only_once(directory):
    await directory.set_domain(A, **BY)
    await directory.set_domain(Domain(name="alias.test", alias_of="a.test"), **BY)
    assert await directory.hold("alias.test", "a loop", **BY)
    assert not await directory.hold("a.test", "another reason", **BY)
    held = directory.domain("a.test")
    assert held.hold is not None
    assert held.hold.reason == "a loop"
    assert (await directory.resume("a.test", **BY)).reason == "a loop"
    assert directory.domain("a.test") == A
    assert await directory.resume("alias.test", **BY) is None


async def test_every_change_is_in_the_history_with_what_was_before_and_after(directory, store):
    await directory.set_domain(A, by="cli:eve", now=NOW, note="a reason")
    await directory.set_addresses({"a.test": people("anna")}, **BY)
    await directory.set_addresses({"a.test": people("anna", kind=Kind.ALIAS)}, **BY)
    await directory.remove_domain("a.test", **BY)
    found = [one async for one in past.changes(store)]
    assert [(one.number, [type(event) for event in one.events]) for one in found] == [
        (4, [AddressesRemoved, DomainRemoved]),
        (3, [AddressesSet]),
        (2, [AddressesSet]),
        (1, [DomainSet]),
    ]
    assert (found[-1].by, found[-1].note, found[-1].at) == ("cli:eve", "a reason", NOW)
    assert [one.number async for one in past.changes(store, before=3)] == [2, 1]


async def test_each_change_can_be_taken_back_and_the_taking_back_too(directory, store):
    """What a change did is gone afterwards, and there again after that, whatever kind of change it was."""
    await directory.set_domain(A, **BY)
    await directory.set_addresses({"a.test": people("anna", "ben")}, **BY)

    async def state():
        await directory.refresh()
        return dict(directory.domains()), await listed(directory), await directory.rows("a.test", ["anna"])

    changes = [
        lambda: directory.set_domain(Domain(name="b.test", route=ROUTE), **BY),
        lambda: directory.set_domain(Domain(name="a.test", route=ROUTE, catch_all=True), **BY),
        lambda: directory.hold("a.test", "reason", **BY),
        lambda: directory.set_addresses({"a.test": people("cleo") + people("anna", kind=Kind.GROUP)}, **BY),
        lambda: directory.remove_addresses({"a.test": ["anna", "nobody"]}, **BY),
        lambda: directory.remove_domain("a.test", **BY),
    ]
    for make in changes:
        before = await state()
        await make()
        after = await state()
        assert after != before
        (number, _), *_ = await numbers(store)
        await past.revert(directory, store, number, **BY)
        assert await state() == before
        (number, _), *_ = await numbers(store)
        await past.revert(directory, store, number, **BY)
        assert await state() == after
        (number, _), *_ = await numbers(store)
        await past.revert(directory, store, number, **BY)
        assert await state() == before


async def test_what_was_changed_again_is_not_taken_back(directory, store):
    await directory.set_domain(A, **BY)
    await directory.set_addresses({"a.test": people("anna")}, **BY)
    await directory.set_domain(Domain(name="a.test", route=("new.test:25",)), **BY)
    await directory.set_addresses({"a.test": people("anna", kind=Kind.GROUP)}, **BY)
    for number, words in {
        1: "a.test was changed again",
        2: "anna@a.test was changed again",
    }.items():
        with pytest.raises(RefusedError, match=words):
            await past.revert(directory, store, number, **BY)
    await directory.remove_addresses({"a.test": ["anna"]}, **BY)
    await directory.set_addresses({"a.test": people("anna")}, **BY)
    with pytest.raises(RefusedError, match=r"anna@a\.test was added again"):
        await past.revert(directory, store, 5, **BY)
    with pytest.raises(NotFoundError, match="no change 99"):
        await past.revert(directory, store, 99, **BY)


async def test_the_addition_of_a_domain_that_has_addresses_by_now_is_not_taken_back(directory, store):
    await directory.set_domain(A, **BY)
    await directory.set_addresses({"a.test": people("anna")}, **BY)
    with pytest.raises(RefusedError, match="has addresses by now"):
        await past.revert(directory, store, 1, **BY)


async def test_a_change_from_a_release_that_kept_less_is_shown_and_not_taken_back(directory, store, log):
    await directory.set_domain(A, **BY)
    old = AddressesSet(at=NOW, domain="a.test", by="cli:root", locals=("anna",))
    await log.commit(directory_step(1, [old], []))
    assert (await numbers(store))[0] == (2, ["AddressesSet"])
    with pytest.raises(RefusedError, match="did not keep"):
        await past.revert(directory, store, 2, **BY)


async def test_internationalised_mail_is_taken_for_servers_that_are_known_to_take_it(directory):
    one, two = "mx1.a.test:25", "mx2.a.test:25"
    both = Domain(name="a.test", route=(one, two))
    assert not await directory.takes_smtputf8(both)
    await directory.note_smtputf8(one, offered=True)
    assert await directory.takes_smtputf8(both)
    await directory.note_smtputf8(two, offered=False)
    assert not await directory.takes_smtputf8(both)
    assert await directory.takes_smtputf8(Domain(name="a.test", route=(one,)))
    assert not await directory.takes_smtputf8(Domain(name="a.test", route=(one,), smtputf8="no"))
    assert await directory.takes_smtputf8(Domain(name="a.test", route=(two,), smtputf8="yes"))
    assert not await directory.takes_smtputf8(Domain(name="a.test"))


async def test_a_held_server_is_known_to_who_follows_and_to_who_starts_and_is_held_once(store, log):
    first, second = Directory(store, log), Directory(store, Log(store.redis))
    await second.refresh()
    results = await asyncio.gather(
        *(one.hold_server("a.test:25", f"by {n}", by=str(n), now=5, until=9) for n, one in enumerate((first, second)))
    )
    assert sorted(results) == [False, True]
    await second.refresh()
    late = Directory(store, log)
    await late.refresh()
    assert first.held_servers() == second.held_servers() == late.held_servers()
    hold = late.server_hold("a.test:25")
    assert (hold.since, hold.until, hold.holds(8), hold.holds(9)) == (5, 9, True, False)
    assert await late.hold_server("a.test:25", "again", by="x", now=10)
    before = await second.resume_server("a.test:25", by="x", now=11)
    assert before.reason == "again"
    assert await second.resume_server("a.test:25", by="x", now=12) is None
    await late.refresh()
    assert (late.held_servers(), dict(second.held_servers())) == ({}, {})


async def test_a_server_s_hold_is_taken_back_unless_it_was_changed_since(store, log):
    directory = Directory(store, log)
    await directory.hold_server("a.test:25", "x", by="one", now=1)
    await past.revert(directory, store, 1, by="two", now=2)
    assert directory.server_hold("a.test:25") is None
    await past.revert(directory, store, 2, by="two", now=3)
    assert directory.server_hold("a.test:25").by == "one"
    with pytest.raises(RefusedError):
        await past.revert(directory, store, 2, by="two", now=4)
