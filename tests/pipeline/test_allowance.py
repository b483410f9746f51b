"""How much one address, and one domain, may be sent of reports in an hour."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.allowance import Allowance
from pipeline.configuration import load
from pipeline.store import Store
from tests.support.examples import AT, SECOND
from tests.support.servers import RedisServer

ANNA, BEN = "anna@victim.test", "ben@victim.test"


@pytest.fixture
async def store(redis_server: RedisServer):
    connected = await Store.connect(redis_server.url, 8)
    yield connected
    await connected.close()


def allowance(store: Store, address: int, domain: int) -> Allowance:
    settings = load(None, {}, {"bounces_per_address": address, "bounces_per_domain": domain})
    return Allowance(store.redis, settings)


async def taken(one: Allowance, address: str, times: int, now: int) -> int:
    return sum([await one.take(address, now) for _ in range(times)])


async def test_an_address_gets_its_number_and_then_one_whenever_a_part_of_the_hour_has_passed(store):
    one = allowance(store, 20, 1000)
    assert await taken(one, ANNA, 100, AT) == 20
    assert await taken(one, ANNA.upper(), 1, AT) == 0
    assert await taken(one, ANNA, 100, AT + 179 * SECOND) == 0
    assert await taken(one, ANNA, 100, AT + 181 * SECOND) == 1
    assert await taken(one, ANNA, 100, AT + 3 * 3600 * SECOND) == 20


async def test_a_domain_is_bounded_over_all_its_addresses_and_what_one_of_them_is_refused_costs_it_nothing(store):
    one = allowance(store, 2, 5)
    assert await taken(one, ANNA, 50, AT) == 2
    assert await taken(one, BEN, 50, AT) == 2
    assert sum([await one.take(f"{n}@victim.test", AT) for n in range(50)]) == 1
    assert await one.take("x@other.test", AT)


async def test_only_what_was_granted_is_remembered_and_not_for_long(store):
    one = allowance(store, 1, 3)
    for n in range(50):
        await one.take(f"{n}@victim.test", AT)
    names = [name async for name in store.redis.scan_iter("gp:{bounces:*")]
    assert len(names) == 4
    assert 0 < await store.redis.pttl(keys.bounces_to("victim.test", "")) <= 3_660_000


async def test_without_limits_nothing_is_counted(store):
    one = allowance(store, 0, 0)
    assert await taken(one, ANNA, 100, AT) == 100
    assert not [name async for name in store.redis.scan_iter("gp:{bounces:*")]


async def test_with_the_store_away_a_report_may_go(own_redis):
    store = await Store.connect(own_redis.url, 8)
    own_redis.stop()
    assert await allowance(store, 1, 1).take(ANNA, AT)
    await store.close()
