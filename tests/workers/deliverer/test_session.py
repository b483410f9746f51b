import asyncio
import mmap
import tempfile

import pytest

from tests.support.peer import Do, Peer
from tests.workers.deliverer.support import CONTENT, TRACE, deliver, opened, summary, until
from workers.deliverer.session import Session, SessionFailed

PLAIN = ("8BITMIME", "SIZE 1000")
"""Features without PIPELINING."""
both_ways = pytest.mark.parametrize("features", [("PIPELINING", *PLAIN), PLAIN], ids=["pipelined", "stepwise"])
A, B, C = "a@example.com", "b@example.com", "c@example.com"


async def failed(session: Session, *to: str, **more: object) -> tuple[str, int, str]:
    """Stage, code and words of the failure of a delivery."""
    with pytest.raises(SessionFailed) as caught:
        await deliver(session, to or (A,), **more)  # type: ignore[arg-type]
    assert not session.usable
    attempt = caught.value.attempt
    assert attempt.server == session.server
    return attempt.stage, attempt.code, attempt.reply


# What goes well


@both_ways
async def test_a_message_arrives_byte_for_byte_and_its_outcome_has_the_servers_words(features):
    async with Peer({"dot": b"250-2.0.0 ok\r\n250 2.0.0 queued as 7"}, features=features) as peer:
        session = await opened(peer)
        outcomes = await deliver(session)
        assert peer.transactions[0].message == TRACE + CONTENT
        assert summary(outcomes) == {A: "accepted dot 250"}
        attempt = outcomes[A].attempt
        assert (attempt.server, attempt.address) == (f"peer.example:{peer.port}", "127.0.0.1")
        assert (attempt.enhanced, attempt.reply) == ("2.0.0", "250-2.0.0 ok\n250 2.0.0 queued as 7")
        assert attempt.took > 0
        await session.quit(1)
        mail = b"MAIL FROM:<s@example.org> SIZE=%d" % len(TRACE + CONTENT)
        assert peer.said == [b"EHLO gw.example.net", mail, b"RCPT TO:<a@example.com>", b"DATA", b"QUIT"]


async def test_with_pipelining_the_envelope_is_one_write_and_without_it_one_command_at_a_time():
    for features, impatient in ((("PIPELINING",), True), ((), False)):
        async with Peer(features=features) as peer:
            session = await opened(peer)
            assert summary(await deliver(session, [A, B])) == {A: "accepted dot 250", B: "accepted dot 250"}
            assert (peer.impatient > 0) is impatient
            await session.quit(1)


