"""Whoever asks to have mail sent on to others is refused, however the wish is written.

A recipient is taken to be at the domain behind the last @ that is not quoted, and nowhere else: RFC 5321 2.3.11 leaves the
local part to the host that this domain names. So percent signs, exclamation marks and quoted @ are letters like any other.
"""

from __future__ import annotations

import pytest

from tests.support.hostile import CATCH_ALL, asked, nothing_came
from tests.support.receiver import receiver

OK = "250 2.1.5 Recipient OK"
RELAY = "550 5.7.1 Relaying denied: not a domain we accept mail for"
UNKNOWN = "550 5.1.1 No such mailbox here"
SYNTAX = "501 5.1.3 Bad recipient address syntax"
NO_PATH = "501 5.5.2 Syntax: RCPT TO:<address>"
NOT_ASCII = "553 5.6.7 Non-ASCII address without SMTPUTF8"

STRANGERS = [
    b"<user@strange.example>",
    b"<USER@STRANGE.EXAMPLE>",
    # The percent hack, a quoted and a bang path, each with our domain where it does not count.
    b"<user%example.test@strange.example>", b'<"user@example.test"@strange.example>', b'<"user@example.test>"@strange.example>',
    b"<example.test!user@strange.example>", b"<user%example.test%strange.example@strange.example>",
    # Source routes are dropped (RFC 5321 4.1.1.3, appendix C): what counts is where they end.
    b"<@example.test:user@strange.example>", b"<@example.test,@second.test:user@strange.example>",
    b"<@strange.example,@example.test:user@strange.example>", b"<@all.test:user@strange.example>",
    # No suffix, prefix or parent of ours, and not the machine itself, is a domain of ours.
    b"<user@sub.example.test>", b"<user@test>", b"<user@xexample.test>", b"<user@example.test.strange.example>",
    b"<user@example-test>", b"<user@mx.example.test>", b"<user@localhost>", b"<user@xn--example-4va.test>", b"<user@0x7f000001>",
    # RFC 1123 5.2.17 would have us take mail for our own address too; nobody is asked to know it, and all relays begin so.
    b"<user@[127.0.0.1]>", b"<user@[IPv6:::1]>", b"<user@[ipv6:::ffff:127.0.0.1]>", b"<user@[0.0.0.0]>", b"<user@[192.0.2.1]>",
    b"<postmaster@[127.0.0.1]>",
    # RFC 5321 4.5.1: the postmaster of our domains, not of the world's.
    b"<postmaster@strange.example>", b"<postmaster@mx.example.test>", b'<"postmaster@example.test"@strange.example>',
]  # fmt: skip

UNLISTED = [
    b"<nobody@example.test>",
    b"<user%strange.example@example.test>", b'<"user@strange.example"@example.test>', b'<"user\\@strange.example"@example.test>',
    b"<strange.example!user@example.test>", b'<"@strange.example:user"@example.test>', b"<user%example.test@example.test>",
    b"<@strange.example:nobody@example.test>", b'<"user "@example.test>', b'<""@example.test>', b"<user+x@example.test>",
    b'<">,<user@strange.example"@example.test>', b"<postmaster%strange.example@example.test>", b"<strange!postmaster@example.test>",
    b"<user=second.test@example.test>", b"<other@second.test>",
]  # fmt: skip

