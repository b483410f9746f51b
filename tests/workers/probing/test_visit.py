"""What is said at one address of a server, and what is made of what it answers."""

from __future__ import annotations

import asyncio
import itertools
import socket

import msgspec
import pytest

from pipeline.outcome import MAX_LINES
from pipeline.probing.model import Source, Step
from pipeline.resolver import Resolver
from tests.support.listening import Listening
from tests.support.peer import Do, Peer
from tests.workers.probing.support import HANGS, IMPATIENT, QUICK, found, kinds, plan, run, said, visited
from workers.probing import Began, DeliveryTest, LookedUp, Said, Visited
from workers.probing.visit import MAX_LINES as TRANSCRIPT

UNKNOWN = [b"250 2.1.5 ok", b"550 5.1.1 no such user"]
"""To anna and to an address that is not there."""
USUAL = [
    "EHLO gateway.example",
    "MAIL FROM:<postmaster@gateway.example>",
    "RCPT TO:<anna@example.test>",
    "RCPT TO:<gatepost-test-1@example.test>",
    "RCPT TO:<postmaster@example.test>",
    "RSET",
    "MAIL FROM:<>",
    "RCPT TO:<anna@example.test>",
    "RSET",
    "QUIT",
]


async def test_all_is_asked_in_one_connection_and_no_message_is_begun():
    async with Peer({"rcpt": UNKNOWN}) as peer:
        report = await visited(peer.port)
    assert [command.decode() for command in peer.said] == USUAL
    assert (peer.connections, peer.transactions, peer.unfinished, peer.impatient) == (1, [], 0, 0)
    assert kinds(report) == {"no-starttls": "warning"}
    assert report.complete


async def test_every_line_is_in_the_transcript_with_its_moment():
    async with Peer({"rcpt": UNKNOWN, "greeting": b"220-one\r\n220 two \xff\x1b[2J"}) as peer:
        report = await visited(peer.port)
    (visit,) = report.visits
    assert said(visit.transcript, "us") == USUAL
    heard = said(visit.transcript, "them")
    assert heard[:3] == ["220-one", "220 two \\xff\\x1b[2J", "250-peer.example"]
    assert heard[-2:] == ["250 2.0.0 reset", "221 2.0.0 bye"]
    moments = [line.at for line in visit.transcript]
    assert moments == sorted(moments)
    assert 0 < moments[0] <= moments[-1] <= report.took


async def test_what_happens_is_handed_out_as_it_happens():
    go = asyncio.Event()
    seen = []
    async with Peer({"mail": [Do(wait=go)], "rcpt": UNKNOWN}) as peer, asyncio.timeout(HANGS):
        test = DeliveryTest(plan(f"127.0.0.1:{peer.port}"), Resolver("127.0.0.1:9"), patience=QUICK)
        async for happening in test.run():
            seen.append(type(happening))
            if isinstance(happening, Said) and happening.line.text.startswith("MAIL"):
                go.set()  # it is shown before it is answered, or the answer would never come
    assert [kind for kind, _ in itertools.groupby(seen)] == [LookedUp, Began, Said, Visited]
    assert kinds(test.report()) == {"no-starttls": "warning"}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_both_address_families_are_visited(address):
    async with Peer({"rcpt": UNKNOWN}, host=address) as peer:
        report = await run(plan(f"[{address}]:{peer.port}" if ":" in address else f"{address}:{peer.port}"))
    assert report.visits[0].family == ("IPv6" if ":" in address else "IPv4")
    assert report.visits[0].works


async def test_a_closed_port_is_bad():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        report = await visited(taken.getsockname()[1])
    assert kinds(report) == {"connect": "bad"}
    assert found(report, "connect").values["words"] == "Connection refused"


async def test_a_port_that_does_not_answer_is_given_up():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        try:
            # A backlog that is full drops further connections silently, like a firewall.
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                fillers.append(filler)
            report = await visited(full.getsockname()[1], msgspec.structs.replace(IMPATIENT, connect=0.1))
        finally:
            for filler in fillers:
                filler.close()
    assert kinds(report) == {"connect": "bad"}
    assert found(report, "connect").values["words"] == "no answer within 0.1 seconds"


