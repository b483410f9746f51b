"""A domain's own limits, what its servers can take, and greylisting, at RCPT."""

from __future__ import annotations

import pytest

from pipeline.units import SECOND
from tests.support.receiver import receiver
from tests.support.zone import TROUBLE, Zone

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
USER, OTHER = b"<user@example.test>", b"<other@example.test>"
STRANGER = {"unlimited_networks": ()}


async def mail(client, parameters: bytes = b"", sender: bytes = b"<a@b.example>") -> None:
    assert (await client.ask(b"MAIL FROM:" + sender + parameters)).startswith("250")


async def rcpt(client, recipient: bytes = USER) -> str:
    return await client.ask(b"RCPT TO:" + recipient)


# The domain's own limits


async def test_a_domain_may_take_fewer_recipients_than_others(gate):
    gate.directory.change("example.test", max_recipients=1)
    client = await gate.client()
    await mail(client)
    assert await rcpt(client) == "250 2.1.5 Recipient OK"
    assert await rcpt(client) == "250 2.1.5 Recipient OK"
    assert await rcpt(client, OTHER) == "452 4.5.3 Too many recipients"
    assert (await rcpt(client, b"<user@second.test>")).startswith("250")
    client.send(b"DATA\r\n" + MESSAGE + b".\r\n")
    await client.expect("354", "250")
    assert [one.address for one in gate.intake.last.recipients] == ["user@example.test", "user@second.test"]


async def test_a_domain_may_take_smaller_messages_than_others(gate):
    gate.directory.change("example.test", max_message_size=100)
    client = await gate.client()
    await mail(client, b" SIZE=101")
    assert await rcpt(client) == "552 5.3.4 Message size exceeds the limit"
    assert (await rcpt(client, b"<user@second.test>")).startswith("250")
    client.send(b"DATA\r\n" + b"x" * 99 + b"\r\n.\r\n")
    await client.expect("354", "250")


async def test_a_message_that_is_too_big_for_one_of_its_domains_is_refused_for_all(gate):
    gate.directory.change("example.test", max_message_size=100)
    client = await gate.client()
    assert (await client.deliver(b"x" * 97)).startswith("250"), "with the last CRLF these are 99 octets"
    await client.begin(b"<a@b.example>", b"<user@second.test>", USER)
    client.send(b"x" * 99 + b"\r\n.\r\n")
    await client.expect("552 5.3.4")
    assert len(gate.intake.accepted) == 1
    refused = [(one.reason, one.stage, one.domain, one.recipient) for one in gate.record.refused]
    assert refused == [
        ("too_big", "data", "second.test", "user@second.test"), ("too_big", "data", "example.test", "user@example.test"),
    ]  # fmt: skip


async def test_internationalised_mail_is_refused_where_the_servers_do_not_take_it(gate):
    gate.directory.utf8 = False
    client = await gate.client()
    await mail(client, b" SMTPUTF8")
    assert (await rcpt(client)).startswith("550 5.6.7")
    assert await client.ask(b"DATA") == "554 5.5.1 No valid recipients"
    assert gate.record.reasons == ["no_smtputf8"]
    await client.ask(b"RSET")
    await mail(client)
    assert (await rcpt(client)).startswith("250")


# Greylisting. The client is 127.0.0.1.

NAMES = {
    "1.0.0.127.in-addr.arpa": [("PTR", "mail.client.example")],
    "mail.client.example": [("A", "127.0.0.1")],
    "good.example": [("TXT", b"v=spf1 ip4:127.0.0.0/8 -all")],
    "bad.example": [("TXT", b"v=spf1 -all")],
    "pool.example": [("TXT", b"v=spf1 include:_spf.google.com -all")],
    "_spf.google.com": [("TXT", b"v=spf1 ip4:127.0.0.1 -all")],
}
NO_NAME = {name: found for name, found in NAMES.items() if "arpa" not in name}
GREY = "451 4.7.1 Not known here yet, try again in some minutes (greylisting)"


def greylisting(path, records=NAMES, **settings: object):
    now = [1_800_000_000 * SECOND]
    return now, receiver(path, names=Zone(records), clock=lambda: now[0], **{**STRANGER, **settings})


