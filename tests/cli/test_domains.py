"""Domains and addresses at the command line: what is proposed, shown before it is done, and taken back."""

from __future__ import annotations

import io
import os
import pty
import sys

import pytest

from pipeline import gateways
from pipeline.directory import Address, Kind
from tests.cli.conftest import DOMAIN, SECOND, Shop
from tests.support.dns import names_in_a_thread

ROUTE = "mx.example.test:25"
RECORDS = {
    ("example.test", "MX"): ["20 backup.example.test.", "10 mail.example.test."],
    ("mail.example.test", "A"): ["192.0.2.1"],
    ("backup.example.test", "A"): ["192.0.2.2"],
    ("here.test", "MX"): ["10 gateway.test."],
    ("gateway.test", "A"): ["9.9.9.99"],
    ("half.test", "MX"): ["10 gateway.test.", "20 alias.gateway.test.", "30 mail.example.test."],
    ("alias.gateway.test", "A"): ["9.9.9.99"],
    ("null.test", "MX"): ["0 ."],
}


@pytest.fixture
def dns(monkeypatch):
    with names_in_a_thread(RECORDS) as names:
        monkeypatch.setenv("GATEPOST_RESOLVER", f"127.0.0.1:{names.port}")
        monkeypatch.setenv("GATEPOST_HOSTNAME", "gateway.test")
        yield names


@pytest.fixture
def answer(monkeypatch):
    """A terminal on which somebody types."""
    opened = []

    def typed(text: str) -> None:
        ours, theirs = pty.openpty()
        os.write(ours, text.encode())
        stdin = os.fdopen(theirs)
        opened.append((ours, stdin))
        monkeypatch.setattr(sys, "stdin", stdin)

    yield typed
    for ours, stdin in opened:
        stdin.close()
        os.close(ours)


# Adding


def test_the_present_mx_is_proposed_as_the_route_and_kept_on_record(shop: Shop, dns, answer):
    answer("y\n")
    added = shop.run("domain", "add", "example.test")
    assert added.code == 0
    assert (
        "The MX of example.test is 10 mail.example.test, 20 backup.example.test. Forward its mail there?" in added.err
    )
    assert added.out.splitlines()[0] == (
        "example.test added: mail goes to mail.example.test:25, then backup.example.test:25"
    )
    shown = shop.run("domain", "show", "example.test", "--json").json
    assert shown["former_mx"] == ["10 mail.example.test", "20 backup.example.test"]
    removed = shop.run("domain", "remove", "example.test", "--yes")
    assert "Its MX before it came here: 10 mail.example.test, 20 backup.example.test" in removed.out


def test_a_proposal_can_be_declined_and_where_nobody_can_be_asked_it_has_to_be_taken_with_yes(
    shop, dns, answer, monkeypatch
):
    answer("n\n")
    assert shop.run("domain", "add", "example.test").code == 1
    assert shop.run("domain", "list", "--json").json["domains"] == []
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refused = shop.run("domain", "add", "example.test")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    assert shop.run("domain", "add", "example.test", "--yes", "--json").json["route"][0] == "mail.example.test:25"


def test_the_mx_is_kept_on_record_also_when_the_route_was_said(shop: Shop, dns):
    added = shop.run("domain", "add", "example.test", "--route", "inside.example.test:2525", "--json").json
    assert added["route"] == ["inside.example.test:2525"]
    assert added["former_mx"] == ["10 mail.example.test", "20 backup.example.test"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("here.test", "the MX of here.test points here already"),
        ("null.test", "null.test says that it accepts no mail"),
        ("mail.example.test", "mail.example.test has no MX"),
        ("nobody.test", "the name nobody.test does not exist"),
    ],
)
def test_without_an_mx_to_propose_the_route_has_to_be_said(shop: Shop, dns, name, words):
    refused = shop.run("domain", "add", name, "--yes")
    assert refused.code == 2
    assert words in refused.err
    assert "--route HOST:PORT" in refused.err


def test_of_an_mx_that_leads_here_in_part_the_rest_is_proposed(shop: Shop, dns):
    assert shop.run("domain", "add", "half.test", "--yes", "--json").json["route"] == ["mail.example.test:25"]


@pytest.mark.parametrize("route", ["gateway.test:25", "GATEWAY.test:2525", "alias.gateway.test:25", "9.9.9.99:25"])
@pytest.mark.parametrize("verb", ["add", "set"])
def test_a_route_that_points_back_here_is_refused(shop: Shop, dns, route, verb):
    if verb == "set":
        shop.add()
    refused = shop.run("domain", verb, DOMAIN, "--route", "mail.example.test:25", "--route", route)
    assert refused.code == 4
    assert "round in circles" in refused.err


