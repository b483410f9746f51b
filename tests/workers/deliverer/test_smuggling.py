"""What goes out can be read in one way only: no line end but CRLF, no NUL, no lone dot but the last, and no command but ours.

The octets are those that a server saw. Bodies come from where all bodies come from: a receiver, or our own bounces.
"""

from __future__ import annotations

import re
import ssl

import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import dsn
from pipeline.address import forward_path
from pipeline.authentication.results import forged
from pipeline.events import Attempt
from pipeline.mime import Header
from pipeline.outgoing import CHUNK, Outgoing
from pipeline.state import Recipient, Stage
from tests.support.hostile import ALMOST, CATCH_ALL, END, SMUGGLED, is_clean
from tests.support.peer import Do, Peer, Transaction
from tests.support.receiver import receiver
from tests.workers.deliverer.support import TRACE, deliver, message, opened, summary
from workers.deliverer import commands
from workers.deliverer.opening import Features
from workers.deliverer.session import SessionFailed

A = "a@example.com"
ALL = Features(pipelining=True, eight_bit=True, smtputf8=True, size=True, dsn=True)


def one_message(transaction: Transaction) -> bytes:
    """The message on the wire, after making sure that every reader ends it at the same place."""
    wire = transaction.wire
    assert is_clean(wire)
    assert (b"\r\n" + wire).find(END) == len(wire) - 3
    return transaction.message


# Bodies


