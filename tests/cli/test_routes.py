"""Routes and how they are spoken to, at the command line; and our own addresses."""

from __future__ import annotations

import pytest
import trustme

from pipeline.egress import Egress
from tests.cli.conftest import Shop
from tests.support.dns import names_in_a_thread

ROUTE = "mx.example.test:25"


@pytest.fixture(autouse=True)
def _empty_dns(monkeypatch):
    with names_in_a_thread({}) as names:
        monkeypatch.setenv("GATEPOST_RESOLVER", f"127.0.0.1:{names.port}")
        monkeypatch.setenv("GATEPOST_HOSTNAME", "gateway.test")
        yield


def add(shop: Shop, *words: str) -> None:
    assert shop.run("domain", "add", "example.test", *words).code == 0


def test_servers_with_priorities_are_stored_in_one_form_and_shown_in_words(shop: Shop):
    add(shop, "--route", "10/3 A.example.test:25", "--route", "10 b.example.test:25", "--route", "20 MX:example.net:25")
    shown = shop.run("domain", "show", "example.test").out
    assert "a.example.test:25 (weight 3) or b.example.test:25, then mx:example.net" in " ".join(shown.split())
    route = shop.run("domain", "show", "example.test", "--json").json["route"]
    assert route == ["10/3 a.example.test:25", "10 b.example.test:25", "20 mx:example.net"]


