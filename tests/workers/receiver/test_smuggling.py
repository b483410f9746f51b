"""SMTP smuggling: only CR LF . CR LF ends a message, so nothing that a message holds is ever taken for a command.

All ways to put a dot between up to two octets of CR, LF and NUL are tried over the wire (and up to three in the decoder), each
followed by a transaction that another server might execute. What is expected comes from a reader that goes octet by octet.
"""

from __future__ import annotations

import itertools

import pytest

from pipeline.units import Size
from tests.support.hostile import ALMOST, END, SMUGGLED, in_pieces, is_clean, nothing_came
from tests.support.receiver import receiver
from tests.workers.receiver.test_data import decode, naive, normalised

ENVELOPE = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n"
REFUSED = "550 5.6.0 Message contains bare CR, bare LF or NUL"
REAL = b"Subject: real\r\n\r\nthe next message\r\n"


def streams() -> list[bytes]:
    """Messages as they come behind 354, each up to its only end; the dot is in the middle, or near the beginning."""
    middle = [b"Subject: one\r\n\r\none" + almost + SMUGGLED + b".\r\n" for almost in ALMOST]
    # The CRLF of the DATA command begins the first line: a dot there with a CRLF behind it is an end.
    beginning = [almost + SMUGGLED + b".\r\n" for almost in ALMOST if almost != b".\r\n"]
    return middle + beginning


def expected(stream: bytes, *, normalise: bool) -> bytes | None:
    """The body that becomes a message, None for a refusal."""
    content, behind, bare, nul = naive(stream)
    assert behind == b""
    if not (bare or nul):
        return content
    return normalised(content) if normalise else None


@pytest.mark.parametrize("setting", ["refuse", "normalise"])
async def test_nothing_but_the_end_ends_a_message_and_what_follows_the_end_is_the_next_transaction(tmp_path, setting):
    """In one stream: each message with what it smuggles, then a real one, all pipelined."""
    async with receiver(tmp_path, bare_newlines=setting) as gate:
        client = await gate.client()
        client.send(b"".join(ENVELOPE + stream + ENVELOPE + REAL + b".\r\n" for stream in streams()))
        bodies = []
        for stream in streams():
            body = expected(stream, normalise=setting == "normalise")
            await client.expect("250 2.1.0", "250 2.1.5", "354 ")
            if body is None:
                assert await client.reply() == REFUSED, stream
            else:
                bodies.append(body)
                assert await client.reply() == f"250 2.0.0 accepted as id-{len(bodies)}-example.test", stream
            bodies.append(REAL)
            await client.expect(
                "250 2.1.0", "250 2.1.5", "354 ", f"250 2.0.0 accepted as id-{len(bodies)}-example.test"
            )
        assert await client.ask(b"NOOP") == "250 2.0.0 OK"
        assert gate.intake.bodies == bodies
        assert all(is_clean(body) for body in bodies)
        assert {envelope.sender for envelope, _ in gate.intake.accepted} == {"a@b.example"}
        assert {spec.address for envelope, _ in gate.intake.accepted for spec in envelope.recipients} == {
            "user@example.test"
        }
        assert gate.drafts.left_behind == []


def test_nearly_all_that_is_tried_is_refused_and_all_of_it_passes_when_it_is_normalised():
    """So that the test above means something."""
    passed = [stream for stream in streams() if expected(stream, normalise=False) is not None]
    assert len(streams()) == 2 * len(ALMOST) - 1 == 335
    assert [stream[: stream.index(b"MAIL")] for stream in passed] == [
        b"Subject: one\r\n\r\none.", b"Subject: one\r\n\r\none.\r\n", b"Subject: one\r\n\r\none\r\n.", b".", b"\r\n.",
    ]  # fmt: skip
    assert all(SMUGGLED in expected(stream, normalise=True) for stream in streams())


