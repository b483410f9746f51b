"""The whole test: names, several servers, time, quick connections, interruption."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline.gateways import Gateway
from pipeline.probing.model import Lookup, Source
from pipeline.resolver import Resolver
from tests.support.dns import Names
from tests.support.listening import Listening
from tests.support.peer import Do, Peer
from tests.workers.probing.support import HANGS, IMPATIENT, QUICK, found, kinds, plan, run, visited
from workers.probing import DeliveryTest, Patience, Said
from workers.probing.dialogue import MAX_UNREAD, Dialogue

UNKNOWN = [b"250 2.1.5 ok", b"550 5.1.1 no such user"]


async def looked_up(
    records, route=(), *, failing=(), silent=(), gateways=(), **fields
) -> tuple[Lookup, dict[str, str]]:
    async with Names(records, failing=failing, silent=silent) as names:
        report = await run(plan(*route, **fields), IMPATIENT, names.port, gateways)
    return report.lookup, kinds(report)


# Names


async def test_a_name_that_does_not_exist_is_bad():
    lookup, seen = await looked_up({}, ["mail.example.test:25"])
    assert seen == {"name": "bad"}
    assert lookup.names[0].problem == "the name mail.example.test does not exist"


async def test_a_name_without_addresses_is_bad():
    _, seen = await looked_up({("mail.example.test", "TXT"): ['"x"']}, ["mail.example.test:25"])
    assert seen == {"name": "bad"}


async def test_a_name_that_the_dns_is_silent_about_is_another_matter():
    lookup, seen = await looked_up({}, ["mail.example.test:25"], failing=["mail.example.test"])
    assert seen == {"name-silent": "bad"}
    assert lookup.names[0].passing


async def test_addresses_that_routes_may_not_reach_are_never_dialled():
    async with Peer() as peer:
        records = {("mail.example.test", "A"): ["127.0.0.1"], ("mail.example.test", "AAAA"): ["::1"]}
        lookup, seen = await looked_up(records, [f"mail.example.test:{peer.port}"], allowed=())
    assert seen == {"closed": "bad"}
    assert dict(lookup.names[0].closed) == {
        "127.0.0.1": "127.0.0.1 is a loopback address",
        "::1": "::1 is a loopback address",
    }
    assert peer.connections == 0


async def test_of_several_addresses_only_those_are_dialled_that_may_be():
    async with Peer({"rcpt": UNKNOWN}) as peer:
        records = {("mail.example.test", "A"): ["127.0.0.1", "10.9.8.7"]}
        lookup, seen = await looked_up(records, [f"mail.example.test:{peer.port}"])
    assert lookup.names[0].addresses == ("127.0.0.1",)
    assert seen == {"closed": "warning", "no-starttls": "warning"}


async def test_a_server_with_two_addresses_is_visited_twice():
    async with (
        Peer({"rcpt": UNKNOWN * 9}) as peer,
        Names({("m.example", "A"): ["127.0.0.1"], ("m.example", "AAAA"): ["::1"]}) as names,
    ):
        report = await run(plan(f"m.example:{peer.port}"), QUICK, names.port)
    assert {visit.family for visit in report.visits} == {"IPv4", "IPv6"}
    # Nothing listens at the second address: mail takes the first, so that is a warning.
    assert kinds(report)["connect"] == "warning"


@pytest.mark.parametrize(
    ("records", "more", "wanted"),
    [
        ({("example.test", "MX"): ["0 ."]}, {}, {"no-servers": "bad"}),
        ({}, {}, {"no-servers": "bad"}),
        ({}, {"failing": ["example.test"]}, {"dns-silent": "bad"}),
        ({("example.test", "A"): ["192.168.1.1"]}, {}, {"closed": "bad", "no-mx": "warning"}),
        ({("example.test", "MX"): ["10 gone.example.test."]}, {}, {"name": "bad"}),
    ],
)
async def test_a_domain_without_a_route_is_looked_up_by_its_mx(records, more, wanted):
    _, seen = await looked_up(records, **more)
    assert seen == wanted


async def test_mx_hosts_are_asked_in_order():
    records = {
        ("example.test", "MX"): ["20 b.example.test.", "10 a.example.test."],
        ("a.example.test", "A"): ["192.168.0.1"], ("b.example.test", "A"): ["192.168.0.2"],
    }  # fmt: skip
    lookup, _ = await looked_up(records)
    assert lookup.mx == ((10, "a.example.test"), (20, "b.example.test"))
    assert [name.server for name in lookup.names] == ["a.example.test:25", "b.example.test:25"]


async def test_the_mx_of_a_name_in_a_route_are_each_looked_at():
    records = {
        ("c.example", "MX"): ["20 b.c.example.", "10 a.c.example."],
        ("a.c.example", "A"): ["192.168.0.1"], ("b.c.example", "A"): ["127.0.0.1"],
    }  # fmt: skip
    async with Peer({"rcpt": UNKNOWN}) as peer:
        lookup, seen = await looked_up(records, [f"mx:c.example:{peer.port}"])
    assert [name.server for name in lookup.names] == [f"a.c.example:{peer.port}", f"b.c.example:{peer.port}"]
    assert seen == {"closed": "bad", "no-starttls": "warning"}


async def test_a_name_in_a_route_that_has_no_mx_to_be_found_is_bad():
    lookup, seen = await looked_up({}, ["mx:gone.example", "10/2 gone.example:25"])
    assert seen == {"name": "bad"}
    assert len(lookup.names) == 2


async def test_a_silent_dns_is_given_up():
    _, seen = await looked_up({}, silent=["example.test"])
    assert seen == {"dns-silent": "bad"}


async def test_a_route_that_leads_back_here_is_bad_and_is_not_dialled():
    async with Peer() as peer:
        ours = Gateway("gateway.example", peer.port)
        _, seen = await looked_up({}, [f"127.0.0.1:{peer.port}"], gateways=[ours])
    assert seen == {"ourselves": "bad"}
    assert peer.connections == 0


# Time


def test_a_test_takes_a_minute_at_most_and_waits_as_long_as_the_deliverer_for_a_greeting():
    patience = Patience()
    assert patience.total == 60
    assert patience.greeting == 30
    assert patience.names + patience.connect + patience.greeting < patience.total
    assert all(value <= patience.total for value in msgspec.structs.astuple(patience))


class Stalling(Listening):
    """Takes connections and says nothing."""

    async def serve(self, reader, writer):
        await self.ends.wait()


async def test_the_time_is_shared_out_so_that_one_server_does_not_cost_the_others_theirs():
    patience = Patience(total=2.0)
    async with Stalling() as stalls, Peer({"rcpt": UNKNOWN}) as good:
        report = await run(plan(f"127.0.0.1:{stalls.port}", f"127.0.0.1:{good.port}"), patience)
    first, second = report.visits
    assert not first.works
    assert second.works
    assert kinds(report) == {"greeting-silent": "bad", "no-starttls": "warning"}


@pytest.mark.parametrize(
    "phase", ["greeting", "ehlo", "starttls", "handshake", "mail", "rcpt", "data", "dot", "rset", "quit", "quick"]
)
async def test_a_server_that_stalls_in_any_phase_is_left_when_the_whole_time_is_up(phase):
    """With the patience that people have for each step, and half a second in place of a minute: `run` would hang otherwise."""
    stall = Do(b"", after="stall")
    script = {"rcpt": UNKNOWN, phase: stall}
    if phase == "handshake":
        script = {"starttls": Do(after="stall")}
    elif phase == "quick":
        script = {"rcpt": UNKNOWN, "greeting": [Do(), *[stall] * 20]}
    features = ["PIPELINING", *(["STARTTLS"] if phase in ("starttls", "handshake") else [])]
    async with Peer(script, features=features) as peer:
        report = await visited(peer.port, Patience(total=0.5), send="x1", quick=False)
    assert report.visits[0].answers
    assert {"unfinished", "recipient-silent", "sender-silent", "ehlo", "greeting-silent", "starttls-refused", "tls-failed",
            "sent-refused", "sent-unknown", "rset", "quit", "quick-slow"} & set(kinds(report))  # fmt: skip


async def test_a_test_whose_time_is_up_ends_with_what_it_has():
    patience = Patience(total=0.6, reply=0.5)
    wait = asyncio.Event()
    async with Peer({"rcpt": [b"250 ok", Do(wait=wait), Do(wait=wait)]}) as peer:
        report = await visited(peer.port, patience)
    assert report.visits[0].works
    assert "no-starttls" in kinds(report)


async def test_a_server_that_answers_everything_late_runs_out_of_its_time():
    passed = 0.0

    class Slow(Peer):
        async def _answer(self, phase, writer, usual=b""):
            nonlocal passed
            passed += 10
            return await super()._answer(phase, writer, usual)

    async with Slow({"rcpt": UNKNOWN}) as peer:
        report = await run(plan(f"127.0.0.1:{peer.port}"), Patience(total=35), steady=lambda: passed)
    assert not report.complete
    assert "unfinished" in kinds(report)
    assert report.visits[0].answers


async def test_servers_are_visited_up_to_a_bound():
    route = [f"127.0.0.{number}:9" for number in range(1, 60)]
    report = await run(plan(*route))
    assert len(report.visits) <= 20


# Quick connections


async def test_ten_quick_connections_are_made_and_closed_in_order():
    async with Peer({"rcpt": UNKNOWN}) as peer:
        report = await visited(peer.port, quick=False)
        quick = report.visits[0].quick
        assert quick is not None
        assert (quick.wanted, quick.opened, quick.greeted, quick.refused) == (10, 10, 10, None)
        assert peer.connections == 11
        assert peer.said.count(b"QUIT") == 11
    assert report.complete


async def test_quick_connections_stop_at_the_first_refusal():
    greetings = [*[Do()] * 4, *[Do(b"421 4.7.0 too many connections", after="close")] * 20]
    async with Peer({"rcpt": UNKNOWN, "greeting": greetings}) as peer:
        report = await visited(peer.port, msgspec.structs.replace(QUICK, apart=0.2), quick=False)
    quick = report.visits[0].quick
    assert quick is not None
    assert (quick.greeted, quick.opened) == (3, 4)
    assert found(report, "quick-refused").values["words"] == "421 4.7.0 too many connections"
    assert peer.connections == 5


async def test_quick_connections_that_are_not_greeted_in_time_are_slow_and_not_refused():
    greetings = [Do(), Do(), *[Do(b"", after="stall")] * 20]
    async with Peer({"rcpt": UNKNOWN, "greeting": greetings}) as peer:
        report = await visited(peer.port, IMPATIENT, quick=False)
    assert kinds(report) == {"no-starttls": "warning", "quick-slow": "warning"}


async def test_a_server_that_takes_no_mail_is_not_rushed():
    async with Peer({"greeting": b"554 no"}) as peer:
        report = await visited(peer.port, quick=False)
    assert peer.connections == 1
    assert report.visits[0].quick is None


# Interruption


async def test_whoever_loses_interest_keeps_what_was_found_and_leaves_no_connection_behind():
    async with Peer({"rcpt": Do(b"", after="stall")}) as peer, asyncio.timeout(HANGS):
        test = DeliveryTest(plan(f"127.0.0.1:{peer.port}"), Resolver("127.0.0.1:9"), patience=Patience())
        running = test.run()
        async for happening in running:
            if isinstance(happening, Said) and happening.line.text.startswith("RCPT"):
                break
        await running.aclose()
        report = test.report()
    assert not report.complete
    assert report.visits[0].answers
    assert kinds(report) == {"no-starttls": "warning", "unfinished": "warning"}
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_cancelled_watcher_ends_the_test():
    async with Stalling() as server, asyncio.timeout(HANGS):
        test = DeliveryTest(plan(f"127.0.0.1:{server.port}"), Resolver("127.0.0.1:9"), patience=Patience())
        greeted = asyncio.Event()

        async def watch():
            async for happening in test.run():
                if isinstance(happening, Said) and happening.line.text == "connected":
                    greeted.set()

        task = asyncio.create_task(watch())
        await greeted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not test.report().complete


# One connection


class Flood(Listening):
    """Says more than anybody asked for."""

    async def serve(self, reader, writer):
        while not self.ends.is_set():
            writer.write(b"220 hello\r\n" * 10_000)
            await writer.drain()


async def test_a_flood_is_not_taken_into_memory():
    async with Flood() as server, asyncio.timeout(HANGS):
        dialogue = Dialogue(lambda _who, _text: None)
        answer, _ = await dialogue.open("127.0.0.1", server.port, Source(), 1.0)
        assert not answer.text
        while len(dialogue._unread) < MAX_UNREAD:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert len(dialogue._unread) < MAX_UNREAD + (1 << 20)
        dialogue.close()
