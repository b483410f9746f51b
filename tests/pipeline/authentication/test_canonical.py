"""Canonicalisation: the same octets as dkimpy's, whatever the chunks are."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import threading
import tracemalloc
from itertools import repeat

import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.canonical import (
    CHUNK,
    IN_THREAD,
    Body,
    BodyHash,
    Canonical,
    Fields,
    Wanted,
    body_hashes,
    compress,
    relaxed_field,
)
from pipeline.mime import Header
from tests.support.mail import mapped, noise

PIECES = [
    b"a",
    b"word",
    b" ",
    b"  ",
    b"\t",
    b" \t ",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b" \r\n",
    b".",
    b"\xc3\xa9",
    b"\0",
]
BODIES = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


def canonical(body: bytes, *, relaxed: bool, chunk: int = CHUNK) -> bytes:
    form = Canonical(relaxed=relaxed)
    out = [piece for at in range(0, len(body), chunk) for piece in form.feed(body[at : at + chunk])]
    return b"".join([*out, *form.finish()])


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# Bodies


@given(BODIES, st.integers(1, 50), st.booleans())
def test_any_chunking_gives_the_same_octets(body, chunk, relaxed):
    assert canonical(body, relaxed=relaxed, chunk=chunk) == canonical(body, relaxed=relaxed, chunk=max(len(body), 1))


@given(BODIES, st.integers(1, 50))
def test_the_simple_form_is_dkimpys(body, chunk):
    assert canonical(body, relaxed=False, chunk=chunk) == Simple.canonicalize_body(body)


@given(BODIES.filter(lambda body: not body.endswith((b" ", b"\t"))), st.integers(1, 50))
def test_the_relaxed_form_is_dkimpys(body, chunk):
    assert canonical(body, relaxed=True, chunk=chunk) == Relaxed.canonicalize_body(body)


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n"]), max_size=12).map(b"".join))
def test_white_space_at_the_end_of_a_body_counts_as_at_the_end_of_a_line(body):
    """dkimpy keeps it where no CRLF follows; RFC 6376 3.4.4 ignores it at the end of lines, and OpenDKIM does."""
    assert canonical(body, relaxed=True) == canonical(body + b"\r\n", relaxed=True)


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n\r\n", b"\r\n", b""),
        (b" \t\r\n\t \r\n", b" \t\r\n\t \r\n", b""),
        (b"  ", b"  \r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a \t b\t\r\n\r\n", b"a \t b\t\r\n", b"a b\r\n"),
        (b" a\r\n", b" a\r\n", b" a\r\n"),
        (b"\ta\r\n", b"\ta\r\n", b" a\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a\r", b"a\r\r\n", b"a\r\r\n"),
        (b"a \r", b"a \r\r\n", b"a \r\r\n"),
        (b"a\n\n", b"a\n\n\r\n", b"a\n\n\r\n"),
        (b"a\r\n\n\r\n", b"a\r\n\n\r\n", b"a\r\n\n\r\n"),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.5
    ],
)
def test_the_edges_of_both_forms(body, simple, relaxed):
    for chunk in (1, 2, 3, CHUNK):
        assert canonical(body, relaxed=False, chunk=chunk) == simple
        assert canonical(body, relaxed=True, chunk=chunk) == relaxed


@pytest.mark.parametrize("end", [b"", b"\r\n" * 5, b" \t \r\n \r\n\r\n", b"   ", b" \r", b"\r", b"\r\n\r"])
@pytest.mark.parametrize("shift", range(-4, 5))
def test_nothing_is_lost_or_doubled_where_two_chunks_meet(end, shift):
    body = b"x" * (CHUNK + shift) + end + b"next  line \r\n" + b"y" * (CHUNK + shift) + end
    whole = max(len(body), 1)
    for relaxed in (False, True):
        assert canonical(body, relaxed=relaxed) == canonical(body, relaxed=relaxed, chunk=whole)


def test_the_hashes_of_an_empty_body_are_those_of_the_rfc():
    """RFC 6376 3.4.3 and 3.4.4."""
    found = body_hashes(b"", 0, {Wanted(relaxed=False), Wanted(relaxed=True)})
    assert {want.relaxed: base64.b64encode(got.digest) for want, got in found.items()} == {
        False: b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=",
        True: b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    }
    assert {want.relaxed: got.octets for want, got in found.items()} == {False: 2, True: 0}


@given(BODIES, st.lists(st.integers(0, 60), max_size=5), st.integers(1, 50))
def test_one_pass_gives_every_hash_that_is_wanted(body, limits, chunk):
    wanted = {Wanted(relaxed, limit) for relaxed in (False, True) for limit in (None, *limits)}
    found = body_hashes(b"head" + body, 4, wanted, chunk)
    assert found.keys() == wanted
    for want, got in found.items():
        form = canonical(body, relaxed=want.relaxed)
        assert got.octets == len(form)
        if want.limit is None:
            assert got.digest == sha(form)
        else:
            assert got.digest == (sha(form[: want.limit]) if want.limit <= len(form) else b"")


def test_a_hash_of_a_beginning_alone_still_tells_the_length_of_the_whole():
    assert body_hashes(b"abc\r\n", 0, {Wanted(relaxed=True, limit=1)}) == {Wanted(True, 1): BodyHash(sha(b"a"), 5)}


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: noise(34 << 20),
        lambda: repeat(b"\r\n" * 32768, 544),
        lambda: repeat(b" " * 65536, 544),
        lambda: repeat(b"\t \r\n" * 16384, 544),
        lambda: [b"x", *repeat(b"\r\n" * 32768, 543), b"y"],
    ],
    ids=["base64", "empty lines", "one space", "white lines", "empty lines between"],
)
def test_a_body_of_34_mib_is_hashed_in_little_memory(tmp_path, pieces):
    content = mapped(tmp_path / "body", pieces())
    wanted = {Wanted(relaxed=False), Wanted(relaxed=True), Wanted(relaxed=True, limit=1000)}
    tracemalloc.start()
    try:
        found = body_hashes(content, 0, wanted)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert found[Wanted(relaxed=False)].digest == sha(canonical(content[:], relaxed=False, chunk=len(content)))
    assert found[Wanted(relaxed=True)].digest == sha(canonical(content[:], relaxed=True, chunk=len(content)))
    content.close()


async def test_a_hash_is_computed_once_whoever_asks(monkeypatch):
    asked = []

    def counted(content, start, wanted):
        asked.extend(wanted)
        return body_hashes(content, start, wanted)

    monkeypatch.setattr("pipeline.authentication.canonical.body_hashes", counted)
    for size in (100, IN_THREAD + 1):
        asked.clear()
        body = Body(b"x" * size, 0)
        assert body.is_large == (size > IN_THREAD)
        for _ in range(3):
            found = await body.hashes({Wanted(relaxed=True), Wanted(relaxed=False)})
        assert found[Wanted(relaxed=True)].digest == sha(b"x" * size + b"\r\n")
        assert sorted(asked, key=str) == [Wanted(relaxed=False), Wanted(relaxed=True)]


async def test_those_who_ask_at_once_share_one_look_at_a_large_body(monkeypatch):
    asked = []
    together = threading.Barrier(2)

    def watched(content, start, wanted):
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.2)  # for a second look at the same time, which must not come
        asked.extend(wanted)
        return body_hashes(content, start, wanted)

    monkeypatch.setattr("pipeline.authentication.canonical.body_hashes", watched)
    body = Body(b"x" * (IN_THREAD + 1), 0)
    simple, relaxed = Wanted(relaxed=False), Wanted(relaxed=True)
    found = await asyncio.gather(body.hashes({relaxed}), body.hashes({relaxed}), body.hashes({relaxed, simple}))
    assert found[0][relaxed] == found[2][simple]
    assert asked == [relaxed, simple]


# Header fields


NAMES = st.sampled_from([b"A", b"Subject", b"X-Y", b"sUBJECT "])
VALUES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"  ", b"\r\n ", b"\r\n\t", b":", b"\xc3\xa9"]), max_size=12).map(
    b"".join
)


@given(NAMES, VALUES)
def test_the_relaxed_form_of_a_field_is_dkimpys(name, value):
    ((theirs, rest),) = Relaxed.canonicalize_headers([(name, value + b"\r\n")])
    assert relaxed_field(name + b":" + value + b"\r\n") == theirs + b":" + rest


def test_the_example_of_the_rfc():
    """RFC 6376 3.4.5."""
    header = Header(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n")
    fields = Fields(header)
    assert fields.canonical(0, relaxed=True) + fields.canonical(1, relaxed=True) == b"a:X\r\nb:Y Z\r\n"
    assert fields.canonical(0, relaxed=False) + fields.canonical(1, relaxed=False) == b"A: X\r\nB : Y\t\r\n\tZ  \r\n"


def test_the_last_field_of_a_message_without_a_body_gets_its_line_end():
    fields = Fields(Header(b"A: x\r\nB: y"))
    assert fields.canonical(1, relaxed=False) == b"B: y\r\n"
    assert fields.canonical(1, relaxed=True) == b"b:y\r\n"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ([b"a"], [3]),
        ([b"a", b"a"], [3, 1]),
        ([b"a", b"b", b"a", b"a"], [3, 2, 1, 0]),
        ([b"a"] * 10, [3, 1, 0]),
        ([b"none", b"b", b"b"], [2]),
        ([b"c", b"c", b"c"], [6, 4]),
    ],
)
def test_fields_are_taken_from_the_bottom_up(names, chosen):
    fields = Fields(Header(b"A: 0\r\nA: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\nC: 5\r\nC: 6\r\n\r\n"))
    assert fields.select(names, own=5) == chosen


def test_runs_of_a_million_spaces_are_one_space():
    assert compress(b"a" + b" \t" * 500_000 + b"b") == b"a b"
