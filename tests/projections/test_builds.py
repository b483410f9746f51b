"""Which build of a view is live, through changes of version, rebuilds and crashes."""

from __future__ import annotations

import pytest

from pipeline.events import Deferred, RouteDeferred
from pipeline.ids import new_id
from projections import builds
from projections.base import START, Portion, View, advance
from projections.failures import Failures
from tests.support.examples import AT, DOMAIN, event, received
from tests.support.histories import recorded

SMALL, LARGE = Failures(5), Failures(50)


async def fill(redis, view: View) -> None:
    events = recorded([(new_id(AT, 0, 1), received()), (new_id(AT, 0, 1), event(Deferred))])
    assert await advance(redis, [Portion([view], START, events)]) == [True]


async def test_the_first_build_is_live_at_once_and_everybody_gets_the_same(redis):
    assert await builds.live(redis, 0, SMALL) is None
    first, live = await builds.to_fold(redis, 0, SMALL)
    assert live
    assert await builds.to_fold(redis, 0, SMALL) == (first, True)
    assert await builds.live(redis, 0, SMALL) == (first, SMALL.version)
    assert await builds.live_prefixes(redis, range(3), "failures") == {0: first.prefix}


async def test_another_version_grows_beside_the_live_one_and_takes_its_place(redis):
    old, _ = await builds.to_fold(redis, 0, SMALL)
    await fill(redis, old)
    new, live = await builds.to_fold(redis, 0, LARGE)
    assert not live
    assert new.prefix != old.prefix
    assert await builds.live_prefixes(redis, [0], "failures") == {0: old.prefix}
    assert await builds.to_fold(redis, 0, LARGE) == (new, False)

    assert await builds.switch(
        redis, View(0, LARGE, old.build), new, old_version=SMALL.version, caught_up=False, now=AT
    )
    assert await builds.to_fold(redis, 0, LARGE) == (new, True)
    assert await builds.drop_dead(redis, 0, AT) == 0
    assert await redis.keys(old.prefix + "*") != []
    assert await builds.drop_dead(redis, 0, AT + builds.LINGER_MS * 1_000_000) == 1
    assert await redis.keys(old.prefix + "*") == []
    assert not await builds.switch(
        redis, View(0, LARGE, old.build), new, old_version=SMALL.version, caught_up=False, now=AT
    )


async def test_a_version_that_grew_for_a_program_replaced_in_turn_is_dropped(redis):
    live, _ = await builds.to_fold(redis, 0, SMALL)
    abandoned, _ = await builds.to_fold(redis, 0, Failures(20))
    await fill(redis, abandoned)
    new, _ = await builds.to_fold(redis, 0, LARGE)
    assert len({live.build, abandoned.build, new.build}) == 3
    assert await builds.drop_dead(redis, 0, AT) == 1
    assert await redis.keys(abandoned.prefix + "*") == []


async def test_what_grew_for_a_program_that_was_taken_back_does_not_hold_the_log(redis):
    live, _ = await builds.to_fold(redis, 0, SMALL)
    grown, _ = await builds.to_fold(redis, 0, LARGE)
    await fill(redis, grown)
    assert await builds.to_fold(redis, 0, SMALL) == (live, True)
    assert not await redis.hexists(builds.builds_key(0), f"next:{SMALL.name}")
    assert await builds.drop_dead(redis, 0, AT) == 1
    assert await redis.keys(grown.prefix + "*") == []


async def test_builds_of_views_that_there_are_not_any_more_go(redis):
    live, _ = await builds.to_fold(redis, 0, SMALL)
    await fill(redis, live)
    assert await builds.drop_dead(redis, 0, AT, {SMALL.name}) == 0
    assert await builds.to_fold(redis, 0, SMALL) == (live, True)
    assert await builds.drop_dead(redis, 0, AT, {"another"}) == 0
    assert await builds.live(redis, 0, SMALL) is None
    assert await builds.drop_dead(redis, 0, AT + builds.LINGER_MS * 1_000_000, {"another"}) == 1
    assert await redis.keys(live.prefix + "*") == []


@pytest.mark.parametrize("field", ["live", "next"])
@pytest.mark.parametrize("stored", ["", "rubbish", "x 1", "7"])
async def test_a_build_that_nobody_can_tell_is_made_anew(redis, field, stored):
    live, _ = await builds.to_fold(redis, 0, SMALL)
    await redis.hset(builds.builds_key(0), f"{field}:{SMALL.name}", stored)
    view, lives = await builds.to_fold(redis, 0, LARGE)
    assert view.build > live.build
    assert lives == (field == "live")
    assert await builds.to_fold(redis, 0, LARGE) == (view, lives)


async def test_a_projector_that_folds_into_the_old_build_is_told_by_its_checkpoint(redis):
    old, _ = await builds.to_fold(redis, 0, SMALL)
    await fill(redis, old)
    new, _ = await builds.to_fold(redis, 0, LARGE)
    await builds.switch(redis, View(0, LARGE, old.build), new, old_version=SMALL.version, caught_up=False, now=AT)
    events = recorded([(new_id(AT, 0, 1), event(Deferred)), (new_id(AT, 0, 2), event(Deferred))])
    assert await advance(redis, [Portion([old], events[0].entry, events[1:])]) == [False]


async def test_a_rebuilt_view_takes_over_only_where_the_live_one_stands(redis):
    live, _ = await builds.to_fold(redis, 0, SMALL)
    rebuilt = await builds.temporary(redis, 0, SMALL, AT)
    await fill(redis, live)
    assert not await builds.switch(redis, live, rebuilt, old_version=SMALL.version, caught_up=True, now=AT)
    await fill(redis, rebuilt)
    assert await builds.switch(redis, live, rebuilt, old_version=SMALL.version, caught_up=True, now=AT)
    assert await builds.live(redis, 0, SMALL) == (rebuilt, SMALL.version)
    assert await builds.drop_dead(redis, 0, AT + 2 * builds.ALIVE_MS * 1_000_000) == 1
    assert await redis.lrange(rebuilt.prefix + "f:" + DOMAIN, 0, -1) != []


async def test_a_view_of_many_keys_is_dropped_whole(redis):
    view = await builds.temporary(redis, 0, SMALL, AT)
    events = recorded(
        [
            pair
            for number, name in enumerate(names(1200))
            for pair in (
                (new_id(AT, 0, number), received(domain=name)),
                ("@" + name, RouteDeferred(at=AT, domain=name, tries=1, since=AT, next_try=AT, attempts=())),
            )
        ]
    )
    assert await advance(redis, [Portion([view], START, events)]) == [True]
    assert len(await redis.keys(view.prefix + "*")) == 1203
    await builds.drop(redis, view)
    assert await redis.keys("*view:failures*") == []
    assert await redis.hkeys(builds.builds_key(0)) == [b"count"]


def names(count: int) -> list[str]:
    return [f"d{number}.test" for number in range(count)]