@both_ways
async def test_many_messages_go_over_one_connection_without_a_reset_in_between(features):
    async with Peer(features=features) as peer:
        session = await opened(peer)
        for number in range(5):
            content = b"Subject: %d\r\n\r\n" % number
            assert summary(await deliver(session, content=content)) == {A: "accepted dot 250"}
        assert [t.message for t in peer.transactions] == [TRACE + b"Subject: %d\r\n\r\n" % n for n in range(5)]
        assert peer.connections == 1
        assert b"RSET" not in peer.said
        assert session.sent == 5
        await session.quit(1)


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_144, 262_145, 3_000_000])
async def test_a_message_of_any_size_arrives(size):
    content = (b"Subject: x\r\n\r\n" + b".0123456789\r\n" * (size // 13 + 1))[:size]
    async with Peer() as peer:
        session = await opened(peer)
        assert summary(await deliver(session, content=content)) == {A: "accepted dot 250"}
        end = b"" if content.endswith(b"\r\n") else b"\r\n"
        assert peer.transactions[0].message == TRACE + content + end
        await session.quit(1)


async def test_a_mapped_file_goes_out_with_flow_control():
    """However slowly the server reads, what waits in memory is a few chunks."""
    go = asyncio.Event()
    content = b".0123456789abcdef\r\n" * 500_000
    async with Peer({"early": Do(b"", wait=go)}, early_after=1) as peer:
        session = await opened(peer)
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                task = asyncio.create_task(deliver(session, content=mapped))
                await peer.until(lambda: b"DATA" in peer.said)
                transport = session._wire._transport
                await until(lambda: session._wire._paused)
                assert transport.get_write_buffer_size() < 1 << 20
                go.set()
                assert summary(await task) == {A: "accepted dot 250"}
        assert (TRACE + content).endswith(peer.transactions[0].message[1000:])
        assert len(peer.transactions[0].message) == len(TRACE + content) - 1
        await session.quit(1)


async def test_parameters_go_only_to_a_server_that_offers_them():
    async with Peer(features=["PIPELINING"]) as peer:
        session = await opened(peer)
        await deliver(session, eight_bit=True, envid="e", ret="FULL", content=b"Subject: \xe9\r\n\r\n")
        assert peer.said[1] == b"MAIL FROM:<s@example.org>"
        assert peer.transactions[0].message.endswith(b"Subject: \xe9\r\n\r\n")
        await session.quit(1)


async def test_the_null_sender_is_said_as_empty_brackets():
    async with Peer(features=["PIPELINING"]) as peer:
        session = await opened(peer)
        await deliver(session, sender="")
        assert peer.said[1] == b"MAIL FROM:<>"
        await session.quit(1)


async def test_an_international_message_goes_to_a_server_that_can_take_it():
    async with Peer() as peer:
        session = await opened(peer)
        await deliver(session, ["jos\u00e9@example.com"], smtputf8=True)
        assert peer.said[1].endswith(b" BODY=8BITMIME SMTPUTF8")
        assert peer.said[2] == "RCPT TO:<jos\u00e9@example.com>".encode()
        await session.quit(1)


# What the server refuses


@both_ways
async def test_each_recipient_has_an_outcome_of_its_own(features):
    rcpt = [b"250 ok", b"550 5.1.1 who?", b"450-4.2.0 grey\r\n450 4.2.0 listed"]
    async with Peer({"rcpt": rcpt}, features=features) as peer:
        session = await opened(peer)
        outcomes = await deliver(session, [A, B, C])
        assert summary(outcomes) == {A: "accepted dot 250", B: "refused rcpt 550", C: "deferred rcpt 450"}
        assert outcomes[B].attempt.enhanced == "5.1.1"
        assert outcomes[C].attempt.reply == "450-4.2.0 grey\n450 4.2.0 listed"
        assert peer.transactions[0].rcpts == [b"RCPT TO:<a@example.com>"]
        assert session.usable
        await session.quit(1)


@both_ways
async def test_when_the_sender_is_refused_everybody_has_that_answer_and_the_next_message_starts_anew(features):
    async with Peer({"mail": [b"550 5.7.1 not you"]}, features=features) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, [A, B])) == {A: "refused mail 550", B: "refused mail 550"}
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        assert peer.said.count(b"RSET") == 1
        assert len(peer.transactions) == 1
        await session.quit(1)


@both_ways
async def test_when_all_recipients_are_refused_no_data_is_sent_and_the_next_message_starts_anew(features):
    async with Peer({"rcpt": [b"550 no", b"451 later"]}, features=features) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, [A, B])) == {A: "refused rcpt 550", B: "deferred rcpt 451"}
        assert peer.transactions == []
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        assert peer.said.count(b"RSET") == 1
        await session.quit(1)


@pytest.mark.parametrize("script", [{"rcpt": [b"550 no"]}, {"mail": [b"451 no"]}])
async def test_data_that_is_granted_although_nobody_was_accepted_is_ended_with_a_lone_dot(script):
    async with Peer(script | {"data": [b"354 go"], "dot": [b"554 nobody"]}) as peer:
        session = await opened(peer)
        outcomes = await deliver(session)
        assert next(iter(summary(outcomes).values())) in ("refused rcpt 550", "deferred mail 451")
        assert peer.transactions[0].wire == b".\r\n"
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_a_connection_lost_over_the_lone_dot_changes_no_answer():
    async with Peer({"rcpt": [b"550 no"], "data": [b"354 go"], "dot": Do(b"", after="close")}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "refused rcpt 550"}
        assert not session.usable


@both_ways
async def test_a_refused_data_is_the_answer_for_those_who_were_accepted(features):
    async with Peer({"rcpt": [b"250 ok", b"550 no"], "data": [b"554 5.7.1 policy"]}, features=features) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, [A, B])) == {A: "refused data 554", B: "refused rcpt 550"}
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        assert b"RSET" in peer.said
        await session.quit(1)


