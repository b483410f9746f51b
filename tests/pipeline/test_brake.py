"""How much receivers slow down, by what waits."""

from __future__ import annotations

import pytest

from pipeline.brake import FREE, Brake, Load, Marks, decide
from pipeline.settings import Settings
from pipeline.units import Duration

MARKS = Marks(scanning=100, sending=1000, delay=2.0)
CLOSED = Brake(2.0, closed=True, reason="before")


@pytest.mark.parametrize(
    ("load", "before", "delay", "closed"),
    [
        (Load(), FREE, 0, False),
        (Load(scanning=100), FREE, 0, False),
        (Load(scanning=250), FREE, 1.0, False),
        (Load(scanning=399), FREE, 1.99, False),
        (Load(scanning=400), FREE, 2.0, True),
        (Load(scanning=40_000), FREE, 2.0, True),
        # Who was refused is let in when half of it is gone, and not a message earlier.
        (Load(scanning=200), CLOSED, 2.0, True),
        (Load(scanning=199), CLOSED, 0.66, False),
        (Load(scanning=100), CLOSED, 0, False),
        # What waits for servers slows a busy machine only, and is never refused for.
        (Load(sending=5000, busy=0.9), FREE, 0, False),
        (Load(sending=1000, busy=3), FREE, 0, False),
        (Load(sending=1500, busy=1.0), FREE, 1.0, False),
        (Load(sending=500_000, busy=9), FREE, 2.0, False),
        # The worse of the two counts.
        (Load(scanning=160, sending=1500, busy=2), FREE, 1.0, False),
        (Load(scanning=325, sending=1500, busy=2), FREE, 1.5, False),
    ],
)
def test_the_answer_is_later_the_more_waits_and_refused_is_only_what_we_cannot_scan(load, before, delay, closed):
    found = decide(load, MARKS, before)
    assert found.delay == pytest.approx(delay, abs=0.01)
    assert found.closed is closed
    assert bool(found.reason) == bool(delay)


@pytest.mark.parametrize("load", [Load(scanning=10**9), Load(sending=10**9, busy=99)])
def test_a_mark_of_nothing_never_slows(load):
    assert decide(load, Marks(scanning=0, sending=0, delay=2.0)) is FREE


def test_without_a_delay_mail_is_refused_at_the_same_mark():
    marks = Marks.of(Settings(brake_scanning=10, brake_delay=Duration(0)))
    assert not decide(Load(scanning=39), marks).closed
    assert decide(Load(scanning=40), marks).closed
