"""The worst that can arrive, through the whole scan: never an error, always a verdict."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given

from pipeline.mime import Flaw
from pipeline.mime.structure import MAX_PARTS
from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import MAX_FINDINGS, Mail, run
from pipeline.scanning.policy import judge
from pipeline.state import encode_head
from pipeline.units import Duration
from tests.pipeline.test_mime import HOSTILE, OPEN, nested
from tests.support.mail import EICAR, HEAD, OURS, SETTINGS, attachment, mapped, message, multipart, part, verdict
from tests.support.malformed import CHARSETS, REFUSED, SIMPLE, in_charset

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
MALFORMED = {"nothing": (b"", "clean"), **SIMPLE, **REFUSED}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_message_has_a_verdict(case):
    content, expected = MALFORMED[case]
    mail = Mail(message(), content)
    report = await run([BuiltIn(SETTINGS, OURS)], mail, Duration(10**9))
    assert "ENGINE_ERROR" not in [finding.name for finding in report.findings]
    assert judge(report, message(), SETTINGS).verdict == expected, report.findings
    assert len(mail.parts) <= MAX_PARTS
    assert len(report.findings) <= MAX_FINDINGS
    assert all(finding.text.isprintable() for finding in report.findings)
    assert mail.header.subject.isprintable()
    assert mail.header.from_.isprintable()


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_message_cut_anywhere_has_a_verdict(case):
    content = MALFORMED[case][0][: 64 << 10]
    for end in range(0, len(content), max(len(content) // 25, 1)):
        assert verdict(content[:end]).verdict


def test_a_charset_of_any_name_does_nothing_but_give_some_text():
    for name in CHARSETS:
        mail = Mail(message(), in_charset(name))
        BuiltIn(SETTINGS, OURS).look(mail)
        assert not CONTROL.search(mail.header.subject)
        assert len(mail.reading.text) <= 1000
        assert all(one.name for one in mail.parts if not one.container), name


GIANTS = {
    "headers of 10 MiB": lambda: [HEAD, b"X-Long: " + b"y" * 998 + b"\r\n"] + [b"X-Many: " + b"y" * 100 + b"\r\n"] * 95_000 + [b"\r\nbody\r\n"],
    "one field of 10 MiB": lambda: [HEAD, b"X-Long: ", b"y" * (10 << 20), b"\r\n\r\nbody\r\n"],
    "one folded field of 10 MiB": lambda: [HEAD, b"Content-Type: text/plain", b";\r\n a=b" * (10 << 17), b"\r\n\r\nbody\r\n"],
    "a line of 30 MiB": lambda: [HEAD, b"\r\n", b"y" * (30 << 20), b"\r\n"],
    "a line of 30 MiB of dashes": lambda: [HEAD, OPEN, b"-" * (30 << 20), b"\r\n"],
    "30 MiB of line ends": lambda: [HEAD, OPEN, b"\r\n" * (15 << 20)],
    "30 MiB of base64 garbage": lambda: [HEAD, b"Content-Transfer-Encoding: base64\r\n\r\n", b"=\xff!A" * (30 << 18)],
    "30 MiB of quoted-printable garbage": lambda: [HEAD, b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"=4=\r\n=" * (5 << 20)],
    "5,000 nested parts": lambda: [HEAD, nested(5000)],
    "5,000 nested messages": lambda: [HEAD, b"Content-Type: message/rfc822\r\n\r\n" * 5000],
    "100,000 parts": lambda: [HEAD, OPEN, b"--b\r\n\r\nx\r\n" * 100_000],
    "1,000,000 lines of dashes": lambda: [HEAD, OPEN, b"--\r\n" * 1_000_000],
    "200,000 begins": lambda: [HEAD, b"\r\n", b"begin 644 a\r\n" * 200_000],
    "a 30 MiB attachment of headers of a ZIP": lambda: [HEAD, b"Content-Type: application/zip\r\n\r\n", b"PK\x03\x04\x14\0\0\0\x08\0" * (3 << 20)],
}  # fmt: skip


@pytest.mark.parametrize("case", GIANTS)
def test_a_giant_has_a_verdict_in_bounded_memory(case, tmp_path):
    content = mapped(tmp_path / "m", GIANTS[case]())
    tracemalloc.start()
    try:
        judged = verdict(content)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert len(judged.findings) <= MAX_FINDINGS


@pytest.mark.parametrize("levels", [10, 50, 60])
def test_what_is_attached_is_found_at_every_depth_that_is_looked_at(levels):
    content = attachment(b"x", "a.exe")
    for level in range(levels):
        inner = HEAD + content if level % 2 else content
        content = multipart([part("message/rfc822", inner) if level % 2 else inner], f"b{level}")
    mail = Mail(message(), HEAD + content)
    assert Flaw.DEEP not in mail.flaws
    assert verdict(HEAD + content).verdict == "content"


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