@pytest.mark.parametrize(
    ("records", "helo", "sender", "why"),
    [
        (NO_NAME, b"mail.client.example", b"<a@none.example>", "no name in the DNS"),
        (NO_NAME, b"mail.client.example", b"<a@good.example>", "no name in the DNS"),
        (NAMES, b"localhost", b"<a@none.example>", "no host name in HELO"),
        (NAMES, b"mx.example.test", b"<a@none.example>", "our own name in HELO"),
        (NAMES, b"second.test", b"<a@none.example>", "our own name in HELO"),
        (NAMES, b"mail.client.example", b"<a@bad.example>", "SPF fail"),
        (NO_NAME, b"friend", b"<a@bad.example>", "no name in the DNS, no host name in HELO, SPF fail"),
        (NAMES, b"mail.client.example", b"<a@none.example>", ""),
        (NAMES, b"mail.client.example", b"<a@good.example>", ""),
        (NO_NAME, b"friend", b"<a@pool.example>", ""),
        ({**NAMES, "1.0.0.127.in-addr.arpa": [("PTR", TROUBLE)]}, b"mail.client.example", b"<a@none.example>", ""),
        ({**NAMES, "late.example": [TROUBLE]}, b"mail.client.example", b"<a@late.example>", ""),
        (NO_NAME, b"mail.client.example", b"<>", "no name in the DNS"),
    ],
)
async def test_only_a_suspicious_client_has_to_come_again(tmp_path, records, helo, sender, why):
    _, running = greylisting(tmp_path, records)
    async with running as gate:
        gate.directory.change("example.test", greylist=True)
        client = await gate.client(b"EHLO " + helo)
        await mail(client, sender=sender)
        assert await rcpt(client) == (GREY if why else "250 2.1.5 Recipient OK")
        assert [(one.reason, one.note, one.domain) for one in gate.record.refused] == (
            [("greylisted", why, "example.test")] if why else []
        )


async def test_who_comes_again_gets_in_and_never_waits_again(tmp_path):
    now, running = greylisting(tmp_path, NO_NAME)
    async with running as gate:
        gate.directory.change("example.test", greylist=True)
        client = await gate.client()
        first = now[0]
        await mail(client)
        assert await rcpt(client) == GREY
        now[0] += 60 * SECOND
        assert await rcpt(client) == GREY
        now[0] += 61 * SECOND
        assert (await rcpt(client)).startswith("250")
        assert await client.ask(b"RCPT TO:<user@second.test>") == "250 2.1.5 Recipient OK"
        client.send(b"DATA\r\n" + MESSAGE + b".\r\n")
        await client.expect("354", "250")
        assert gate.intake.last.greylisted == {"example.test": first}
        assert (await client.deliver(MESSAGE, b"<x@y.example>", OTHER)).startswith("250")
        assert gate.intake.last.greylisted == {}


async def test_a_session_asks_for_the_name_of_its_client_once_and_for_each_sender_once(tmp_path):
    names = Zone(NO_NAME)
    async with receiver(tmp_path, names=names, **STRANGER) as gate:
        gate.directory.change("example.test", greylist=True)
        client = await gate.client()
        for _ in range(2):
            await mail(client)
            assert await rcpt(client) == GREY
            assert await rcpt(client, OTHER) == GREY
            await client.ask(b"RSET")
        assert [kind for _, kind in names.asked].count("PTR") == 1
        assert [kind for _, kind in names.asked].count("TXT") == 2


async def test_nobody_else_is_asked_anything(tmp_path):
    names = Zone(NO_NAME)
    async with receiver(tmp_path, names=names, **STRANGER) as gate:
        client = await gate.client(b"EHLO friend")
        assert (await client.deliver(MESSAGE)).startswith("250"), "the domain has no greylisting"
        gate.directory.change("example.test", greylist=True)
        await mail(client)
        assert (await rcpt(client, b"<Postmaster@example.test>")).startswith("250")
        assert (await rcpt(client, b"<nobody@example.test>")).startswith("550")
    async with receiver(tmp_path / "own", names=names) as gate:
        gate.directory.change("example.test", greylist=True)
        assert (await (await gate.client(b"EHLO friend")).deliver(MESSAGE)).startswith("250"), "ours have no limits"
    assert names.asked == []
