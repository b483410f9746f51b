"""What holds for each recipient, out of the directory: on fakeredis and on a real server."""

from __future__ import annotations

import msgspec
import pytest

from pipeline import keys
from pipeline.directory import Address, Directory, Domain
from pipeline.directory.lists.entries import ALLOW, BLOCK, parse
from pipeline.directory.lists.matching import Sender, ruling
from pipeline.directory.policies import Policies, Views
from pipeline.directory.policy import Policy
from pipeline.faults import ConfigurationError, NotFoundError
from pipeline.log import Log
from pipeline.settings import Settings
from pipeline.store import Store

ROUTE = ("mx.example.test:25",)
NOW = 1_795_000_000_000_000_000
BY = {"by": "test", "now": NOW}
ANNA, BEN = "anna@a.test", "ben@a.test"
SENDER = Sender(envelope="x@shop.example", client="192.0.2.7", country="DE", authenticated=frozenset({"shop.example"}))


@pytest.fixture
async def directory(store: Store, log: Log) -> Directory:
    made = Directory(store, log, clock=lambda: NOW)
    await made.set_domain(Domain(name="a.test", route=ROUTE, delimiter="+"), **BY)
    await made.set_addresses({"a.test": [Address(local="anna"), Address(local="ben")]}, **BY)
    return made


@pytest.fixture
def policies(store: Store, directory: Directory) -> Policies:
    return Policies(store, directory, Settings())


async def seen(policies: Policies, *recipients: str, sender: Sender = SENDER) -> Views:
    return await policies.views("a.test", recipients or (ANNA, BEN), sender, NOW)


def holds(views: Views, recipient: str) -> str:
    match = ruling(views.people.get(recipient, views.domain).matches)
    return f"{match.rule.action} {match.rule.entry} {match.whose}" if match else ""


async def test_where_nobody_has_said_anything_the_settings_hold_for_all(policies):
    views = await seen(policies)
    assert views.people == {}
    assert views.domain.policy.spam_threshold == 5.0
    assert views.domain.matches == ()


async def test_what_a_domain_and_a_person_say_holds_from_the_next_look_on(policies, directory):
    await seen(policies)
    await directory.update_domain(
        "a.test", lambda domain: msgspec.structs.replace(domain, policy=Policy(spam="tag")), **BY
    )
    await directory.set_policy(
        "a.test", "Anna", lambda policy: msgspec.structs.replace(policy, spam_threshold=8.0), **BY
    )
    views = await seen(policies)
    assert views.domain.policy.acts["spam"] == "tag"
    assert list(views.people) == [ANNA]
    assert (views.people[ANNA].policy.spam_threshold, views.people[ANNA].policy.acts["spam"]) == (8.0, "tag")
    await directory.set_policy("a.test", "anna", lambda _: Policy(), **BY)
    assert (await seen(policies)).people == {}


async def test_mail_with_a_detail_is_that_persons(policies, directory):
    await directory.set_policy("a.test", "anna", lambda _: Policy(bulk="quarantine"), **BY)
    await directory.set_rules("a.test", [parse("shop.example", BLOCK, person="anna")], **BY)
    views = await seen(policies, "Anna+shop@a.test")
    assert views.people["Anna+shop@a.test"].policy.acts["bulk"] == "quarantine"
    assert holds(views, "Anna+shop@a.test") == "block shop.example of anna@a.test"


async def test_lists_of_all_three_levels_are_asked_and_the_nearest_holds(policies, directory):
    await directory.set_rules("", [parse("192.0.2.0/24", BLOCK)], **BY)
    assert holds(await seen(policies), ANNA) == "block 192.0.2.0/24 for all domains"
    await directory.set_rules("a.test", [parse("*@shop.example", ALLOW), parse("country:FR", BLOCK)], **BY)
    assert holds(await seen(policies), ANNA) == "allow *@shop.example of a.test"
    await directory.set_rules("a.test", [parse("x@shop.example", BLOCK, person="anna")], **BY)
    views = await seen(policies)
    assert holds(views, ANNA) == "block x@shop.example of anna@a.test"
    assert holds(views, BEN) == "allow *@shop.example of a.test"
    await directory.remove_rules("a.test", [parse("x@shop.example", BLOCK, person="anna").key], **BY)
    assert holds(await seen(policies), ANNA) == "allow *@shop.example of a.test"


async def test_another_process_sees_a_change_when_it_looks(store, policies, directory, log):
    other = Directory(store, Log(store.redis), clock=lambda: NOW)
    await other.refresh()
    theirs = Policies(store, other, Settings())
    assert holds(await seen(theirs), ANNA) == ""
    await directory.set_rules("a.test", [parse("shop.example", BLOCK)], **BY)
    await other.refresh()
    assert holds(await seen(theirs), ANNA) == "block shop.example of a.test"


async def test_a_list_of_thousands_is_asked_for_the_same_few_keys_as_one_of_ten(policies, directory, store):
    await directory.set_rules("a.test", [parse(f"x{number}.example", BLOCK) for number in range(3000)], **BY)
    await directory.set_rules("a.test", [parse("shop.example", BLOCK)], **BY)
    await seen(policies)
    asked: list[int] = []
    pipeline = store.redis.pipeline

    def counted(**options: object):
        pipe = pipeline(**options)
        hmget = pipe.hmget
        pipe.hmget = lambda name, names: (asked.append(len(names)), hmget(name, names))[1]
        return pipe

    store.redis.pipeline = counted
    assert holds(await seen(policies), ANNA) == "block shop.example of a.test"
    assert asked == [2]


async def test_mail_for_a_domain_without_lists_costs_no_question(policies, store, monkeypatch):
    await seen(policies)
    monkeypatch.setattr(store.redis, "pipeline", None)
    assert (await seen(policies)).people == {}


async def test_a_person_says_only_what_is_theirs_to_say(directory):
    with pytest.raises(ConfigurationError, match="not a person's"):
        await directory.set_policy("a.test", "anna", lambda _: Policy(virus="discard"), **BY)
    with pytest.raises(NotFoundError):
        await directory.set_policy("a.test", "nobody", lambda _: Policy(spam="tag"), **BY)
    with pytest.raises(ConfigurationError, match="virus is never delivered"):
        await directory.set_domain(Domain(name="b.test", route=ROUTE, policy=Policy(virus="tag")), **BY)


async def test_what_a_person_says_outlasts_a_change_of_their_address(directory, store):
    await directory.set_policy("a.test", "anna", lambda _: Policy(spam="tag"), **BY)
    await directory.set_addresses({"a.test": [Address(local="anna", targets=("x@y.test",))]}, **BY)
    (row,) = (await directory.rows("a.test", ["anna"])).values()
    assert row.policy == Policy(spam="tag")
    assert row.targets == ("x@y.test",)


async def test_an_entry_that_is_damaged_counts_as_if_it_were_not_there(policies, directory, store):
    await directory.set_rules("a.test", [parse("shop.example", ALLOW), parse("x@shop.example", BLOCK)], **BY)
    await store.redis.hset(keys.rules("a.test"), "a:x@shop.example", b"\xc1")
    assert holds(await seen(policies), ANNA) == "allow shop.example of a.test"


async def test_what_is_remembered_is_bounded(policies, directory, monkeypatch):
    monkeypatch.setattr("pipeline.directory.policies.CACHE", 10)
    for number in range(25):
        await seen(policies, f"p{number}@a.test")
    assert policies._people <= 10
    await directory.set_rules("a.test", [parse("shop.example", BLOCK)], **BY)
    assert policies._people == 0
    assert keys.lists("") == "gp:{directory}:lists:*"
