"""What follows from what: the same as the state machine says, with nothing remembered of what is over."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.entries import Entry
from pipeline.audit.subjects import Filter, Subjects
from pipeline.events import Delivered, Queued, Received, Recorded, Scanned, encode
from pipeline.ids import new_id
from pipeline.state import IllegalStep, Message, evolve
from tests.support.examples import AT, event, received
from tests.support.histories import impossible, legal, recorded

BITS = 1 << 16


def entry(one: Recorded) -> Entry:
    return Entry(one.partition, one.entry, one.subject, one.version, encode(one.event), one.event)


def wrong(events: list[Recorded], **more) -> list[str]:
    subjects = Subjects(Filter(BITS), **more)
    return [text for one in events if (text := subjects.see(entry(one)))]


@given(st.integers(0, 2**32))
def test_nothing_is_wrong_with_a_legal_history(seed: int):
    assert wrong(legal(random.Random(seed), 6, 80)[0]) == []


@given(st.integers(0, 2**32))
def test_the_first_impossible_step_is_the_one_that_the_state_machine_refuses(seed: int):
    events = [one for one in impossible(random.Random(seed), 20) if not one.subject.startswith("@")]
    subjects, messages = Subjects(Filter(BITS)), dict[str, Message | None]()
    for one in events:
        before = messages.get(one.subject)
        try:
            after = evolve(before, one.event, one.subject)
        except IllegalStep:
            assert subjects.see(entry(one))
            return
        if before is None or before.live:
            assert subjects.see(entry(one)) == ""
        messages[one.subject] = after
        if not after.live:
            return


@given(st.integers(0, 2**32), st.data())
def test_an_event_that_is_missing_doubled_or_moved_is_noticed_unless_it_is_a_subjects_last(seed: int, data):
    events = legal(random.Random(seed), 4, 50)[0]
    last = {one.subject: one.version for one in events}
    place = data.draw(st.sampled_from([at for at, one in enumerate(events) if one.version < last[one.subject]] or [-1]))
    if place < 0:
        return
    assert wrong(events[:place] + events[place + 1 :])
    assert wrong(events[: place + 1] + events[place:])
    following = next(at for at in range(place + 1, len(events)) if events[at].subject == events[place].subject)
    assert wrong([*events[:place], *events[place + 1 : following + 1], events[place], *events[following + 1 :]])


def test_of_a_message_that_is_over_nothing_is_remembered():
    subjects = Subjects(Filter(BITS))
    for number in range(100):
        name = new_id(AT, 0, number)
        for one in recorded(
            [(name, received()), (name, event(Scanned)), (name, event(Queued)), (name, event(Delivered))]
        ):
            assert subjects.see(entry(one)) == ""
    assert not subjects.live
    assert subjects.seen == 100


def test_a_history_that_comes_a_second_time_is_suspected():
    subjects, name = Subjects(Filter(BITS)), new_id(AT, 0, 1)
    events = recorded([(name, received()), (name, event(Scanned)), (name, event(Queued)), (name, event(Delivered))])
    for one in events:
        subjects.see(entry(one))
        assert not subjects.suspect
    subjects.see(entry(events[0]))
    assert subjects.suspect


def test_a_subject_that_is_older_than_what_is_looked_at_may_be_in_the_middle_of_its_history():
    name = new_id(AT, 0, 1)
    events = recorded([(name, received()), (name, event(Scanned)), (name, event(Queued)), (name, event(Delivered))])
    assert wrong(events[2:]) == [f"{name} begins with queued"] or "missing" in wrong(events[2:])[0]
    assert wrong(events[2:], begin=AT // 1_000_000 + 1) == []
    assert wrong([events[1], events[3]], begin=AT // 1_000_000 + 1) == [
        f"version 4 of {name} follows version 2: version 3 is missing"
    ]
    assert wrong(events[2:], begin=AT // 1_000_000 - 3_600_000)


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_is_at_least_one(version: int):
    one = recorded([(new_id(AT, 0, 1), received())])[0]
    assert f"as version {version}" in wrong([Recorded(0, one.entry, one.subject, version, one.event)])[0]


def test_somebody_who_is_no_recipient_is_noticed():
    name = new_id(AT, 0, 1)
    events = recorded([(name, received()), (name, event(Scanned)), (name, event(Queued, ("x@y.test",)))])
    assert "no recipient" in wrong(events)[0]
    assert isinstance(events[0].event, Received)
