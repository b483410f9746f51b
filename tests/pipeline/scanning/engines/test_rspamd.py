"""Rspamd, for real and as a script."""

from __future__ import annotations

import json

import msgspec
import pytest

from pipeline.authentication.together import Authentication
from pipeline.configuration import load
from pipeline.events import Client
from pipeline.faults import ConfigurationError
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.rspamd import Rspamd
from pipeline.scanning.faults import Broken, EngineFault, NotUnderstood, Unable
from pipeline.scanning.verdict import add_up
from pipeline.state import Recipient, Stage
from tests.pipeline.scanning.engines.peers import Peer, saying
from tests.support import engines
from tests.support.dns import names_in_a_thread
from tests.support.mail import GTUBE, HEAD, message

HARMLESS = HEAD + b"\r\nhello\r\n"
REPLY = {"is_skipped": False, "score": 3.0, "required_score": 15.0, "action": "no action", "symbols": {}}


def client(address: str, **settings: object) -> Rspamd:
    return Rspamd(load(None, {}, {"rspamd": address, **settings}), "gateway.test")


def http(content: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nServer: rspamd/3.4\r\nContent-Length: %d\r\n\r\n%b" % (status, len(content), content)


async def answered(content: bytes | dict, **settings: object):
    body = content if isinstance(content, bytes) else http(json.dumps(content).encode())
    async with Peer(saying(body, after=b"hello")) as peer:
        return await client(peer.address, **settings).scan(Mail(message(), HARMLESS))


@pytest.mark.parametrize(
    ("symbol", "weight", "virus"),
    [
        ("CLAM_VIRUS", 4.0, True), ("SOPHOS_VIRUS", 1.0, True), ("CLAM_VIRUS_FAIL", 1.0, False), ("CLAM_VIRUS", -1.0, False),
        ("DBL_MALWARE", 7.5, False),
    ],
)  # fmt: skip
async def test_what_a_scanner_behind_it_calls_a_virus_is_one_whoever_is_allowed(symbol, weight, virus):
    symbols = {symbol: {"name": symbol, "score": weight, "options": ["Eicar"]}}
    found = await answered({**REPLY, "score": 20.0, "action": "reject", "symbols": symbols})
    assert add_up(found).virus is virus


@pytest.fixture(scope="module")
def rspamd():
    with names_in_a_thread({}) as names, engines.rspamd(f"127.0.0.1:{names.port}") as server:
        yield server


async def test_it_scores_a_letter_and_is_sure_of_gtube(rspamd):
    engine = client(rspamd.address)
    await engine.ping()
    assert engine.version.startswith("3.")
    score, *symbols = await engine.scan(Mail(message(), HARMLESS))
    assert (score.name, score.engine) == ("RSPAMD_SCORE", "rspamd")
    assert score.score < 5
    assert symbols
    assert all(symbol.score == 0 for symbol in symbols)
    score, *_ = await engine.scan(Mail(message(), HEAD + b"\r\n" + GTUBE + b"\r\n"))
    assert score.score >= 5
    assert "reject" in score.text


async def test_a_large_message_goes_out_whole(rspamd):
    score, *_ = await client(rspamd.address).scan(Mail(message(), HARMLESS + (b"x" * 76 + b"\r\n") * 30_000))
    assert score.name == "RSPAMD_SCORE"


async def test_the_envelope_is_told_and_a_stranger_s_words_stay_in_their_line():
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(len(HARMLESS))
        writer.write(http(json.dumps(REPLY).encode()))

    recipients = tuple(Recipient(address=f"r{number}@example.test", stage=Stage.RECEIVED) for number in range(1000))
    subject = msgspec.structs.replace(
        message(), recipients=recipients,
        client=Client(address="192.0.2.7", helo="evil\r\nDeliver-To: x", protocol="ESMTPS", tls="TLSv1.3 TLS_AES"),
    )  # fmt: skip
    async with Peer(serve) as peer:
        engine = client(peer.address)
        await engine.scan(Mail(subject, HARMLESS, Authentication(client_name="out.elsewhere.test")))
    (head,) = heads
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /checkv2 HTTP/1.1"
    for line in (
        "From: some.one@a.example", "Rcpt: r0@example.test", "IP: 192.0.2.7", "Helo: evil??Deliver-To: x",
        "Hostname: out.elsewhere.test", f"Queue-Id: {subject.id}", "TLS-Version: TLSv1.3", "MTA-Name: gateway.test",
    ):  # fmt: skip
        assert line in lines
    assert sum(line.startswith("Rcpt: ") for line in lines) == 50
    assert not any(line.startswith("Password") for line in lines)


async def test_the_null_sender_has_a_name():
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(json.dumps(REPLY).encode()))

    async with Peer(serve) as peer:
        await client(peer.address).scan(Mail(msgspec.structs.replace(message(), sender=""), HARMLESS))
    assert b"\r\nFrom: <>\r\n" in heads[0]


