"""How much comes and goes, out of what was counted."""

from __future__ import annotations

import msgspec
import pytest

from pipeline import keys
from projections.readers.books_check import BooksCheck, last_check
from projections.readers.rates import MINUTE, Counted, Rate, Total, read_rates
from tests.support.examples import AT

HALF = MINUTE // 2


async def counted(redis, *counts: tuple[int, int, dict[str, tuple[int, int]]]) -> None:
    """(when, span, what moved), the oldest first."""
    for at, span, domains in counts:
        arrived, delivered = (sum(one[which] for one in domains.values()) for which in (0, 1))
        await redis.lpush(keys.BOOKS_TOTALS, msgspec.msgpack.encode(Total(at, 7, span, arrived, delivered)))
        await redis.lpush(keys.BOOKS_DOMAINS, msgspec.msgpack.encode(Counted(at, span, domains)))


async def test_rates_are_averages_over_the_last_minutes(redis):
    await counted(
        redis,
        (AT - 20 * MINUTE, HALF, {"a.test": (1000, 1000)}),
        (AT - 10 * MINUTE, MINUTE, {"a.test": (30, 0), "b.test": (2, 2)}),
        (AT - 2 * MINUTE, HALF, {"a.test": (10, 40)}),
        (AT - MINUTE, HALF, {"a.test": (20, 10)}),
    )
    rates = await read_rates(redis, AT)
    assert rates.domains["a.test"] == (Rate(arrived=30, delivered=50), Rate(arrived=30, delivered=25))
    assert rates.of(["b.test"]) == (Rate(arrived=0, delivered=0), Rate(arrived=1, delivered=1))
    assert rates.total == (Rate(arrived=30, delivered=50), Rate(arrived=31, delivered=26))
    assert rates.of(["a.test", "b.test"]) == rates.total
    assert rates.of(["quiet.test"]) == rates.none == (Rate(arrived=0, delivered=0),) * 2


async def test_without_counts_nothing_is_claimed(redis):
    await counted(redis, (AT - 16 * MINUTE, HALF, {"a.test": (1, 1)}), (AT - MINUTE, 0, {}))
    rates = await read_rates(redis, AT)
    assert rates.total == rates.of(["a.test"]) == rates.of([]) == (None, None)


async def test_how_much_waited_is_there_for_a_chart(redis):
    await counted(redis, *((AT - number * MINUTE, MINUTE, {}) for number in range(40, 0, -1)))
    assert len((await read_rates(redis, AT)).waiting) == 32
    waiting = (await read_rates(redis, AT, history=1000)).waiting
    assert (len(waiting), waiting[0], waiting[-1]) == (40, (AT - 40 * MINUTE, 7), (AT - MINUTE, 7))


@pytest.mark.parametrize(
    ("rate", "left"),
    [
        (Rate(arrived=0, delivered=60), 10 * MINUTE),
        (Rate(arrived=100, delivered=0.5), 1200 * MINUTE),
        (Rate(arrived=1, delivered=0), None),
    ],
)
def test_what_waits_is_gone_after_its_number_over_the_rate(rate, left):
    assert rate.drained(600) == left


async def test_records_of_another_release_are_passed_over(redis):
    await redis.lpush(keys.BOOKS_TOTALS, b"\xc1")
    await redis.lpush(keys.BOOKS_DOMAINS, b"\x01")
    await redis.set(keys.BOOKS_CHECK, b"\x01")
    assert (await read_rates(redis, AT)).waiting == ()
    assert await last_check(redis) is None


async def test_a_check_is_balanced_when_neither_sums_nor_messages_are_wrong(redis):
    assert await last_check(redis) is None
    await redis.set(keys.BOOKS_CHECK, msgspec.msgpack.encode(BooksCheck(at=AT, messages=3, mismatch_count=1)))
    found = await last_check(redis)
    assert found == BooksCheck(at=AT, messages=3, mismatch_count=1)
    assert not found.balanced
    assert BooksCheck(at=AT).balanced
