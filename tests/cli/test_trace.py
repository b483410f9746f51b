"""`gatepost trace`: one message by its id, and those of which something else is known."""

from __future__ import annotations

import re

import pytest

from pipeline.events import Delivered
from tests.cli.conftest import Shop
from tests.cli.test_commands import TAKEN
from tests.support.examples import ANNA, SENDER

BEN = "ben@example.test"


@pytest.fixture(params=[True, False], ids=["indexed", "not yet indexed"])
def filled(shop: Shop, request: pytest.FixtureRequest) -> tuple[Shop, dict[str, str]]:
    shop.add("anna", "ben")
    ids = {
        "first": shop.queued(ANNA, subject="Invoice for November"),
        "second": shop.queued(ANNA, BEN, subject="\x1b[31m Invoice"),
        "kept": shop.quarantined(BEN, subject="You won", sender="evil@bad.example"),
    }
    shop.tried(ids["first"], Delivered, TAKEN)
    if request.param:
        shop.fold()
    return shop, ids


def ids_of(shop: Shop, *words: str) -> list[str]:
    return [one["id"] for one in shop.run("trace", *words, "--json").json["messages"]]


def test_messages_are_found_by_what_is_known_of_them_the_newest_first(filled):
    shop, ids = filled
    first, second, kept = ids.values()
    assert ids_of(shop, "--sender", SENDER) == [second, first]
    assert ids_of(shop, "--recipient", BEN.upper()) == [kept, second]
    assert ids_of(shop, "--subject", "invoice") == [second, first]
    assert ids_of(shop, "--subject", "november INVOICE") == [first]
    assert ids_of(shop, "--server", "mx.example.test", "--recipient", ANNA) == [first]
    assert ids_of(shop, "--client", "198.51.100.7", "--domain", "EXAMPLE.test") == [kept, second, first]
    assert ids_of(shop, "--message-id", "<1@a.example>", "--recipient", BEN) == [second]
    assert ids_of(shop, "--sender", SENDER, "--recipient", ANNA, "--days", "1") == [second, first]
    assert ids_of(shop, "--sender", SENDER, "--from", "2001-01-01", "--to", "2001-12-31") == []
    assert ids_of(shop, "--days", "1") == [kept, second, first]


def test_what_somebody_types_without_saying_what_it_is_is_guessed(filled):
    shop, ids = filled
    first, second, kept = ids.values()
    assert ids_of(shop, BEN) == [kept, second]
    assert ids_of(shop, SENDER) == [second, first]
    assert ids_of(shop, "1@a.example") == [second, first]
    assert ids_of(shop, "<1@a.example>") == [second, first]
    assert ids_of(shop, "@bad.example") == [kept]
    assert ids_of(shop, "bad.example") == [kept]
    assert ids_of(shop, "example.test") == [kept, second, first]
    assert ids_of(shop, "198.51.100.7") == [kept, second, first]
    assert ids_of(shop, "you won") == [kept]
    assert ids_of(shop, ANNA, "--subject", "november") == [first]


def test_several_are_a_line_each_and_one_alone_is_told_whole(filled):
    shop, ids = filled
    listed = shop.run("trace", "--subject", "invoice").out
    assert "\x1b" not in listed
    assert f"gatepost trace {ids['first']}" in listed
    assert f"delivered    from {SENDER} to {ANNA}" in listed
    alone = shop.run("trace", "--subject", "november").out
    by_id = shop.run("trace", ids["first"]).out
    assert re.sub(r"received  +.* ago", "", alone) == re.sub(r"received  +.* ago", "", by_id)
    assert "│ 250" in alone
    both = shop.run("trace", "--subject", "invoice", "--full").out
    assert both.count("Z  received ") == 2
    events = shop.run("trace", "--subject", "invoice", "--full", "--json").json["messages"][1]["events"]
    assert [one["type"] for one in events] == ["received", "scanned", "queued", "delivered"]
    (found,) = shop.run("trace", "you won", "--json").json["messages"]
    assert (found["state"], found["verdict"], found["recipients"]) == ("quarantined", "virus", [BEN])
    assert (found["sender"], found["client"]) == ("evil@bad.example", "198.51.100.7")


def test_a_page_says_where_the_next_one_begins(filled):
    shop, ids = filled
    page = shop.run("trace", "--client", "198.51.100.7", "--limit", "2", "--json").json
    assert [one["id"] for one in page["messages"]] == [ids["kept"], ids["second"]]
    following = page["following"]
    assert f"--after {following}" in shop.run("trace", "--client", "198.51.100.7", "--limit", "2").out
    rest = shop.run("trace", "--client", "198.51.100.7", "--after", following, "--json").json
    assert ([one["id"] for one in rest["messages"]], rest["following"]) == ([ids["first"]], "")


def test_what_was_asked_for_wrongly_is_explained(filled):
    shop, _ = filled
    assert shop.run("trace").code == 3
    assert shop.run("trace", "--subject", "nowhere").code == 3
    assert shop.run("trace", "--recipient", "@example.test").code == 2
    assert shop.run("trace", "--sender", SENDER, "--after", "x").code == 2
    assert shop.run("trace", "@x.test", "--sender", SENDER).code == 2
    assert shop.run("trace", "--days", "-1").code == 2
    assert shop.run("trace", "--sender", SENDER, "--limit", "0").code == 2
    assert shop.run("trace", "--sender", SENDER, "--after", "0.99999999999999999999-0.0").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--subject", "*"], ["--subject", " "], ["--subject", " ".join(f"word{number}" for number in range(10_000))],
        ["--sender", "\udcff@x"], ["--message-id", "\ud800"], ["--client", "::1%eth0"], ["--server", ":" * 1000], ["%"], ["\x1b[31m"],
        ["--from", "0001-01-01"], ["--to", "9999-12-31"], ["--from", "9999-12-31T23:59:59+14:00"], ["--days", "100001"],
        ["--sender", "a@b.test", "--after", "0.9999999999999999999-9999999999999999999.9999999999999999999"],
        ["--domain", "..", "--limit", "99999999"], ["--recipient", "x" * 100_000],
    ],
)  # fmt: skip
def test_whatever_is_asked_for_is_answered_in_a_line_or_two(filled, words):
    shop, _ = filled
    done = shop.run("trace", *words)
    assert done.code in (0, 2, 3)
    assert "not foreseen" not in done.err
    assert len(done.err.splitlines()) <= 2
    assert "\x1b" not in done.out + done.err
