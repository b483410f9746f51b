"""The one state machine: the whole grid of stages and events, and the roll-up of recipients."""

from __future__ import annotations

import itertools

import pytest

from pipeline.events import (
    MESSAGE_EVENTS,
    Deferred,
    Delivered,
    Failed,
    Quarantined,
    Queued,
    Received,
    Released,
    Scanned,
    Undeliverable,
)
from pipeline.state import (
    NEXT,
    TERMINAL,
    IllegalStep,
    Stage,
    decode_head,
    encode_head,
    evolve,
    roll_up,
)
from tests.support.examples import ANNA, AT, BEN, SECOND, event, message_in


@pytest.mark.parametrize(("stage", "kind"), list(itertools.product([None, *Stage], MESSAGE_EVENTS)))
def test_every_cell_of_the_grid_goes_where_the_table_says_or_raises(stage, kind):
    message = None if stage is None else message_in(stage)
    target = NEXT.get((stage, kind))
    if target is None:
        with pytest.raises(IllegalStep):
            evolve(message, event(kind), "x" * 22)
    else:
        after = evolve(message, event(kind), "x" * 22)
        assert after.stage is target
        assert after.version == (message.version if message else 0) + 1


def test_nothing_leaves_a_terminal_stage():
    assert not [cell for cell in NEXT if cell[0] in TERMINAL]


def test_every_stage_and_every_event_is_in_the_table():
    assert set(NEXT.values()) == set(Stage)
    assert {kind for _, kind in NEXT} == set(MESSAGE_EVENTS)


@pytest.mark.parametrize(
    ("stages", "rolled"),
    [
        ("delivered", "delivered"),
        ("delivered delivered", "delivered"),
        ("delivered failed", "failed"),
        ("delivered discarded", "discarded"),
        ("failed discarded delivered", "failed"),
        ("delivered quarantined", "quarantined"),
        ("failed quarantined", "quarantined"),
        ("queued quarantined", "queued"),
        ("queued delivered", "queued"),
        ("queued failed", "queued"),
        ("received", "received"),
    ],
)
def test_the_least_finished_recipient_gives_the_message_its_stage(stages, rolled):
    for order in itertools.permutations(stages.split()):
        assert roll_up(Stage(stage) for stage in order) is Stage(rolled)


def test_recipients_of_one_message_go_their_own_ways():
    message = message_in(Stage.SCANNED, ANNA, BEN)
    message = evolve(message, event(Queued, (ANNA,)))
    message = evolve(message, event(Quarantined, (BEN,)))
    assert message.addresses(Stage.QUEUED) == (ANNA,)
    assert message.addresses(Stage.QUARANTINED) == (BEN,)
    message = evolve(message, event(Delivered, (ANNA,)))
    assert message.live
    assert message.stage is Stage.QUARANTINED
    message = evolve(message, event(Released, (BEN,)))
    message = evolve(message, event(Failed, (BEN,)))
    assert not message.live
    assert message.stage is Stage.FAILED


def test_an_event_that_names_a_stranger_or_nobody_is_refused():
    message = message_in(Stage.QUEUED)
    for recipients in ((BEN,), (ANNA, BEN), ()):
        with pytest.raises(IllegalStep):
            evolve(message, event(Delivered, recipients))


def test_one_recipient_cannot_be_delivered_twice():
    message = evolve(message_in(Stage.QUEUED, ANNA, BEN), event(Delivered, (ANNA,)))
    with pytest.raises(IllegalStep):
        evolve(message, event(Delivered, (ANNA, BEN)))


def test_what_an_event_says_is_kept_in_the_head():
    message = evolve(None, event(Received, (ANNA, BEN)), "y" * 22)
    message = evolve(message, event(Scanned))
    assert (message.verdict, message.subject) == ("clean", "Hello")
    message = evolve(message, event(Queued, (ANNA, BEN)))
    message = evolve(message, event(Deferred, (ANNA,)))
    anna, ben = message.recipients
    assert (anna.tries, ben.tries) == (1, 0)
    assert anna.last is not None
    assert anna.last.reply.count("\n") == 1
    assert message.next_try == AT + 901 * SECOND


def test_why_a_copy_is_kept_leaves_with_it():
    message = evolve(message_in(Stage.QUEUED, ANNA, BEN), event(Undeliverable, (ANNA,)))
    assert [one.unsent for one in message.recipients] == ["null sender", ""]
    assert message.recipients[0].last is not None
    assert [one.unsent for one in evolve(message, event(Released, (ANNA,))).recipients] == ["", ""]


@pytest.mark.parametrize("stage", list(Stage))
def test_a_head_survives_being_stored(stage):
    message = message_in(stage, ANNA, BEN)
    assert decode_head(encode_head(message)) == message