MALFORMED = [
    # Two domains, or none.
    b"<user@example.test@strange.example>", b"<user@strange.example@example.test>", b"<user@@example.test>", b"<@@example.test>",
    b"<user>", b"<>", b"<@>", b"< >", b"<user@>", b"<@example.test>", b"<@example.test:>", b"<@strange.example>", b"<postmaster@>",
    b'<"postmaster">', b"<postmaster%strange.example>", b"<strange.example!postmaster>", b"<@strange.example:postmaster>", b"<root>",
    # RFC 5321 4.1.2 has no dot at the end of a Domain, although the DNS has one: it is no address, whosever it would be.
    b"<user@strange.example.>", b"<user@example.test.>", b"<user@example.test..>", b"<user@example.test.strange.example.>",
    b"<user@.example.test>", b"<user@example..test>", b"<user@.>", b"<postmaster@example.test.>",
    # Local parts that are none.
    b"<.user@example.test>", b"<user.@example.test>", b"<us..er@example.test>", b"<us er@example.test>", b"<user @example.test>",
    b'<"user@example.test>', b'<user"@example.test>', b'<"user"x@example.test>', b'<x"user"@example.test>', b'<"us"er"@example.test>',
    b'<"user\\"@example.test>', b"<us\\er@example.test>", b"<user(strange)@example.test>", b"<us\x7fer@example.test>",
    b"<us\x1b[31mer@example.test>", b'<"us\x1ber"@example.test>', b"<us\x08er@example.test>", b"<us\ter@example.test>",
    # Domains that are none.
    b"<user@ example.test>", b"<user@example.test >", b"< user@example.test>", b"<user@example_.te(x)st>", b"<user@-example.test>",
    b"<user@example.test->", b"<user@127.0.0.1>", b"<user@2130706433>", b"<user@[127.0.0.1>", b"<user@127.0.0.1]>", b"<user@[]>",
    b"<user@[300.1.1.1]>", b"<user@[127.1]>", b"<user@[IPv6:]>", b"<user@[::1]>", b"<user@[127.0.0.1].example.test>",
    b"<user@[example.test]>", b"<user@example.test[127.0.0.1]>", b"<user@[IPv6:fe80::1%eth0]>", b"<user@example.test:25>",
    # Routes and lists that are none.
    b"<@:user@example.test>", b"<:user@example.test>", b"<@strange.example user@example.test>", b"<strange.example:user@example.test>",
    b"<@strange.example,:user@example.test>", b"<@strange.example,user@example.test>", b"<@strange.example:@example.test:user@test>",
    b"<user@example.test,user@strange.example>", b"<user@example.test;user@strange.example>",
    # Brackets that do not close where the address ends.
    b"<<user@example.test>>", b"<user@example.test>>", b"<user@example.test", b"<user@example.test><user@strange.example>",
    b"<user@example.test>user@strange.example", b"<<user@strange.example>user@example.test>",
]  # fmt: skip

NO_BRACKETS = [
    b"user@example.test", b"user@strange.example", b"postmaster", b"", b" ", b"user <user@example.test>", b">user@example.test<",
    b'"<user@example.test>"', b"(x)<user@example.test>",
]  # fmt: skip

SENDERS = [
    b"<stranger@elsewhere.example>", b"<>", b"<user@example.test>", b"<postmaster@example.test>", b"<user@mx.example.test>",
    b"<root@[127.0.0.1]>", b"<@example.test:user@example.test>",
]  # fmt: skip


@pytest.mark.parametrize("sender", SENDERS)
async def test_nobody_whoever_they_say_they_are_has_mail_relayed_to_strangers(gate, sender):
    client = await gate.client()
    assert await asked(client, *STRANGERS, sender=sender) == dict.fromkeys(STRANGERS, RELAY)
    assert await client.ask(b"DATA") == "554 5.5.1 No valid recipients"
    await nothing_came(gate, client)


async def test_a_stranger_s_address_within_a_local_part_of_ours_is_a_mailbox_that_is_not_listed(gate):
    client = await gate.client()
    assert await asked(client, *UNLISTED) == dict.fromkeys(UNLISTED, UNKNOWN)
    assert await client.ask(b"DATA") == "554 5.5.1 No valid recipients"
    await nothing_came(gate, client)


async def test_what_is_no_address_is_nobody_s(gate):
    client = await gate.client()
    assert await asked(client, *MALFORMED, *NO_BRACKETS) == {
        **dict.fromkeys(MALFORMED, SYNTAX), **dict.fromkeys(NO_BRACKETS, NO_PATH),
    }  # fmt: skip
    assert await client.ask(b"DATA") == "554 5.5.1 No valid recipients"
    await nothing_came(gate, client)