class Seeing(Listening):
    """Takes connections, and remembers from where; hangs up."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer.get_extra_info("peername")[0])
        writer.write(b"220 seeing\r\n")
        self.said = await reader.readline()


async def test_each_source_address_is_tried_with_its_own_name():
    sources = (Source("127.0.0.2", "two.example"), Source("127.0.0.3", "three.example"))
    async with Seeing() as server:
        report = await visited(server.port, sources=sources)
    assert server.clients == ["127.0.0.2", "127.0.0.3"]
    assert [visit.source.address for visit in report.visits] == ["127.0.0.2", "127.0.0.3"]
    assert server.said == b"EHLO three.example\r\n"


async def test_a_source_address_that_is_not_ours_is_no_fault_of_the_server():
    async with Seeing() as server:
        report = await visited(server.port, sources=(Source("192.0.2.1", "x.example"),))
    assert server.clients == []
    assert kinds(report) == {"no-source": "bad"}


async def test_a_server_whose_family_none_of_our_addresses_has_is_bad():
    async with Seeing() as server:
        report = await visited(server.port, sources=(Source("::1", "six.example"),))
    assert report.visits == ()
    assert kinds(report) == {"no-family": "bad"}


async def test_an_address_of_the_other_family_is_no_source_for_a_server():
    async with Seeing() as server:
        report = await visited(server.port, sources=(Source("::1", "six.example"), Source("127.0.0.2", "two.example")))
    assert server.clients == ["127.0.0.2"]
    assert len(report.visits) == 1


# What servers answer


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ({"rcpt": [b"550 5.7.1 relay access denied"] * 9}, {"recipient-refused": "bad", "postmaster-refused": "warning"}),
        ({"rcpt": [b"450 4.2.0 greylisted"] * 9}, {"recipient-deferred": "warning", "postmaster-refused": "warning"}),
        ({"rcpt": b"250 2.1.5 ok"}, {"catch-all": "warning"}),
        ({"rcpt": [*UNKNOWN, b"550 5.1.1 who"]}, {"postmaster-refused": "warning"}),
        ({"rcpt": UNKNOWN, "mail": [b"250 ok", b"550 5.7.1 no bounces"]}, {"bounce-refused": "bad"}),
        ({"rcpt": UNKNOWN, "mail": [b"550 5.7.1 you are listed"]}, {"sender-refused": "bad"}),
        ({"rcpt": UNKNOWN, "mail": b"550 5.7.1 no"}, {"sender-refused": "bad", "bounce-refused": "bad"}),
        ({"rcpt": UNKNOWN, "rset": b"502 5.5.1 what"}, {"rset": "warning"}),
        ({"rcpt": UNKNOWN, "quit": b"500 5.5.1 what"}, {"quit": "warning"}),
        ({"rcpt": UNKNOWN, "quit": Do(b"", after="close")}, {"quit": "warning"}),
        ({"rcpt": UNKNOWN, "greeting": b"220 GATEWAY.example ESMTP"}, {"loop": "bad"}),
        ({"greeting": b"554 5.7.1 go away"}, {"greeting-refused": "bad"}),
        ({"greeting": b"421 4.3.2 too busy"}, {"greeting-refused": "bad"}),
        ({"ehlo": b"502 what", "rcpt": UNKNOWN}, {"no-ehlo": "warning"}),
        ({"ehlo": b"550 5.7.1 no", "helo": b"550 5.7.1 no"}, {"ehlo": "bad"}),
        ({"ehlo": b"451 4.7.1 later"}, {"ehlo": "bad"}),
        (
            {"ehlo": b"250 peer.example", "rcpt": UNKNOWN},
            {"no-pipelining": "warning", "no-8bitmime": "warning", "size-unsaid": "warning"},
        ),
    ],
)  # fmt: skip
async def test_what_a_server_answers_has_its_finding(script, wanted):
    async with Peer(script) as peer:
        seen = kinds(await visited(peer.port))
    seen.pop("no-starttls", None)
    assert seen == wanted


async def test_recipients_are_asked_for_with_the_null_sender_when_the_ordinary_one_is_refused():
    async with Peer({"rcpt": UNKNOWN, "mail": [b"550 5.7.1 listed"]}) as peer:
        report = await visited(peer.port)
    assert peer.said[2:4] == [b"MAIL FROM:<>", b"RCPT TO:<anna@example.test>"]
    assert report.visits[0].works


async def test_an_address_outside_ascii_is_announced():
    async with Peer({"rcpt": UNKNOWN}) as peer:
        report = await visited(peer.port, known="ännä@example.test")
    assert b"MAIL FROM:<postmaster@gateway.example> SMTPUTF8" in peer.said
    assert "RCPT TO:<ännä@example.test>".encode() in peer.said
    assert report.visits[0].works


async def test_the_software_is_recognised_by_its_greeting():
    async with Peer({"greeting": b"220 mail.example ESMTP Postfix (Debian)", "rcpt": UNKNOWN}) as peer:
        report = await visited(peer.port)
    assert report.visits[0].software == "postfix"


# Hostile servers

PHASES = ["greeting", "ehlo", "mail", "rcpt", "rset", "quit"]
SILENT = {
    "greeting": "greeting-silent", "ehlo": "ehlo", "starttls": "starttls-refused", "mail": "sender-silent",
    "rcpt": "recipient-silent", "rset": "rset", "quit": "quit",
}  # fmt: skip


@pytest.mark.parametrize("how", ["close", "reset", "stall"])
@pytest.mark.parametrize("phase", [*PHASES, "starttls"])
async def test_a_server_may_stall_or_hang_up_in_every_phase(phase, how):
    features = ("PIPELINING", "8BITMIME", "SIZE", *(["STARTTLS"] if phase == "starttls" else []))
    script = {"rcpt": UNKNOWN, phase: Do(b"", after=how)}
    async with Peer(script, features=features) as peer:
        report = await visited(peer.port, IMPATIENT)
    assert SILENT[phase] in kinds(report)
    assert report.complete


@pytest.mark.parametrize("phase", PHASES)
async def test_a_421_in_every_phase_is_the_last_that_is_asked(phase):
    async with Peer({"rcpt": UNKNOWN, phase: b"421 4.3.2 shutting down"}) as peer:
        report = await visited(peer.port)
    last = report.visits[0].answers[-1]
    assert last.code == 421
    assert last.stage == {"rset": "rset", "quit": "quit"}.get(phase, phase)
    assert report.complete


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH_9.2",
        b"999 x",
        b"220",
        b"\xff" * 2000,
        b"x" * 1_000_000,
        b"220-x\r\n" * 50_000,
        b"220 " + b"y" * 200_000,
        b"220-" + b"z" * 10_000 + b"\r\n220 \x1b]0;title\x07",
        b"\x00\r\n",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("phase", ["greeting", "ehlo", "mail"])
async def test_nonsense_is_bounded_and_printable(phase, nonsense):
    async with Peer({"rcpt": UNKNOWN, phase: nonsense}) as peer:
        report = await visited(peer.port)
    (visit,) = report.visits
    heard = [line.text for line in visit.transcript]
    assert len(heard) < 2 * MAX_LINES
    assert all(len(text) <= 1000 and text.isprintable() for text in heard)
    assert all(len(one.text) <= 4096 and one.text.replace("\n", "").isprintable() for one in visit.answers)


async def test_a_server_that_speaks_unasked_is_believed_no_more():
    async with Peer({"rcpt": UNKNOWN, "ehlo": b"250 peer.example\r\n250 and more"}) as peer:
        report = await visited(peer.port)
    assert report.visits[0].stray == "250 and more"
    assert {"stray", "sender-silent"} <= set(kinds(report))
    assert [command.split()[0] for command in peer.said] == [b"EHLO"]


async def test_a_server_that_talks_without_end_fills_no_transcript():
    long = b"\r\n".join([b"250-x"] * 90 + [b"250 x"])
    phases = ["ehlo", "mail", "rcpt", "rset"]
    async with Peer({phase: [long] * 20 for phase in phases}) as peer:
        report = await visited(peer.port)
    (visit,) = report.visits
    assert len(visit.transcript) == TRANSCRIPT + 1
    assert visit.transcript[-1].text == "The server talks too much: what follows is left out."
    assert visit.complete


class Drip(Peer):
    """Answers in one phase so that there is always a little more to come: an octet, or a line, at a time."""

    def __init__(self, phase: str, drop: bytes) -> None:
        super().__init__({"rcpt": UNKNOWN, phase: Do(b"", after="go on")}, features=("STARTTLS",))
        self.phase = phase
        self.drop = drop

    async def _answer(self, phase: str, writer: asyncio.StreamWriter, usual: bytes = b"") -> bytes:
        if phase == self.phase:
            while not self.ends.is_set():
                writer.write(self.drop)
                await writer.drain()
                await asyncio.sleep(0.01)
        return await super()._answer(phase, writer, usual)


@pytest.mark.parametrize("drop", [b"2", b"250-still here\r\n"])
@pytest.mark.parametrize("phase", [*PHASES, "starttls", "data", "dot"])
async def test_a_tarpit_is_left_in_every_phase(phase, drop):
    async with Drip(phase, drop) as peer:
        peer.features = ["STARTTLS"] if phase == "starttls" else ["PIPELINING"]
        report = await visited(peer.port, IMPATIENT, send="x1")
    last = report.visits[0].answers[-1]
    assert last.silent
    assert "did not answer within" in last.text
    assert report.complete


# The real message


async def test_one_marked_message_is_sent_when_it_is_asked_for():
    async with Peer({"rcpt": UNKNOWN}) as first, Peer({"rcpt": UNKNOWN}) as second:
        report = await run(plan(f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}", send="ab12"))
    (sent,) = first.transactions
    assert second.transactions == []
    assert sent.mail == b"MAIL FROM:<postmaster@gateway.example>"
    assert sent.rcpts == [b"RCPT TO:<anna@example.test>"]
    assert b"\r\nX-Gatepost-Test: ab12\r\n" in sent.message
    assert b"\r\nAuto-Submitted: auto-generated\r\n" in sent.message
    assert found(report, "sent").values["id"] == "ab12"
    assert [visit.sent for visit in report.visits] == [True, False]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"rcpt": UNKNOWN, "dot": b"554 5.6.0 spam"}, "sent-refused"),
        ({"rcpt": UNKNOWN, "dot": b"451 4.3.0 later"}, "sent-refused"),
        ({"rcpt": UNKNOWN, "data": b"451 4.3.0 later"}, "sent-refused"),
        ({"rcpt": UNKNOWN, "dot": Do(b"", after="close")}, "sent-unknown"),
        ({"rcpt": UNKNOWN, "dot": Do(b"", after="stall")}, "sent-unknown"),
        ({"rcpt": b"550 5.1.1 who"}, "unsent"),
    ],
)
async def test_what_became_of_the_message_is_told(script, kind):
    async with Peer(script) as peer:
        report = await visited(peer.port, IMPATIENT, send="ab12")
    assert kind in kinds(report)


async def test_a_message_whose_end_is_unknown_is_not_sent_again():
    async with Peer({"rcpt": UNKNOWN, "dot": Do(b"", after="close")}) as first, Peer({"rcpt": UNKNOWN}) as second:
        await run(plan(f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}", send="ab12"))
    assert len(first.transactions) == 1
    assert second.transactions == []


async def test_a_message_goes_to_the_next_server_when_the_first_does_not_take_the_recipient():
    async with Peer({"rcpt": [b"451 4.2.0 later"] * 9}) as first, Peer({"rcpt": UNKNOWN}) as second:
        report = await run(plan(f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}", send="ab12"))
    assert first.transactions == []
    assert len(second.transactions) == 1
    assert report.visits[1].answer(Step.DOT) is not None
