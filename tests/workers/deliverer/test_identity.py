"""Whom a server is told that a message came from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory.options import ClientCommand, RouteOptions
from pipeline.events import Client
from tests.support.peer import Do, Peer
from tests.workers.deliverer.support import deliver, opened, summary
from workers.deliverer.identity import attributes, command, keywords, xtext
from workers.deliverer.session import SessionFailed

A = "a@example.com"
CLIENT = Client(address="192.0.2.7", port=4711, helo="out.example.org", protocol="ESMTPS")
OTHER = Client(address="2001:db8::1", helo="[x]", protocol="SMTP")
XCLIENT = RouteOptions(client=ClientCommand.XCLIENT)
XFORWARD = RouteOptions(client=ClientCommand.XFORWARD)
FEATURES = ("PIPELINING", "XCLIENT NAME ADDR PORT PROTO HELO LOGIN", "XFORWARD NAME ADDR PROTO HELO")
SAID = b" NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=out.example.org"
FORWARDED = b"XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.7 PROTO=ESMTP HELO=out.example.org"


async def sent(session, client):
    assert summary(await deliver(session, client=client)) == {A: "accepted dot 250"}


def verbs(peer):
    return [
        command.split(b" ")[0].decode()
        for command in peer.said
        if command[:1] == b"X" or command[:4] in (b"EHLO", b"MAIL", b"RSET")
    ]


async def test_with_xforward_each_message_is_announced_with_its_own_client():
    async with Peer(features=FEATURES) as peer:
        session = await opened(peer, XFORWARD)
        for client in (CLIENT, OTHER, None):
            await sent(session, client)
        assert verbs(peer) == ["EHLO", "XFORWARD", "MAIL", "XFORWARD", "MAIL", "MAIL"]
        assert peer.said[1] == FORWARDED
        assert b"XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PROTO=SMTP HELO=[x]" in peer.said
        await session.quit(1)


async def test_with_xclient_the_session_begins_anew_and_is_not_told_the_same_twice():
    async with Peer(features=FEATURES) as peer:
        session = await opened(peer, XCLIENT)
        for client in (CLIENT, CLIENT, OTHER, None):
            await sent(session, client)
        assert verbs(peer) == [
            "EHLO", "XCLIENT", "EHLO", "MAIL", "MAIL", "XCLIENT", "EHLO", "MAIL", "XCLIENT", "EHLO", "MAIL",
        ]  # fmt: skip
        assert peer.said[1] == b"XCLIENT" + SAID
        assert (
            b"XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE]"
            in peer.said
        )
        await session.quit(1)


@pytest.mark.parametrize("options", [XCLIENT, XFORWARD])
async def test_a_server_that_does_not_offer_it_is_told_nothing(options):
    async with Peer() as peer:
        session = await opened(peer, options)
        await sent(session, CLIENT)
        assert verbs(peer) == ["EHLO", "MAIL"]
        await session.quit(1)


@pytest.mark.parametrize(("options", "phase"), [(XCLIENT, "xclient"), (XFORWARD, "xforward")])
async def test_a_server_that_refuses_after_all_gets_the_message_nevertheless(options, phase):
    async with Peer({phase: b"550 5.7.0 Error: insufficient authorization"}, features=FEATURES) as peer:
        session = await opened(peer, options)
        await sent(session, CLIENT)
        await session.quit(1)


async def test_a_message_never_goes_out_as_another_clients():
    async with Peer({"xclient": [b"220 hi", b"550 5.7.0 no more"]}, features=FEATURES) as peer:
        session = await opened(peer, XCLIENT)
        await sent(session, CLIENT)
        with pytest.raises(SessionFailed) as caught:
            await deliver(session, client=OTHER)
        assert "another XCLIENT" in caught.value.attempt.reply
        assert not session.usable
        assert len(peer.transactions) == 1


async def test_a_server_that_offers_xclient_to_us_only_needs_a_new_connection_for_another_client():
    async with Peer({"ehlo": [Do(), b"250-peer.example\r\n250 PIPELINING"]}, features=FEATURES) as peer:
        session = await opened(peer, XCLIENT)
        await sent(session, CLIENT)
        await sent(session, CLIENT)
        for client in (OTHER, None):
            with pytest.raises(SessionFailed):
                await deliver(session, client=client)
        assert not session.usable
        assert len(peer.transactions) == 2
        session = await opened(peer, XCLIENT)
        await sent(session, OTHER)
        await session.quit(1)


async def test_a_server_that_offers_less_after_xclient_is_asked_for_less():
    less = b"250-peer.example\r\n250 XCLIENT NAME ADDR"
    async with Peer({"ehlo": [Do(), less]}, features=FEATURES) as peer:
        session = await opened(peer, XCLIENT)
        await sent(session, CLIENT)
        assert peer.impatient == 0
        await session.quit(1)


@pytest.mark.parametrize("answer", [Do(b"", after="close"), b"421 4.3.2 bye", b"garbage"])
async def test_a_server_that_breaks_off_gets_nothing(answer):
    async with Peer({"xclient": answer}, features=FEATURES) as peer:
        session = await opened(peer, XCLIENT)
        with pytest.raises(SessionFailed):
            await deliver(session, client=CLIENT)
        assert peer.transactions == []


async def test_after_a_refusal_the_transaction_is_reset_before_the_next_client_is_named():
    async with Peer({"rcpt": [b"550 5.1.1 who?"]}, features=FEATURES) as peer:
        session = await opened(peer, XFORWARD)
        assert summary(await deliver(session, client=CLIENT)) == {A: "refused rcpt 550"}
        await sent(session, OTHER)
        assert verbs(peer) == ["EHLO", "XFORWARD", "MAIL", "RSET", "XFORWARD", "MAIL"]
        await session.quit(1)


@given(st.text())
def test_what_a_stranger_called_itself_cannot_end_the_command(text):
    said = command("XCLIENT", Client(address="192.0.2.7", helo=text), ["ADDR", "HELO"])
    assert said.isascii()
    assert said.isprintable()
    assert said.count(" ") == 2
    assert len(said) < 510
    assert "=" not in xtext(text)


def test_only_what_is_offered_is_said():
    assert command("XFORWARD", CLIENT, ["HELO"]) == "XFORWARD HELO=out.example.org"
    assert command("XFORWARD", CLIENT, ["IDENT"]) == ""
    assert set(attributes(None).values()) == {"[UNAVAILABLE]"}


def test_the_offer_is_read_from_a_reply_to_ehlo():
    assert keywords(["250-peer", "250-XCLIENT NAME addr", "250-", "250 pipelining"]) == {
        "xclient": "NAME addr",
        "pipelining": "",
    }
