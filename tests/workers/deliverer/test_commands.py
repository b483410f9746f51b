import mmap
import tempfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.outgoing import CHUNK, Outgoing
from pipeline.state import Message, Recipient, Stage
from workers.deliverer import commands
from workers.deliverer.opening import Features

ALL = Features(pipelining=True, eight_bit=True, smtputf8=True, size=True, dsn=True)
NONE = Features()


def message(**changes: object) -> Message:
    fields: dict[str, object] = {
        "id": "x", "version": 1, "domain": "example.com", "sender": "s@example.org", "recipients": (), "size": 9, "received_at": 0,
        "expires": 1,
    }  # fmt: skip
    return Message(**(fields | changes))  # type: ignore[arg-type]


def recipient(address: str = "a@example.com", **changes: str) -> Recipient:
    return Recipient(address=address, stage=Stage.QUEUED, **changes)


def unstuffed(wire: bytes) -> bytes:
    """As a server reads it, line by line (RFC 5321 4.5.2)."""
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    lines = wire.removesuffix(b".\r\n").split(b"\r\n")
    assert b"." not in lines
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


text = st.lists(
    st.sampled_from([b".", b"..", b"\r\n", b"\r", b"\n", b"\r\n.", b"\r\n.\r\n", b"a", b"\xff", b"\0"])
).map(b"".join)


@given(content=text, trace=st.sampled_from([b"", b"X: 1\r\n", b".X: 1\r\n"]), chunk=st.integers(1, 9))
@example(content=b".\r\n.\r\n", trace=b"", chunk=1)
@example(content=b"a\r\n.b", trace=b"X: 1\r\n", chunk=2)
def test_a_server_reads_exactly_the_message_wherever_it_was_cut(content, trace, chunk):
    outgoing = Outgoing(trace, content)
    wire = b"".join(commands.stuffed(outgoing.pieces(chunk))) + commands.ending(outgoing)
    whole = trace + content
    assert unstuffed(wire) == (whole if content.endswith(b"\r\n") else whole + b"\r\n")


@given(content=st.binary(max_size=400), chunk=st.integers(1, 50))
def test_any_octets_arrive_as_they_are(content, chunk):
    outgoing = Outgoing(b"T: 1\r\n", content)
    wire = b"".join(commands.stuffed(outgoing.pieces(chunk))) + commands.ending(outgoing)
    assert unstuffed(wire) == b"T: 1\r\n" + content + (b"" if content.endswith(b"\r\n") else b"\r\n")


@given(cuts=st.lists(text))
def test_dots_are_doubled_alike_for_every_way_to_cut(cuts):
    whole = b"".join(cuts)
    assert b"".join(commands.stuffed(cuts)) == b"".join(commands.stuffed([whole]))


def test_a_mapped_file_is_read_in_chunks():
    with tempfile.TemporaryFile() as file:
        file.write(b".line\r\n" * 100_000)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            outgoing = Outgoing(b"T: 1\r\n", content)
            pieces = list(outgoing.pieces())
            assert max(map(len, pieces)) <= CHUNK + 6
            assert commands.ending(outgoing) == b".\r\n"
            wire = b"".join(commands.stuffed(pieces)) + b".\r\n"
            assert unstuffed(wire) == b"T: 1\r\n" + content[:]
            assert not commands.needs_smtputf8(message(smtputf8=True), [recipient()], content)