def test_a_route_to_the_port_on_which_a_receiver_listens_on_this_machine_is_refused(shop: Shop, dns, monkeypatch):
    monkeypatch.setenv("GATEPOST_ALLOW_NETWORKS", "127.0.0.0/8")

    async def listens(wiring):
        await gateways.register(wiring.store.redis, "other.name.test", 26025, wiring.clock())
        await gateways.register(wiring.store.redis, "gone.name.test", 26026, wiring.clock() - gateways.FORGOTTEN - 1)

    shop.do(listens)
    refused = shop.run("domain", "add", DOMAIN, "--route", "127.0.0.1:26025")
    assert refused.code == 4
    assert "127.0.0.1:26025 leads to 127.0.0.1, where this gateway listens" in refused.err
    assert shop.run("domain", "add", DOMAIN, "--route", "127.0.0.1:26026").code == 0


def test_an_alias_and_a_child_need_no_route(shop: Shop):
    shop.add("anna")
    alias = shop.run("domain", "add", "alias.test", "--alias-of", DOMAIN)
    assert alias.out == "alias.test added: its mail is mail for example.test\n"
    child = shop.run("domain", "add", "shop.example.test", "--parent", DOMAIN)
    assert child.out.splitlines()[0] == "shop.example.test added: mail goes to mx.example.test:25"
    rows = [line.split() for line in shop.run("domain", "list").out.splitlines()[:4]]
    assert rows[1:] == [
        ["alias.test", "alias", "of", "example.test"],
        ["example.test", "1", ROUTE],
        ["shop.example.test", "0", ROUTE],
    ]
    assert shop.run("domain", "show", "alias.test", "--json").json["effective"]["addresses"] == 1
    assert shop.run("domain", "remove", DOMAIN, "--yes").code == 4
    for_alias = shop.run("address", "add", "ben@alias.test")
    assert (for_alias.code, "alias.test is an alias of example.test" in for_alias.err) == (4, True)
    found = shop.run("check").out
    assert "shop.example.test has no address" in found
    assert "alias.test has no address" not in found


# Changing


def test_what_is_not_mentioned_stays_and_none_takes_a_value_away(shop: Shop):
    shop.add("anna")
    shop.run(
        "domain", "set", DOMAIN, "--timezone", "Europe/Berlin", "--language", "de", "--max-size", "20MiB",
        "--max-recipients", "50", "--retry-interval", "5m", "--queue-lifetime", "3d", "--contact", "a@example.test", "--contact-outside", "b@elsewhere.test",
        "--delimiter", "+", "--greylist", "--smtputf8", "yes",
    )  # fmt: skip
    one = shop.run("domain", "show", DOMAIN, "--json").json
    assert {key: one[key] for key in ("timezone", "language", "max_message_size", "max_recipients", "smtputf8")} == {
        "timezone": "Europe/Berlin", "language": "de", "max_message_size": 20 << 20, "max_recipients": 50, "smtputf8": "yes",
    }  # fmt: skip
    shown = shop.run("domain", "show", DOMAIN).out
    for words in (
        "and + with a detail",
        "largest message  20 MiB",
        "50 of a message",
        "after 5 min",
        "waited 3 d",
        "suspicious clients",
        "b@elsewhere",
    ):
        assert words in shown
    assert (one["retry_interval"], one["queue_lifetime"]) == (300, 3 * 86400)
    shop.run(
        "domain",
        "set",
        DOMAIN,
        "--timezone",
        "none",
        "--retry-interval",
        "none",
        "--max-size",
        "0",
        "--no-greylist",
        "--smtputf8",
        "auto",
    )
    one = shop.run("domain", "show", DOMAIN, "--json").json
    assert (one["timezone"], one["max_message_size"], one["greylist"], one["smtputf8"]) == ("", 0, False, "auto")
    assert (one["retry_interval"], one["queue_lifetime"]) == (0, 3 * 86400)
    assert "expected a time" in shop.run("domain", "set", DOMAIN, "--queue-lifetime", "soon").err
    assert (one["language"], one["contact"], one["route"]) == ("de", "a@example.test", [ROUTE])
    assert "is so already" in shop.run("domain", "set", DOMAIN, "--language", "de").out