def test_options_of_a_route_are_set_shown_and_taken_away(shop: Shop, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    add(shop, "--route", ROUTE)
    assert shop.run("domain", "show", "example.test", "--json").json["route_options"]["tls"] == "offered"
    words = ["--tls", "verified", "--ca-file", str(tmp_path / "ca.pem"), "--ehlo", "us.example.net", "--no-dane"]
    words += ["--auth-user", "relay", "--auth-secret-file", str(tmp_path / "password"), "--client", "xforward"]
    assert shop.run("domain", "set", "example.test", *words).code == 0
    assert shop.run("domain", "set", "example.test", "--timezone", "Europe/Berlin").code == 0
    options = shop.run("domain", "show", "example.test", "--json").json["route_options"]
    assert options == {
        "tls": "verified", "ca_file": str(tmp_path / "ca.pem"), "dane": False, "auth_user": "relay",
        "auth_secret_file": str(tmp_path / "password"), "auth_secret_env": "", "auth_in_clear": False, "ehlo": "us.example.net",
        "client": "xforward", "sources": [],
    }  # fmt: skip
    shown = shop.run("domain", "show", "example.test").out
    for word in (
        "always, with a certificate that",
        "relay, with the password in",
        "us.example.net",
        "XFORWARD",
        "TLSA",
    ):
        assert word in shown
    gone = ["--tls", "none", "--ca-file", "none", "--ehlo", "none", "--dane", "--auth-user", "none", "--client", "none"]
    assert shop.run("domain", "set", "example.test", *gone).code == 0
    assert shop.run("domain", "show", "example.test", "--json").json["route_options"]["tls"] == "offered"
    assert "encrypted" not in shop.run("domain", "show", "example.test").out


def test_the_history_says_which_options_changed_and_takes_them_back(shop: Shop):
    add(shop, "--route", ROUTE)
    words = ["--tls", "always", "--auth-user", "relay", "--auth-secret-file", "/etc/relay"]
    assert shop.run("domain", "set", "example.test", *words).code == 0
    told = shop.run("directory", "history").out
    assert "route's options: none -> tls always, auth_user relay, auth_secret_file /etc/relay" in told
    assert shop.run("domain", "set", "example.test", "--auth-secret-env", "RELAY").code == 0
    options = shop.run("domain", "show", "example.test", "--json").json["route_options"]
    assert (options["auth_secret_file"], options["auth_secret_env"]) == ("", "RELAY")
    assert shop.run("directory", "revert", "3", "--yes").code == 0
    assert (
        shop.run("domain", "show", "example.test", "--json").json["route_options"]["auth_secret_file"] == "/etc/relay"
    )


def test_options_that_stay_when_the_route_changes_are_named(shop: Shop):
    add(shop, "--route", ROUTE, "--auth-user", "relay", "--auth-secret-env", "SECRET")
    changed = shop.run("domain", "set", "example.test", "--route", "new.example.test:25").out
    assert "The options of its route stay: auth_user relay, auth_secret_env SECRET" in changed


def test_a_child_takes_the_options_together_with_the_route_and_never_alone(shop: Shop):
    add(shop, "--route", ROUTE, "--tls", "always", "--auth-user", "relay", "--auth-secret-env", "SECRET")
    assert shop.run("domain", "add", "a.example.test", "--parent", "example.test").code == 0
    effective = shop.run("domain", "show", "a.example.test", "--json").json["effective"]
    assert (effective["route"], effective["route_options"]["auth_user"]) == ([ROUTE], "relay")
    assert shop.run("domain", "set", "a.example.test", "--route", "own.example.test:25").code == 0
    effective = shop.run("domain", "show", "a.example.test", "--json").json["effective"]
    assert (effective["route_options"]["auth_user"], effective["route_options"]["tls"]) == ("", "offered")
    assert shop.run("domain", "set", "a.example.test", "--tls", "always").code == 0
    assert shop.run("domain", "set", "a.example.test", "--route", "none").code == 0
    own = shop.run("domain", "show", "a.example.test", "--json").json
    assert (own["route"], own["route_options"]["tls"], own["effective"]["route_options"]["auth_user"]) == (
        [],
        "offered",
        "relay",
    )
    refused = shop.run("domain", "set", "a.example.test", "--tls", "never")
    assert (refused.code, "--route" in refused.err) == (2, True)


NONSENSE = [
    (["--tls", "sometimes"], "never, offered, always, verified"),
    (["--client", "xclint"], "xclient, xforward"),
    (["--ca-file", "/etc/hostname", "--tls", "verified"], "not a PEM file"),
    (["--ca-file", "/nowhere/ca.pem", "--tls", "verified"], "/nowhere/ca.pem"),
    (["--auth-user", "relay"], "--auth-secret-file"),
    (["--auth-secret-env", "SECRET"], "--auth-user"),
    (["--auth-user", "relay", "--auth-secret-env", "S", "--auth-secret-file", "/x"], "two passwords"),
    (["--auth-user", "relay", "--auth-secret-env", "S T"], "no name of a variable"),
    (["--auth-user", "relay", "--auth-secret-env", "S", "--tls", "never"], "--auth-in-clear"),
    (["--ehlo", "a b"], "EHLO"),
    (["--auth-user", "relay", "--auth-secret-env", "S", "--client", "xclient"], "--client xforward"),
    (["--source", "192.0.2.1"], "source_addresses"),
    (["--route", "10 a.example.test:25", "--route", "b.example.test:25"], "some have none"),
    (["--route", "mx:192.0.2.1"], "has no MX"),
]


@pytest.mark.parametrize(("words", "said"), NONSENSE, ids=[" ".join(words) for words, _ in NONSENSE])
def test_nonsense_is_refused_with_what_to_do_and_nothing_changes(shop: Shop, words, said):
    add(shop, "--route", ROUTE)
    before = shop.run("domain", "show", "example.test", "--json").json
    refused = shop.run("domain", "set", "example.test", *words)
    assert refused.code == 2
    assert said in " ".join(refused.err.split())
    assert shop.run("domain", "show", "example.test", "--json").json == before


def test_a_file_of_authorities_that_counts_for_nothing_is_refused(shop: Shop, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    refused = shop.run("domain", "add", "example.test", "--route", ROUTE, "--ca-file", str(tmp_path / "ca.pem"))
    assert (refused.code, "--tls verified" in refused.err) == (2, True)


@pytest.fixture
def blocked(shop: Shop, monkeypatch) -> Shop:
    monkeypatch.setenv("GATEPOST_SOURCE_ADDRESSES", "127.0.0.2 one.example.net, 127.0.0.3")

    async def work(wiring):
        egress = Egress(wiring.store.redis, wiring.settings, wiring.clock)
        await egress.block("mx.example.test:25", "127.0.0.2", "550 5.7.1 \\x1b[31mlisted")
        await egress.block("other.example.test:25", "127.0.0.2", "421 too many")

    shop.do(work)
    return shop


def test_our_addresses_are_listed_with_where_they_are_blocked_and_until_when(blocked: Shop):
    listed = blocked.run("sources", "list")
    assert listed.code == 0
    for words in (
        "127.0.0.2",
        "one.example.net",
        "2 servers",
        "127.0.0.3",
        "gateway.test",
        "mx.example.test:25",
        "550 5.7.1",
    ):
        assert words in listed.out
    found = blocked.run("sources", "list", "--json").json
    assert found["sources"] == [
        {"address": "127.0.0.2", "ehlo": "one.example.net"}, {"address": "127.0.0.3", "ehlo": "gateway.test"},
    ]  # fmt: skip
    assert [block["server"] for block in found["blocks"]] == ["mx.example.test:25", "other.example.test:25"]


def test_a_block_is_forgiven_at_one_server_or_everywhere(blocked: Shop):
    assert blocked.run("sources", "forgive", "127.0.0.2", "--server", "MX.example.test:25").code == 0
    assert [b["server"] for b in blocked.run("sources", "list", "--json").json["blocks"]] == ["other.example.test:25"]
    assert blocked.run("sources", "forgive", "127.0.0.3").code == 3
    assert blocked.run("sources", "forgive").code == 2
    assert len(blocked.run("sources", "forgive", "--all", "--json").json["forgiven"]) == 1
    assert blocked.run("sources", "list", "--json").json["blocks"] == []


def test_without_source_addresses_the_list_says_who_chooses(shop: Shop):
    assert "the system chooses" in shop.run("sources", "list").out


def test_check_finds_addresses_that_are_not_here_and_routes_that_name_others(shop: Shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_SOURCE_ADDRESSES", "127.0.0.2")
    add(shop, "--route", ROUTE, "--source", "127.0.0.2")
    monkeypatch.setenv("GATEPOST_SOURCE_ADDRESSES", "127.0.0.3")
    assert "none of its source addresses" in " ".join(shop.run("check").out.split())
    monkeypatch.setenv("GATEPOST_SOURCE_ADDRESSES", "192.0.2.1")
    assert "192.0.2.1 cannot be used here" in " ".join(shop.run("check").out.split())
