"""What the classifier's view counts, and that it does so exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Learned
from pipeline.ids import new_id
from projections.base import LESSONS, light
from projections.classifier import BITS, SPAM, Classifier, places, split
from tests.support.examples import AT, DOMAIN
from tests.support.histories import folded, recorded

OTHER = "other.test"
TOKENS = [bytes([0, 0, 0, 0, number]) for number in range(12)]


def learned(spam: bool, *numbers: int, undone: bool = False, domain: str = DOMAIN, by: str = "cli:anna") -> Learned:
    tokens = b"".join(TOKENS[number] for number in numbers)
    return Learned(at=AT, domain=domain, spam=spam, tokens=tokens, by=by, how="taught", undone=undone)


def view(*events: Learned, cuts=()):
    return folded(Classifier(), recorded([(new_id(AT, 0, number), event) for number, event in enumerate(events)]), cuts)


def table(found, domain: str = DOMAIN) -> dict[int, tuple[int, int]]:
    return {place[-1]: split(count) for place, count in found.counts("w:" + domain).items()}


lessons = st.lists(
    st.builds(
        lambda spam, numbers, undone, domain: learned(spam, *numbers, undone=undone, domain=domain),
        st.booleans(), st.lists(st.integers(0, 11), max_size=6), st.booleans(), st.sampled_from([DOMAIN, OTHER, ""]),
    ),
    max_size=40,
)  # fmt: skip


def test_messages_are_counted_by_kind_and_token_for_each_domain():
    found = view(learned(True, 1, 2), learned(True, 2), learned(False, 2, 3), learned(True, 1, domain=""))
    assert table(found) == {1: (1, 0), 2: (2, 1), 3: (0, 1)}
    assert found.counts("d:" + DOMAIN) == {"spam": 2, "ham": 1}
    assert (table(found, ""), found.counts("d:")) == ({1: (1, 0)}, {"spam": 1})


def test_who_said_something_last_is_kept():
    found = view(learned(True, 1), learned(False, 1, by="cli:ben"))
    assert found.hashes["l:" + DOMAIN] == {"at": str(AT), "by": "cli:ben", "how": "taught"}


@given(lessons, st.lists(st.integers(0, 40), max_size=20))
def test_batches_of_any_size_leave_the_same_counts(events, cuts):
    assert view(*events, cuts=cuts).dump() == view(*events, cuts=range(len(events))).dump()


@given(lessons, st.booleans(), st.lists(st.integers(0, 11), max_size=6), st.lists(st.integers(0, 40), max_size=5))
def test_what_is_learnt_and_forgotten_leaves_no_count(events, spam, numbers, cuts):
    both = view(*events, learned(spam, *numbers), learned(spam, *numbers, undone=True), cuts=cuts)
    before = view(*events, cuts=cuts)
    assert table(both) == table(before)
    assert both.counts("d:" + DOMAIN) == before.counts("d:" + DOMAIN)


@given(st.binary(max_size=64))
def test_any_octets_are_tokens_or_none(octets):
    event = Learned(at=AT, domain=DOMAIN, spam=True, tokens=octets, by="x")
    assert len(view(event).counts("w:" + DOMAIN)) <= len(octets) // 5


def test_the_places_of_a_table_are_bounded():
    found = places([bytes([255] * 5), bytes([1, 1, 255, 255, 255]), bytes(5)])
    assert [len(place) for place in found] == [3, 3]
    assert int.from_bytes(found[0], "big") == (1 << BITS) - 1


def test_a_number_holds_both_counts_and_none_is_below_zero():
    assert split(5 * SPAM + 7) == (5, 7)
    assert split(-SPAM) == (0, 0)


def test_many_lessons_are_stored_in_pieces_that_hold_nobody_up():
    events = recorded([(new_id(AT, 0, number), learned(True, 1)) for number in range(LESSONS + 7)])
    assert light(events) == events[:LESSONS]
    assert light(events[:5]) == events[:5]
    assert light([]) == []