@both_ways
@pytest.mark.parametrize(
    ("answer", "outcome"), [(b"554 5.6.0 virus", "refused dot 554"), (b"452 4.3.1 full", "deferred dot 452")]
)
async def test_a_refused_dot_is_the_answer_for_those_who_were_accepted(features, answer, outcome):
    async with Peer({"rcpt": [b"250 ok", b"450 no"], "dot": [answer]}, features=features) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, [A, B])) == {A: outcome, B: "deferred rcpt 450"}
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_a_refusal_in_the_middle_of_the_data_counts_and_the_rest_is_not_sent():
    content = b"0123456789abcdef\r\n" * 500_000
    async with Peer({"early": Do(b"552 5.3.4 too big", after="stall")}, early_after=100_000) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, content=content)) == {A: "refused data 552"}
        assert not session.usable
        assert peer.transactions == []


async def test_a_yes_in_the_middle_of_the_data_is_no_delivery():
    content = b"0123456789abcdef\r\n" * 500_000
    async with Peer({"early": Do(b"250 thanks", after="stall")}, early_after=100_000) as peer:
        stage, code, words = await failed(await opened(peer), content=content)
        assert (stage, code) == ("data", 0)
        assert "250 thanks" in words


async def test_an_international_message_is_refused_in_our_own_words_by_a_server_that_cannot_take_it():
    async with Peer(features=["PIPELINING"]) as peer:
        session = await opened(peer)
        outcomes = await deliver(session, ["jos\u00e9@example.com"], smtputf8=True)
        (outcome,) = outcomes.values()
        assert (outcome.kind, outcome.attempt.code, outcome.attempt.enhanced) == ("refused", 553, "5.6.7")
        assert "said by this gateway" in outcome.attempt.reply
        assert session.usable
        assert len(peer.said) == 1
        await session.quit(1)


