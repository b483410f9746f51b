"""What follows when somebody says what a message is."""

from __future__ import annotations

import msgspec
import pytest

from pipeline import keys
from pipeline.events import decode
from pipeline.ids import new_id, partition_for
from pipeline.learning import Lesson, Said, changes, decode_lesson, lesson_step
from tests.support.examples import AT, DOMAIN

SUBJECT = new_id(AT, 1, 7)


def said(spam: bool | None) -> Said:
    return Said(domain=DOMAIN, digest="ab12", spam=spam, by="cli:anna", how="reported", message="an id")


def step(spam, known=None):
    return lesson_step(said(spam), known, tokens=b"new", before=b"old", now=AT, partitions=8, subject=SUBJECT)


@pytest.mark.parametrize(
    ("known", "now", "news"),
    [
        (None, True, True), (None, False, True), (None, None, False), (True, True, False), (True, False, True),
        (True, None, True), (False, True, True), (False, False, False), (False, None, True),
    ],
)  # fmt: skip
def test_what_is_news(known, now, news):
    lesson = Lesson(SUBJECT, known, AT, 1) if known is not None else None
    assert changes(lesson, said(now)) is news


def test_the_first_word_is_one_event_and_a_head_that_ends_some_day():
    first = step(True)
    partition = partition_for(DOMAIN, 8)
    assert (first.head, first.log) == (keys.learned(partition, DOMAIN, "ab12"), keys.log(partition))
    (event,) = map(decode, first.events)
    assert (event.spam, event.tokens, event.undone, event.by, event.message) == (
        True,
        b"new",
        False,
        "cli:anna",
        "an id",
    )
    assert decode_lesson(first.state) == Lesson(SUBJECT, True, AT, 1)
    assert (first.expected, first.subject, first.effects[0][0]) == (0, SUBJECT, "PEXPIRE")


def test_another_word_takes_the_first_back_in_the_same_step():
    moved = step(False, Lesson(SUBJECT, True, AT - 5, 1))
    assert [(one.spam, one.undone, one.tokens) for one in map(decode, moved.events)] == [
        (True, True, b"old"),
        (False, False, b"new"),
    ]
    assert decode_lesson(moved.state) == Lesson(SUBJECT, False, AT, 3)
    assert moved.expected == 1


def test_what_is_taken_back_leaves_no_head():
    gone = step(None, Lesson(SUBJECT, False, AT - 5, 3))
    (event,) = map(decode, gone.events)
    assert (event.spam, event.undone, event.tokens) == (False, True, b"old")
    assert (gone.state, gone.effects, gone.expected) == (b"", (), 3)


def test_a_head_that_is_none_is_told_by_one_kind_of_error():
    with pytest.raises(msgspec.DecodeError):
        decode_lesson(b"\xc1")
