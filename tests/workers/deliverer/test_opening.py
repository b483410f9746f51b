import asyncio
import socket
import ssl

import pytest
import trustme

from pipeline.route import Target
from tests.support.peer import Do, Peer
from tests.workers.deliverer.support import CONTENT, TRACE, deliver, opened, settings, summary, target
from workers.deliverer.session import Session, SessionFailed

A = "a@example.com"


@pytest.fixture(scope="session")
def server_tls() -> ssl.SSLContext:
    """A certificate of an authority that nobody knows, for another name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.example").configure_cert(context)
    return context


async def failed(peer: Peer, **times: str) -> tuple[str, int, str, str]:
    with pytest.raises(SessionFailed) as caught:
        await opened(peer, **times)
    attempt = caught.value.attempt
    assert (attempt.server, attempt.address) == (f"peer.example:{peer.port}", "127.0.0.1")
    assert attempt.took > 0
    return attempt.stage, attempt.code, attempt.enhanced, attempt.reply


# Connection and greeting


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_server_is_dialled_at_its_address_and_never_by_its_name(host):
    async with Peer(host=host) as peer:
        session = await Session.open(target(peer, "no.such.name.invalid"), hostname="gw", settings=settings())
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_a_refused_connection_is_a_failure_at_stage_connect():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SessionFailed) as caught:
            await Session.open(Target("x:1", "x", "127.0.0.1", port), hostname="gw", settings=settings())
    attempt = caught.value.attempt
    assert (attempt.stage, attempt.code, attempt.enhanced, attempt.reply) == (
        "connect",
        0,
        "4.4.1",
        "Connection refused",
    )


async def test_a_connection_that_is_not_answered_is_given_up():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = []
        try:
            # A backlog that is full drops further connections silently, like a firewall.
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(address)
                fillers.append(filler)
            with pytest.raises(SessionFailed) as caught:
                await Session.open(
                    Target("x:1", "x", *address), hostname="gw", settings=settings(connect_timeout="0.1s")
                )
        finally:
            for filler in fillers:
                filler.close()
    assert (caught.value.attempt.stage, caught.value.attempt.enhanced) == ("connect", "4.4.1")
    assert caught.value.attempt.reply == "The server did not answer in time."


@pytest.mark.parametrize(
    ("greeting", "code", "enhanced", "reply"),
    [
        (b"554 5.7.1 go away", 554, "5.7.1", "554 5.7.1 go away"),
        (b"554-you are listed\r\n554 at example.org", 554, "5.0.0", "554-you are listed\n554 at example.org"),
        (b"421 4.3.2 too many connections", 421, "4.3.2", "421 4.3.2 too many connections"),
        (b"450 later \xff\x1b[2J", 450, "4.0.0", "450 later \\xff\\x1b[2J"),
        (b"250 ok", 250, "2.0.0", "250 ok"),
    ],
)
async def test_a_greeting_that_is_no_220_is_quoted(greeting, code, enhanced, reply):
    async with Peer({"greeting": Do(greeting, after="close")}) as peer:
        assert await failed(peer) == ("greeting", code, enhanced, reply)


@pytest.mark.parametrize("phase", ["greeting", "ehlo"])
@pytest.mark.parametrize("nonsense", [b"SSH-2.0-OpenSSH_9.2", b"999 x", b"x" * 100_000, b"220-x\r\n" * 20_000])
async def test_nonsense_is_a_failure_in_bounded_printable_words(phase, nonsense):
    async with Peer({phase: nonsense}) as peer:
        stage, code, enhanced, words = await failed(peer)
        assert (stage, code, enhanced) == (phase, 0, "4.5.0")
        assert len(words) <= 4096
        assert words.replace("\n", "").isprintable()


@pytest.mark.parametrize("phase", ["greeting", "ehlo"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_server_that_closes_is_a_failure(phase, how):
    async with Peer({phase: Do(b"", after=how)}) as peer:
        assert (await failed(peer))[:3] == (phase, 0, "4.4.2")


async def test_a_server_that_does_not_greet_is_given_up():
    async with Peer({"greeting": Do(b"", after="stall")}) as peer:
        assert await failed(peer, greeting_timeout="0.05s") == (
            "greeting",
            0,
            "4.4.2",
            "The server did not answer in time.",
        )


async def test_a_server_that_does_not_answer_ehlo_is_given_up():
    async with Peer({"ehlo": Do(b"", after="stall")}) as peer:
        assert (await failed(peer, reply_timeout="0.05s"))[:2] == ("ehlo", 0)


async def test_a_late_and_long_greeting_is_waited_for():
    go = asyncio.Event()
    async with Peer({"greeting": Do(b"220-one\r\n220-two\r\n220 three", wait=go)}) as peer:
        task = asyncio.create_task(opened(peer))
        await peer.until(lambda: peer.connections == 1)
        go.set()
        session = await task
        await session.quit(1)


# What the server is


async def test_what_the_greeting_says_of_the_server_is_kept_with_a_refusal_and_not_with_a_delivery():
    greeting = b"220-mx.example.com ESMTP Exim 4.96 #2\r\n220 no advertisements"
    async with Peer({"greeting": greeting, "rcpt": [b"250 ok", b"550 No Such User Here", b"250 ok"]}) as peer:
        session = await opened(peer)
        outcomes = await deliver(session, [A, "b@example.com"])
        assert summary(outcomes) == {A: "accepted dot 250", "b@example.com": "refused rcpt 550"}
        assert outcomes[A].attempt.software == ""
        assert outcomes["b@example.com"].attempt.software == "exim"
        await session.quit(1)


@pytest.mark.parametrize(
    ("script", "software"),
    [
        ({"greeting": Do(b"554 mx.google.com ESMTP is not for you", after="close")}, "google"),
        ({"greeting": b"220 mx ESMTP Postfix", "ehlo": b"421 4.3.2 later"}, "postfix"),
        ({"greeting": b"220 mx ESMTP", "ehlo": b"421 4.3.2 later"}, ""),
        ({"greeting": Do(b"", after="close")}, ""),
    ],
)
async def test_a_session_that_does_not_open_says_what_the_server_is(script, software):
    async with Peer(script) as peer:
        with pytest.raises(SessionFailed) as caught:
            await opened(peer)
        assert caught.value.attempt.software == software


# EHLO


@pytest.mark.parametrize("code", [500, 502, 550])
async def test_a_server_that_knows_no_ehlo_is_greeted_with_helo_and_offered_nothing(code):
    async with Peer({"ehlo": b"%d what?" % code}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, eight_bit=True)) == {A: "accepted dot 250"}
        assert peer.said[:3] == [b"EHLO gw.example.net", b"HELO gw.example.net", b"MAIL FROM:<s@example.org>"]
        assert peer.impatient == 0
        await session.quit(1)


async def test_a_refused_helo_is_quoted():
    async with Peer({"ehlo": b"502 what?", "helo": b"550 5.7.1 no"}) as peer:
        assert await failed(peer) == ("ehlo", 550, "5.7.1", "550 5.7.1 no")


@pytest.mark.parametrize("reply", [b"421 4.7.0 busy", b"451 later"])
async def test_a_temporary_answer_to_ehlo_is_quoted_and_helo_is_not_tried(reply):
    async with Peer({"ehlo": reply}) as peer:
        assert (await failed(peer))[1] == int(reply[:3])
        assert len(peer.said) == 1


async def test_a_second_greeting_is_not_taken_for_the_answer_to_mail():
    async with Peer({"greeting": b"220 one\r\n220 two"}) as peer:
        try:
            session = await opened(peer)
            outcomes = await deliver(session)
        except SessionFailed:
            return
        assert summary(outcomes) == {A: "accepted dot 250"}
        assert len(peer.transactions) == 1
        session.abort()


# STARTTLS


async def test_tls_is_used_when_offered_whatever_the_certificate(server_tls):
    async with Peer(tls=server_tls) as peer:
        session = await opened(peer)
        outcomes = await deliver(session, content=CONTENT * 20_000)
        assert peer.transactions[0].message == TRACE + CONTENT * 20_000
        assert outcomes[A].attempt.tls == session.tls
        assert session.tls.startswith("TLSv1.3 TLS_")
        assert (peer.encrypted, peer.connections) == (1, 1)
        assert peer.said[:3] == [b"EHLO gw.example.net", b"STARTTLS", b"EHLO gw.example.net"]
        await session.quit(1)


async def test_an_address_without_a_name_can_be_spoken_to_with_tls(server_tls):
    async with Peer(tls=server_tls, host="::1") as peer:
        session = await Session.open(target(peer, "::1"), hostname="gw", settings=settings())
        assert session.tls
        await session.quit(1)


async def test_a_broken_handshake_leads_to_one_more_connection_in_the_clear():
    async with Peer(broken_tls=True) as peer:
        session = await opened(peer)
        assert session.tls == ""
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        assert peer.connections == 2
        assert peer.said.count(b"STARTTLS") == 1
        await session.quit(1)


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
async def test_a_connection_lost_over_the_handshake_leads_to_one_more_connection_in_the_clear(how):
    async with Peer({"starttls": [Do(b"220 go", after=how)]}, broken_tls=True) as peer:
        session = await opened(peer, reply_timeout="0.2s")
        assert (session.tls, peer.connections) == ("", 2)
        await session.quit(1)


async def test_when_the_second_connection_fails_too_that_failure_counts():
    async with Peer({"greeting": [b"220 hi", b"421 4.7.0 slow down"]}, broken_tls=True) as peer:
        assert await failed(peer) == ("greeting", 421, "4.7.0", "421 4.7.0 slow down")
        assert peer.connections == 2


async def test_an_offer_of_tls_that_is_taken_back_is_no_failure(server_tls):
    async with Peer({"starttls": b"454 4.7.0 not now"}, tls=server_tls) as peer:
        session = await opened(peer)
        assert (session.tls, peer.connections) == ("", 1)
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_421_to_starttls_is_quoted(server_tls):
    async with Peer({"starttls": Do(b"421 4.3.2 bye", after="close")}, tls=server_tls) as peer:
        assert await failed(peer) == ("starttls", 421, "4.3.2", "421 4.3.2 bye")


async def test_a_connection_lost_within_tls_after_the_dot_is_unknown(server_tls):
    async with Peer({"dot": Do(b"", after="reset")}, tls=server_tls) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "unknown dot 0"}
