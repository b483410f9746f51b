"""When an engine is left alone, when it is asked again, and what is told of all processes together."""

from __future__ import annotations

import pytest

from pipeline.scanning.engines.health import AFTER, LONGEST_PAUSE, SAMPLES, Health, Tally, quantile, state_of, together
from pipeline.units import SECOND

NOW = 1_795_000_000 * SECOND


def failing(times: int, now: int = NOW) -> Tally:
    tally = Tally("clamav", 2 * SECOND)
    for _ in range(times):
        tally.asked()
    for _ in range(times):
        tally.failed(now, "cannot be reached: x")
    return tally


def test_an_engine_is_asked_until_it_failed_several_times_in_a_row():
    tally = failing(AFTER - 1)
    assert tally.may_ask(NOW)
    tally.failed(NOW, "again")
    assert not tally.may_ask(NOW)
    assert not tally.may_ask(NOW + SECOND - 1)


def test_a_success_in_between_begins_anew():
    tally = failing(AFTER - 1)
    tally.answered(NOW, 1000)
    for _ in range(AFTER - 1):
        tally.failed(NOW, "again")
    assert tally.may_ask(NOW)


def test_after_the_pause_one_message_is_given_to_it_and_no_second_one_until_that_is_decided():
    tally = failing(AFTER)
    later = NOW + SECOND
    assert tally.may_ask(later)
    tally.asked()
    assert not tally.may_ask(later)
    tally.answered(later, 1000)
    assert tally.may_ask(later)
    assert tally.health("1").failing == 0


def test_the_pause_doubles_with_each_failed_trial_up_to_a_minute():
    tally, now, pauses = failing(AFTER), NOW, []
    for _ in range(10):
        pauses.append(tally.until - now)
        now = tally.until
        tally.asked()
        tally.failed(now, "still")
    assert pauses == [one * SECOND for one in (1, 2, 4, 8, 16, 32, 60, 60, 60, 60)]
    assert max(pauses) == LONGEST_PAUSE


def test_many_messages_that_were_under_way_when_it_went_away_are_one_failure():
    assert failing(50).until == NOW + SECOND


def test_one_that_answers_that_it_cannot_look_is_there():
    tally = failing(AFTER)
    tally.unable(NOW + SECOND, "could not look at it")
    assert tally.may_ask(NOW + SECOND)
    assert tally.health("1").errors == AFTER + 1


def test_one_that_is_there_again_without_a_message_is_left_alone_when_the_next_one_fails():
    tally = failing(AFTER)
    tally.reached(NOW + 1)
    assert tally.may_ask(NOW + 1)
    tally.failed(NOW + 2, "and yet")
    assert not tally.may_ask(NOW + 2)


def test_the_last_times_are_kept_and_the_oldest_go():
    tally = Tally("x")
    for number in range(SAMPLES * 2):
        tally.answered(NOW, number * 1000)
    assert tally.health("1").times == tuple(range(SAMPLES, SAMPLES * 2))


@pytest.mark.parametrize(
    ("health", "state"),
    [
        (Health(name="x"), "unknown"),
        (Health(name="x", failing=1, since=NOW), "away"),
        (Health(name="x", failing=1, heard_at=NOW, times=(1,)), "ok"),
        (Health(name="x", failing=AFTER, heard_at=NOW, times=(1,)), "away"),
        (Health(name="x", heard_at=NOW, deadline=2 * SECOND, times=(900_000,) * 20), "ok"),
        (Health(name="x", heard_at=NOW, deadline=2 * SECOND, times=(1_100_000,) * 2 + (1,) * 18), "slow"),
        (Health(name="x", heard_at=NOW, times=(10**9,)), "ok"),
    ],
)
def test_how_an_engine_is_in_one_word(health, state):
    assert state_of(health) == state


def test_quantiles_of_nothing_one_and_many():
    assert (quantile((), 0.5), quantile((7,), 0.95)) == (0, 7)
    assert (quantile(range(100), 0.5), quantile(range(100), 0.95)) == (50, 95)


def test_all_processes_together_the_worst_state_wins_and_numbers_add_up():
    good = Health(name="clamav", version="1", messages=10, heard_at=NOW, times=(100, 300))
    bad = Health(
        name="clamav", version="2", messages=5, errors=3, failing=3, since=NOW, skipped_until=NOW + 5, times=(200,),
        last_error="cannot be reached", last_error_at=NOW,
    )  # fmt: skip
    clamav, rspamd = together([(good,), (bad,)], ("clamav", "rspamd"))
    assert (clamav.state, clamav.processes, clamav.away_for) == ("away", 2, 1)
    assert (clamav.versions, clamav.messages, clamav.errors) == (("1", "2"), 15, 3)
    assert (clamav.median, clamav.p95, clamav.since, clamav.skipped_until) == (200, 300, NOW, NOW + 5)
    assert (clamav.last_error, rspamd.state, rspamd.processes) == ("cannot be reached", "unknown", 0)
