"""What is found out once is an attribute from then on."""

from __future__ import annotations

from pipeline.lazy import lazy


class Thing:
    def __init__(self) -> None:
        self.asked = 0

    @lazy
    def known(self) -> int | None:
        """What it is."""
        self.asked += 1


def test_it_is_found_out_at_the_first_look_and_never_again_also_when_it_is_nothing():
    thing = Thing()
    assert (thing.known, thing.known, thing.asked) == (None, None, 1)


def test_each_object_has_its_own_and_may_be_given_it():
    one, other = Thing(), Thing()
    one.known = 7
    assert (one.known, one.asked, other.known, other.asked) == (7, 0, None, 1)


def test_of_the_class_it_says_what_it_is():
    assert Thing.known.__doc__ == "What it is."
