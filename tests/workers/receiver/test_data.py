"""The DATA decoder, against one that reads octet by octet and is too simple to be wrong."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.receiver.data import END, DataDecoder

PIECES = [b"\r", b"\n", b".", b"\0", b"a", b"bc\xff", b"\r\n", b"\r\n.", b"\r\n..", b".\r\n", END, b"\n.\n", b"\r.\r"]
streams = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)


def naive(stream: bytes) -> tuple[bytes, bytes, bool, bool]:
    """(content, rest, bare newline seen, NUL seen) of a stream that is known to have an end."""
    content, line, bare = b"", b"", False
    position = 0
    while True:
        if stream[position : position + 2] == b"\r\n":
            position += 2
            if line == b".":
                return content, stream[position:], bare, b"\0" in content
            content += line.removeprefix(b".") + b"\r\n"
            line = b""
        else:
            bare |= stream[position] in b"\r\n"
            line += stream[position : position + 1]
            position += 1


def normalised(content: bytes) -> bytes:
    out = b""
    position = 0
    while position < len(content):
        if content[position : position + 2] == b"\r\n":
            out += b"\r\n"
            position += 2
            continue
        octet = content[position : position + 1]
        out += {b"\r": b"\r\n", b"\n": b"\r\n", b"\0": b""}.get(octet, octet)
        position += 1
    return out


def decode(stream: bytes, cuts: list[int], *, normalise: bool = False) -> tuple[bytes, bytes | None, DataDecoder]:
    """Everything through one decoder, cut at `cuts`; what was never fed belongs to the rest."""
    decoder = DataDecoder(normalise=normalise)
    content = b""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in itertools.pairwise(edges):
        more, rest = decoder.feed(stream[start:stop])
        content += bytes(more)
        assert decoder.size == len(content)
        if rest is not None:
            return content, rest + stream[stop:], decoder
    return content, None, decoder


@given(streams, st.lists(st.integers(0, 120), max_size=12))
def test_any_stream_cut_anywhere_decodes_as_octet_by_octet(stream, cuts):
    stream += b"\r\n" + END + b"RSET\r\n"
    content, rest, bare, nul = naive(stream)
    got, got_rest, decoder = decode(stream, cuts)
    assert (got, got_rest, decoder.bare, decoder.nul) == (content, rest, bare, nul)


@given(streams, st.lists(st.integers(0, 120), max_size=12))
def test_normalising_leaves_only_crlf_and_no_nul_wherever_the_stream_is_cut(stream, cuts):
    stream += b"\r\n" + END
    content, rest, _, _ = naive(stream)
    got, got_rest, _ = decode(stream, cuts, normalise=True)
    assert got_rest == rest
    assert b"\0" not in got
    assert got.count(b"\r") == got.count(b"\n") == got.count(b"\r\n")
    assert got == normalised(content)


@given(streams)
def test_one_octet_at_a_time_is_no_different(stream):
    stream += b"\r\n" + END + b"x"
    content, rest, bare, nul = naive(stream)
    got, got_rest, decoder = decode(stream, list(range(len(stream))))
    assert (got, got_rest, decoder.bare, decoder.nul) == (content, rest, bare, nul)


@given(streams)
def test_a_stream_without_the_end_never_ends(stream):
    stream = (b"\r\n" + stream).replace(END, b"").removeprefix(b"\r\n")
    if END not in b"\r\n" + stream:
        assert decode(stream, [])[1] is None


@given(st.binary(max_size=300))
def test_content_that_was_stuffed_comes_out_as_it_went_in(content):
    lines = content.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
    stuffed = (b"\r\n" + lines).replace(b"\r\n.", b"\r\n..").removeprefix(b"\r\n")
    got, rest, decoder = decode(stuffed + b".\r\n", [7, 11])
    assert (got, rest, decoder.bare) == (lines, b"", False)


@pytest.mark.parametrize(
    "almost",
    [
        b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
        b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\n.\n\r\n", b"\n\r.\r\n",
    ],
)  # fmt: skip
def test_what_only_looks_like_an_end_is_content_and_is_noticed(almost):
    got, rest, decoder = decode(b"one" + almost + b"two\r\n.\r\nthree", [])
    assert rest == b"three"
    assert got.startswith(b"one")
    assert got.endswith(b"two\r\n")
    assert decoder.bare or decoder.nul


def test_an_empty_message_ends_at_once():
    assert decode(b".\r\nQUIT\r\n", [])[:2] == (b"", b"QUIT\r\n")
    assert decode(b".\r\n", [1, 2])[:2] == (b"", b"")


def test_a_stuffed_first_line_loses_one_dot():
    assert decode(b"..a\r\n.b\r\n.\r\n", [])[:2] == (b".a\r\nb\r\n", b"")


def test_large_chunks_without_dots_are_not_copied():
    chunk = b"x" * 100_000
    decoder = DataDecoder()
    for _ in range(2):
        content, _ = decoder.feed(chunk)
        assert content.obj is chunk
