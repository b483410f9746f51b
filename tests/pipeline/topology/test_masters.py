"""Which server is used, by what the Sentinels say of it and it of itself."""

from __future__ import annotations

import msgspec
import pytest
from redis.exceptions import ConnectionError  # noqa: A004

from pipeline.topology.masters import SETTLED, Answer, answer_of, newest, vouch

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
WELL = Answer(OLD, 3, 2, run_id="first", failover_timeout=60.0)
AGED = SETTLED + 2 * 60.0


def but(**changed: object) -> Answer:
    """One that knows the old master as all did, except for what is given."""
    return msgspec.structs.replace(WELL, **changed)


SWITCHED = but(place=NEW, epoch=4, run_id="second")
DOWN, LOST = frozenset(("master", "s_down")), frozenset(("master", "s_down", "o_down"))


@pytest.mark.parametrize(
    ("answers", "place"),
    [
        ([WELL, WELL, WELL], OLD),
        ([WELL, WELL], OLD),
        ([but(others=0)], OLD),
        ([WELL, WELL, SWITCHED], NEW),
        ([SWITCHED, but(epoch=2)], NEW),
        ([WELL, but(flags=LOST), SWITCHED], NEW),
        ([WELL, WELL, but(place=NEW, epoch=4, state="reconf_slaves")], NEW),
        ([WELL, WELL, but(place=NEW, epoch=4, state="update_config")], NEW),
        ([WELL, WELL, but(flags=DOWN)], OLD),
    ],
)
def test_the_newest_configuration_that_a_majority_can_vouch_for_counts(answers, place):
    assert {answer.place for answer in newest(answers)} == {place}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([], "of 1 Sentinels 0 answered"),
        ([WELL], "of 3 Sentinels 1 answered"),
        ([but(others=3), but(others=1)], "of 4 Sentinels 2 answered"),
        *(
            ([WELL, WELL, but(state=state)], "about to choose another")
            for state in ("wait_start", "select_slave", "send_slaveof_noone", "wait_promotion", "unknown")
        ),
        ([SWITCHED, SWITCHED, but(state="wait_start")], "about to choose another"),
        ([WELL, WELL, but(place=NEW)], "do not name the same"),
        ([WELL, WELL, but(flags=LOST)], "have lost the master"),
    ],
)
def test_no_server_is_used_while_another_may_be_chosen_or_most_sentinels_are_away(answers, says):
    with pytest.raises(ConnectionError, match=says):
        newest(answers)


@pytest.mark.parametrize(
    ("answers", "run_id", "age"),
    [
        ([WELL, WELL, WELL], "first", 0),
        ([WELL, WELL], "first", AGED),
        ([WELL, WELL, but(run_id="")], "first", AGED),
        ([SWITCHED, WELL, WELL], "second", AGED),
        ([but(place=NEW, epoch=4, run_id="", state="reconf_slaves"), WELL], "second", AGED),
        ([but(others=0)], "first", 0),
        ([but(heard=0.3), but(heard=0.9), WELL], "first", 1.0),
        ([but(heard=0.3), but(heard=0.9), but(heard=0.5, run_id="")], "again", 1.0),
    ],
)
def test_a_process_is_used_that_all_sentinels_know_or_that_has_been_there_for_long(answers, run_id, age):
    vouch(answers, run_id, age)


@pytest.mark.parametrize(
    ("answers", "run_id", "sure"),
    [
        ([WELL, WELL, WELL], "again", 0),
        ([but(heard=1.0), but(heard=1.1), but(heard=0.5, flags=DOWN)], "again", 0),
        ([WELL, WELL, but(run_id="again")], "again", 1),
        ([but(run_id=""), WELL, WELL], "first", 2),
        ([WELL, WELL], "first", 2),
        ([WELL, WELL, but(flags=DOWN)], "first", 2),
        ([WELL, WELL, but(heard=0.1, flags=frozenset(("master", "disconnected")))], "first", 2),
        ([SWITCHED, SWITCHED, but(run_id="second")], "second", 2),
    ],
)
def test_a_process_that_began_lately_is_not_used_while_a_sentinel_has_not_heard_of_it(answers, run_id, sure):
    for age in (-1.0, 1.0):
        with pytest.raises(ConnectionError, match=f"of 3 Sentinels {sure} have heard"):
            vouch(answers, run_id, age)


def test_how_long_that_takes_follows_from_what_a_failover_may_take():
    vouch([WELL, WELL], "again", AGED)
    with pytest.raises(ConnectionError, match="was started only just now"):
        vouch([WELL, WELL], "again", AGED - 1)


def test_what_a_sentinel_says_of_the_one_that_it_has_given_up_is_not_taken_for_the_new_one():
    said = {
        "name": "gatepost", "ip": OLD[0], "port": "6379", "runid": "first", "flags": "s_down,o_down,master,failover_in_progress",
        "failover-state": "reconf_slaves", "config-epoch": "4", "num-other-sentinels": "2", "failover-timeout": "60000", "last-ok-ping-reply": "1500",
    }  # fmt: skip
    assert answer_of(OLD, said).flags >= LOST
    assert (answer_of(OLD, said).run_id, answer_of(OLD, said).heard) == ("first", 1.5)
    assert answer_of(NEW, said) == Answer(NEW, 4, 2, state="reconf_slaves", failover_timeout=60.0)