def test_names_are_protected_and_set_free_again(shop: Shop):
    shop.add()
    shop.run("domain", "set", DOMAIN, "--protect-name", "Thomas Müller", "--protect-name", "Anna Schmidt")
    assert shop.run("domain", "show", DOMAIN, "--json").json["protected_names"] == ["Thomas Müller", "Anna Schmidt"]
    assert "Thomas Müller, Anna Schmidt" in shop.run("domain", "show", DOMAIN).out
    assert "first and the last name" in shop.run("domain", "set", DOMAIN, "--protect-name", "Thomas").err
    shop.run("domain", "set", DOMAIN, "--protect-name", "none")
    assert shop.run("domain", "show", DOMAIN, "--json").json["protected_names"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--timezone", "Mars/Olympus"), "no time zone"),
        (("--max-size", "huge"), "expected a size"),
        (("--language", "fr"), "no language"),
        (("--delimiter", "@"), "cannot separate"),
        (("--contact-outside", f"me@{DOMAIN}"), "is inside"),
        (("--route", "none"), "has no route"),
        (("--alias-of", "nobody.test"), "no domain nobody.test"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_nothing_changes(shop: Shop, words, said):
    shop.add()
    before = shop.run("domain", "show", DOMAIN, "--json").out
    refused = shop.run("domain", "set", DOMAIN, *words)
    assert refused.code in (2, 4)
    assert said in refused.err
    assert shop.run("domain", "show", DOMAIN, "--json").out == before


def test_a_parents_new_route_moves_its_childrens_waiting_mail_too(shop: Shop):
    shop.add("anna")
    shop.run("domain", "add", "shop.example.test", "--parent", DOMAIN)
    shop.run("address", "add", "anna@shop.example.test")
    shop.deferred(shop.queued())
    shop.receive("anna@shop.example.test")
    changed = shop.run("domain", "set", DOMAIN, "--route", "new.example.test:25")
    assert "1 waiting messages take the new route now" in changed.out
    assert shop.run("domain", "show", "shop.example.test", "--json").json["effective"]["route"] == [
        "new.example.test:25"
    ]


def test_a_domain_is_held_shown_so_everywhere_and_resumed(shop: Shop):
    shop.add("anna")
    shop.queued()
    assert "is held" in shop.run("domain", "hold", DOMAIN, "--reason", "their \x1b server moves").out
    assert shop.run("domain", "hold", DOMAIN, "--reason", "again").code == 4
    for words in (("domain", "show", DOMAIN), ("domain", "list"), ("check",), ("directory", "history")):
        out = shop.run(*words).out
        assert "their \\x1b server moves" in out, words
        assert "\x1b" not in out
    assert [one["domain"] for one in shop.run("domain", "list", "--held", "--json").json["domains"]] == [DOMAIN]
    resumed = shop.run("domain", "resume", DOMAIN)
    assert "flows again" in resumed.out
    assert "1 message to be forwarded now" in resumed.out
    assert shop.run("domain", "resume", DOMAIN).code == 4


def test_a_domain_moves_under_another_parent_and_back_to_the_top(shop: Shop):
    shop.add()
    shop.add(domain="other.test", route="mx.other.test:25")
    shop.run("domain", "add", "child.test", "--parent", DOMAIN)
    moved = shop.run("domain", "move", "child.test", "--under", "other.test")
    assert moved.out == "child.test is under other.test now; it was under example.test\n"
    assert shop.run("domain", "show", "child.test", "--json").json["effective"]["route"] == ["mx.other.test:25"]
    circle = shop.run("domain", "move", "other.test", "--under", "child.test")
    assert (circle.code, "above itself" in circle.err) == (4, True)
    no_route = shop.run("domain", "move", "child.test", "--top")
    assert (no_route.code, "has no route" in no_route.err) == (2, True)
    shop.run("domain", "set", "child.test", "--route", "mx.child.test:25")
    assert shop.run("domain", "move", "child.test", "--top").code == 0


def test_a_merger_is_shown_before_it_is_done_and_taken_back_as_one(shop: Shop):
    shop.add("anna", "ben", "cleo")
    shop.add("anna", "ben", "dora", domain="old.test", route="mx.old.test:25")
    shop.run("address", "add", "ben@old.test", "--kind", "group")
    shop.run("domain", "add", "older.test", "--alias-of", "old.test")
    shop.run("domain", "add", "sub.old.test", "--parent", "old.test")
    shop.run("domain", "set", "old.test", "--catch-all")
    before = shop.run("domain", "list", "--json").json, shop.run("address", "list", DOMAIN, "--json").json

    preview = shop.run("domain", "merge", "old.test", DOMAIN, "--preview")
    for words in ("added there   dora@example.test", "in both       1 address", "ben (group, there mailbox)", "older.test", "sub.old.test", "every address"):  # fmt: skip
        assert words in preview.out, words
    assert (shop.run("domain", "list", "--json").json, shop.run("address", "list", DOMAIN, "--json").json) == before

    merged = shop.run("domain", "merge", "old.test", DOMAIN, "--yes")
    assert "old.test is an alias of example.test now; 1 address went there" in merged.out
    listed = {
        one["domain"]: (one["alias_of"], one["parent"]) for one in shop.run("domain", "list", "--json").json["domains"]
    }
    assert listed == {
        DOMAIN: ("", ""),
        "old.test": (DOMAIN, ""),
        "older.test": (DOMAIN, ""),
        "sub.old.test": ("", DOMAIN),
    }
    assert shop.run("address", "show", "dora@older.test").out.startswith("dora@older.test  accepted\n")

    number = shop.run("directory", "history", "--limit", "1", "--json").json["changes"][0]["change"]
    assert shop.run("directory", "revert", str(number), "--yes").code == 0
    assert (shop.run("domain", "list", "--json").json, shop.run("address", "list", DOMAIN, "--json").json) == before


@pytest.mark.parametrize(
    "pair", [("example.test", "example.test"), ("alias.test", "example.test"), ("example.test", "nobody.test")]
)
def test_what_cannot_be_merged(shop: Shop, pair):
    shop.add()
    shop.run("domain", "add", "alias.test", "--alias-of", DOMAIN)
    assert shop.run("domain", "merge", *pair, "--yes").code in (3, 4)


# Looking


def test_the_list_shows_what_matches_and_children_below_their_parent(shop: Shop):
    for name in ("b.test", "a.test"):
        shop.add(domain=name)
    for name, parent in (("z.test", "a.test"), ("y.test", "z.test"), ("x.test", "b.test")):
        shop.run("domain", "add", name, "--parent", parent)
    out = shop.run("domain", "list").out.splitlines()
    assert [line.partition("test")[0] for line in out[1:6]] == ["a.", "  z.", "    y.", "b.", "  x."]
    assert [one["domain"] for one in shop.run("domain", "list", "--under", "a.test", "--json").json["domains"]] == [
        "z.test", "y.test"
    ]  # fmt: skip
    assert "2 domains of 5" in shop.run("domain", "list", "[ab].*").out
    assert [one["domain"] for one in shop.run("domain", "list", "z", "--json").json["domains"]] == ["z.test"]


def test_kinds_and_targets_of_addresses_are_kept_shown_and_chosen_by(shop: Shop):
    shop.add("anna")
    assert shop.run("address", "add", "a.smith@example.test", "--kind", "alias", "--target", f"anna@{DOMAIN}").code == 0
    assert shop.run("address", "add", "all@example.test", "--kind", "group").code == 0
    one = shop.run("address", "list", DOMAIN, "--kind", "alias", "--json").json
    assert one["rows"] == [
        {"address": "a.smith@example.test", "kind": "alias", "targets": ["anna@example.test"], "source": "", "ends_at": None}
    ]  # fmt: skip
    assert ["a.smith@example.test", "alias", "anna@example.test", "hand"] in [
        line.split() for line in shop.run("address", "list", DOMAIN, "--long").out.splitlines()
    ]
    assert shop.run("address", "list", DOMAIN, "a*").out.splitlines() == [
        "a.smith@example.test", "all@example.test", "anna@example.test", "", "3 addresses"
    ]  # fmt: skip
    assert shop.run("address", "list", DOMAIN, "smith").out.splitlines()[0] == "a.smith@example.test"
    assert shop.run("address", "add", "all@example.test", "--kind", "mailbox").out == "1 address added or changed\n"
    assert shop.run("address", "add", "all@example.test", "--target", f"anna@{DOMAIN}").code == 2


def test_an_address_is_shown_with_why_it_is_accepted(shop: Shop):
    shop.add("anna")
    shop.run("domain", "add", "alias.test", "--alias-of", DOMAIN)

    async def leaving(wiring):
        gone = Address(local="gone", kind=Kind.MAILBOX, source="office", gone=wiring.clock() - SECOND)
        soon = Address(local="soon", source="office", gone=wiring.clock() + 3600 * SECOND)
        await wiring.directory.set_addresses({DOMAIN: [gone, soon]}, by="test", now=wiring.clock())

    shop.do(leaving)
    shop.run("domain", "set", DOMAIN, "--delimiter", "+")
    for address, code, why in (
        ("Anna@example.test", 0, "it is listed"),
        (
            "anna+x@alias.test",
            0,
            "anna is listed, and + begins a detail at example.test, of which alias.test is an alias",
        ),
        ("nobody@example.test", 1, "it is not listed"),
        ("gone@example.test", 1, "it is not listed"),
        ("soon@example.test", 0, "it is listed"),
        ("POSTMASTER@alias.test", 0, "the postmaster always is"),
        ("anna@other.test", 1, "other.test is not a domain"),
    ):
        shown = shop.run("address", "show", address)
        assert (shown.code, why in shown.out) == (code, True), (address, shown.out)
    assert shop.run("address", "list", DOMAIN, "--leaving").out.startswith("gone@example.test\nsoon@example.test\n")
    assert shop.run("address", "list", DOMAIN, "--source", "hand").out.startswith("anna@example.test\n\n1 address")
    shop.run("domain", "set", DOMAIN, "--catch-all")
    assert shop.run("address", "show", "nobody@example.test", "--json").json["accepted"] is True


# History


def test_the_history_says_who_changed_what_with_before_and_after(shop: Shop):
    shop.run("domain", "add", DOMAIN, "--route", ROUTE)
    shop.run("address", "add", f"anna@{DOMAIN}", f"ben@{DOMAIN}")
    shop.run("domain", "set", DOMAIN, "--route", "new.example.test:25", "--catch-all")
    shop.run("address", "remove", f"ben@{DOMAIN}")
    shown = shop.run("directory", "history").out
    for words in (
        "domain example.test added", "addresses: 2 added to example.test", "route: mx.example.test:25 -> new.example.test:25",
        "catch-all: no -> yes", "1 address removed from example.test", "cli:",
    ):  # fmt: skip
        assert words in shown, words
    changes = shop.run("directory", "history", "--json").json["changes"]
    assert [change["change"] for change in changes] == [4, 3, 2, 1]
    assert changes[1]["events"][0]["after"]["route"] == ["new.example.test:25"]
    assert shop.run("directory", "history", "--limit", "2", "--json").json["more"] is True
    assert "older ones: --before 3" in shop.run("directory", "history", "--limit", "2").out
    assert shop.run("directory", "history", "--domain", "other.test").out == "Nothing was changed.\n"
    assert shop.run("directory", "show", "3").out.startswith("     3  ")
    assert shop.run("directory", "show", "9").code == 3


def test_a_change_of_thousands_of_addresses_is_one_line(shop: Shop):
    shop.add(*(f"user{number}" for number in range(2500)))
    shown = shop.run("directory", "show", "2").out.splitlines()
    assert shown[0].endswith("addresses: 2,500 added to example.test")
    assert shown[1].strip() == "user0, user1, user2, user3, user4 and 2,495 more"
    assert len(shown) == 2


def test_a_change_is_taken_back_once_and_not_when_it_was_changed_again(shop: Shop):
    shop.add("anna")
    shop.deferred(shop.queued())
    shop.run("domain", "set", DOMAIN, "--route", "wrong.example.test:25")
    reverted = shop.run("directory", "revert", "3", "--yes")
    assert "change 3 is taken back" in reverted.out
    assert "1 waiting message can be forwarded now" in reverted.out
    again = shop.run("directory", "revert", "3", "--yes")
    assert (again.code, "changed again since" in again.err) == (4, True)
    assert "takes back change 3" in shop.run("directory", "history", "--limit", "1").out


def test_a_list_of_a_hundred_thousand_addresses_is_whole(shop: Shop):
    shop.add()
    shop.add(*(f"user{number:06}" for number in range(100_000)))
    lines = shop.run("address", "list", DOMAIN).out.splitlines()
    assert len(lines) == 100_002
    assert (lines[0], lines[-1]) == ("user000000@example.test", "100,000 addresses")


def test_trusted_relays_are_taken_from_the_parent_until_a_domain_has_its_own(shop: Shop):
    shop.run(
        "domain",
        "add",
        "example.test",
        "--route",
        ROUTE,
        "--trusted-relay",
        "192.0.2.1",
        "--trusted-relay",
        "2001:db8::/48",
    )
    shop.run("domain", "add", "a.example.test", "--parent", "example.test")
    shown = shop.run("domain", "show", "a.example.test", "--json").json
    assert (shown["trusted_relays"], shown["effective"]["trusted_relays"]) == ([], ["192.0.2.1", "2001:db8::/48"])
    assert "192.0.2.1, 2001:db8::/48" in shop.run("domain", "show", "a.example.test").out
    shop.run("domain", "set", "example.test", "--trusted-relay", "none")
    assert shop.run("domain", "show", "a.example.test", "--json").json["effective"]["trusted_relays"] == []
    refused = shop.run("domain", "set", "example.test", "--trusted-relay", "relay.example")
    assert (refused.code, "an address or a network" in refused.err) == (2, True)
