"""From findings to classes, as tables and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Finding
from pipeline.scanning.verdict import add_up, classes


def finding(kind: str, score: float, engine: str = "") -> Finding:
    return Finding(name=f"{kind}_{score}".upper(), score=score, kind=kind, engine=engine)


def found(*scores: tuple) -> list[Finding]:
    return [finding(*each) for each in scores]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], "clean"),
        ([("spam", 4.99)], "clean"),
        ([("spam", 5.0)], "spam"),
        ([("spam", 2.5), ("spam", 2.5)], "spam"),
        ([("spam", 8.0), ("spam", -4.0)], "clean"),
        ([("phishing", 3.9)], "clean"),
        ([("phishing", 4.0)], "phishing"),
        ([("phishing", 2.0), ("spoof", 2.0)], "phishing spoof"),
        ([("spoof", 3.0), ("phishing", 1.0)], "spoof phishing"),
        ([("phishing", 4.0), ("spam", -1.0)], "clean"),
        ([("phishing", 4.0), ("spam", 1.0)], "phishing spam"),
        ([("phishing", 3.0), ("spam", 2.0)], "spam"),
        ([("spoof", 5.0), ("phishing", -3.0)], "clean"),
        ([("spoof", 6.0), ("phishing", -1.0)], "spoof spam"),
        ([("content", 4.9)], "clean"),
        ([("content", 2.0), ("spam", 3.0)], "spam"),
        ([("content", 5.0)], "content"),
        ([("virus", 100.0)], "virus"),
        ([("virus", 100.0), ("spam", 5.0)], "virus spam"),
        ([("content", 5.0), ("spam", -9.0)], "content"),
        ([("content", 0.0)], "clean"),
        ([("virus", 0.1)], "virus"),
        ([("virus", 0.0)], "clean"),
        ([("virus", 1.0), ("spam", -50.0)], "virus"),
        ([("content", 10.0), ("virus", 1.0), ("spam", 100.0)], "virus content spam"),
        ([("bulk", 0.1)], "bulk"),
        ([("bulk", 50.0)], "bulk"),
        ([("bulk", 1.0), ("spam", 4.9)], "bulk"),
        ([("bulk", 1.0), ("spam", 5.0)], "spam bulk"),
        ([("bulk", 0.0)], "clean"),
        ([("a kind of tomorrow", 9.0)], "spam"),
    ],
)
def test_the_classes_follow_from_kinds_and_scores(scores, expected):
    assert " ".join(classes(add_up(found(*scores)), 5.0, 4.0)) == expected


@pytest.mark.parametrize(
    ("scores", "score", "engine", "others"),
    [
        ([("spam", 3.0), ("spam", 4.0, "rspamd")], 7.0, "rspamd", ()),
        ([("spam", 1.0), ("spam", 4.0, "rspamd"), ("spam", 4.5, "spamassassin")], 5.5, "spamassassin", ("rspamd",)),
        ([("spam", 1.0), ("spam", -3.0, "rspamd")], -2.0, "rspamd", ()),
        ([("spam", 1.0), ("spam", -3.0, "rspamd"), ("spam", 0.5, "spamassassin")], 1.5, "spamassassin", ("rspamd",)),
        ([("spam", 1.0), ("spam", 0.0, "rspamd")], 1.0, "", ()),
        ([("spam", 1.0), ("spam", 2.0, "rspamd"), ("phishing", 1.5, "rspamd")], 4.5, "rspamd", ()),
        ([("bulk", 9.0), ("spam", 1.0), ("bulk", 9.0, "rspamd")], 1.0, "rspamd", ()),
    ],
)
def test_of_the_engines_outside_the_one_that_says_most_is_added(scores, score, engine, others):
    sums = add_up(found(*scores))
    assert (sums.score, sums.engine, sums.others) == (score, engine, others)


def test_a_virus_that_any_engine_finds_is_one_whatever_another_one_says():
    assert classes(add_up(found(("virus", 1.0, "clamav"), ("spam", 40.0, "rspamd"))), 5.0, 4.0)[0] == "virus"


SCORES = st.floats(-20, 20, allow_nan=False).map(lambda value: round(value, 1))
FINDINGS = st.lists(
    st.builds(
        finding,
        st.sampled_from(["bulk", "spam", "phishing", "spoof", "content", "virus"]),
        SCORES,
        st.sampled_from(["", "", "rspamd", "spamassassin", "clamav"]),
    ),
    max_size=8,
)


@given(FINDINGS, st.randoms())
def test_the_order_of_findings_does_not_matter(some, random):
    other = list(some)
    random.shuffle(other)
    assert classes(add_up(some), 5.0, 4.0) == classes(add_up(other), 5.0, 4.0)


@given(FINDINGS, FINDINGS, st.floats(0.1, 20))
def test_a_finding_more_never_takes_a_class_away(some, others, more):
    before = set(classes(add_up([*some, *others]), 5.0, 4.0)) - {"clean"}
    for kind in ("bulk", "spam", "phishing", "spoof", "content", "virus"):
        assert before <= set(classes(add_up([*some, finding(kind, round(more, 1)), *others]), 5.0, 4.0))
