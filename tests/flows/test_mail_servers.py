"""Mail through the whole gateway to Postfix, Exim and OpenSMTPD: whole, once, and their refusals understood."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Iterator

import pytest

from pipeline.diagnosis import Action, diagnose, read
from pipeline.events import Attempt, Deferred, Delivered, MessageEvent, RouteDeferred, Undeliverable
from pipeline.outcome import parse_reply
from tests.support.gateway import Gateway
from tests.support.mail import HEAD, attachment, encoded, noise, part, with_parts
from tests.support.mailserver import CROWD, FOREIGN, KINDS, LIMIT, SPACED, MailServer, mail_server
from tests.support.servers import wait_until
from tests.support.signing import Published, rsa_signer, sign, verified_by_dkimpy

SENDER = "sender@elsewhere.test"
KEY = rsa_signer()
PUBLISHED = Published({"s1._domainkey.a.example": KEY.record})
DOTS = b".\r\n..\r\n...\r\n.dot\r\n\r\n.\r\n. \r\nx.\r\n"
FOLDED = (
    b"X-Folded: one\r\n two\r\n\tthree\r\n"
    b"X-Wide: " + b"word " * 150 + b"\r\n   and more\r\nX-Empty:\r\nx-lower:no space\r\n"
)


def letter(body: bytes, fields: bytes = b"") -> bytes:
    """A message with fields that are there, so that no server adds them."""
    return HEAD + fields + b"\r\n" + body


MESSAGES = {
    "plain": letter(b"At noon?\r\n"),
    "no last line end": letter(b"At noon?"),
    "dots": letter(DOTS),
    "only dots": letter(b".\r\n" * 2000),
    "998 octets in a line": letter(b"x" * 998 + b"\r\n."+ b"y" * 997 + b"\r\n"),
    "lines far too long": letter(b"x" * 5000 + b"\r\n." + b"y" * 20_000 + b"\r\n"),
    "8 bit": letter(bytes(range(0x80, 0x100)) + b"\r\n\xff\r\n", b"Subject: gr\xfc\xdfe\r\n"),
    "UTF-8": letter("Zürich, 東京, 🙂\r\n".encode(), "X-Town: Zürich\r\n".encode()),
    "control characters": letter(bytes(set(range(1, 0x20)) - {10, 13}) + b"\x7f\r\n"),
    "empty body": letter(b""),
    "only a header": HEAD,
    "empty lines at the end": letter(b"At noon?\r\n" + b"\r\n" * 20),
    "blanks at the end of lines": letter(b"a \r\nb\t\r\n \r\n\t\r\n"),
    "From at the beginning of a line": letter(b"From here on\r\n>From there\r\n\r\nFrom a@b Mon Nov 23 10:00:00 2026\r\n"),
    "folded fields": letter(b"At noon?\r\n", FOLDED),
    "many fields": letter(b"At noon?\r\n", b"".join(b"X-%d: y\r\n" % number for number in range(500))),
    "MIME": with_parts(attachment(bytes(range(256)) * 300, "a.dat"), part("text/html; charset=utf-8", b"<p>hello</p>\r\n")),
    "100 KiB": letter(encoded(bytes(range(256)) * 300)),
    "5 MiB": letter(b"".join(noise(5 << 20))),
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def peer(request, running: Gateway) -> Iterator[MailServer]:
    with mail_server(request.param) as server:
        names = ["anna", "ben", "nobody", *CROWD]
        running.add(server.route, *(f"{name}@{server.domain}" for name in names), domain=server.domain)
        yield server


def expected(peer: MailServer, content: bytes) -> bytes:
    """What SMTP makes of it, which has no message without a line end, and what the server is known to."""
    content = content if content.endswith(b"\r\n") else content + b"\r\n"
    return content + b"\r\n" if peer.separates and b"\r\n\r\n" not in content else content


@pytest.mark.parametrize("content", MESSAGES.values(), ids=MESSAGES)
def test_a_message_arrives_byte_for_byte(running, peer, content):
    message_id = running.send(content, f"anna@{peer.domain}", sender=SENDER)
    (arrived,) = peer.wait(1, message_id)
    assert (arrived.sender, arrived.recipients) == (SENDER, (f"anna@{peer.domain}",))
    assert arrived.original == expected(peer, content)
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")


def test_mail_goes_over_tls_and_in_clear_where_tls_is_offered_and_broken(running, peer):
    message_id = running.send(MESSAGES["plain"], f"anna@{peer.domain}")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    delivered = running.message_events()[message_id][-1]
    assert isinstance(delivered, Delivered)
    assert bool(delivered.attempt.tls) == peer.tls


@pytest.mark.parametrize("forms", ["simple/simple", "relaxed/relaxed"])
def test_a_signature_still_holds_at_the_server(running, peer, forms):
    content = sign(letter(DOTS + b"\r\n\r\n", FOLDED), KEY, forms=forms)
    (arrived,) = peer.wait(1, running.send(content, f"anna@{peer.domain}"))
    assert arrived.original == content
    assert verified_by_dkimpy(arrived.content, PUBLISHED)


def test_a_message_for_a_hundred_arrives_once_for_each(running, peer):
    recipients = [f"{name}@{peer.domain}" for name in CROWD]
    message_id = running.send(MESSAGES["dots"], *recipients, sender=SENDER)
    arrived = peer.wait(len(recipients), message_id)
    assert sorted(mail.recipients[0] for mail in arrived) == sorted(recipients)
    assert {mail.original for mail in arrived} == {MESSAGES["dots"]}
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")


@pytest.mark.parametrize("sender", ["", "o'neil+tag=x/y@elsewhere.test"])
def test_a_sender_arrives_as_it_was_said(running, peer, sender):
    (arrived,) = peer.wait(1, running.send(MESSAGES["plain"], f"anna@{peer.domain}", sender=sender))
    assert arrived.sender == sender


def test_names_that_have_to_be_quoted_arrive_where_the_server_takes_such_names(running, peer):
    recipient = f'"{SPACED}"@{peer.domain}'
    running.cli("address", "add", recipient)
    message_id = running.send(MESSAGES["plain"], recipient, sender='"some one"@elsewhere.test')
    if peer.rich:
        (arrived,) = peer.wait(1, message_id)
        assert arrived.recipients[0].replace('"', "") == f"{SPACED}@{peer.domain}"
        assert arrived.sender.replace('"', "") == "some one@elsewhere.test"
        assert arrived.original == MESSAGES["plain"]
    else:
        refused = wait_until(lambda: last_attempt(running, message_id), what="a refusal")
        assert "syntax error" in refused.reply
        assert diagnose(refused, software=peer.name).about == "policy"


def test_an_address_that_is_not_ascii_arrives_where_the_server_offers_smtputf8(running, peer):
    recipient = f"{FOREIGN}@{peer.domain}"
    running.cli("address", "add", recipient)
    content = letter(b"At noon?\r\n", "X-Town: Zürich\r\n".encode())
    # What a server offers is known from the last connection to it.
    running.wait_kinds(running.send(content, f"anna@{peer.domain}"), "Received", "Scanned", "Queued", "Delivered")
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("sender.test")
        client.command_encoding = "utf-8"
        options = ["SMTPUTF8", "BODY=8BITMIME"]
        assert client.mail(SENDER, options)[0] == 250
        if not peer.rich:
            assert client.rcpt(recipient)[1].startswith(b"5.6.7")
            return
        wait_until(lambda: client.rcpt(recipient)[0] == 250, what="word of what the server offers")
        client.rset()
        client.sendmail(SENDER, [recipient], content, options)
    arrived = wait_until(lambda: [mail for mail in peer.wait(1) if mail.recipients == (recipient,)])
    assert [mail.original for mail in arrived] == [content]


def last_attempt(running: Gateway, message_id: str) -> Attempt | None:
    """What the server said last to a message that has not been delivered."""
    attempts = [getattr(event, "attempt", None) for event in running.message_events().get(message_id, ())]
    return next((attempt for attempt in reversed(attempts) if attempt is not None), None)


# --- Refusals


class Dialogue:
    """A plain client: what the server answered to the last command, as the deliverer would record it."""

    def __init__(self, peer: MailServer, port: int) -> None:
        self.client = smtplib.SMTP(timeout=30)
        _, greeting = self.client.connect("127.0.0.1", port)
        self.software = read().software_of(greeting.decode())
        self.client.ehlo("gateway.test")

    def say(self, stage: str, command: str) -> Attempt:
        return self._attempt(stage, *self.client.docmd(command))

    def data(self, content: bytes) -> Attempt:
        assert self.client.docmd("DATA")[0] == 354
        self.client.send(content + b"\r\n.\r\n")
        return self._attempt("dot", *self.client.getreply())

    def _attempt(self, stage: str, code: int, words: bytes) -> Attempt:
        said = words.split(b"\n")
        lines = [b"%d%b%b" % (code, b" " if line is said[-1] else b"-", line) for line in said]
        reply = parse_reply(lines)
        return Attempt(server="peer:25", stage=stage, code=reply.code, enhanced=reply.enhanced, reply=reply.text)


@pytest.fixture
def dialogue(peer) -> Iterator[Dialogue]:
    found = Dialogue(peer, peer.port)
    yield found
    found.client.close()


def meaning(dialogue: Dialogue, attempt: Attempt) -> tuple[str, Action]:
    found = diagnose(attempt, software=dialogue.software)
    return found.about, found.action


def test_each_says_in_its_greeting_what_it_is(peer, dialogue):
    assert dialogue.software == peer.name


def test_an_unknown_user_is_understood(peer, dialogue):
    dialogue.say("mail", f"MAIL FROM:<{SENDER}>")
    refused = dialogue.say("rcpt", f"RCPT TO:<nobody@{peer.domain}>")
    assert meaning(dialogue, refused) == ("recipient", Action.FAIL)


def test_a_domain_that_the_server_was_not_told_of_is_understood(peer, dialogue):
    dialogue.say("mail", f"MAIL FROM:<{SENDER}>")
    refused = dialogue.say("rcpt", "RCPT TO:<anna@forgotten.test>")
    # OpenSMTPD has the same words for a domain and for a user that it does not know.
    expected = ("recipient", Action.FAIL) if peer.name == "opensmtpd" else ("relay-denied", Action.HOLD)
    assert meaning(dialogue, refused) == expected


def test_a_message_that_is_too_large_is_understood(peer, dialogue):
    refused = dialogue.say("mail", f"MAIL FROM:<{SENDER}> SIZE={LIMIT + 1}")
    if peer.name == "opensmtpd":  # it does not look at what MAIL announces
        assert refused.code == 250
        dialogue.say("rcpt", f"RCPT TO:<anna@{peer.domain}>")
        refused = dialogue.data(HEAD + b"\r\n" + b"".join(noise(LIMIT + (1 << 20))))
    assert meaning(dialogue, refused) == ("size", Action.FAIL)


def test_a_server_that_wants_tls_is_understood(peer):
    dialogue = Dialogue(peer, peer.tls_port)
    refused = dialogue.say("mail", f"MAIL FROM:<{SENDER}>")
    dialogue.client.close()
    assert meaning(dialogue, refused) == ("tls", Action.HOLD)


def test_an_unknown_user_fails_with_the_servers_own_words(running, peer, dialogue):
    dialogue.say("mail", f"MAIL FROM:<{SENDER}>")
    said = dialogue.say("rcpt", f"RCPT TO:<nobody@{peer.domain}>")
    message_id = running.send(MESSAGES["plain"], f"nobody@{peer.domain}", sender="")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Undeliverable")
    failed = running.message_events()[message_id][-1]
    assert isinstance(failed, Undeliverable)
    assert (failed.attempt.stage, failed.attempt.code, failed.attempt.reply) == ("rcpt", said.code, said.reply)


# --- Away and back


def histories(running: Gateway, message_ids: list[str]) -> list[list[MessageEvent]]:
    events = running.message_events()
    return [events[message_id] for message_id in message_ids]


def test_a_server_that_was_stopped_while_mail_came_in_gets_all_of_it_when_it_is_back(running, peer):
    sent: list[str] = []

    def send() -> None:
        for number in range(60):
            content = HEAD + b"X-Number: %d\r\n\r\nAt noon?\r\n" % number
            sent.append(running.send(content, f"ben@{peer.domain}", sender=SENDER))

    def to_ben() -> list[str]:
        return [mail.id for mail in peer.wait(0) if mail.recipients == (f"ben@{peer.domain}",)]

    def put_off() -> bool:
        events = [recorded.event for recorded in running.events()]
        return any(isinstance(event, RouteDeferred) and event.domain == peer.domain for event in events)

    sending = threading.Thread(target=send)
    sending.start()
    wait_until(lambda: len(to_ben()) >= 10, within=30, what="the first ten")
    peer.stop()
    wait_until(put_off, within=30, what="an outage")
    sending.join()
    assert set(to_ben()) < set(sent)
    peer.start()
    wait_until(lambda: set(to_ben()) >= set(sent), within=60, what="all of it")
    wait_until(lambda: {events[-1].__class__ for events in histories(running, sent)} == {Delivered}, within=30)
    # What the server had taken when it was stopped, without an answer to the final dot, may be taken twice, and is marked.
    events = running.message_events()
    for message_id in sent:
        attempts = [event.attempt for event in events[message_id] if isinstance(event, Delivered | Deferred)]
        assert peer.transactions(message_id) <= 1 + sum(attempt.unknown for attempt in attempts)
