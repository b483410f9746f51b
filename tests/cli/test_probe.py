"""`gatepost test` as from a terminal: against a customer's server, and what its output looks like."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli.probe.form import report_form
from cli.probe.show import Watcher
from cli.render import Screen
from pipeline.probing import judge
from pipeline.probing.model import Line, Lookup, Name, Quick, Step
from tests.cli.conftest import ANNA, DOMAIN, Shop
from tests.pipeline.probing.support import EHLO, answer, plan, report, tls, visit
from tests.support.customer import Customer, customer
from tests.support.dns import names_in_a_thread
from tests.support.servers import ROOT, wait_until
from workers.probing import Began, LookedUp, Said, Visited

GOLDEN = Path(__file__).parents[1] / "golden" / "delivery-test.txt"


@pytest.fixture
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture
def tested(shop: Shop, server: Customer, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The domain's server is `server`, and it knows anna and the postmaster alone."""
    monkeypatch.setenv("GATEPOST_ALLOW_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("GATEPOST_HOSTNAME", "gateway.test")
    shop.add("anna", route=server.route)
    server.refuse = Knowing(ANNA, f"postmaster@{DOMAIN}")
    return shop


class Knowing(dict[str, str]):
    """What a server refuses that knows two addresses."""

    def __init__(self, *known: str) -> None:
        super().__init__()
        self.known = set(known)
        self.words = "550 5.1.1 no such user"

    def __contains__(self, address: object) -> bool:
        return address not in self.known

    def __getitem__(self, _address: str) -> str:
        return self.words


def entries(shop: Shop) -> list[int]:
    async def work(wiring):
        return [
            await wiring.store.redis.dbsize(),
            *[len(await wiring.log.read(number, "0", 1000)) for number in range(8)],
        ]

    return shop.do(work)


def test_a_good_server_is_talked_to_and_nothing_is_left_behind(tested: Shop, server: Customer):
    before = entries(tested)
    done = tested.run("test", DOMAIN)
    assert (done.code, done.err) == (0, "")
    for words in (
        f"recipient          {ANNA}", "> EHLO gateway.test", f"> RCPT TO:<{ANNA}>", "< 550 5.1.1 no such user",
        "> MAIL FROM:<>", "quick connection 10", f"good     {ANNA} is taken", "Mail gets through; ",
    ):  # fmt: skip
        assert words in done.out
    assert "bad " not in done.out
    assert server.arrived == []
    assert entries(tested) == before


def test_all_of_it_is_one_json_document(tested: Shop):
    done = tested.run("test", DOMAIN, "--quick", "--json")
    assert done.code == 0
    document = done.json
    assert document["ok"] is True
    assert document["complete"] is True
    (visit_,) = document["visits"]
    assert [one["step"] for one in visit_["answers"]][:3] == ["connect", "greeting", "ehlo"]
    assert {line["who"] for line in visit_["transcript"]} == {"us", "them", "note"}
    kinds = {finding["kind"]: finding for finding in document["findings"]}
    assert kinds["recipient"]["weight"] == "good"
    assert set(kinds["no-starttls"]["renter"]) == {"en", "de"}
    assert visit_["quick"] is None


def test_a_server_that_refuses_a_listed_address_is_bad(tested: Shop, server: Customer):
    server.refuse = Knowing()
    done = tested.run("test", DOMAIN, "--quick")
    assert done.code == 1
    assert f"bad      {ANNA} is refused: 550 5.1.1 no such user" in done.out
    assert "-> your own server: " in done.out
    assert "-> a rented one:    " in done.out
    assert re.search(r"\d bad findings?: mail does not get through, or not all of it\.", done.out)


def test_a_real_message_is_sent_when_it_is_asked_for(tested: Shop, server: Customer):
    done = tested.run("test", DOMAIN, "--to", ANNA, "--send", "--quick", "--json")
    (arrived,) = server.arrived
    assert arrived.recipients == (ANNA,)
    assert f"X-Gatepost-Test: {done.json['sent']}\r\n".encode() in arrived.content
    assert done.code == 0


def test_each_source_address_is_tried_when_it_is_asked_for(tested: Shop, monkeypatch: pytest.MonkeyPatch):
    none = tested.run("test", DOMAIN, "--quick", "--from-each-source")
    assert (none.code, "no source address" in none.err) == (2, True)
    monkeypatch.setenv("GATEPOST_SOURCE_ADDRESSES", "127.0.0.2 two.example, 127.0.0.3")
    done = tested.run("test", DOMAIN, "--quick", "--from-each-source", "--json")
    visits = done.json["visits"]
    assert [one["source"] for one in visits] == ["127.0.0.2", "127.0.0.3"]
    assert [one["answers"][2]["command"] for one in visits] == ["EHLO two.example", "EHLO gateway.test"]
    (once,) = tested.run("test", DOMAIN, "--quick", "--json").json["visits"]
    assert once["source"] == "127.0.0.2"


def test_mail_for_an_alias_is_tested_at_its_home(tested: Shop):
    assert tested.run("domain", "add", "alias.test", "--alias-of", DOMAIN).code == 0
    done = tested.run("test", "alias.test", "--to", "anna@alias.test", "--quick")
    assert done.code == 0
    assert f"alias.test is an alias of {DOMAIN}" in done.out
    assert f"> RCPT TO:<{ANNA}>" in done.out


def test_a_domain_that_is_not_configured_is_tested_by_its_mx(tested: Shop, monkeypatch: pytest.MonkeyPatch):
    with names_in_a_thread({("other.test", "MX"): ["10 mx.other.test."]}) as names:
        monkeypatch.setenv("GATEPOST_RESOLVER", f"127.0.0.1:{names.port}")
        done = tested.run("test", "other.test")
    assert done.code == 1
    assert "MX 10 mx.other.test" in done.out
    assert "recipient          postmaster@other.test" in done.out
    assert "the name mx.other.test does not exist" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "anna"], "not an address"),
        (["--to", "anna@elsewhere.test"], "is not of example.test"),
        (["--to", "anna\r\nRSET@example.test"], "not an address"),
    ],
)
def test_a_recipient_elsewhere_is_refused(tested: Shop, words, said):
    done = tested.run("test", DOMAIN, *words)
    assert done.code == 2
    assert said in done.err


