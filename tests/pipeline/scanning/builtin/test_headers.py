"""What a header lacks, repeats or claims falsely; and what honest programs write."""

from __future__ import annotations

import pytest

from tests.support.mail import HEAD, OURS, attachment, look, multipart, part, verdict, with_parts


def field(name: str, value: bytes | None) -> bytes:
    """A good header with one field changed, or taken out."""
    lines = [
        line for line in HEAD.splitlines(keepends=True) if not line.lower().startswith(name.lower().encode() + b":")
    ]
    return b"".join(lines) + (b"" if value is None else name.encode() + b": " + value + b"\r\n") + b"\r\nbody\r\n"


def test_an_ordinary_message_has_no_findings():
    assert look(HEAD + b"\r\nbody\r\n") == []
    assert verdict(HEAD + b"\r\nbody\r\n").verdict == "clean"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("From", None, "FROM_MISSING"),
        ("Date", None, "DATE_MISSING"),
        ("Message-ID", None, "MESSAGE_ID_MISSING"),
        ("Subject", None, "SUBJECT_MISSING"),
        ("From", b"Nobody", "FROM_NO_ADDRESS"),
        ("From", b"", "FROM_NO_ADDRESS"),
        ("From", b'"help@bank.example" <x@evil.example>', "FROM_NAME_ADDRESS"),
        ("From", b"=?utf-8?q?help=40bank=2Eexample?= <x@evil.example>", "FROM_NAME_ADDRESS"),
        ("From", b"x@evil.example (help@bank.example)", "FROM_NAME_ADDRESS"),
        ("Message-ID", b"<12345>", "MESSAGE_ID_INVALID"),
        ("Date", b"soon", "DATE_INVALID"),
        ("Date", b"Thu, 26 Nov 2026 10:00:00 +0000", "DATE_FUTURE"),
        ("Date", b"Mon, 1 Jan 2024 10:00:00 +0000", "DATE_PAST"),
    ],
)
def test_one_oddity_is_found_and_alone_is_not_spam(name, value, expected):
    content = field(name, value)
    assert look(content) == [expected]
    assert verdict(content).verdict == "clean"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("From", b"x@evil.example"),
        ("From", b'"x@evil.example" <x@evil.example>'),
        ("From", b'"x@mail.evil.example" <x@evil.example>'),
        ("From", b'"x@evil.example" <x@mail.evil.example>'),
        ("From", b"user @ home <x@evil.example>"),
        ("From", b"a@b.example, c@d.example"),
        ("Date", b"Mon, 23 Nov 2026 15:00:00 +0000"),
        ("Date", b"Fri, 20 Nov 2026 10:00:00 +0000"),
    ],
)
def test_what_honest_people_write_is_not_odd(name, value):
    assert look(field(name, value)) == []


@pytest.mark.parametrize("name", ["From", "Subject", "Date", "Message-ID", "To", "Sender", "Reply-To"])
def test_a_field_that_must_be_single_is_found_twice(name):
    content = f"{name}: <a@b.c>\r\n{name}: <a@b.c>\r\n".encode() + HEAD + b"\r\n"
    assert "HEADER_REPEATED" in look(content)


def test_fields_that_may_be_repeated_are_no_finding():
    assert (
        look(
            b"Received: from a by b\r\nReceived: from c by d\r\nX-A: 1\r\nX-A: 2\r\nComments: 1\r\nComments: 2\r\n"
            + HEAD
            + b"\r\n"
        )
        == []
    )


@pytest.mark.parametrize(
    ("received", "ours"),
    [
        (f"from a.example by {OURS} with ESMTP id x", True),
        (f"from a.example (a.example [192.0.2.1])\r\n\tBY {OURS.upper()} (Gatepost)", True),
        (f"from a.example by {OURS}.;", True),
        (f"from {OURS} by a.example", False),
        (f"from a.example by {OURS}.evil.example", False),
        (f"from a.example by not{OURS}", False),
        ("from a.example by b.example", False),
    ],
)
def test_a_trace_line_that_claims_to_be_ours_is_found(received, ours):
    found = look(f"Received: {received}\r\n".encode() + HEAD + b"\r\n")
    assert found == (["TRACE_OURS"] if ours else [])


