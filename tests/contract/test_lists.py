"""Allow and block lists in the directory, on fakeredis and on a real server."""

from __future__ import annotations

import pytest

from pipeline.directory import Directory, Domain
from pipeline.directory import history as past
from pipeline.directory.change import CHUNK
from pipeline.directory.lists import changes as list_changes
from pipeline.directory.lists.changes import Listed, Lists
from pipeline.directory.lists.entries import ALLOW, BLOCK, EMPTY, MAX_PATTERNS, parse
from pipeline.events import RulesRemoved, RulesSet
from pipeline.faults import NotFoundError, RefusedError
from pipeline.log import Log
from pipeline.store import Store

ROUTE = ("mx.example.test:25",)
NOW = 1_795_000_000_000_000_000
BY = {"by": "test", "now": NOW}


@pytest.fixture
async def directory(store: Store, log: Log) -> Directory:
    made = Directory(store, log, clock=lambda: NOW)
    await made.set_domain(Domain(name="a.test", route=ROUTE), **BY)
    return made


async def entries(store: Store, domain: str = "a.test") -> dict[str, str]:
    return {key: rule.action for key, rule in (await Lists(store, domain).all_rules()).items()}


async def newest(store: Store) -> past.Past:
    return await anext(past.changes(store))


async def test_an_entry_is_added_changed_and_removed_and_the_counts_say_so(directory, store):
    assert await directory.set_rules("a.test", [parse("x.example", ALLOW)], **BY) == Listed(added=1)
    assert await directory.set_rules("a.test", [parse("X.example", ALLOW)], **BY) == Listed(unchanged=1)
    assert await directory.set_rules("a.test", [parse("x.example", BLOCK)], **BY) == Listed(changed=1)
    assert await entries(store) == {"d:x.example": BLOCK}
    (rule,) = (await Lists(store, "a.test").all_rules()).values()
    assert (rule.by, rule.at) == ("test", NOW)
    assert await directory.remove_rules("a.test", ["d:x.example", "d:y.example"], **BY) == 1
    assert await entries(store) == {}
    assert await Lists(store, "a.test").summaries([""]) == {"": EMPTY}


async def test_the_lists_of_operator_domain_and_person_are_apart(directory, store):
    await directory.set_rules("", [parse("x.example", BLOCK)], **BY)
    await directory.set_rules("a.test", [parse("x.example", ALLOW), parse("x.example", BLOCK, person="anna")], **BY)
    assert await entries(store, "") == {"d:x.example": BLOCK}
    assert await entries(store) == {"d:x.example": ALLOW, "d:x.example\tanna": BLOCK}
    summaries = await Lists(store, "a.test").summaries(["", "anna", "ben"])
    assert [summaries[person].entries for person in ("", "anna", "ben")] == [1, 1, 0]


async def test_replacing_leaves_what_others_have(directory, store):
    await directory.set_rules(
        "a.test",
        [parse("x.example", ALLOW), parse("192.0.2.0/24", BLOCK), parse("y.example", BLOCK, person="anna")],
        **BY,
    )
    done = await directory.set_rules("a.test", [parse("x.example", ALLOW), parse("z.example", BLOCK)], replace="", **BY)
    assert done == Listed(added=1, unchanged=1, removed=1)
    assert set(await entries(store)) == {"d:x.example", "d:z.example", "d:y.example\tanna"}
    summary = (await Lists(store, "a.test").summaries([""]))[""]
    assert (summary.entries, summary.v4) == (2, {})


async def test_a_change_of_lists_is_taken_back_as_a_whole(directory, store):
    await directory.set_rules("a.test", [parse("x.example", ALLOW), parse("*@*.w.example", BLOCK)], **BY)
    before = await entries(store)
    summaries = await Lists(store, "a.test").summaries([""])
    await directory.set_rules("a.test", [parse("x.example", BLOCK), parse("new.example", BLOCK)], replace="", **BY)
    number = (await newest(store)).number
    await past.revert(directory, store, number, **BY)
    assert await entries(store) == before
    assert await Lists(store, "a.test").summaries([""]) == summaries


async def test_a_change_is_not_taken_back_when_its_entry_was_changed_since(directory, store):
    await directory.set_rules("a.test", [parse("x.example", ALLOW)], **BY)
    number = (await newest(store)).number
    await directory.set_rules("a.test", [parse("x.example", BLOCK)], **BY)
    with pytest.raises(RefusedError, match=r"x\.example was changed again"):
        await past.revert(directory, store, number, **BY)


async def test_the_lists_of_a_domain_go_with_it_and_come_back_with_it(directory, store):
    await directory.set_rules("a.test", [parse("x.example", ALLOW), parse("y.example", BLOCK, person="anna")], **BY)
    before = await entries(store)
    await directory.remove_domain("a.test", **BY)
    assert await entries(store) == {}
    number = (await newest(store)).number
    await past.revert(directory, store, number, **BY)
    assert await entries(store) == before


async def test_many_entries_are_one_change_in_pieces(directory, store):
    many = [parse(f"x{number}.example", BLOCK) for number in range(2 * CHUNK + 5)]
    assert (await directory.set_rules("a.test", many, **BY)).added == len(many)
    change = await newest(store)
    assert [len(event.rules) for event in change.events] == [CHUNK, CHUNK, 5]
    assert all(isinstance(event, RulesSet) for event in change.events)
    assert (await Lists(store, "a.test").summaries([""]))[""].entries == len(many)


async def test_there_are_no_lists_of_a_domain_that_is_not_there_or_is_an_alias(directory):
    with pytest.raises(NotFoundError):
        await directory.set_rules("b.test", [parse("x.example", ALLOW)], **BY)
    await directory.set_domain(Domain(name="c.test", alias_of="a.test"), **BY)
    with pytest.raises(RefusedError, match="alias"):
        await directory.set_rules("c.test", [parse("x.example", ALLOW)], **BY)


async def test_a_list_holds_so_many_patterns_and_no_more(directory, store):
    patterns = [parse(f"a{number}*@x.example", BLOCK) for number in range(MAX_PATTERNS + 1)]
    with pytest.raises(RefusedError, match="patterns"):
        await directory.set_rules("a.test", patterns, **BY)
    assert await entries(store) == {}


async def test_the_lists_of_a_domain_go_with_its_addresses_into_another_one_and_come_back(directory, store):
    await directory.set_domain(Domain(name="b.test", route=ROUTE), **BY)
    await directory.set_rules("a.test", [parse("x.example", ALLOW), parse("y.example", BLOCK, person="anna")], **BY)
    await directory.set_rules("b.test", [parse("x.example", BLOCK)], **BY)
    before = await entries(store), await entries(store, "b.test")

    async def build(change):
        return await list_changes.move(change, store, "a.test", "b.test")

    assert await directory.change(build, **BY) == 1
    assert (await entries(store), await entries(store, "b.test")) == (
        {}, {"d:x.example": BLOCK, "d:y.example\tanna": BLOCK},
    )  # fmt: skip
    await past.revert(directory, store, (await newest(store)).number, **BY)
    assert (await entries(store), await entries(store, "b.test")) == before


async def test_removing_is_an_event_with_what_was_there(directory, store):
    await directory.set_rules("", [parse("x.example", ALLOW, note="partner")], **BY)
    await directory.remove_rules("", ["d:x.example"], **BY)
    (event,) = (await newest(store)).events
    assert isinstance(event, RulesRemoved)
    assert (event.domain, event.rules) == ("", ("d:x.example",))
