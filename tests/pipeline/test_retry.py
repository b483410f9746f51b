"""When to try again: the schedule, printed."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory import Domain
from pipeline.retry import RetryPolicy, gives_up, next_try, schedule
from pipeline.settings import Settings
from pipeline.units import SECOND

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


def test_the_default_schedule_is_a_try_every_15_minutes_for_7_days():
    tries = list(schedule(0, RetryPolicy.of(Settings())))
    assert [at // MINUTE for at in tries[:5]] == [0, 15, 30, 45, 60]
    assert len(tries) == 7 * 24 * 4 == 672
    assert tries[-1] == 7 * DAY - 15 * MINUTE
    assert {b - a for a, b in pairwise(tries)} == {15 * MINUTE}


def test_another_policy_gives_another_schedule():
    assert [at // SECOND for at in schedule(5 * SECOND, RetryPolicy(interval=2 * SECOND, lifetime=7 * SECOND))] == [
        5,
        7,
        9,
        11,
    ]


@given(jitter=st.floats(0, 1, exclude_max=True), now=st.integers(0, 1 << 62))
def test_jitter_only_ever_lengthens_a_wait_and_by_less_than_a_sixtieth(jitter, now):
    wait = next_try(now, RetryPolicy(15 * MINUTE, 7 * DAY), jitter) - now
    assert 15 * MINUTE <= wait < 15 * MINUTE + 15 * SECOND


def test_giving_up_is_at_the_end_and_not_before():
    assert not gives_up(6, 7)
    assert gives_up(7, 7)


def test_a_domain_has_the_settings_own_interval_and_lifetime_unless_it_says_otherwise():
    settings = Settings()
    assert RetryPolicy.of(settings) == RetryPolicy.of(settings, Domain(name="a.test"))
    own = Domain(name="a.test", retry_interval=SECOND, queue_lifetime=3 * SECOND)
    assert RetryPolicy.of(settings, own) == RetryPolicy(interval=SECOND, lifetime=3 * SECOND)