def test_many_oddities_together_are_spam():
    content = b"From: Nobody\r\nFrom: Somebody\r\nDate: soon\r\nMessage-ID: <1>\r\nno field\r\nSubject: a\r\nSubject: b\r\n\r\n"
    judged = verdict(content)
    assert judged.verdict == "spam"
    assert judged.score >= 5


SWAKS = (
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nTo: x@example.test\r\nFrom: root@host.example\r\n"
    b"Subject: test Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-Id: <20261123100000.012345@host.example>\r\n"
    b"X-Mailer: swaks v20201014.0 jetmore.org/john/code/swaks/\r\n\r\nThis is a test mailing\r\n\r\n"
)
SMTP_SOURCE = (
    b"From: <foo@host.example>\r\nTo: <x@example.test>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
    b"Message-Id: <0012.0003.0004@host.example>\r\n\r\n" + b"X" * 70 + b"\r\n"
)


@pytest.mark.parametrize(
    "content",
    [
        SWAKS,
        SMTP_SOURCE,
        b"From: a@b.example\r\nTo: x@example.test\r\nSubject: hi\r\n\r\nsmtplib by hand\r\n",
        b"Subject: hi\r\n\r\nsmtplib by hand\r\n",
        b"To: x@example.test\r\n\r\nhi\r\n",
        b"just a line\r\n",
        b"just a line\r\n\r\nand another\r\n",
        b"\r\nno header, and says so\r\n",
        b"\r\n",
        b"",
    ],
    ids=[
        "swaks",
        "smtp-source",
        "smtplib",
        "subject only",
        "to only",
        "a line",
        "two lines",
        "body only",
        "an empty line",
        "nothing",
    ],
)
def test_what_plain_tools_send_is_delivered(content):
    judged = verdict(content)
    assert (judged.verdict, judged.quarantine) == ("clean", {})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (with_parts(attachment(b"x", "a.txt")).replace(b"--=_b--", b""), "MIME_UNTERMINATED"),
        (HEAD + b"Content-Type: multipart/mixed\r\n\r\nx", "MIME_NO_BOUNDARY"),
        (with_parts(multipart([part("text/plain", b"x")])), "MIME_BOUNDARY_REUSED"),
        (with_parts(attachment(HEAD + b"\r\nx", "", "message/rfc822")), "MIME_ENCODED"),
    ],
)
def test_an_odd_structure_is_found_and_alone_is_not_spam(content, expected):
    assert look(content) == [expected]
    assert verdict(content).verdict == "clean"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEAD + multipart([part("text/plain", b"x")] * 1001), "MIME_TOO_MANY"),
        (HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 1000, "MIME_TOO_DEEP"),
    ],
)
def test_what_cannot_be_looked_at_in_full_is_kept_back(content, expected):
    assert look(content) == [expected]
    assert verdict(content).verdict == "content"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Type: text/plain\r\nContent-Type: text/html\r\n",
        b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n",
        b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n",
    ],
)
def test_a_message_that_reads_differently_to_different_programs_is_kept_back(fields):
    content = HEAD + fields + b"\r\nx\r\n--a\r\n\r\n--a--\r\n"
    assert look(content) == ["MIME_AMBIGUOUS"]
    assert verdict(content).verdict == "spam"


def test_the_same_type_said_twice_is_harmless():
    assert look(HEAD + b"Content-Type: text/plain\r\nContent-Type: text/plain\r\n\r\nx") == []


def test_a_wall_of_fields_is_found():
    assert look(b"X: y\r\n" * 10_000 + HEAD + b"\r\n")[-1] == "HEADER_TOO_LONG"
