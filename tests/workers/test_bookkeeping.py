"""The books, checked all the time, against messages that really are there."""

from __future__ import annotations

import msgspec
import pytest

from pipeline import keys
from pipeline.ids import partition_of
from projections.books import Books
from projections.builds import live_prefixes
from projections.queue import Queue
from projections.readers.books_check import NAMED, Unbalanced, last_check
from projections.readers.rates import Rate, read_rates
from tests.support.examples import DOMAIN
from tests.workers.conftest import PARTITION
from workers.bookkeeping import Bookkeeper
from workers.projector import Projector

OLD = 61
"""Seconds after which mail is not too young to be looked at."""


async def fold(parts) -> None:
    blocking = parts.store.blocking()
    try:
        views = (Books(), Queue())
        await Projector(parts.store.redis, blocking, parts.log, range(parts.store.partitions), views).catch_up()
    finally:
        await blocking.aclose()


async def walked(keeper: Bookkeeper, parts) -> None:
    """One walk from the first message to the last."""
    check = await last_check(parts.store.redis)
    before = check.walked_at if check else 0
    for _ in range(1000):
        await keeper.walk()
        check = await last_check(parts.store.redis)
        if check is not None and check.walked_at > before:
            return
    raise AssertionError("the walk does not end")


@pytest.fixture
async def desk(parts):
    made = await parts()
    await made.customer("127.0.0.1:1")
    return made


async def books_prefix(parts) -> str:
    return (await live_prefixes(parts.store.redis, [PARTITION], "books"))[PARTITION]


async def test_books_that_are_right_are_said_to_be_right(desk):
    for _ in range(7):
        await desk.queued()
    await fold(desk)
    desk.forward(OLD)
    keeper = Bookkeeper(desk, piece=2, rest=0)
    await keeper.count()
    await walked(keeper, desk)
    check = await last_check(desk.store.redis)
    assert check is not None
    assert check.balanced
    assert (check.messages, check.unbalanced, check.mismatches) == (7, (), ())
    assert check.walked_at >= check.at > 0


async def test_a_message_that_vanished_and_one_that_the_books_lost_are_named_and_no_longer_once_they_are_right(desk):
    vanished, lost, *_ = [await desk.queued() for _ in range(5)]
    await fold(desk)
    redis = desk.store.redis
    head = await redis.hgetall(keys.head(partition_of(vanished), vanished))
    score = await redis.zscore(keys.expiry(partition_of(vanished)), vanished)
    await redis.delete(keys.head(partition_of(vanished), vanished))
    await redis.zrem(keys.expiry(partition_of(vanished)), vanished)
    row = await redis.hget(await books_prefix(desk) + "live", lost)
    await redis.hdel(await books_prefix(desk) + "live", lost)
    desk.forward(OLD)
    keeper = Bookkeeper(desk, piece=1, rest=0)
    await walked(keeper, desk)
    check = await last_check(redis)
    assert check is not None
    assert not check.balanced
    assert {(one.id, bool(one.message), bool(one.books), one.certain) for one in check.mismatches} == {
        (vanished, False, True, True),
        (lost, True, False, True),
    }
    assert check.mismatch_count == 2

    await redis.hset(keys.head(partition_of(vanished), vanished), mapping=head)
    await redis.zadd(keys.expiry(partition_of(vanished)), {vanished: score})
    await redis.hset(await books_prefix(desk) + "live", lost, row)
    await walked(keeper, desk)
    check = await last_check(redis)
    assert check is not None
    assert check.balanced


async def test_a_difference_is_told_before_the_walk_is_over(desk):
    lost = await desk.queued()
    await fold(desk)
    await desk.store.redis.hdel(await books_prefix(desk) + "live", lost)
    desk.forward(OLD)
    keeper = Bookkeeper(desk, piece=1, rest=0)
    check = None
    while check is None:
        await keeper.walk()
        check = await last_check(desk.store.redis)
    assert (check.walked_at, [one.id for one in check.mismatches]) == (0, [lost])


async def test_sums_that_do_not_balance_are_told_with_their_domain(desk):
    await desk.queued()
    await fold(desk)
    await desk.store.redis.hincrby(await books_prefix(desk) + "d:" + DOMAIN, "received", 3)
    await Bookkeeper(desk).count()
    check = await last_check(desk.store.redis)
    assert check is not None
    assert check.unbalanced == (Unbalanced(domain=DOMAIN, difference=3, odd=0),)
    assert not check.balanced


async def test_mail_of_the_last_minute_is_left_alone(desk):
    await desk.queued()
    await fold(desk)
    await desk.queued()  # which the view does not know yet
    keeper = Bookkeeper(desk, rest=0)
    await walked(keeper, desk)
    check = await last_check(desk.store.redis)
    assert check is not None
    assert (check.messages, check.mismatches) == (0, ())


async def test_only_one_of_two_watchers_walks_and_the_other_goes_on_when_it_is_gone(desk):
    await desk.queued()
    await fold(desk)
    desk.forward(OLD)
    first, second = Bookkeeper(desk, rest=0), Bookkeeper(desk, rest=0)
    await walked(first, desk)
    before = await last_check(desk.store.redis)
    for _ in range(50):
        await second.walk()
    await second.count()
    assert await last_check(desk.store.redis) == before
    await desk.store.redis.delete(keys.BOOKS_LEASE)
    await walked(second, desk)
    after = await last_check(desk.store.redis)
    assert after is not None
    assert before is not None
    assert after.walked_at > before.walked_at


async def test_what_came_and_went_is_counted_per_domain(desk):
    await desk.queued()
    await fold(desk)
    keeper = Bookkeeper(desk)
    await keeper.count()
    assert (await read_rates(desk.store.redis, desk.clock())).total == (None, None)
    desk.forward(30)
    for _ in range(9):
        await desk.queued()
    await fold(desk)
    await keeper.count()
    rates = await read_rates(desk.store.redis, desk.clock())
    (soon, _) = rates.of([DOMAIN])
    assert soon is not None
    assert soon.arrived == pytest.approx(18, rel=0.1)
    assert soon == rates.total[0] == Rate(arrived=soon.arrived, delivered=0)
    assert [waiting for _, waiting in rates.waiting] == [1, 10]


async def test_a_flood_of_differences_is_counted_and_a_hundred_of_them_are_named(desk):
    ids = [await desk.accept() for _ in range(NAMED + 5)]
    await fold(desk)
    await desk.store.redis.hdel(await books_prefix(desk) + "live", *ids)
    desk.forward(OLD)
    await walked(Bookkeeper(desk, rest=0), desk)
    check = await last_check(desk.store.redis)
    assert check is not None
    assert (check.mismatch_count, len(check.mismatches)) == (NAMED + 5, NAMED)
    assert msgspec.msgpack.encode(check)