def test_the_decoder_takes_no_dot_between_up_to_three_octets_for_an_end_wherever_it_is_cut():
    glue = [
        b"".join(octets) for length in range(4) for octets in itertools.product((b"\r", b"\n", b"\0"), repeat=length)
    ]
    ends = 0
    for before, after in itertools.product(glue, glue):
        almost = before + b"." + after
        stream = b"one" + almost + b"MAIL FROM:<x@y>" + END + b"RSET\r\n"
        content, rest, bare, nul = naive(stream)
        if END in almost:
            ends += 1
            assert rest.endswith(b"MAIL FROM:<x@y>" + END + b"RSET\r\n")
        else:
            assert rest == b"RSET\r\n"
        for cut in range(3, 5 + len(almost)):
            got, got_rest, decoder = decode(stream, [cut])
            assert (got, got_rest, decoder.bare, decoder.nul) == (content, rest, bare, nul)
        got, got_rest, _ = decode(stream, list(range(len(almost) + 4)), normalise=True)
        assert (got, got_rest) == (normalised(content), rest)
    assert ends == 16


# One of each kind: LF or CR for CRLF, half an end, a NUL that some drop, doubled ones.
SAMPLE = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
]  # fmt: skip


@pytest.mark.parametrize("setting", ["refuse", "normalise"])
@pytest.mark.parametrize("almost", SAMPLE)
async def test_however_the_stream_is_cut_into_segments_it_is_the_same(tmp_path, setting, almost):
    start = b"Subject: x\r\n\r\none"
    stream = start + almost + SMUGGLED + b".\r\n"
    ways = [[stream[:cut], stream[cut:]] for cut in range(len(start), len(start) + len(almost) + 1)]
    ways.append([stream[at : at + 1] for at in range(len(stream))])
    async with receiver(tmp_path, bare_newlines=setting) as gate:
        client = await gate.client()
        for pieces in ways:
            await client.begin()
            await in_pieces(client, pieces)
            await client.expect(REFUSED if setting == "refuse" else "250 2.0.0 accepted as ")
            assert await client.ask(b"NOOP") == "250 2.0.0 OK"
        body = expected(stream, normalise=True)
        assert gate.intake.bodies == ([body] * len(ways) if setting == "normalise" else [])
        assert gate.drafts.left_behind == []


@pytest.mark.parametrize("setting", ["refuse", "normalise"])
async def test_an_octet_after_the_end_belongs_to_the_next_command_and_spoils_only_that(tmp_path, setting):
    async with receiver(tmp_path, bare_newlines=setting) as gate:
        for number, octet in enumerate((b"\0", b"\r", b".", b" ")):
            client = await gate.client()
            await client.begin()
            client.send(REAL + b".\r\n" + octet + SMUGGLED + b".\r\n")
            await client.expect(f"250 2.0.0 accepted as id-{number + 1}-")
            # MAIL is none with this octet before it, so there is no transaction: the rest are lines that are no commands.
            await client.expect("500 5.5.2", "503 5.5.1 Send MAIL", "503 5.5.1 Send MAIL", *["500 5.5.2"] * 4)
            assert await client.ask(b"NOOP") == "250 2.0.0 OK"
        assert gate.intake.bodies == [REAL] * 4


async def test_a_message_that_is_refused_for_its_line_ends_is_not_kept_anywhere_while_it_comes_in(tmp_path):
    """Nor can its size matter any more: one reply, to the end, whatever else would be wrong with it."""
    async with receiver(tmp_path, max_message_size=Size(1_000_000)) as gate:
        client = await gate.client()
        await client.begin()
        client.send(b"bare\n" + (b"x" * 998 + b"\r\n") * 400)
        await client.writer.drain()
        await gate.idle_drafts()
        client.send((b"x" * 998 + b"\r\n") * 800 + b"\n.\n" + SMUGGLED + b".\r\n")
        assert await client.reply() == REFUSED
        await nothing_came(gate, client)


@pytest.mark.parametrize("octets", [b"\0", b"\n", b"\r", b"\r\n.."])
async def test_normalising_ends_a_stream_without_an_end_whatever_is_left_of_it(tmp_path, octets):
    """Of NULs nothing is left, but they are read."""
    async with receiver(tmp_path, max_message_size=Size(20_000), bare_newlines="normalise") as gate:
        client = await gate.client()
        await client.begin()
        client.send(octets * (120_000 // len(octets)))
        assert await client.reply() == "421 4.7.0 Too much data, closing the connection"
        assert await client.closed()
        assert gate.intake.accepted == []
        await gate.idle()