@pytest.mark.parametrize(
    ("features", "changes", "smtputf8", "command"),
    [
        (NONE, {}, False, "MAIL FROM:<s@example.org>"),
        (ALL, {}, False, "MAIL FROM:<s@example.org> SIZE=123"),
        (ALL, {"sender": ""}, False, "MAIL FROM:<> SIZE=123"),
        (ALL, {"eight_bit": True}, False, "MAIL FROM:<s@example.org> SIZE=123 BODY=8BITMIME"),
        (NONE, {"eight_bit": True, "envid": "x", "ret": "FULL"}, False, "MAIL FROM:<s@example.org>"),
        (ALL, {"smtputf8": True}, True, "MAIL FROM:<s@example.org> SIZE=123 BODY=8BITMIME SMTPUTF8"),
        (
            Features(dsn=True),
            {"envid": "a+2Bb", "ret": "hdrs"},
            False,
            "MAIL FROM:<s@example.org> RET=HDRS ENVID=a+2Bb",
        ),
        (Features(dsn=True), {"envid": "a b\r\nRSET", "ret": "x y"}, False, "MAIL FROM:<s@example.org>"),
    ],
)
def test_mail_carries_what_the_server_offers_and_the_message_has(features, changes, smtputf8, command):
    assert commands.mail_command(message(**changes), 123, features, smtputf8=smtputf8) == command


@pytest.mark.parametrize(
    ("features", "changes", "command"),
    [
        (NONE, {"notify": "NEVER", "orcpt": "rfc822;a@b"}, "RCPT TO:<a@example.com>"),
        (ALL, {}, "RCPT TO:<a@example.com>"),
        (ALL, {"notify": "never", "orcpt": "rfc822;a+2Bb"}, "RCPT TO:<a@example.com> NOTIFY=NEVER ORCPT=rfc822;a+2Bb"),
        (ALL, {"notify": "SUCCESS,FAILURE,DELAY"}, "RCPT TO:<a@example.com> NOTIFY=SUCCESS,FAILURE,DELAY"),
        (ALL, {"notify": "NEVER,DELAY", "orcpt": "rfc822;a b"}, "RCPT TO:<a@example.com>"),
        (ALL, {"notify": "x\r\nDATA", "orcpt": "rfc822;a\r\nDATA"}, "RCPT TO:<a@example.com>"),
    ],
)
def test_rcpt_carries_dsn_parameters_only_where_offered_and_well_formed(features, changes, command):
    assert commands.rcpt_command(recipient(**changes), features) == command


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a@b.example",
        "a",
        '"a b"@b.example',
        '"a>b"@b.example',
        '"a\\"b"@b.example',
        "jos\u00e9@b.example",
        "a+b=c@b.example",
        "a@[192.0.2.1]",
    ],
)
def test_an_address_in_shape_can_be_said(address):
    assert commands.sayable(address)


@pytest.mark.parametrize(
    "address",
    [
        "a b@c",
        "a>@c",
        "<a@c",
        "a@c> SIZE=1",
        "a@c\r\nDATA",
        "a\x00@c",
        'a"b@c',
        '"a@c',
        '"a\r\n"@c',
        '"a\\"@c',
        "a@b c",
        "a\u2028@c",
        "a\x85@c",
        "a@b@c",
        "@",
    ],
)
def test_an_address_that_could_end_the_command_cannot_be_said(address):
    assert not commands.sayable(address)


@given(st.text())
def test_no_address_that_can_be_said_has_an_end_of_line_or_closes_the_path(address):
    if commands.sayable(address):
        line = commands.lines([commands.rcpt_command(recipient(address), NONE)])
        assert line.count(b"\r") == line.count(b"\n") == 1
        assert '"' in address or line.count(b">") == 1


@pytest.mark.parametrize(
    ("changes", "to", "content", "needs"),
    [
        ({}, "a@b", b"Subject: x\r\n\r\n", False),
        ({"smtputf8": True}, "a@b", b"Subject: x\r\n\r\n\xff", False),
        ({"smtputf8": True}, "a@b", b"Subject: \xc3\xa9\r\n\r\n", True),
        ({}, "a@b", b"Subject: \xe9\r\n\r\n", False),
        ({"sender": "jos\u00e9@b"}, "a@b", b"", True),
        ({}, "jos\u00e9@b", b"", True),
    ],
)
def test_smtputf8_is_needed_for_an_address_or_for_a_header_that_was_sent_with_it(changes, to, content, needs):
    assert commands.needs_smtputf8(message(**changes), [recipient(to)], content) is needs