async def test_a_second_address_behind_a_path_is_a_parameter_that_nobody_knows(gate):
    client = await gate.client()
    behind = [
        b"<user@example.test> <user@strange.example>",
        b"<user@example.test> user@strange.example",
        b"<user@example.test> ,<x@y>",
    ]
    assert await asked(client, *behind) == dict.fromkeys(
        behind, "555 5.5.4 Parameter not recognised or not implemented"
    )
    await nothing_came(gate, client)


async def test_refused_recipients_leave_the_mail_of_the_accepted_ones_alone(gate):
    client = await gate.client()
    replies = await asked(client, *STRANGERS, b"<user@example.test>", *UNLISTED, *MALFORMED, b"<user@second.test>")
    assert list(replies.values()).count(OK) == 2
    client.send(b"DATA\r\nSubject: x\r\n.\r\n")
    await client.expect("354", "250 2.0.0 accepted")
    assert [spec.address for spec in gate.intake.last.recipients] == ["user@example.test", "user@second.test"]
    assert gate.intake.bodies == [b"Subject: x\r\n"]


OURS = {
    b"<user@example.test>": "user@example.test",
    b"<User@EXAMPLE.Test>": "User@example.test",
    b'<"user"@example.test>': '"user"@example.test',
    b'<"us\\er"@example.test>': '"us\\er"@example.test',
    b"<@strange.example:user@example.test>": "user@example.test",
    b"<@strange.example,@second.test:user@example.test>": "user@example.test",
    b"<postmaster>": "postmaster@example.test",
    b"<PostMaster@example.test>": "PostMaster@example.test",
    b'<"post\\master"@second.test>': '"post\\master"@second.test',
    b"  <user@example.test>  ": "user@example.test",
}


@pytest.mark.parametrize(("typed", "kept"), OURS.items(), ids=[typed.decode() for typed in OURS])
async def test_a_listed_mailbox_is_accepted_however_it_is_written_and_at_our_domain(gate, typed, kept):
    client = await gate.client()
    assert await asked(client, typed) == {typed: OK}
    client.send(b"DATA\r\n.\r\n")
    await client.expect("354", "250 2.0.0 accepted")
    assert [spec.address for spec in gate.intake.last.recipients] == [kept]


async def test_a_domain_that_takes_everything_takes_it_for_itself_with_the_local_part_as_it_was_typed(gate):
    """Not a relay: RFC 5321 2.3.11 has the local part interpreted by the host that the domain names and by no other. Whatever
    is in it, the message goes to that domain's own server and leaves the rest to it (`tests/workers/deliverer/test_smuggling.py`
    sees what is said there). A server that would send it on to somebody else is reachable for all the world without us.
    """
    client = await gate.client()
    recipients = [f"<{address}>".encode() for address in CATCH_ALL]
    assert await asked(client, *recipients) == dict.fromkeys(recipients, OK)
    for one in recipients:
        assert await client.ask(b"RCPT TO:" + one.replace(b"@all.test>", b"@strange.example>")) == RELAY
    client.send(b"DATA\r\n.\r\n")
    await client.expect("354", "250 2.0.0 accepted as id-1-all.test")
    assert [spec.address for spec in gate.intake.last.recipients] == CATCH_ALL


