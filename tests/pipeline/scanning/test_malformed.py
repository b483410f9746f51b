"""The worst that can arrive, through the whole scan: never an error, always a verdict."""

from __future__ import annotations

import pytest
from hypothesis import given

from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import Mail, run
from pipeline.scanning.policy import judge
from pipeline.state import encode_head
from pipeline.units import Duration
from tests.pipeline.test_mime import HOSTILE, OPEN, nested
from tests.support.mail import EICAR, HEAD, OURS, SETTINGS, attachment, message, multipart, part, verdict, with_parts

MALFORMED = {
    "nothing": (b"", "clean"),
    "no headers": (b"hello\r\n", "clean"),
    "NUL octets": (HEAD + b"Subject\0: a\0b\r\n\r\nbody\0\r\n", "clean"),
    "8-bit headers": (HEAD.replace(b"hello", b"h\xe4ll\xc3\xb6") + b"\r\nbody\r\n", "clean"),
    "long lines": (HEAD + b"X-Long: " + b"x" * 5000 + b"\r\n\r\n" + b"y" * 100_000 + b"\r\n", "clean"),
    "bare line feeds": (HEAD.replace(b"\r\n", b"\n") + b"\nbody\n", "clean"),
    "bare carriage returns": (HEAD.replace(b"\r\n", b"\r") + b"\rbody\r", "clean"),
    "10,000 headers": (b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + HEAD + b"\r\nbody\r\n", "spam"),
    "1,000 nested parts": (HEAD + nested(1000), "content"),
    "1,000 nested messages": (HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 1000, "content"),
    "100,000 parts": (HEAD + OPEN + b"--b\r\n\r\nx\r\n" * 100_000, "content"),
    "unterminated boundary": (HEAD + OPEN + b"--b\r\n\r\nx\r\n", "clean"),
    "no boundary in the body": (HEAD + OPEN + b"nothing\r\n", "clean"),
    "a boundary that begins another": (with_parts(multipart([part("text/plain", b"x")], "=_bb")), "clean"),
    "empty boundary": (HEAD + b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx\r\n----\r\n', "clean"),
    "base64 garbage": (with_parts(part("image/png", b"!\xff=A=\0==\r\n" * 1000, "Content-Transfer-Encoding: base64")), "clean"),
    "quoted-printable garbage": (with_parts(part("text/plain", b"=\xff=zz==\r\n=" * 1000, "Content-Transfer-Encoding: quoted-printable")), "clean"),
    "unknown encoding": (with_parts(part("text/plain", b"x", "Content-Transfer-Encoding: x-rot13")), "clean"),
    "unknown charset": (HEAD.replace(b"hello", b"=?undefined?q?x?= =?zlib_codec?b?eJw=?=") + b"\r\n", "clean"),
    "a cut archive": (with_parts(attachment(b"PK\x03\x04" + b"\xff" * 1000, "a.zip")), "clean"),
    "a header in the body's place": (HEAD + OPEN + b"--b\r\n" + HEAD * 50, "clean"),
    "a virus all the same": (HEAD + nested(90) + b"\r\n" + EICAR, "virus"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_message_has_a_verdict(case):
    content, expected = MALFORMED[case]
    report = await run([BuiltIn(SETTINGS, OURS)], Mail(message(), content), Duration(10**9))
    assert "ENGINE_ERROR" not in [finding.name for finding in report.findings]
    assert judge(report, message(), SETTINGS).verdict == expected, report.findings


@given(HOSTILE)
def test_any_octets_have_a_verdict_that_can_be_stored_and_shown(content):
    judged = verdict(content)
    for action in judged.actions:
        encode_head(message(action.reason or "x"))
        assert action.reason.isprintable()
    assert all(finding.text.isprintable() for finding in judged.findings)
    assert len(judged.findings) < 50


@given(HOSTILE)
def test_a_virus_is_found_behind_any_octets(content):
    assert verdict(content + EICAR).verdict == "virus"