async def test_what_came_in_with_other_line_ends_goes_out_as_one_message_with_all_that_was_smuggled_as_content(
    tmp_path,
):
    envelope = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n"
    async with receiver(tmp_path, bare_newlines="normalise") as gate:
        client = await gate.client()
        for almost in ALMOST:
            client.send(envelope + b"Subject: x\r\n\r\none" + almost + SMUGGLED + b".\r\n")
            await client.expect("250", "250", "354", "250 2.0.0 accepted")
        bodies = gate.intake.bodies
    async with Peer() as peer:
        session = await opened(peer)
        for body in bodies:
            assert summary(await deliver(session, content=body)) == {A: "accepted dot 250"}
        await session.quit(1)
        assert [one_message(transaction) for transaction in peer.transactions] == [TRACE + body for body in bodies]
        assert len(bodies) == len(ALMOST)
        assert all(SMUGGLED in body for body in bodies)
        assert peer.connections == 1
        assert {word.split(b" ")[0] for word in peer.said} == {b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT"}
        assert not any(b"bank.example" in word for word in peer.said)


BODIES = [
    b"", b"\r\n", b".\r\n", b"..\r\n", b".", b"..", b"x", b"x\r\n.", b"x\r\n.\r\n", b".\r\n.\r\n", b"\r\n.\r\n", b"x\r\n.\r\n.\r\nQUIT\r\n",
    b"no header\r\n.\r\nMAIL FROM:<a@b>\r\n", b".no header", b"Subject: x\r\n\r\nno end", b"." * 1000, b".\r\n" * 1000, b"\r\n.." * 1000,
    b"Subject: x\r\n\r\n" + SMUGGLED + b".\r\n" + SMUGGLED,
]  # fmt: skip


@pytest.mark.parametrize("features", [["PIPELINING"], []], ids=["pipelined", "stepwise"])
async def test_a_message_of_dots_or_without_an_end_arrives_as_one_message(features):
    async with Peer(features=features) as peer:
        session = await opened(peer)
        for body in BODIES:
            assert summary(await deliver(session, content=body)) == {A: "accepted dot 250"}
        await session.quit(1)
        ends = [TRACE + body if body.endswith(b"\r\n") else TRACE + body + b"\r\n" for body in BODIES]
        assert [one_message(transaction) for transaction in peer.transactions] == ends
        assert {word.split(b" ")[0] for word in peer.said} == {b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT"}


async def test_a_dot_where_two_chunks_meet_is_doubled_like_any_other():
    async with Peer() as peer:
        session = await opened(peer)
        bodies = []
        for before in range(6):
            filling = b"y" * (CHUNK - len(TRACE) - before)
            bodies.append(filling + b"\r\n.\r\n" + SMUGGLED + b".\r\n")
            await deliver(session, content=bodies[-1])
        await session.quit(1)
        assert [one_message(transaction) for transaction in peer.transactions] == [TRACE + body for body in bodies]


FIELDS = [
    b"Authentication-Results: gw.test; spf=pass\r\n",
    b"authentication-results:gw.test;\r\n\t.\r\n .\r\n",
    b".\r\n",
    b"..\r\n",
    b"\r\n",
]


@given(
    st.lists(st.sampled_from([*FIELDS, b"From: a@b\r\n", b" continued\r\n", b"x\r\n"]), max_size=8).map(b"".join),
    st.integers(1, 30),
)
def test_what_is_left_out_of_a_message_leaves_no_half_line_and_no_end_behind(content, chunk):
    outgoing = Outgoing(TRACE, content, forged(Header(content), "gw.test"))
    wire = b"".join(commands.stuffed(outgoing.pieces(chunk))) + commands.ending(outgoing)
    one_message(Transaction(b"", wire=wire))


octets = st.lists(
    st.sampled_from([b".", b"\r\n.\r\n", b"\r", b"\n", b"\0", b"\xff", b"\x1b", b"Subject: ", b" ", b"x" * 300]),
    max_size=12,
)
words = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["\r\n.\r\n", "\n.\n", "\r\n\r\n--=_x", "\0", "\u2028.\u2028", ".", "x" * 2000]
)


@given(
    header=octets.map(b"".join), reply=words, subject=words, address=words, orcpt=words, envid=words, message_id=words
)
@example(
    header=b"X: \n.\n\r\n.\r\n",
    reply="550 \r\n.\r\n",
    subject="\x85.",
    address="a\n@b",
    orcpt="rfc822;+0D+0A.+0D+0A",
    envid="+0A.",
    message_id="<x>",
)
def test_a_bounce_whatever_it_speaks_of_is_one_message_with_clean_lines(
    header, reply, subject, address, orcpt, envid, message_id
):
    recipient = Recipient(address=address, stage=Stage.FAILED, orcpt=orcpt)
    attempt = Attempt(server=f"{address}:25", stage="rcpt", code=550, enhanced="5.1.1", reply=reply)
    body = dsn.render(
        message=message(subject=subject, envid=envid, message_id=message_id),
        failures=[dsn.Failure(recipient=recipient, reason="refused", attempt=attempt)],
        header=header, hostname="gw.test", now=1, bounce_id="x",
    )  # fmt: skip
    assert is_clean(body)
    assert body.endswith(b"\r\n")
    outgoing = Outgoing(TRACE, body)
    wire = b"".join(commands.stuffed(outgoing.pieces())) + commands.ending(outgoing)
    assert one_message(Transaction(b"", wire=wire)) == TRACE + body


# Envelopes


def domain_of(path: bytes) -> bytes:
    """What stands behind the last @ outside quotes, by a reader that goes octet by octet (RFC 5321 4.1.2)."""
    quoted, at = False, -1
    letters = iter(enumerate(path))
    for place, octet in letters:
        if octet == ord("\\") and quoted:
            next(letters)
        elif octet == ord('"'):
            quoted = not quoted
        elif octet == ord("@") and not quoted:
            at = place
    assert not quoted
    return path[at + 1 :]


async def test_a_recipient_of_a_domain_that_takes_everything_is_named_to_its_server_as_it_was_to_us():
    """The same quotes around the same letters, at the same domain: the server reads what we read, and nothing else can be read."""
    async with Peer() as peer:
        session = await opened(peer)
        assert summary(await deliver(session, CATCH_ALL)) == dict.fromkeys(CATCH_ALL, "accepted dot 250")
        await session.quit(1)
        said = [word for word in peer.said if word.startswith(b"RCPT")]
        assert said == [f"RCPT TO:<{address}>".encode() for address in CATCH_ALL]
        for word, address in zip(said, CATCH_ALL, strict=True):
            path = word.removeprefix(b"RCPT TO:")
            recipient, rest = forward_path(path.decode())
            assert (str(recipient), recipient.domain, rest) == (address, "all.test", "")
            assert domain_of(path[1:-1]) == b"all.test"


@pytest.mark.parametrize("address", CATCH_ALL)
def test_a_recipient_of_an_alias_keeps_its_local_part_and_the_name_it_was_given_goes_with_it_as_one_word(address):
    command = commands.rcpt_command(Recipient(address=address, stage=Stage.QUEUED), ALL, domain="home.test")
    path = f"RCPT TO:<{address.removesuffix('all.test')}home.test>"
    parameter = command.removeprefix(path + " ORCPT=rfc822;")
    assert command == f"{path} ORCPT=rfc822;{parameter}"
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+", parameter)
    assert re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), parameter) == address


PARAMETER = r"SIZE=[0-9]+|BODY=8BITMIME|SMTPUTF8|RET=(?:FULL|HDRS)|ENVID=[!-~]{1,100}|NOTIFY=[A-Z,]+|ORCPT=[!-~]{1,500}"
anything = st.text(st.characters(), max_size=30) | st.lists(
    st.sampled_from(["a", "@", "b.test", '"', "\\", ">", "<", " ", "\r\n", "\n", "\r", "\0", "RSET", "SIZE=1", "\u2028", "é", "\ud800"]), max_size=8
).map("".join)  # fmt: skip


