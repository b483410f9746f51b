"""ClamAV, for real and with a clamd that answers as its script says."""

from __future__ import annotations

import asyncio
import contextlib
import io
import mmap
import struct
import zipfile

import pytest

from pipeline.configuration import load
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.clamav import ClamAV
from pipeline.scanning.faults import Broken, EngineFault, NotUnderstood, Unable
from tests.pipeline.scanning.engines.peers import Peer, endless, hanging_up, saying, silent
from tests.support import engines
from tests.support.mail import EICAR, HEAD, attachment, mapped, message, noise, with_parts

HARMLESS = HEAD + b"\r\nhello\r\n"


def zipped(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def client(address: str) -> ClamAV:
    return ClamAV(load(None, {}, {"clamav": address}))


async def scan(engine: ClamAV, content: bytes | mmap.mmap = HARMLESS):
    return await engine.scan(Mail(message(), content))


@pytest.fixture(scope="module")
def clamd():
    with engines.clamd() as server:
        yield server


@pytest.fixture
async def real(clamd):
    engine = client(clamd.address)
    yield engine
    engine.close()


async def test_it_finds_a_virus_in_an_attachment_and_in_an_archive_and_nothing_in_a_letter(real):
    assert await scan(real) == ()
    for bad in (attachment(EICAR, "a.txt"), attachment(zipped("a.txt", EICAR), "a.zip", "application/zip")):
        (finding,) = await scan(real, with_parts(bad))
        assert (finding.name, finding.kind, finding.engine, finding.score) == ("CLAMAV", "virus", "clamav", 100.0)
        assert finding.text == f"ClamAV found {engines.SIGNATURE}.UNOFFICIAL"
    assert await scan(real) == ()


async def test_it_says_its_version(real):
    await real.ping()
    assert real.version[0].isdigit()


async def test_a_unix_socket_does_as_well(clamd):
    engine = client(f"unix:{clamd.directory / 'socket'}")
    assert [finding.name for finding in await scan(engine, with_parts(attachment(EICAR)))] == ["CLAMAV"]
    engine.close()


async def test_hundreds_of_messages_at_once_each_get_their_own_answer(real):
    contents = [with_parts(attachment(EICAR)) if number % 3 else HARMLESS for number in range(300)]
    found = await asyncio.gather(*(scan(real, content) for content in contents))
    assert [bool(findings) for findings in found] == [bool(number % 3) for number in range(300)]


async def test_a_large_message_goes_out_of_its_file_and_one_that_is_too_large_is_a_finding_and_no_fault(real, tmp_path):
    bad = attachment(EICAR, "a.txt")
    large = mapped(tmp_path / "large", [with_parts(bad), b"\r\n" * 300_000])
    assert [finding.name for finding in await scan(real, large)] == ["CLAMAV"]
    huge = mapped(tmp_path / "huge", [HARMLESS, b"x" * 76 + b"\r\n"] + [b"y" * 76 + b"\r\n"] * 100_000)
    found = ()
    for _ in range(10):
        # clamd closes with octets unread, and over TCP that reset may overtake its answer (RFC 1122 4.2.2.13).
        with contextlib.suppress(Broken):
            found = await scan(real, huge)
            break
    (finding,) = found
    assert (finding.name, finding.score) == ("CLAMAV_TOO_LARGE", 0.0)
    assert await scan(real) == ()


async def test_the_octets_arrive_as_they_are_in_pieces_that_say_how_long_they_are(tmp_path):
    received = []

    async def serve(reader, writer):
        assert await reader.readuntil(b"\0") == b"zIDSESSION\0"
        for number in (1, 2):
            assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
            content = b""
            while size := struct.unpack(">I", await reader.readexactly(4))[0]:
                content += await reader.readexactly(size)
            received.append(content)
            writer.write(b"%d: stream: OK\0" % number)

    large = HARMLESS + b"".join(noise(300_000))
    async with Peer(serve) as peer:
        engine = client(peer.address)
        assert await scan(engine, mapped(tmp_path / "m", [large])) == ()
        assert await scan(engine) == ()
        assert peer.connections == 1
    assert received == [large, HARMLESS]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", Broken),
        (b"1: stream: O", Broken),
        (b"2: stream: OK\0", NotUnderstood),
        (b"1: stream: FINE\0", NotUnderstood),
        (b"1: OK\0", NotUnderstood),
        (b"220 mail.example ESMTP\r\n\0", NotUnderstood),
        (b"\0", NotUnderstood),
        (b"\xff\xfe\x1b[2J\0", NotUnderstood),
        (b"x" * 3000, NotUnderstood),
        (b"1: Can't allocate memory ERROR\0", Unable),
    ],
)
async def test_what_is_no_answer_is_a_fault_that_can_be_shown(answer, fault):
    async with Peer(saying(answer)) as peer:
        with pytest.raises(fault) as caught:
            await scan(client(peer.address))
    assert caught.value.whole.isprintable()


@pytest.mark.parametrize("script", [hanging_up, endless])
async def test_one_that_hangs_up_or_never_ends_is_a_fault(script):
    async with Peer(script) as peer:
        with pytest.raises(EngineFault):
            await scan(client(peer.address), HARMLESS * 10_000)


async def test_the_name_of_a_signature_is_neutralised():
    async with Peer(saying(b"1: stream: Evil\x1b[2J\r\n\xe2\x80\xae FOUND\0")) as peer:
        (finding,) = await scan(client(peer.address))
    assert finding.text.isprintable()


async def test_a_session_that_clamd_ended_is_opened_anew():
    async with Peer(saying(b"1: stream: OK\0")) as peer:
        engine = client(peer.address)
        for _ in range(3):
            assert await scan(engine) == ()


async def test_one_that_says_nothing_is_waited_for_and_can_be_left():
    async with Peer(silent) as peer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await scan(client(peer.address))
