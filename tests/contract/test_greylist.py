"""Greylisting, on fakeredis and on a real server: who has to come again, when, and that nobody has to twice."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.configuration import load
from pipeline.greylist import MAX_ATTEMPTS, Greylist, identity
from pipeline.units import SECOND

NOW = 1_795_000_000 * SECOND
DAY = 86400 * SECOND
NET = "198.51.100.0/24"


@pytest.fixture
def greylist(store) -> Greylist:
    settings = load(environ={}, overrides={"greylist_delay": "2m", "greylist_window": "1d", "greylist_memory": "36d"})
    return Greylist(store.redis, settings)


async def ask(greylist, at=NOW, who=NET, sender="s@x.test", recipient="anna@a.test", domain="a.test"):
    found = await greylist.ask(who, domain, sender, recipient, at)
    return found.passed, found.first


async def test_the_first_attempt_is_put_off_and_one_after_the_delay_is_let_in(greylist):
    assert await ask(greylist) == (False, NOW)
    assert await ask(greylist, NOW + 119 * SECOND) == (False, NOW)
    assert await ask(greylist, NOW + 120 * SECOND) == (True, NOW)


async def test_who_came_back_once_is_not_asked_again_for_that_domain_whatever_it_sends(greylist):
    await ask(greylist)
    await ask(greylist, NOW + 120 * SECOND)
    assert await ask(greylist, NOW + 130 * SECOND, sender="other@y.test", recipient="ben@a.test") == (True, 0)
    assert await ask(greylist, NOW + 130 * SECOND, domain="b.test") == (False, NOW + 130 * SECOND)
    assert await ask(greylist, NOW + 130 * SECOND, who="192.0.2.0/24") == (False, NOW + 130 * SECOND)


async def test_each_message_has_a_delay_of_its_own_until_one_comes_back(greylist):
    await ask(greylist)
    assert await ask(greylist, NOW + 60 * SECOND, recipient="ben@a.test") == (False, NOW + 60 * SECOND)
    assert await ask(greylist, NOW + 120 * SECOND) == (True, NOW)
    assert await ask(greylist, NOW + 121 * SECOND, recipient="ben@a.test") == (True, 0)


async def test_who_comes_back_too_late_begins_anew(greylist):
    await ask(greylist)
    assert await ask(greylist, NOW + DAY + SECOND) == (False, NOW + DAY + SECOND)
    assert await ask(greylist, NOW + DAY + 121 * SECOND) == (True, NOW + DAY + SECOND)


async def test_what_is_remembered_of_a_client_is_bounded_and_expires(greylist, store):
    for number in range(MAX_ATTEMPTS + 50):
        assert not (await ask(greylist, sender=f"s{number}@x.test"))[0]
    name = keys.greylisted(NET)
    assert await store.redis.hlen(name) == MAX_ATTEMPTS
    assert 0 < await store.redis.pttl(name) <= DAY // 1_000_000
    assert await ask(greylist, NOW + 121 * SECOND, sender="s1@x.test") == (True, NOW)
    assert 0 < await store.redis.pttl(keys.greylist_passed(NET, "a.test")) <= 36 * DAY // 1_000_000


@pytest.mark.parametrize(
    ("address", "spf", "expected"),
    [
        ("198.51.100.7", "", "198.51.100.0/24"),
        ("198.51.100.200", "", "198.51.100.0/24"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("198.51.100.7", "x.test", "spf x.test"),
        ("nonsense", "", "nonsense"),
    ],
)
def test_a_client_is_known_by_its_network_or_by_the_domain_it_may_send_for(address, spf, expected):
    assert identity(address, spf) == expected