async def test_a_message_that_asked_for_smtputf8_and_does_not_need_it_goes_anywhere():
    async with Peer(features=["PIPELINING"]) as peer:
        session = await opened(peer)
        assert summary(await deliver(session, smtputf8=True)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_an_address_that_could_be_a_command_is_never_said():
    evil = "x@y>\r\nDATA"
    async with Peer() as peer:
        session = await opened(peer)
        assert summary(await deliver(session, [A, evil, ""])) == {
            A: "accepted dot 250", evil: "refused rcpt 553", "": "refused rcpt 553",
        }  # fmt: skip
        assert summary(await deliver(session, sender=evil)) == {A: "refused mail 553"}
        assert peer.said.count(b"DATA") == 1
        await session.quit(1)


async def test_a_session_without_recipients_sends_nothing():
    async with Peer() as peer:
        session = await opened(peer)
        assert await deliver(session, []) == {}
        assert len(peer.said) == 1
        await session.quit(1)


# What goes wrong before the final dot


@both_ways
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
async def test_421_before_the_dot_ends_the_session_with_the_servers_words(features, phase):
    async with Peer({phase: Do(b"421-4.3.2 going\r\n421 4.3.2 down", after="close")}, features=features) as peer:
        assert await failed(await opened(peer), A, B) == (phase, 421, "421-4.3.2 going\n421 4.3.2 down")


@both_ways
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_lost_before_the_dot_decides_nothing(features, phase, how):
    async with Peer({phase: Do(b"", after=how)}, features=features) as peer:
        stage, code, words = await failed(await opened(peer), A, B)
        assert (stage, code) == (phase, 0)
        assert "connection" in words


@both_ways
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
async def test_a_server_that_stalls_before_the_dot_is_given_up(features, phase):
    async with Peer({phase: Do(b"", after="stall")}, features=features) as peer:
        timeout = "data_timeout" if phase == "data" else "reply_timeout"
        session = await opened(peer, **{timeout: "0.05s"})
        assert await failed(session, A) == (phase, 0, "The server did not answer within 0.05 seconds.")


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("nonsense", [b"hello", b"", b"25 ok", b"999 ok", b"250-a\r\nb", b"\xff\xfe\x00", b"250ok"])
async def test_nonsense_before_the_dot_decides_nothing(phase, nonsense):
    async with Peer({phase: nonsense + b"\r\n"}) as peer:
        stage, code, words = await failed(await opened(peer))
        assert (stage, code) == (phase, 0)
        assert words.startswith("The server said something that is not an SMTP reply")


async def test_a_server_that_takes_no_data_is_given_up():
    content = b"0123456789abcdef\r\n" * 2_000_000
    async with Peer({"early": Do(b"", after="stall")}, early_after=10) as peer:
        session = await opened(peer, block_timeout="0.1s")
        assert await failed(session, content=content) == ("data", 0, "The server took no data for 0.1 seconds.")


async def test_a_connection_lost_in_the_middle_of_the_data_decides_nothing():
    content = b"0123456789abcdef\r\n" * 2_000_000
    async with Peer({"early": Do(b"", after="reset")}, early_after=10) as peer:
        stage, code, _ = await failed(await opened(peer), content=content)
        assert (stage, code) == ("data", 0)


async def test_data_answered_with_neither_yes_nor_no_is_temporary_and_ends_the_session():
    async with Peer({"data": b"250 sure"}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "deferred data 250"}
        assert not session.usable


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_worker_that_lost_its_lease_sends_no_dot(size):
    async with Peer() as peer:
        session = await opened(peer)
        content = b"0123456789abcdef\r\n" * (size // 10)
        stage, code, _ = await failed(session, content=content, may_commit=lambda: False)
        assert (stage, code) == ("data", 0)
        await peer.until(lambda: peer.unfinished == 1)
        assert peer.transactions == []


async def test_the_lease_is_asked_for_once_after_everything_but_the_end_was_sent():
    asked: list[int] = []
    async with Peer() as peer:
        session = await opened(peer)

        def may_commit() -> bool:
            asked.append(len(peer.transactions))
            return True

        await deliver(session, content=b"0123456789abcdef\r\n" * 50_000, may_commit=may_commit)
        assert asked == [0]
        assert len(peer.transactions) == 1
        await session.quit(1)


async def test_a_task_that_is_cancelled_leaves_no_half_used_session():
    async with Peer({"mail": Do(b"", after="stall")}) as peer:
        session = await opened(peer)
        task = asyncio.create_task(deliver(session))
        await peer.until(lambda: any(line.startswith(b"MAIL") for line in peer.said))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not session.usable


# What goes wrong after the final dot


@both_ways
@pytest.mark.parametrize("do", [Do(b"", after="close"), Do(b"", after="reset"), Do(b"", after="stall"), Do(b"hello?")])
async def test_after_the_dot_without_an_intelligible_reply_the_outcome_is_unknown(features, do):
    async with Peer({"rcpt": [b"250 ok", b"550 no"], "dot": do}, features=features) as peer:
        session = await opened(peer, dot_timeout="0.05s")
        outcomes = await deliver(session, [A, B])
        assert summary(outcomes) == {A: "unknown dot 0", B: "refused rcpt 550"}
        assert outcomes[A].attempt.unknown
        assert outcomes[A].attempt.reply
        assert not session.usable


async def test_a_reply_that_was_begun_and_not_ended_is_shown_in_the_unknown_outcome():
    async with Peer({"dot": Do(b"250-2.0.0 I think\r\n", after="close")}) as peer:
        outcomes = await deliver(await opened(peer))
        assert summary(outcomes) == {A: "unknown dot 0"}
        assert outcomes[A].attempt.reply == "The server closed the connection. It had begun to say:\n250-2.0.0 I think"


async def test_421_to_the_dot_is_an_answer_and_the_end_of_the_session():
    async with Peer({"dot": b"421 4.3.2 not now"}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "deferred dot 421"}
        assert not session.usable


async def test_354_to_the_dot_is_no_delivery():
    async with Peer({"dot": [b"354 more?"]}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "deferred dot 354"}
        await session.quit(1)


async def test_the_dot_has_a_timeout_of_its_own():
    """RFC 5321 4.5.3.2.6: a server may think longer about the dot than about a command."""
    think = asyncio.Event()
    async with Peer({"dot": Do(wait=think)}) as peer:
        session = await opened(peer, reply_timeout="0.05s", dot_timeout="30s")
        task = asyncio.create_task(deliver(session))
        await peer.until(lambda: peer.transactions)
        done, _ = await asyncio.wait([task], timeout=0.2)
        assert not done
        think.set()
        assert summary(await task) == {A: "accepted dot 250"}
        await session.quit(1)


# Odd ways to speak


async def test_replies_that_come_octet_by_octet_are_understood():
    words = Do(b"250-2.0.0 one\r\n250 2.0.0 two", bytewise=True)
    async with Peer({"mail": words, "rcpt": words, "data": Do(b"354 go", bytewise=True), "dot": words}) as peer:
        session = await opened(peer)
        outcomes = await deliver(session)
        assert outcomes[A].attempt.reply == "250-2.0.0 one\n250 2.0.0 two"
        await session.quit(1)


async def test_replies_with_bare_line_feeds_are_understood():
    async with Peer({"mail": b"250 ok\n", "dot": b"250-ok\n250 ok\n"}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_non_ascii_and_control_characters_of_a_reply_are_neutralised():
    async with Peer({"rcpt": b"550 Empf\xc3\xa4nger\x1b[31m \xff unbekannt"}) as peer:
        session = await opened(peer)
        outcomes = await deliver(session)
        assert outcomes[A].attempt.reply == "550 Empf\\xc3\\xa4nger\\x1b[31m \\xff unbekannt"
        await session.quit(1)


async def test_a_reply_of_a_thousand_long_lines_is_understood_and_cut():
    reply = b"".join(b"550-" + b"x" * 300 + b"\r\n" for _ in range(1000)) + b"551 5.1.6 moved"
    async with Peer({"rcpt": [reply]}) as peer:
        session = await opened(peer)
        outcomes = await deliver(session)
        assert summary(outcomes) == {A: "refused rcpt 551"}
        assert len(outcomes[A].attempt.reply) <= 4096
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


@pytest.mark.parametrize("reply", [b"250-" + b"x" * 20_000_000, b"250-x\r\n" * 3_000_000])
async def test_a_reply_without_end_is_nonsense_and_uses_no_memory(reply):
    async with Peer({"rcpt": reply}) as peer:
        session = await opened(peer)
        stage, code, words = await failed(session)
        assert (stage, code) == ("rcpt", 0)
        assert len(words) <= 4096


# Between messages


async def test_a_server_that_closes_an_idle_session_makes_it_unusable():
    async with Peer() as peer:
        session = await opened(peer)
        await deliver(session)
        peer._server.close()
        for task in peer._tasks:
            task.cancel()
        await until(lambda: not session.usable)
        stage, code, words = await failed(session)
        assert (stage, code) == ("mail", 0)
        assert words


async def test_a_server_that_says_421_to_an_idle_session_is_quoted():
    async with Peer({"dot": b"250 ok\r\n421 4.4.2 idle too long"}) as peer:
        session = await opened(peer)
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await until(lambda: not session.usable)
        assert await failed(session) == ("mail", 421, "421 4.4.2 idle too long")


@pytest.mark.parametrize("do", [Do(b"", after="stall"), Do(b"", after="close"), Do(b"nonsense"), Do(b"500 no")])
async def test_quit_always_ends_in_time(do):
    async with Peer({"quit": do}) as peer:
        session = await opened(peer)
        async with asyncio.timeout(5):
            await session.quit(0.05)
            await session.quit(0.05)
        assert not session.usable


async def test_a_refused_reset_ends_the_session():
    async with Peer({"rcpt": [b"550 no"], "rset": b"500 what?"}) as peer:
        session = await opened(peer)
        await deliver(session)
        assert (await failed(session))[:2] == ("mail", 500)


async def test_a_session_keeps_one_timer_however_many_messages_it_sends():
    async with Peer() as peer:
        session = await opened(peer)
        await deliver(session)
        timer = session._wire._timer
        for _ in range(20):
            await deliver(session)
        assert session._wire._timer is timer
        await session.quit(1)
        assert session._wire._timer is None


async def test_a_thousand_recipients_go_in_one_transaction():
    async with Peer({"rcpt": [b"250 ok"] * 999 + [b"452 4.5.3 too many"]}) as peer:
        session = await opened(peer)
        to = [f"u{n}@example.com" for n in range(1000)]
        outcomes = await deliver(session, to)
        assert list(outcomes.values()).count(outcomes["u0@example.com"]) == 999
        assert summary(outcomes)["u999@example.com"] == "deferred rcpt 452"
        assert len(peer.transactions[0].rcpts) == 999
        await session.quit(1)
