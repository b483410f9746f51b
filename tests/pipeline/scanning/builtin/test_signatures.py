"""EICAR and GTUBE, wherever they may be."""

from __future__ import annotations

import quopri
import threading
import tracemalloc

import pytest

from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import Mail, run
from pipeline.units import Duration
from tests.support.mail import (
    EICAR,
    GTUBE,
    HEAD,
    OURS,
    SETTINGS,
    attachment,
    crlf,
    look,
    mapped,
    message,
    multipart,
    noise,
    part,
    verdict,
    with_parts,
)

PLACES = {
    "the body": lambda s: HEAD + b"\r\n" + s + b"\r\n",
    "no header at all": lambda s: s,
    "the subject": lambda s: b"Subject: " + s + b"\r\n\r\n",
    "a base64 body": lambda s: HEAD + attachment(s, content_type="text/plain"),
    "a base64 attachment": lambda s: with_parts(attachment(s, "eicar.txt")),
    "quoted-printable": lambda s: with_parts(
        part("text/plain", quopri.encodestring(s), "Content-Transfer-Encoding: quoted-printable")
    ),
    "quoted-printable, every octet": lambda s: with_parts(
        part(
            "text/plain",
            crlf(b"=\n".join(b"=%02X" % octet for octet in s)),
            "Content-Transfer-Encoding: quoted-printable",
        )
    ),
    "a message within": lambda s: with_parts(part("message/rfc822", with_parts(attachment(s, "eicar.txt")))),
    "ten messages deep": lambda s: _deep(s, 10),
    "an encoded message within": lambda s: with_parts(
        attachment(with_parts(attachment(s, "eicar.txt")), content_type="message/rfc822")
    ),
    "an unterminated multipart": lambda s: with_parts(attachment(s, "e.txt")).replace(b"--=_b--", b""),
    "base64 with garbage": lambda s: with_parts(attachment(s, "e.txt").replace(b"V", b"!V\x00-")),
    "behind a wall of fields": lambda s: b"X: y\r\n" * 5000 + multipart([attachment(s, "e.txt")]),
    "spaces before it": lambda s: with_parts(attachment(b" \r\n" * 100 + s, "e.txt")),
}


def _deep(octets, levels):
    content = with_parts(attachment(octets, "eicar.txt"))
    for level in range(levels):
        content = HEAD + multipart([part("message/rfc822", content)], f"level{level}")
    return content


@pytest.mark.parametrize("place", PLACES)
def test_the_virus_string_is_found_in(place):
    content = PLACES[place](EICAR)
    assert "EICAR" in look(content)
    assert verdict(content).verdict == "virus"


@pytest.mark.parametrize("place", PLACES)
def test_the_spam_string_is_found_in(place):
    content = PLACES[place](GTUBE)
    assert "GTUBE" in look(content)
    assert verdict(content).verdict == "spam"


@pytest.mark.parametrize(
    "octets", [EICAR[:-1], EICAR[1:], EICAR.lower(), GTUBE[:-1], GTUBE.lower(), b"-STANDARD-ANTI" * 1000]
)
def test_nearly_the_string_is_not_the_string(octets):
    assert look(with_parts(attachment(octets, "e.txt"), part("text/plain", octets))) == []


def _large(before: bytes, after: bytes):
    yield HEAD + b'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n--=_b\r\n'
    yield (
        before
        + b"--=_b\r\nContent-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBAAA\r\n"
    )
    yield from noise(24 << 20)
    yield b"--=_b\r\n" + after + b"\r\n--=_b--\r\n"


@pytest.mark.parametrize("after", [b"\r\n" + EICAR, attachment(EICAR, "eicar.txt")], ids=["raw", "base64"])
def test_a_message_of_34_mib_is_searched_in_little_memory(tmp_path, after):
    content = mapped(tmp_path / "m", _large(b"\r\nhello\r\n", after))
    assert len(content) > 32 << 20
    tracemalloc.start()
    try:
        assert look(content) == ["EICAR"]
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_the_string_is_found_across_the_edge_of_a_piece(tmp_path):
    for at in ((256 << 10) - 30, (256 << 10) - 68, 256 << 10, (512 << 10) - 1):
        content = mapped(tmp_path / str(at), [HEAD, b"\r\n", b"x" * (at - len(HEAD) - 2), EICAR, b"y" * 1000])
        assert content.find(EICAR) == at
        assert look(content) == ["EICAR"]


async def test_a_large_message_is_looked_at_in_a_thread_and_a_small_one_is_not(tmp_path):
    threads = []

    class Spy(BuiltIn):
        def look(self, mail):
            threads.append(threading.current_thread() is threading.main_thread())
            return super().look(mail)

    large = mapped(tmp_path / "m", [HEAD, b"\r\n", b"x" * (1 << 20), EICAR])
    for content in (HEAD + b"\r\n" + EICAR, large):
        report = await run([Spy(SETTINGS, OURS)], Mail(message(), content), Duration(10**9))
        assert [finding.name for finding in report.findings] == ["EICAR"]
    assert threads == [True, False]
