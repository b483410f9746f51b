"""Message ids: sortable, speakable, and they know where they belong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ids import ALPHABET, LENGTH, born, derived_id, is_id, new_id, partition_for, partition_of

times = st.integers(0, (1 << 45) - 1)
partitions = st.integers(0, 1023)


@given(times, partitions)
def test_an_id_says_when_it_was_made_and_where_it_lives(ms, partition):
    made = new_id(ms * 1_000_000, partition)
    assert len(made) == LENGTH
    assert set(made) <= set(ALPHABET)
    assert is_id(made)
    assert (born(made), partition_of(made)) == (ms, partition)


@given(times, times, partitions)
def test_ids_sort_by_time(first, second, partition):
    if first < second:
        assert new_id(first * 1_000_000, partition) < new_id(second * 1_000_000, partition)


def test_a_derived_id_is_the_same_for_everybody_and_another_for_another_cause():
    assert derived_id(5, 3, "a") == derived_id(5, 3, "a")
    assert derived_id(5, 3, "a") != derived_id(5, 3, "b")


def test_what_is_not_an_id_is_known():
    for text in ("", "x", "i" * 22, "A" * 22, "0" * 21, "../../etc/passwd000000"):
        assert not is_id(text)


def test_a_domain_stays_in_its_partition_forever():
    assert [partition_for(name, 8) for name in ("example.com", "example.test", "xn--bcher-kva.example")] == [3, 7, 7]
