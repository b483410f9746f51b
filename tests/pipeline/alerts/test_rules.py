"""Rules of alerts: each fires beyond its limit, lets go well within it, and says nothing of what was not measured."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.alerts.model import NEVER, DomainState, EngineState, Measured, WorkState
from pipeline.alerts.rules import LOCAL, RULES, assess, setting
from pipeline.alerts.words import WORDS, sentence
from pipeline.settings import Settings
from pipeline.units import SECOND, Duration

NOW = 1_795_000_000 * SECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
OFF = Settings(
    alert_waiting=0, alert_oldest=Duration(0), alert_down=Duration(0), alert_held=Duration(0), alert_engine=Duration(0),
    alert_books=Duration(0), alert_difference=False, alert_lag=Duration(0), alert_work=Duration(0), alert_parked=0,
    alert_receiver=Duration(0), alert_disk=0, alert_memory=0, alert_archive=Duration(0), alert_certificate=Duration(0),
)  # fmt: skip
ALL_WRONG = Measured(
    at=NOW,
    host="mx1.example.net",
    domains=(
        DomainState(domain="a.example", messages=5000, oldest=NOW - 30 * HOUR, down_since=NOW - HOUR, held_since=NOW - HOUR),
    ),
    engines=(EngineState(name="clamav", away_since=NOW - HOUR, error="cannot be reached"),),
    lags=(("queue", HOUR),),
    work=(WorkState(stream="scan", oldest=NOW - HOUR, count=7),),
    disk_free=1000,
    memory=(80, 100),
    parked=3,
    receiver=NOW - 5 * HOUR,
    certificate=NOW + HOUR,
    books=(("a.example", "1 is missing"),),
    differences=(("queue", "2 keys differ"),),
    archive=(NOW - 24 * HOUR, "the bucket answers 503"),
)  # fmt: skip


def wrong(measured, settings=Settings()):  # noqa: B008 - frozen
    return {(one.rule, one.what): one.wrong for one in assess(measured, settings).samples}


def domain(**state):
    return Measured(at=NOW, domains=(DomainState(domain="a.example", **state),))


def test_when_all_is_wrong_each_rule_says_so():
    found = assess(ALL_WRONG, Settings())
    assert {one.rule for one in found.samples if one.wrong} == set(RULES)
    assert {name for name in RULES if not found.covers(name, "mx1.example.net")} == set()


def test_a_rule_that_is_turned_off_says_that_nothing_is_wrong():
    found = assess(ALL_WRONG, OFF)
    assert found.samples == ()
    assert found.covers("waiting", "")


def test_a_rule_says_nothing_of_what_was_not_measured():
    found = assess(Measured(at=NOW), Settings())
    assert (found.samples, found.covered) == ((), frozenset())


def test_every_rule_has_a_setting_and_words_in_each_language():
    for name in RULES:
        assert hasattr(Settings(), setting(name))
        for language, sentences in WORDS.items():
            for over in (False, True):
                said = sentence(name, over=over, what="WHAT", value="VALUE", limit="LIMIT", language=language)
                assert said == sentences[name][over].format(what="WHAT", value="VALUE", limit="LIMIT")
                assert "{" not in said


def test_a_rule_of_another_version_is_told_by_its_name():
    assert sentence("later", over=False, what="x", value="7") == "later x 7"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [(0, None), (800, None), (801, False), (1000, False), (1001, True)],
)
def test_more_than_the_limit_waiting_is_wrong_and_a_fifth_less_is_well(messages, expected):
    assert wrong(domain(messages=messages)).get(("waiting", "a.example")) is expected


@pytest.mark.parametrize(("own", "expected"), [(0, None), (10, True), (NEVER, None), (13, False)])
def test_a_domain_has_limits_of_its_own(own, expected):
    state = domain(messages=12, max_waiting=own)
    assert wrong(state).get(("waiting", "a.example")) is expected
    assert wrong(state, OFF).get(("waiting", "a.example")) is expected
    old = domain(messages=1, oldest=NOW - 12 * MINUTE, max_oldest=own if own == NEVER else own * MINUTE)
    assert wrong(old).get(("oldest", "a.example")) is expected


@pytest.mark.parametrize(
    ("rule", "measured", "expected"),
    [
        ("down", domain(messages=1, down_since=NOW - 14 * MINUTE), False),
        ("down", domain(messages=1, down_since=NOW - 16 * MINUTE), True),
        ("down", domain(messages=0, down_since=NOW - 16 * MINUTE), None),
        ("held", domain(held_since=NOW - 4 * MINUTE), False),
        ("held", domain(held_since=NOW - 6 * MINUTE), True),
        ("engine", Measured(at=NOW, engines=(EngineState(name="x"),)), None),
        ("engine", Measured(at=NOW, engines=(EngineState(name="x", away_since=NOW - MINUTE),)), False),
        ("lag", Measured(at=NOW, lags=(("x", 29 * SECOND),)), None),
        ("lag", Measured(at=NOW, lags=(("x", 31 * SECOND),)), False),
        ("lag", Measured(at=NOW, lags=(("x", 61 * SECOND),)), True),
        ("work", Measured(at=NOW, work=(WorkState(stream="x"),)), None),
        ("work", Measured(at=NOW, work=(WorkState(stream="x", oldest=NOW - 6 * MINUTE),)), False),
        ("work", Measured(at=NOW, work=(WorkState(stream="x", oldest=NOW - 11 * MINUTE),)), True),
        ("disk", Measured(at=NOW, host="x", disk_free=2 << 30), None),
        ("disk", Measured(at=NOW, host="x", disk_free=(1 << 30) + 1), False),
        ("disk", Measured(at=NOW, host="x", disk_free=(1 << 30) - 1), True),
        ("memory", Measured(at=NOW, memory=(70, 100)), None),
        ("memory", Measured(at=NOW, memory=(75, 100)), False),
        ("memory", Measured(at=NOW, memory=(76, 100)), True),
        ("memory", Measured(at=NOW, memory=(76, 0)), None),
        ("parked", Measured(at=NOW, parked=0), None),
        ("parked", Measured(at=NOW, parked=1), True),
        ("receiver", Measured(at=NOW, receiver=0), None),
        ("receiver", Measured(at=NOW, receiver=NOW - 2 * HOUR), None),
        ("receiver", Measured(at=NOW, receiver=NOW - 4 * HOUR), True),
        ("certificate", Measured(at=NOW, host="x", certificate=NOW + 15 * 24 * HOUR), None),
        ("certificate", Measured(at=NOW, host="x", certificate=NOW - HOUR), True),
        ("archive", Measured(at=NOW, archive=(0, "")), None),
        ("archive", Measured(at=NOW, archive=(NOW - 5 * HOUR, "")), False),
        ("archive", Measured(at=NOW, archive=(NOW - 7 * HOUR, "")), True),
    ],
)
def test_a_rule_has_a_limit_and_a_lower_one(rule, measured, expected):
    found = {one.rule: one.wrong for one in assess(measured, Settings()).samples}
    assert found.get(rule) is expected


def test_a_gateway_that_was_stopped_for_hours_has_a_minute_to_catch_up():
    found = {one.rule: one.lasting for one in assess(ALL_WRONG, Settings()).samples}
    assert {rule for rule, lasting in found.items() if lasting == MINUTE} == {
        "oldest", "down", "held", "engine", "lag", "work", "receiver", "memory",
    }  # fmt: skip
    short = assess(ALL_WRONG, Settings(alert_down=Duration(2 * SECOND))).samples
    assert [one.lasting for one in short if one.rule == "down"] == [2 * SECOND]


def test_words_of_a_server_are_one_harmless_line():
    measured = domain(messages=1, down_since=NOW - HOUR, said="451 \x1b[2Jcome\r\nback " + "x" * 2000)
    (sample,) = [one for one in assess(measured, Settings()).samples if one.rule == "down"]
    assert sample.detail.startswith("451 \\x1b[2Jcome back x")
    assert len(sample.detail) == 500


def test_what_one_machine_measures_of_itself_says_nothing_of_another():
    found = assess(msgspec.structs.replace(ALL_WRONG, host="mx2.example.net"), OFF)
    for rule in LOCAL:
        assert found.covers(rule, "mx2.example.net")
        assert not found.covers(rule, "mx1.example.net")