async def test_the_password_comes_from_its_file(tmp_path):
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(json.dumps(REPLY).encode()))

    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    async with Peer(serve) as peer:
        await client(peer.address, rspamd_password_file=str(tmp_path / "password")).scan(Mail(message(), HARMLESS))
    assert b"\r\nPassword: correct horse\r\n" in heads[0]
    with pytest.raises(ConfigurationError):
        client("127.0.0.1:1", rspamd_password_file=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("changes", "score", "kind"),
    [
        ({"score": 3.0}, 1.25, "spam"),
        ({"score": 6.0, "action": "add header"}, 5.0, "spam"),
        ({"score": 12.0, "action": "add header"}, 7.5, "spam"),
        ({"score": 8.0, "thresholds": {"add header": 8.0, "reject": 20}, "action": "add header"}, 5.0, "spam"),
        ({"score": 4.0, "thresholds": {"add header": 8.0, "greylist": None}}, 1.25, "spam"),
        ({"score": -5.0}, -0.83, "spam"),
        ({"score": 9.0, "action": "reject", "symbols": {"PHISHING": {"score": 9.0}}}, 6.25, "phishing"),
    ],
)
async def test_its_score_is_brought_to_our_scale(changes, score, kind):
    found, *_ = await answered(REPLY | changes)
    assert (found.score, found.kind) == (score, kind)


async def test_its_symbols_are_findings_without_a_score_and_those_without_a_weight_are_left_out():
    symbols = {
        "HFILTER": {"score": 3.0, "description": "no name", "options": ["b.c", 7]},
        "PRECEDENCE_BULK": {"score": -0.5},
        "MIME_TRACE": {"score": 0.0},
    }
    _, *found = await answered(REPLY | {"symbols": symbols})
    assert [(one.name, one.kind, one.text) for one in found] == [
        ("HFILTER", "spam", "+3: no name (b.c, 7)"),
        ("PRECEDENCE_BULK", "bulk", "-0.5"),
    ]


async def test_thousands_of_symbols_are_bounded():
    found = await answered(REPLY | {"symbols": {f"S{number}": {"score": 1.0} for number in range(5000)}})
    assert len(found) == 51


async def test_one_that_it_does_not_look_at_is_said_to_be_so():
    assert [one.name for one in await answered(REPLY | {"is_skipped": True, "score": 0})] == ["RSPAMD_SKIPPED"]


async def test_octets_in_no_encoding_that_it_repeats_do_not_matter():
    body = json.dumps(REPLY | {"symbols": {"X": {"score": 1, "options": ["?"]}}}).encode().replace(b'"?"', b'"\xff"')
    assert len(await answered(http(body))) == 2


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", Broken),
        (b"220 mail.example ESMTP\r\n\r\n", NotUnderstood),
        (http(b""), NotUnderstood),
        (http(b"[]"), NotUnderstood),
        (http(b'{"score": 1}'), NotUnderstood),
        (http(b'{"score": "a lot", "required_score": 15}'), NotUnderstood),
        (http(b"[" * 10_000), NotUnderstood),
        (http(b'{"error": "no\x1b[2J"}', b"500 Internal"), Unable),
        (http(b"{}", b"403 Forbidden"), EngineFault),
    ],
)
async def test_what_is_no_answer_is_a_fault_that_can_be_shown(answer, fault):
    with pytest.raises(fault) as caught:
        await answered(answer)
    assert caught.value.whole.isprintable()
