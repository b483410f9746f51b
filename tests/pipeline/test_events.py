"""The vocabulary: every event ever shipped decodes forever.

`tests/golden/events.txt` holds a line per event: its name, its bytes in hexadecimal. Lines are added, never changed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.events import ALL_EVENTS, Received, decode, encode
from pipeline.units import Endpoint, SourceAddress
from tests.support.examples import ONE_OF_EACH

GOLDEN = Path(__file__).parents[1] / "golden" / "events.txt"
LINES = [line.split() for line in GOLDEN.read_text("ascii").splitlines() if line and not line.startswith("#")]


def test_there_is_an_example_and_a_golden_line_of_every_event():
    assert {type(example) for example in ONE_OF_EACH} == set(ALL_EVENTS)
    assert {name for name, _ in LINES} == {kind.__name__ for kind in ALL_EVENTS}


@pytest.mark.parametrize(("name", "golden"), LINES)
def test_golden_bytes_decode_to_what_they_meant(name, golden):
    decoded = decode(bytes.fromhex(golden))
    assert type(decoded).__name__ == name
    (example,) = [example for example in ONE_OF_EACH if type(example).__name__ == name]
    assert decoded == example


@pytest.mark.parametrize("example", ONE_OF_EACH, ids=lambda example: type(example).__name__)
def test_an_event_is_written_as_it_always_was(example):
    assert [type(example).__name__, encode(example).hex()] in LINES


def test_a_field_that_a_newer_version_added_does_not_disturb():
    data = msgspec.msgpack.decode(encode(ONE_OF_EACH[0]))
    data["later"] = 1
    assert isinstance(decode(msgspec.msgpack.encode(data)), Received)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x81\xa1t\xa7unknown", b"\x80", b"not msgpack at all"])
def test_what_is_no_event_is_told_by_one_kind_of_error(data):
    with pytest.raises(msgspec.DecodeError):
        decode(data)


@pytest.mark.parametrize("text", [Endpoint("mx.example.test:25"), SourceAddress("192.0.2.1")])
def test_a_text_of_a_type_of_our_own_is_stored_as_text(text):
    event = ONE_OF_EACH[0]
    assert decode(encode(msgspec.structs.replace(event, domain=text))).domain == str(text)
    with pytest.raises(TypeError, match="cannot be stored"):
        encode(msgspec.structs.replace(event, domain=object()))


def test_tags_are_unique():
    tags = [kind.__struct_config__.tag for kind in ALL_EVENTS]
    assert len(set(tags)) == len(tags)
