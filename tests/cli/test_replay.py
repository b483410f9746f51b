"""`gatepost replay`: the list of views, views as they were, one domain's part, and what the last self-check found."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from cli.replay.moment import moment_of
from pipeline import keys
from pipeline.events import Attempt, Delivered
from pipeline.faults import ConfigurationError
from pipeline.ids import partition_for
from projections.builds import live_prefixes
from projections.moment import temporary_builds
from projections.queue import Queue
from projections.readers.selfcheck import CheckedView, SelfCheck
from tests.cli.conftest import DOMAIN, SECOND, Shop

TAKEN = Attempt(server="mx.example.test:25", stage="dot", code=250, reply="250 2.0.0 taken")
OTHER = "other.test"


def moment() -> str:
    """Now, as --at takes it, and the millisecond over: entries are told apart by theirs."""
    at = time.time_ns()
    while time.time_ns() // 1_000_000 == at // 1_000_000:
        pass
    seconds, rest = divmod(at // 1_000_000, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03}Z"


def leftovers(shop: Shop) -> set[str]:
    """Builds of views that are not live."""

    async def work(wiring):
        redis, live = wiring.store.redis, set()
        for partition in range(wiring.store.partitions):
            for field, stored in (
                await redis.hgetall(keys.view(partition, "x", 0).split(":x:")[0] + ":builds")
            ).items():
                assert not field.startswith(b"drop:")
                if field.startswith(b"live:"):
                    live.add(keys.view(partition, field[5:].decode(), int(stored.split()[0])))
        found = {key.decode() for key in await redis.keys("gp:*:view:*") if not key.endswith(b":builds")}
        return {key for key in found if not key.startswith(tuple(live))}

    return set(shop.do(work))


@pytest.fixture
def story(shop: Shop) -> list[str]:
    """Three moments: one message waits and one is kept; then it is deferred as well; then all is delivered."""
    shop.add("anna")
    shop.add("anna", domain=OTHER)
    first = shop.queued()
    shop.quarantined(f"anna@{OTHER}")
    moments = [moment()]
    shop.deferred(first)
    moments.append(moment())
    shop.tried(first, Delivered, TAKEN)
    shop.fold()
    return [*moments, moment()]


def test_a_view_is_shown_as_it_was_and_nothing_of_that_stays(shop: Shop, story):
    waiting, told, now = (shop.run("replay", "queue", "--at", at, "--json").json for at in story)
    assert [one["waiting"]["messages"] for one in (waiting, told, now)] == [1, 1, 0]
    assert waiting["domains"][0]["last_error"] is None
    assert "mailbox is busy" in told["domains"][0]["last_error"]["attempts"][0]["reply"]
    assert waiting["as_of"].startswith(story[0][:-1])
    shown = shop.run("replay", "queue", "--at", story[1])
    assert shown.code == 0
    assert f"{DOMAIN}" in shown.out
    assert "450 4.2.1 come" in shown.out
    assert "\x1b" not in shown.out
    assert "Nothing waits." in shop.run("replay", "queue", "--at", story[2]).out
    assert shop.run("replay", "queue", "--at", "2001-01-01T00:00Z", "--json").json["events"] == 0
    assert leftovers(shop) == set()


def test_every_view_with_a_command_of_its_own_is_shown_in_its_way(shop: Shop, story):
    failures = [shop.run("replay", "failures", "--at", at, "--json").json["groups"] for at in story]
    assert [len(groups) for groups in failures] == [0, 1, 1]
    assert "told to wait" in shop.run("replay", "failures", "--at", story[1]).out
    books = [shop.run("replay", "books", "--at", at, "--json").json for at in story]
    assert [one["total"]["delivered"] for one in books] == [0, 0, 1]
    assert all(one["balanced"] for one in books)
    assert "The books balance" in shop.run("replay", "books", "--at", story[0]).out
    kept = shop.run("replay", "quarantine", "--at", story[0], "--json").json
    assert [one["quarantined"] for one in kept["messages"]] == [[f"anna@{OTHER}"]]
    assert "virus" in shop.run("replay", "quarantine", "--at", story[0]).out
    assert shop.run("replay", "refusals", "--at", story[0]).out.endswith("Nothing was refused.\n")
    assert shop.run("replay", "classifier", "--at", story[0], "--json").json["tables"][0]["spam"] == 0
    assert leftovers(shop) == set()


def test_a_domain_is_replayed_and_compared_by_itself(shop: Shop, story):
    asked = ("replay", "books", "--domain", DOMAIN)
    shown = shop.run(*asked, "--at", story[0], "--json").json
    assert [one["domain"] for one in shown["domains"]] == [DOMAIN]
    assert shop.run("replay", "--all", "--domain", DOMAIN).code == 0
    assert f"the part of {DOMAIN} is equal" in shop.run(*asked).out

    async def spoil(wiring):
        for name in (DOMAIN, OTHER):
            partition = partition_for(name, wiring.store.partitions)
            (prefix,) = (await live_prefixes(wiring.store.redis, [partition], "books")).values()
            await wiring.store.redis.hincrby(f"{prefix}d:{name}", "received", 1)
        (prefix,) = (await live_prefixes(wiring.store.redis, [partition], "quarantine")).values()
        await wiring.store.redis.hset(prefix + "live", "nobody", msgspec.msgpack.encode([OTHER]))

    shop.do(spoil)
    found = shop.run(*asked, "--json").json["views"][0]["named"]
    assert [(one["key"], one["field"]) for one in found] == [(f"d:{DOMAIN}", "received")]
    named = shop.run("replay", "quarantine", "--domain", OTHER, "--json").json["views"][0]["named"]
    assert [(one["key"], one["field"]) for one in named] == [("live", "nobody")]
    assert shop.run("replay", "quarantine", "--domain", DOMAIN).code == 0
    assert leftovers(shop) == set()


def test_several_processes_find_the_same_and_their_faults_are_told(shop: Shop, story):
    assert story
    alone = shop.run("replay", "books", "--jobs", "1", "--json").json["views"][0]
    together = shop.run("replay", "books", "--jobs", "3", "--json").json["views"][0]
    assert together["equal"]
    assert together["events"] == alone["events"]
    assert shop.run("replay", "books", "--at", story[0], "--jobs", "2", "--json").json["total"]["received"] == 2

    async def lose(wiring):
        for partition in range(wiring.store.partitions):
            await wiring.store.redis.xtrim(keys.log(partition), maxlen=0)

    shop.do(lose)
    lost = shop.run("replay", "books", "--jobs", "3")
    assert lost.code == 4
    assert "which the view has seen" in lost.err
    assert leftovers(shop) == set()


def test_the_views_are_listed_with_what_they_show_and_what_they_take(shop: Shop, story):
    assert story
    out = shop.run("replay").out
    for words in ("queue", "gatepost refused", "outbound", "gatepost replay VIEW"):
        assert words in out
    rows = {one["view"]: one for one in shop.run("replay", "--json").json["views"]}
    assert rows["queue"]["version"]
    assert rows["queue"]["behind_seconds"] == 0
    assert rows["quarantine"]["keys"] > 3
    assert rows["quarantine"]["octets"] > 100
    assert rows["queue"]["newest_event_at"] is not None
    assert rows["queue"]["growing"] is None


def test_the_last_self_check_is_shown_with_each_difference(shop: Shop):
    assert "no self-check yet" in shop.run("replay", "--last").out
    check = SelfCheck(
        night="2026-11-30", started=1_795_000_000 * SECOND, ended=1_795_000_060 * SECOND,
        views=(
            CheckedView(view="queue", events=10, seconds=1.0),
            CheckedView(view="books", events=10, seconds=1.0, differences=1, named=("partition 3, d:\x1bx: live 1",)),
            CheckedView(view="trace", events=0, seconds=1.0, failed="there was no time"),
        ),
    )  # fmt: skip

    async def store(wiring):
        await wiring.store.redis.hset(keys.SELFCHECK, "last", msgspec.msgpack.encode(check))

    shop.do(store)
    shown = shop.run("replay", "--last")
    assert shown.code == 1
    for words in ("2026-11-30", "is what the events say", "1 difference", r"d:\x1bx: live 1", "there was no time"):
        assert words in shown.out
    form = shop.run("replay", "--last", "--json").json["check"]
    assert [one["equal"] for one in form["views"]] == [True, False, False]


def test_what_cannot_be_shown_is_said_with_what_to_do_instead(shop: Shop, story):
    assert story
    trace = shop.run("replay", "trace", "--at", story[0])
    assert trace.code == 2
    assert "gatepost trace" in trace.err
    assert "in the past" in shop.run("replay", "queue", "--at", "2100-01-01T00:00Z").err
    assert "no part" in shop.run("replay", "outbound", "--domain", DOMAIN).err
    assert shop.run("replay", "nonsense", "--at", story[0]).code == 2
    assert leftovers(shop) == set()


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2026-11-20T03:00Z", "", 1_795_143_600),
        ("2026-11-20T04:00", "Europe/Berlin", 1_795_143_600),
        ("2026-11-20T08:30", "Asia/Kolkata", 1_795_143_600),
        ("2026-11-20T04:00+01:00", "", 1_795_143_600),
        ("2026-11-20", "UTC", 1_795_132_800),
    ],
)
def test_a_moment_is_that_of_its_own_zone_or_of_the_one_named(text, zone, meant):
    assert moment_of(text, zone, now=1 << 62) == meant * SECOND


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("yesterday", "", "no time"),
        ("2026-11-20T03:00Z", "Europe/Berlin", "of its own"),
        ("2026-11-20T03:00", "Middle/Earth", "no time zone"),
        ("2026-11-20T03:00", "../../etc/passwd", "no time zone"),
        ("1960-01-01T00:00Z", "", "not in the past"),
        ("0001-01-01T00:00", "", "no time that|not in the past"),
        ("9999-12-31T23:59", "", "no time that|not in the past"),
        ("0001-01-01T00:00+23:59", "", "not in the past"),
        ("9999-12-31T23:59-23:59", "", "not in the past"),
        ("0001-01-01T00:00", "Pacific/Kiritimati", "not in the past"),
    ],
)
def test_a_moment_that_is_none_is_said(text, zone, said):
    with pytest.raises(ConfigurationError, match=said):
        moment_of(text, zone, now=1 << 62)


def test_a_replay_that_is_cancelled_leaves_nothing_behind(shop: Shop, story):
    assert story

    async def work(wiring):
        async def build() -> None:
            async with temporary_builds(wiring.store.redis, range(8), Queue(), wiring.clock()):
                started.set()
                await asyncio.Event().wait()

        started = asyncio.Event()
        task = asyncio.create_task(build())
        await started.wait()
        while not task.done():
            task.cancel()  # again and again, as a command is that was told to end
            await asyncio.sleep(0)
        assert task.cancelled()

    shop.do(work)
    assert leftovers(shop) == set()