def test_what_a_server_says_does_nothing_to_a_terminal(tested: Shop, server: Customer):
    server.refuse = knowing = Knowing()
    knowing.words = "550 5.1.1 \x1b[2J\u202e go"
    out = tested.run("test", DOMAIN, "--quick").out
    assert "\\x1b[2J" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_ctrl_c_ends_the_test_with_what_was_found(tested: Shop):
    with socket.create_server(("127.0.0.1", 0)) as stalls:
        port = stalls.getsockname()[1]
        assert tested.run("domain", "set", DOMAIN, "--route", f"127.0.0.1:{port}").code == 0
        with (tested.data.parent / "out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "cli.main", "test", DOMAIN], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
            )
        read = (tested.data.parent / "out").read_text
        try:
            wait_until(lambda: "connected" in read(), within=30, what="the connection")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()
            process.wait()
    assert "Ended before it was known; 1 thing to look at." in read()
    assert "Traceback" not in read()


# How it looks

LINES = (
    Line(1_000_000, "note", "connecting to 192.0.2.1 port 25"),
    Line(21_000_000, "them", "220 mail.example.test ESMTP Postfix"),
    Line(21_500_000, "us", "EHLO gateway.example"),
    Line(1_250_000_000, "them", "250 mail.example.test \\x1b[2J"),
)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    """A test with one of everything, as it is shown."""
    refused = answer(Step.GREETING, "421 4.7.0 too many connections")
    first = visit(
        {Step.KNOWN: "550 5.7.1 relay access denied", Step.EHLO: EHLO.replace("50000000", "10485760")},
        transcript=LINES,
        tls=tls(self_signed=True),
        software="postfix",
    )
    second = msgspec.structs.replace(
        visit(), server="backup.example.test:2525", address="2001:db8::1",
        host="backup.example.test", quick=Quick(wanted=10, opened=5, greeted=4, refused=refused),
    )  # fmt: skip
    lookup = Lookup(
        names=(
            Name(
                server="mail.example.test:25",
                addresses=("192.0.2.1",),
                closed=(("10.0.0.1", "10.0.0.1 is a private address"),),
            ),
            Name(server="backup.example.test:2525", addresses=("2001:db8::1",)),
            Name(server="gone.example.test:25", problem="the name gone.example.test does not exist"),
        ),
        took=12_000_000,
    )
    routes = ("mail.example.test:25", "backup.example.test:2525", "gone.example.test:25")
    whole = report(first, second, plan=plan(route=routes, send="ab12cd"), took=2_500_000_000, lookup=lookup)
    watcher = Watcher(Screen(), "alias.test")
    capsys.readouterr()
    watcher.begin(whole.plan)
    watcher.see(LookedUp(lookup))
    watcher.see(Began(first))
    for line in LINES:
        watcher.see(Said(line))
    watcher.see(Visited(first))
    watcher.see(Began(second, quick=True))
    watcher.see(Said(Line(2_000_000_000, "note", "quick connection 5, after 0.02 s: 421 4.7.0 too many connections")))
    watcher.conclude(whole, judge(whole))
    return capsys.readouterr().out


def test_a_test_looks_as_it_did(capsys: pytest.CaptureFixture[str]):
    """When it should look different, look at it, and put what is printed here into the file."""
    assert shown(capsys) == GOLDEN.read_text("utf-8")


@pytest.mark.parametrize(
    ("seen", "end"),
    [
        (report(visit(), took=1), "Mail gets through.  (0.0 s)"),
        (report(visit(tls=tls(self_signed=True))), "Mail gets through; 1 thing to look at.  (0.0 s)"),
        (
            report(visit({Step.KNOWN: "451 4.7.1 later"})),
            "No server took the recipient just now; 1 thing to look at.  (0.0 s)",
        ),
        (report(complete=False), "Ended before it was known; 1 thing to look at.  (0.0 s)"),
        (report(visit({Step.KNOWN: "550 no"})), "1 bad finding: mail does not get through, or not all of it.  (0.0 s)"),
    ],
)
def test_the_last_line_says_what_it_comes_to(capsys: pytest.CaptureFixture[str], seen, end):
    Watcher(Screen(), "example.test").conclude(seen, judge(seen))
    assert capsys.readouterr().out.splitlines()[-1] == end


def test_the_document_of_a_test_that_did_not_begin_is_whole():
    empty = report(complete=False, lookup=Lookup())
    document = report_form(empty, judge(empty))
    assert document["ok"] is True
    assert document["complete"] is False
    assert document["at"] == "2024-10-04T00:00:00.000000Z"
