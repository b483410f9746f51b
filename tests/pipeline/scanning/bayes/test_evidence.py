"""From counts to a judgement."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scanning.bayes.evidence import (
    FEW,
    GRADES,
    KNOWN,
    MOST,
    UNSURE,
    Counted,
    evidence,
    finding,
    graded,
    probability,
    teaches,
)

numbers = st.integers(0, 10_000)


def counted(*tokens: tuple[float, float], spam: float = 100, ham: float = 100) -> Counted:
    return Counted(spam, ham, list(tokens), int(spam + ham))


@pytest.mark.parametrize(
    "nothing", [counted(), counted((3, 0), spam=0), counted((3, 0), ham=0), counted((50, 50), (0, 0))]
)
def test_where_nothing_is_known_nothing_is_said(nothing):
    assert evidence(nothing) == 0.0
    assert finding(nothing, 5.0) is None


def test_words_of_one_kind_are_evidence_for_it_and_more_of_them_are_more():
    one, many = evidence(counted((20, 0))), evidence(counted(*[(20, 0)] * 9))
    assert 0 < one < many
    assert many == pytest.approx(3 * one)
    assert evidence(counted((0, 20))) == pytest.approx(-one)


def test_a_word_seen_once_says_less_than_one_seen_often():
    assert evidence(counted((1, 0))) < evidence(counted((10, 0)))


def test_frequencies_count_and_not_numbers():
    assert evidence(counted((10, 10), spam=1000, ham=10)) < 0
    assert evidence(counted((10, 10), spam=10, ham=1000)) > 0


def test_of_many_words_those_that_say_most_count():
    strong = [(90, 0)] * MOST
    assert evidence(counted(*strong, *[(60, 40)] * 500)) == pytest.approx(evidence(counted(*strong)))


@given(st.lists(st.tuples(numbers, numbers), max_size=400), numbers, numbers)
def test_any_counts_have_a_judgement_that_is_a_number(tokens, spam, ham):
    found = evidence(Counted(spam, ham, [(float(bad), float(good)) for bad, good in tokens], spam + ham))
    assert math.isfinite(found)
    assert 0 <= probability(found) <= 1
    assert GRADES[0][1] <= graded(found) <= GRADES[-1][1]


def test_the_score_grows_with_the_evidence_and_stays_below_the_threshold_but_for_the_surest():
    steps = [graded(step / 10) for step in range(-60, 70)]
    assert steps == sorted(steps)
    assert graded(KNOWN - 0.5) < 1
    assert graded(100) == 1


def test_what_is_found_is_said_in_words():
    found = finding(counted(*[(40, 0)] * 4), 5.0)
    assert (found.name, found.kind) == ("BAYES_SPAM", "spam")
    assert found.text == "words as in mail that was marked as spam: probability over 0.999, learnt from 200 messages"
    assert 0 < found.score <= 5.0
    good = finding(counted((0, 8), (5, 1), (0, 2)), 5.0)
    assert good.name == "BAYES_HAM"
    assert good.text.startswith("words as in mail that is wanted: probability 0.9")
    assert good.score < 0


def test_what_is_in_doubt_is_not_said():
    assert abs(evidence(counted((3, 2), (2, 3), (3, 2)))) < UNSURE
    assert finding(counted((3, 2), (2, 3), (3, 2)), 5.0) is None


def test_only_what_is_in_doubt_or_mistaken_teaches_something():
    sure = counted(*[(40, 0)] * 9)
    assert not teaches(sure, spam=True)
    assert teaches(sure, spam=False)
    assert teaches(counted((60, 40)), spam=True)
    assert teaches(counted(*[(40, 0)] * 9, spam=FEW - 1), spam=True)
