"""STARTTLS and the certificate."""

from __future__ import annotations

import asyncio
import ssl
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from tests.support.receiver import receiver
from tests.support.servers import ROOT
from workers.receiver.tls import Certificates

HOST = "mx.example.test"


def blind() -> ssl.SSLContext:
    """Takes any certificate, as most of the world's mail servers do."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def shown(client) -> bytes:
    return client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)


async def test_a_message_over_tls_is_marked_as_such(gate):
    client = await gate.client()
    await client.start_tls(blind())
    client.send(b"EHLO client.example\r\n")
    assert not any("STARTTLS" in line for line in await client.lines())
    await client.deliver(b"x")
    who = gate.intake.last.client
    assert who.protocol == "ESMTPS"
    assert who.tls.startswith("TLSv1.3 TLS_")
    assert await client.ask(b"QUIT") == "221 2.0.0 Bye"
    assert await client.closed()


async def test_large_mail_passes_over_tls(gate):
    client = await gate.client()
    await client.start_tls(blind())
    client.send(b"EHLO client.example\r\n")
    await client.lines()
    content = (b"y" * 998 + b"\r\n") * 3000
    await client.begin()
    client.send(content + b".\r\n")
    await client.expect("250 2.0.0")
    assert gate.intake.bodies == [content]


async def test_nothing_said_before_tls_is_remembered(gate):
    client = await gate.client()
    await client.ask(b"MAIL FROM:<a@b.example>")
    await client.start_tls(blind())
    assert await client.ask(b"RCPT TO:<user@example.test>") == "503 5.5.1 Send MAIL first"
    assert await client.ask(b"MAIL FROM:<a@b.example>") == "503 5.5.1 Send HELO or EHLO first"


async def test_a_second_starttls_is_refused(gate):
    client = await gate.client()
    await client.start_tls(blind())
    assert await client.ask(b"STARTTLS") == "503 5.5.1 TLS is already active"
    assert await client.ask(b"NOOP") == "250 2.0.0 OK"


async def test_commands_injected_behind_starttls_are_never_executed(gate):
    client = await gate.client()
    client.send(b"STARTTLS\r\nRSET\r\nHELP\r\nEHLO evil\r\n")
    await client.expect("220 2.0.0")
    await client.writer.start_tls(blind())
    assert await client.ask(b"NOOP") == "250 2.0.0 OK"
    assert await client.ask(b"MAIL FROM:<a@b.example>") == "503 5.5.1 Send HELO or EHLO first"


async def test_a_handshake_that_fails_ends_the_connection_quietly(gate, caplog):
    client = await gate.client()
    client.send(b"STARTTLS\r\n")
    await client.expect("220 2.0.0")
    client.send(b"EHLO in the clear\r\n" * 10)
    async with asyncio.timeout(10):
        await client.reader.read()
    await gate.idle()
    assert not [record for record in caplog.records if record.exc_info]


async def test_tls_older_than_1_2_is_refused(gate):
    client = await gate.client()
    old = blind()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    client.send(b"STARTTLS\r\n")
    await client.expect("220 2.0.0")
    with pytest.raises((ssl.SSLError, OSError)):
        await client.writer.start_tls(old)
    await gate.idle()


async def test_a_client_that_vanishes_within_tls_leaves_nothing_behind(gate):
    client = await gate.client()
    await client.start_tls(blind())
    client.send(b"EHLO x\r\n")
    await client.lines()
    await client.begin()
    client.send(b"half a message")
    await client.writer.drain()
    client.vanish()
    await gate.idle()


async def test_the_operators_certificate_is_shown_and_reloaded(tmp_path):
    authority = trustme.CA()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def write(certificate: trustme.LeafCert) -> None:
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())

    write(authority.issue_cert(HOST))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with receiver(tmp_path, tls_certificate=str(chain), tls_key=str(key)) as gate:
        before = await gate.client()
        await before.start_tls(trusting)
        write(authority.issue_cert(HOST))
        gate.server.reload()
        after = await gate.client()
        await after.start_tls(trusting)
        assert await shown(before) != await shown(after)
        assert await before.ask(b"NOOP") == "250 2.0.0 OK"
        chain.write_text("nonsense")
        gate.server.reload()
        still = await gate.client()
        await still.start_tls(trusting)
        assert await shown(still) == await shown(after)


def test_the_self_signed_certificate_is_made_once_and_is_private(tmp_path):
    settings = Settings(data=tmp_path)
    Certificates(settings, HOST, time.time_ns())
    (path,) = (tmp_path / "tls").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    content = path.read_bytes()
    Certificates(settings, HOST, time.time_ns())
    assert path.read_bytes() == content


def test_several_that_start_at_once_agree_on_one_certificate(tmp_path):
    settings = Settings(data=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Certificates(settings, HOST, time.time_ns()), range(8)))
    assert len(list((tmp_path / "tls").iterdir())) == 1


MAKER = """
import sys, time
from pathlib import Path
from pipeline.settings import Settings
from workers.receiver.tls import prepare
prepare(Settings(data=Path(sys.argv[1])), sys.argv[2], time.time_ns())
assert not any(name.startswith("cryptography.x509") for name in sys.modules)
"""


def test_before_there_are_receivers_a_process_that_ends_makes_the_certificate_that_they_show(tmp_path):
    for _ in range(2):
        subprocess.run([sys.executable, "-c", MAKER, tmp_path, HOST], cwd=ROOT, check=True)
        made = {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
        Certificates(Settings(data=tmp_path), HOST, time.time_ns())
        assert made == {path.name: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
        assert list(made) == ["self-signed.pem"]


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_a_certificate_that_cannot_be_used_is_one_clear_line(tmp_path, content):
    path = tmp_path / "mine.pem"
    if content:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"cannot use .*mine\.pem") as caught:
        Certificates(Settings(data=tmp_path, tls_certificate=str(path), tls_key=str(path)), HOST, time.time_ns())
    assert caught.value.remedy


def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot write") as caught:
        Certificates(Settings(data=tmp_path), HOST, time.time_ns())
    assert caught.value.remedy
