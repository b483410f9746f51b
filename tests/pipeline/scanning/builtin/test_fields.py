"""What is odd in what the fields say; and what is not, though it looks so."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.scanning.builtin.fields import fields
from pipeline.scanning.engine import Mail
from tests.support.mail import HEAD, look, message, multipart, part


def field(name: str, value: str) -> bytes:
    """The usual message with one field of this value."""
    lines = [line for line in HEAD.split(b"\r\n") if line and not line.lower().startswith(name.lower().encode() + b":")]
    return b"\r\n".join([*lines, f"{name}: {value}".encode(), b"", b"hello", b""])


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("Subject", "", ["SUBJECT_EMPTY"]),
        ("Subject", "YOU HAVE WON A PRIZE", ["SUBJECT_CAPITALS"]),
        ("Subject", "Re: [list] YOU HAVE WON A PRIZE", ["SUBJECT_CAPITALS"]),
        ("Subject", "GEWINN FÜR SIE, GRÜSSE", ["SUBJECT_CAPITALS", "HEADER_8BIT"]),
        ("Subject", "Win!! big money", ["SUBJECT_EXCLAIMS"]),
        ("Subject", "$$$ ca$h %%", ["SUBJECT_SYMBOLS"]),
        ("Subject", "cheap loans                 xk7qz", ["SUBJECT_GAP"]),
        ("Subject", "=?utf-8?q?plain_words?=", ["SUBJECT_ENCODED"]),
        ("To", "undisclosed-recipients:;", ["TO_UNDISCLOSED"]),
        ("To", ", ".join(f"a{number}@example.test" for number in range(20)), ["TO_MANY"]),
        ("Date", "Mon, 23 Nov 2026 09:58:00 +2000", ["DATE_ZONE_IMPOSSIBLE"]),
        ("Date", "Mon, 23 Nov 2026 09:58:00 -0017", ["DATE_ZONE_IMPOSSIBLE"]),
        ("Date", "Mon, 23 Nov 2026 09:58:00", ["DATE_ZONE_MISSING"]),
        ("Message-ID", "1@a.example", ["MESSAGE_ID_FORM"]),
        ("Message-ID", "<a b@a.example>", ["MESSAGE_ID_FORM"]),
        ("From", "Bücher <b@a.example>", ["HEADER_8BIT"]),
    ],
)
def test_each_oddity_is_found(name, value, found):
    assert look(field(name, value)) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Subject", "RE: FYI"),
        ("Subject", "SMTP AND DNS work again"),
        ("Subject", "Great news!"),
        ("Subject", "Invoice 4711 (50% off) -- see a_b/c"),
        ("Subject", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        ("Subject", "=?iso-2022-jp?B?aGVsbG8=?="),
        ("Subject", "two  spaces"),
        ("To", "a@example.test, b@example.test"),
        ("Date", "Mon, 23 Nov 2026 15:43:00 +0545"),
        ("Date", "Mon, 23 Nov 2026 04:58:00 EST"),
        ("Date", "Mon, 23 Nov 2026 09:58:00 +0000 (UTC)"),
        ("Date", "Mon, 23 Nov 2026 09:58 GMT"),
        ("Message-ID", "<1.a$b@[192.0.2.1]>"),
        ("Message-ID", "<1@a.example> (added by postmaster)"),
    ],
)
def test_what_honest_people_and_programs_write_is_not_odd(name, value):
    assert look(field(name, value)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"plain words\r\n", ["TEXT_BASE64"]),
        ("grüße".encode(), []),
        (b"x" * 2000, []),
        (b"\x1b$B$3$s\x1b(B", []),
    ],
)
def test_text_that_needs_no_base64_is_odd_in_it(text, found):
    wrapped = part("text/plain; charset=utf-8", base64.encodebytes(text), "Content-Transfer-Encoding: base64")
    assert look(HEAD + multipart([wrapped])) == found


def test_with_smtputf8_fields_may_be_utf8():
    mail = Mail(msgspec.structs.replace(message(), smtputf8=True), field("Subject", "Grüße"))
    assert fields(mail) == []


@settings(max_examples=300)
@given(
    st.sampled_from([
        "Subject", "Date", "To", "From", "Cc", "Message-ID", "Received", "X-Mailer", "User-Agent", "Precedence", "List-Id",
        "ARC-Authentication-Results", "X-MSMail-Priority", "Content-Type",
    ]),
    st.binary(max_size=200),
)  # fmt: skip
def test_no_header_raises(name, value):
    look(HEAD + name.encode() + b": " + value + b"\r\n\r\nx")
