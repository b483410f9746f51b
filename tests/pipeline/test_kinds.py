"""The kind of an event is told from its octets: from the first few where we wrote it, from all of them where we did not."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import ALL_EVENTS, decode, encode
from pipeline.kinds import kind_of, tag_of
from tests.pipeline.test_events import LINES
from tests.support.examples import ONE_OF_EACH


@pytest.mark.parametrize(("name", "golden"), LINES)
def test_the_kind_of_everything_ever_shipped_is_told_from_its_first_octets(name, golden):
    data = bytes.fromhex(golden)
    found = kind_of(data[: 6 + len(name) + 8])
    assert found is kind_of(data)
    assert found is not None
    assert found.__name__ == name


def test_all_tags_are_short_texts_and_no_two_are_the_same():
    tags = [tag_of(kind) for kind in ALL_EVENTS]
    assert len(set(tags)) == len(tags)
    assert all(len(tag) < 32 for tag in tags)


@pytest.mark.parametrize("example", ONE_OF_EACH, ids=lambda example: type(example).__name__)
def test_an_event_with_many_fields_or_its_tag_elsewhere_is_told_too(example):
    fields = msgspec.msgpack.decode(encode(example))
    many = msgspec.msgpack.encode(fields | {f"new{number}": number for number in range(20)})
    assert many[:1] == b"\xde"
    assert kind_of(many) is type(example)
    tag = fields.pop("t")
    assert kind_of(msgspec.msgpack.encode(fields | {"t": tag})) is type(example)


@given(st.binary(max_size=40))
def test_any_octets_have_a_kind_or_none_and_what_decodes_has_its_own(data):
    assert_told(data)


@given(st.sampled_from(ONE_OF_EACH), st.integers(0, 60), st.binary(min_size=1, max_size=3))
def test_an_event_that_was_damaged_is_of_no_other_kind_than_it_decodes_to(example, place, octets):
    data = encode(example)
    assert_told(data[:place] + octets + data[place + len(octets) :])


def assert_told(data: bytes) -> None:
    found = kind_of(data)
    assert found is None or found in ALL_EVENTS
    with contextlib.suppress(ValueError, msgspec.DecodeError):
        assert type(decode(data)) is found
