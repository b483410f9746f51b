import email
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Client
from pipeline.ids import new_id
from pipeline.state import Message, Recipient, Stage
from pipeline.trace import received_line

AT = 1_700_000_000_123_456_789
ID = new_id(AT, 3, 1)


def message(*recipients: str, client: Client | None = None, smtputf8: bool = False) -> Message:
    return Message(
        id=ID, version=1, domain="example.com", sender="s@example.org", size=100, received_at=AT, expires=AT + 1,
        recipients=tuple(Recipient(address=address, stage=Stage.QUEUED) for address in recipients),
        client=client, smtputf8=smtputf8,
    )  # fmt: skip


def test_the_line_says_who_by_whom_how_and_when():
    client = Client(
        address="192.0.2.7", helo="mail.example.org", protocol="ESMTPS", tls="TLSv1.3 TLS_AES_256_GCM_SHA384"
    )
    assert received_line(message("a@example.com", client=client), "gw.example.net") == (
        b"Received: from mail.example.org ([192.0.2.7])\r\n"
        b"\tby gw.example.net with ESMTPS\r\n"
        b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384)\r\n"
        b"\tid " + ID.encode() + b" for <a@example.com>;\r\n"
        b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    )


def test_several_recipients_are_not_named():
    line = received_line(
        message("a@example.com", "b@example.com", client=Client(address="2001:db8::1", helo="x")), "gw"
    )
    assert b"a@example.com" not in line
    assert b"(to 2 at example.com);" in line
    assert b"([IPv6:2001:db8::1])" in line


def test_what_we_wrote_ourselves_has_no_from():
    assert received_line(message("a@example.com"), "gw").startswith(b"Received: by gw id ")


@pytest.mark.parametrize("smtputf8", [True, False])
def test_a_non_ascii_recipient_is_named_only_where_the_message_needs_smtputf8(smtputf8):
    line = received_line(message("jos\u00e9@example.com", smtputf8=smtputf8), "gw")
    assert ("jos\u00e9@example.com".encode() in line) is smtputf8
    assert smtputf8 or line.isascii()


@given(
    helo=st.text(max_size=300),
    tls=st.text(max_size=100),
    address=st.text(max_size=100),
    to=st.text(max_size=100),
    utf8=st.booleans(),
)
def test_no_client_can_write_more_than_its_own_words_into_the_line(helo, tls, address, to, utf8):
    client = Client(address=address, helo=helo, protocol=helo, tls=tls)
    line = received_line(message(to + "@example.com", client=client, smtputf8=utf8), "gw.example.net")
    assert line.endswith(b"\r\n")
    assert re.fullmatch(rb"Received: [^\r\n]+(\r\n\t[^\r\n]+)*\r\n", line)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", line)
    assert all(len(part) <= 998 for part in line.split(b"\r\n"))
    assert email.message_from_bytes(line + b"X-Next: 1\r\n\r\n").keys() == ["Received", "X-Next"]
    assert line.count(b";") == 1
