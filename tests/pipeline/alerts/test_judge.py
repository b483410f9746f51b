"""When an alert is raised and when it is over: each in turn, whatever is measured in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alerts.judge import judge
from pipeline.alerts.model import Alert, Assessment, Sample
from pipeline.alerts.notices import Way
from pipeline.alerts.steps import over_step, raised_step

RULES = ("waiting", "memory")
COVERED = frozenset(RULES)


def sample(rule="waiting", what="a", *, wrong=True, lasting=0):
    return Sample(rule=rule, what=what, wrong=wrong, lasting=lasting)


def alert(rule="waiting", what="a", since=1):
    return Alert(rule=rule, what=what, since=since, version=1)


@pytest.mark.parametrize(
    ("known", "samples", "covered", "raised", "over"),
    [
        ([], [sample()], COVERED, ["!waiting:a"], []),
        ([], [sample(wrong=False)], COVERED, [], []),
        ([], [sample(lasting=10)], COVERED, [], []),
        ([alert()], [sample()], COVERED, [], []),
        ([alert()], [sample(wrong=False)], COVERED, [], []),
        ([alert()], [], COVERED, [], ["!waiting:a"]),
        ([alert()], [], frozenset({"memory"}), [], []),
        ([alert()], [], frozenset({"waiting:a"}), [], ["!waiting:a"]),
        ([alert()], [], frozenset({"waiting:b"}), [], []),
        ([alert()], [sample(what="b")], COVERED, ["!waiting:b"], ["!waiting:a"]),
    ],
)
def test_what_follows_from_what_is_known_and_what_is_wrong(known, samples, covered, raised, over):
    changes = judge(known, Assessment(tuple(samples), covered), {}, 100)
    assert [one.subject for one in changes.raised] == raised
    assert [one.subject for one in changes.over] == over


def test_what_has_to_last_is_raised_when_it_did_and_begins_anew_when_it_was_well_between():
    wrong, well = Assessment((sample(lasting=10),), COVERED), Assessment((), COVERED)
    pending = judge([], wrong, {}, 100).pending
    assert pending == {"!waiting:a": 100}
    assert judge([], wrong, pending, 109).raised == ()
    assert len(judge([], wrong, pending, 110).raised) == 1
    again = judge([], wrong, judge([], well, pending, 105).pending, 111)
    assert (again.raised, again.pending) == ((), {"!waiting:a": 111})


SAMPLES = st.lists(
    st.builds(
        sample,
        st.sampled_from(RULES),
        st.sampled_from("abc"),
        wrong=st.booleans(),
        lasting=st.sampled_from([0, 0, 5]),
    ),
    unique_by=lambda one: one.subject,
    max_size=6,
).map(tuple)
PASSES = st.lists(
    st.tuples(st.integers(1, 9), SAMPLES, st.sets(st.sampled_from([*RULES, "memory:a"])).map(frozenset)), max_size=40
)


@given(PASSES)
def test_raised_and_over_follow_each_other_and_nothing_is_told_twice(passes):
    known: dict[str, Alert] = {}
    pending: dict[str, int] = {}
    told: dict[str, list[str]] = {}
    now = 0
    for later, samples, covered in passes:
        now += later
        changes = judge(known.values(), Assessment(samples, covered), pending, now)
        pending = dict(changes.pending)
        for one in changes.raised:
            assert one.wrong
            told.setdefault(one.subject, []).append("raised")
            known[one.subject] = alert(one.rule, one.what, now)
        for one in changes.over:
            told.setdefault(one.subject, []).append("over")
            del known[one.subject]
        spoken = {one.subject for one in samples}
        for one in known.values():
            assert (
                one.subject in spoken or not Assessment(samples, covered).covers(one.rule, one.what) or one.since == now
            )
    for history in told.values():
        assert history == [("raised", "over")[place % 2] for place in range(len(history))]


def test_who_was_told_of_an_alert_is_told_when_it_is_over():
    ways = [Way("mail", "ops@elsewhere.example"), Way("contact", "böse:x@elsewhere.example", "de"), Way("webhook")]
    assert [Way.read(way.written()) for way in ways] == ways
    raised = raised_step(sample(), None, ways, now=10**18, partitions=8)
    over = over_step(
        Alert(rule="waiting", what="a", since=10**18, version=1, told=tuple(way.written() for way in ways)),
        now=10**18 + 1, partitions=8,
    )  # fmt: skip
    assert [effect[0] for effect in raised.effects] == ["PERSIST", "ZADD", *["HSET", "ZADD"] * 3]
    assert [effect[0] for effect in over.effects] == ["PEXPIRE", "ZREM", *["HSET", "ZADD"] * 3]
    ids = [effect[2] for step in (raised, over) for effect in step.effects if effect[0] == "HSET"]
    assert len(set(ids)) == 6
