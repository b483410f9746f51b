"""Where a command goes in a Cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from pipeline.topology.routing import key_of, slot_of


@given(st.binary(max_size=30) | st.text("{}ab", max_size=8).map(str.encode))
def test_a_key_is_in_the_slot_that_the_library_says(key):
    assert slot_of(key) == key_slot(key)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("HGET", "h", "f"), "h"),
        (("EVALSHA", "sha", 2, "a", "b", 1), "a"),
        (("EVAL", "return 1", 0), None),
        ((b"XREAD", "COUNT", 5, "STREAMS", "s", "t", "0", "0"), "s"),
        (("XREADGROUP", b"GROUP", "g", "c", b"STREAMS", "s", ">"), "s"),
        (("XGROUP CREATE", "s", "g", "0"), "s"),
        (("MEMORY USAGE", "k", "SAMPLES", 5), "k"),
        (("PUBLISH", "channel", "word"), "channel"),
        (("INFO", "memory"), None),
        (("CONFIG GET", "maxmemory"), None),
        (("PING",), None),
    ],
)
def test_the_first_key_of_a_command(words, key):
    assert key_of(words) == key
