"""SpamAssassin, for real and as a script."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.configuration import load
from pipeline.events import Client
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.spamassassin import SpamAssassin
from pipeline.scanning.faults import Broken, NotUnderstood, Unable
from tests.pipeline.scanning.engines.peers import Peer, saying
from tests.support import engines
from tests.support.mail import GTUBE, HEAD, message

HARMLESS = HEAD + b"\r\nhello\r\n"
OK = b"SPAMD/1.1 0 EX_OK\r\n"


def client(address: str, **settings: object) -> SpamAssassin:
    return SpamAssassin(load(None, {}, {"spamassassin": address, **settings}), "gateway.test")


async def answered(answer: bytes):
    async with Peer(saying(answer, after=b"hello\r\n")) as peer:
        return await client(peer.address).scan(Mail(message(), HARMLESS))


@pytest.fixture(scope="module")
def spamd():
    with engines.spamd() as server:
        yield server


async def test_it_scores_a_letter_and_is_sure_of_gtube(spamd):
    engine = client(spamd.address)
    await engine.ping()
    assert engine.version.startswith("spamd-")
    score, *_ = await engine.scan(Mail(message(), HARMLESS))
    assert (score.name, score.engine) == ("SPAMASSASSIN_SCORE", "spamassassin")
    assert score.score < 5
    score, *symbols = await engine.scan(Mail(message(), HEAD + b"\r\n" + GTUBE + b"\r\n"))
    assert score.score == 10
    assert "GTUBE" in {symbol.name for symbol in symbols}


async def test_it_sees_the_client_in_a_trace_line_on_top():
    seen = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.partition(b"Content-length: ")[2].split(b"\r\n")[0])
        seen.append((head, await reader.readexactly(size)))
        writer.write(OK + b"Spam: False ; 1.0 / 5.0\r\n\r\n")

    subject = msgspec.structs.replace(
        message(), sender="a\r\nb@c", client=Client(address="192.0.2.7", helo="h.example")
    )
    async with Peer(serve) as peer:
        await client(peer.address).scan(Mail(subject, HARMLESS))
    ((head, content),) = seen
    assert head.startswith(b"SYMBOLS SPAMC/1.5\r\n")
    assert content.startswith(b"Return-Path: <a??b@c>\r\nReceived: from h.example ([192.0.2.7])\r\n\tby gateway.test")
    assert content.endswith(HARMLESS)


async def test_a_message_that_is_too_large_is_a_finding_and_spamd_is_not_asked():
    (finding,) = await client("127.0.0.1:1", spamassassin_max_size=1000).scan(Mail(message(), HARMLESS * 100))
    assert (finding.name, finding.score) == ("SPAMASSASSIN_TOO_LARGE", 0.0)


@pytest.mark.parametrize(
    ("line", "score"),
    [
        (b"Spam: False ; 2.5 / 5.0", 1.25), (b"Spam: True ; 5.0 / 5.0", 5.0), (b"Spam: True ; 1000.0 / 5.0", 10.0),
        (b"spam: Yes;7.5/5", 6.25), (b"Spam: False ; -3.0 / 5.0", -0.6), (b"Spam: False ; -100 / 5.0", -1.0),
        (b"Spam: False ; 4.0 / 8.0", 1.25), (b"Spam: True ; 5 / 0", 0.0),
    ],
)  # fmt: skip
async def test_its_score_is_brought_to_our_scale(line, score):
    found, *_ = await answered(OK + b"Content-length: 0\r\n" + line + b"\r\n\r\n")
    assert found.score == score


async def test_its_tests_are_findings_without_a_score():
    found = await answered(OK + b"Spam: False ; 1 / 5\r\n\r\nMSGID_SHORT,NO_RELAYS, BAD\x1bNAME ,,FROM_BULK\r\n")
    assert [(one.name, one.score, one.kind) for one in found[1:]] == [
        ("MSGID_SHORT", 0.0, "spam"), ("NO_RELAYS", 0.0, "spam"), ("FROM_BULK", 0.0, "bulk"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", Broken),
        (b"220 mail.example ESMTP\r\n", NotUnderstood),
        (OK, Broken),
        (OK + b"\r\n\r\n", NotUnderstood),
        (OK + b"Spam: maybe ; 1 / 5\r\n\r\n", NotUnderstood),
        (OK + b"Spam: True ; ... / 5\r\n\r\n", NotUnderstood),
        (OK + b"Spam: True ; 1 / 5\r\nSpam: False ; 1 / 5\r\n\r\n", NotUnderstood),
        (OK + b"X: " + b"y" * 10_000, NotUnderstood),
        (OK + b"Spam: True ; 1 / 5\r\n\r\n" + b"A," * 50_000, NotUnderstood),
        (b"SPAMD/1.1 76 Bad header line: \x1b[2J\r\n", Unable),
        (b"SPAMD/1.1 75 EX_TEMPFAIL\r\n", Unable),
    ],
)
async def test_what_is_no_answer_is_a_fault_that_can_be_shown(answer, fault):
    with pytest.raises(fault) as caught:
        await answered(answer)
    assert caught.value.whole.isprintable()