@given(sender=anything, to=anything, original=anything, orcpt=anything, notify=anything, envid=anything, ret=anything)
@example(
    sender='"> SIZE=1 "@b.test',
    to='"\\" <x"@b.test',
    original="a b\r\nRSET",
    orcpt="rfc822;a b",
    notify="NEVER ORCPT=x",
    envid="a b",
    ret="FULL X",
)
def test_nothing_that_a_stranger_chose_adds_a_line_a_word_or_a_path_to_a_command(
    sender, to, original, orcpt, notify, envid, ret
):
    recipient = Recipient(address=to, stage=Stage.QUEUED, original=original, orcpt=orcpt, notify=notify)
    said = []
    if commands.sayable(sender):
        said.append(
            (
                f"MAIL FROM:<{sender}>",
                commands.mail_command(message(sender=sender, envid=envid, ret=ret), 9, ALL, smtputf8=True),
            )
        )
    if to and commands.sayable(to):
        said.append((f"RCPT TO:<{to}>", commands.rcpt_command(recipient, ALL)))
    for path, command in said:
        assert command.startswith(path)
        assert re.fullmatch(rf"(?: (?:{PARAMETER}))*", command.removeprefix(path))
        line = commands.lines([command])
        assert (line.count(b"\r"), line.count(b"\n"), line[-2:]) == (1, 1, b"\r\n")
        assert re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", line) is None
        # Spaces and brackets only stand in quotes, where they mean nothing.
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", path.partition("<")[2][:-1])
        assert not set(bare) & set(' <>"\\')


# STARTTLS


@pytest.fixture(scope="module")
def certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("peer.example")


@pytest.fixture
def server_tls(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


INJECTED = {
    "an offer": b"250-evil.example\r\n250-DSN\r\n250-SIZE 1\r\n250 PIPELINING\r\n",
    "a yes": b"250 2.1.0 injected\r\n" * 10,
    "a refusal": b"550 5.7.1 injected\r\n",
    "an end": b"421 4.7.0 injected\r\n",
    "half a line": b"250-injec",
    "much": b"250-injected\r\n" * 500,
}


@pytest.mark.parametrize("injected", INJECTED.values(), ids=INJECTED)
async def test_an_answer_that_came_in_the_clear_behind_220_is_none_within_tls(server_tls, injected):
    async with Peer(
        {"starttls": [b"220 go\r\n" + injected.removesuffix(b"\r\n")]}, features=["8BITMIME"], tls=server_tls
    ) as peer:
        session = await opened(peer)
        assert session.tls.startswith("TLSv1.3 ")
        outcomes = await deliver(session, eight_bit=True)
        assert summary(outcomes) == {A: "accepted dot 250"}
        assert outcomes[A].attempt.reply == "250 2.0.0 queued as 1"
        # EHLO was said again within TLS, and only what was offered there is used.
        mail = b"MAIL FROM:<s@example.org> BODY=8BITMIME"
        assert peer.said == [
            b"EHLO gw.example.net",
            b"STARTTLS",
            b"EHLO gw.example.net",
            mail,
            b"RCPT TO:<a@example.com>",
            b"DATA",
        ]
        assert (peer.encrypted, peer.connections, peer.impatient) == (1, 1, 0)
        await session.quit(1)


@pytest.mark.parametrize("injected", [INJECTED["an offer"], INJECTED["a refusal"], INJECTED["half a line"]])
async def test_an_answer_that_comes_into_the_handshake_breaks_it_and_is_not_heard(server_tls, injected):
    """As if there were no TLS then (RFC 7435): whoever can inject this could as well have taken the offer away."""
    script = {"starttls": [Do(b"220 go\r\n" + injected, bytewise=True)]}
    async with Peer(script, features=["8BITMIME"], tls=server_tls) as peer:
        session = await opened(peer)
        assert (session.tls, peer.encrypted, peer.connections) == ("", 0, 2)
        outcomes = await deliver(session)
        assert outcomes[A].attempt.reply == "250 2.0.0 queued as 1"
        assert peer.said.count(b"STARTTLS") == 1
        await session.quit(1)


@pytest.mark.parametrize("reply", [b"250 go", b"354 go", b"221 go", b"22 go"])
async def test_what_is_no_220_starts_no_handshake(server_tls, reply):
    async with Peer({"starttls": [reply]}, tls=server_tls) as peer:
        session = await opened(peer)
        assert (session.tls, peer.encrypted) == ("", 0)
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_ends_the_handshake_because_we_show_no_certificate_is_spoken_to_in_the_clear(
    server_tls, version
):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.maximum_version = version
    async with Peer(tls=server_tls) as peer:
        session = await opened(peer)
        assert (session.tls, peer.connections, peer.said.count(b"STARTTLS")) == ("", 2, 1)
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


@pytest.mark.parametrize(("reply", "code"), [(b"421 4.3.2 not now", 421), (b"450 4.7.1 not you", 450)])
async def test_a_server_that_answers_within_tls_is_taken_at_its_word(server_tls, reply, code):
    async with Peer({"ehlo": [Do(), Do(reply, after="close")]}, tls=server_tls) as peer:
        with pytest.raises(SessionFailed) as caught:
            await opened(peer)
        assert (caught.value.attempt.stage, caught.value.attempt.code, peer.connections) == ("ehlo", code, 1)
