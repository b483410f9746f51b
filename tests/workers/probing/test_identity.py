"""Logging in, and never showing with what."""

from __future__ import annotations

import asyncio
import base64
import ssl

import msgspec
import pytest
import trustme

from pipeline.probing import Report, judge
from pipeline.probing.model import Login, Step
from pipeline.resolver import Resolver
from tests.support.peer import Peer
from tests.workers.probing.support import HANGS, QUICK, kinds, plan
from workers.probing import DeliveryTest
from workers.probing.identity import hidden

UNKNOWN = [b"250 2.1.5 ok", b"550 5.1.1 no such user"]
LOGIN = Login("gate", "s3cret-päss", in_clear=True)


class Asking(Peer):
    """Wants to know who is there; `echo`: says once more what it was told."""

    def __init__(
        self, mechanisms: str, *, good: bool = True, echo: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__({"rcpt": UNKNOWN}, features=("PIPELINING", "8BITMIME", "SIZE", f"AUTH {mechanisms}"), tls=tls)
        self.good = good
        self.echo = echo
        self.told: list[bytes] = []

    async def _converse(self, reader, writer):
        converse = super()._converse
        asking = Words(self, reader, writer)
        await converse(asking, writer)


class Words:
    """A reader that answers AUTH by itself, and hands on everything else."""

    def __init__(self, peer: Asking, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer
        self._buffer = b""

    def __getattr__(self, name):
        return getattr(self.reader, name)

    async def readline(self) -> bytes:
        while (line := await self.reader.readline()).upper().startswith(b"AUTH "):
            await self.auth(line.split())
        return line

    async def auth(self, words: list[bytes]) -> None:
        writer = self.writer
        self.peer.told.append(words[1])
        told = words[2:]
        prompts = {b"LOGIN": [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"]}
        for prompt in prompts.get(words[1], []):
            writer.write(b"334 " + prompt + b"\r\n")
            told.append((await self.reader.readline()).strip())
        self.peer.told += told
        seen = b" ".join([*told, *(base64.b64decode(word) for word in told)]) if self.peer.echo else b""
        writer.write((b"235 2.7.0 ok " if self.peer.good else b"535 5.7.8 no ") + seen.replace(b"\0", b" ") + b"\r\n")


async def visited(peer: Peer, login: Login = LOGIN) -> Report:
    wanted = plan(f"127.0.0.1:{peer.port}")
    test = DeliveryTest(wanted, Resolver("127.0.0.1:9"), login=login, patience=QUICK)
    async with asyncio.timeout(HANGS):
        async for _ in test.run():
            pass
    return test.report()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("offered", "told"),
    [
        ("PLAIN", ["PLAIN", b64("\0gate\0s3cret-päss")]),
        ("LOGIN", ["LOGIN", b64("gate"), b64("s3cret-päss")]),
        ("LOGIN PLAIN", ["PLAIN", b64("\0gate\0s3cret-päss")]),
        ("XOAUTH2 PLAIN CRAM-MD5", ["PLAIN", b64("\0gate\0s3cret-päss")]),
    ],
)
async def test_the_best_way_that_is_offered_is_taken(offered, told):
    async with Asking(offered) as peer:
        report = await visited(peer)
    assert [word.decode() for word in peer.told] == told
    assert report.visits[0].works
    assert "login" in {finding.kind for finding in judge(report)}


async def test_a_refused_password_is_bad_and_the_rest_is_looked_at():
    async with Asking("PLAIN", good=False) as peer:
        report = await visited(peer)
    assert kinds(report)["login-failed"] == "bad"
    assert report.visits[0].works


@pytest.mark.parametrize("offered", ["PLAIN", "LOGIN"])
async def test_a_password_is_never_shown_even_when_the_server_repeats_it(offered):
    async with Asking(offered, good=False, echo=True) as peer:
        report = await visited(peer)
    assert report.visits[0].answer(Step.AUTH) is not None
    everything = repr(report) + repr(judge(report))
    assert "(hidden)" in everything
    for word in ("s3cret", b64("s3cret-päss"), b64("\0gate\0s3cret-päss")):
        assert word not in everything
    assert "s3cret" not in repr(LOGIN)


async def test_a_password_is_not_sent_without_encryption_unless_it_may():
    async with Asking("PLAIN") as peer:
        report = await visited(peer, msgspec.structs.replace(LOGIN, in_clear=False))
    assert peer.told == []
    assert kinds(report)["login-failed"] == "bad"


async def test_a_password_is_sent_over_an_encrypted_line():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with Asking("PLAIN", tls=tls) as peer:
        report = await visited(peer, msgspec.structs.replace(LOGIN, in_clear=False))
    assert "login-failed" not in kinds(report)
    assert report.visits[0].tls is not None
    assert report.visits[0].tls.version


async def test_a_server_that_offers_no_way_that_we_know_is_bad():
    async with Asking("GSSAPI CRAM-MD5") as peer:
        report = await visited(peer)
    assert kinds(report)["login-failed"] == "bad"


def test_an_empty_password_hides_nothing():
    assert hidden("535 no", Login("gate", "")) == "535 no"