@pytest.mark.parametrize("setting", ["refuse", "normalise"])
@pytest.mark.parametrize(
    ("line", "refuse", "normalise"),
    [
        (b"RCPT TO:<us\0er@example.test>\r\n", ["500 5.5.2 Syntax error"], ["500 5.5.2 Syntax error"]),
        (b"RCPT TO:<user@example.test\0>\r\n", ["500 5.5.2 Syntax error"], ["500 5.5.2 Syntax error"]),
        (b"RCPT TO:<user@example.test>\0\r\n", ["500 5.5.2 Syntax error"], ["500 5.5.2 Syntax error"]),
        (b"RCPT TO:<us\rer@example.test>\r\n", ["500 5.5.2 Syntax error"], ["500 5.5.2 Syntax error"]),
        (b"RCPT TO:<nobody@example.test>\r\r\n", ["500 5.5.2 Syntax error"], ["500 5.5.2 Syntax error"]),
        (
            b"RCPT TO:<us\ner@example.test>\r\n",
            ["500 5.5.2 Lines", "500 5.5.2 Command not"],
            [SYNTAX, "500 5.5.2 Command not"],
        ),
        (
            b"RCPT TO:<nobody@example.test>\nRCPT TO:<user@strange.example>\r\n",
            ["500 5.5.2 Lines must end with CR LF", RELAY],
            [UNKNOWN, RELAY],
        ),
        (
            b"RCPT TO:<user@strange.example>\r\n.\r\nDATA\r\n",
            [RELAY, "500 5.5.2 Command not", "554 5.5.1 No valid"],
            [RELAY, "500 5.5.2 Command not", "554 5.5.1 No valid"],
        ),
    ],
)
async def test_no_octet_within_a_recipient_ends_it_or_makes_two(tmp_path, setting, line, refuse, normalise):
    async with receiver(tmp_path, bare_newlines=setting) as gate:
        client = await gate.client()
        assert await client.ask(b"MAIL FROM:<a@b.example>") == "250 2.1.0 Sender OK"
        client.send(line)
        await client.expect(*(refuse if setting == "refuse" else normalise))
        await nothing_came(gate, client)


INTERNATIONAL = {
    # The dots of other scripts and fullwidth letters are mapped (UTS 46): the same name, so the same domain.
    "<user@example\u3002test>": OK,
    "<user@example\uff0etest>": OK,
    "<user@example\uff61test>": OK,
    "<user@\uff25\uff58ample.\uff34est>": OK,
    "<user@exam\u00adple.test>": OK,
    "<@str\u00e4nge.example:user@example.test>": OK,
    "<user@b\u00fccher.test>": RELAY,
    "<user@example\u3002test\u3002strange.example>": RELAY,
    "<user@strange\uff0eexample>": RELAY,
    "<user@ex\u0430mple.test>": RELAY,  # a Cyrillic a
    "<\u00fcser@example.test>": UNKNOWN,
    "<user\uff20strange.example@example.test>": UNKNOWN,  # a fullwidth @ in a local part is a letter
    "<user\u3002@example.test>": UNKNOWN,
    "<user\uff20example.test>": SYNTAX,
    "<user@example.test\uff20strange.example>": SYNTAX,
    "<user@example.test\u3002>": SYNTAX,
    "<user@strange.example\uff0e>": SYNTAX,
    "<user@example\u3002.test>": SYNTAX,
    "<user@\uff3b127.0.0.1\uff3d>": SYNTAX,
    "<user@\uff11\uff12\uff17.0.0.\uff11>": SYNTAX,
    "<user@example.test\uff1e>": SYNTAX,
    "<user@example\u2028.test>": SYNTAX,
    "<us\u2028er@example.test>": SYNTAX,
    "<us\u202eer@example.test>": SYNTAX,
    '<"us\u0085er"@example.test>': SYNTAX,
    "\uff1cuser@example.test\uff1e": NO_PATH,
}


async def test_other_scripts_and_widths_name_the_domain_that_they_are_mapped_to_and_no_other(gate):
    client = await gate.client()
    typed = {text.encode(): reply for text, reply in INTERNATIONAL.items()}
    assert await asked(client, *typed, sender=b"<stranger@elsewhere.example> SMTPUTF8") == typed
    client.send(b"DATA\r\n.\r\n")
    await client.expect("354", "250 2.0.0 accepted as id-1-example.test")
    assert [spec.address for spec in gate.intake.last.recipients] == ["user@example.test"]


async def test_without_smtputf8_none_of_them_is_accepted(gate):
    client = await gate.client()
    typed = {text.encode(): reply for text, reply in INTERNATIONAL.items()}
    replies = await asked(client, *typed)
    assert replies == {one: reply if reply in (SYNTAX, NO_PATH) else NOT_ASCII for one, reply in typed.items()}
    await nothing_came(gate, client)
