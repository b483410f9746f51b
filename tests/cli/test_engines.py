"""`gatepost engines`, and what other commands say of engines."""

from __future__ import annotations

import pytest

from pipeline.scanning.engines.board import Board
from pipeline.scanning.engines.health import AFTER, Health
from tests.cli.conftest import DOMAIN
from tests.support.servers import free_port

GOOD = {"messages": 10, "times": (1000,) * 10}


@pytest.fixture
def reported(shop):
    """Writes down what scanners say of their engines."""

    def write(*healths: Health, process: str = "one") -> None:
        async def work(wiring):
            now = wiring.clock()
            seen = tuple(
                Health(**{**{name: getattr(one, name) for name in one.__struct_fields__}, "heard_at": now})
                for one in healths
            )
            await Board(wiring.store).report(process, seen, now)

        shop.do(work)

    return write


def test_engines_are_shown_with_their_times_and_errors(shop, reported):
    reported(Health(name="builtin", version="1", **GOOD), Health(name="clamav", version="1.4.6", **GOOD))
    reported(Health(name="builtin", version="1", messages=5), process="two")
    done = shop.run("engines")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[1] == ["builtin", "1", "ok", "1.0", "ms", "1.0", "ms", "15", "0", "2"]
    assert [line[0] for line in lines[2:4]] == ["people", "classifier"]
    assert lines[4] == ["clamav", "1.4.6", "ok", "1.0", "ms", "1.0", "ms", "10", "0", "1"]


def test_one_that_is_away_makes_exit_code_1_and_its_last_error_is_cleaned(shop, reported):
    away = Health(name="clamav", failing=AFTER, errors=AFTER, since=1, last_error="no\x1b[2J", last_error_at=1)
    reported(away)
    done = shop.run("engines")
    assert done.code == 1
    assert "away for" in done.out
    assert "no\\x1b[2J" in done.out
    form = shop.run("engines", "--json").json
    states = {one["name"]: one["state"] for one in form["engines"]}
    assert (form["ok"], states["clamav"], states["builtin"]) == (False, "away", "unknown")


def test_without_a_scanner_nothing_is_known_of_those_in_the_settings(shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_RSPAMD", "127.0.0.1:11333")
    form = shop.run("engines", "--json").json
    assert [(one["name"], one["state"], one["address"]) for one in form["engines"]] == [
        ("builtin", "unknown", ""),
        ("people", "unknown", ""),
        ("classifier", "unknown", ""),
        ("rspamd", "unknown", "127.0.0.1:11333"),
    ]


def test_a_test_of_an_engine_that_is_not_there_fails_and_says_so(shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_CLAMAV", f"127.0.0.1:{free_port()}")
    done = shop.run("engines", "--test", "--json")
    assert done.code == 1
    trials = {(one["engine"], one["message"]): one for one in done.json["trials"]}
    assert trials["builtin", "EICAR"]["passed"]
    assert not trials["clamav", "harmless"]["passed"]
    assert trials["clamav", "EICAR"]["said"].startswith("cannot be reached")


def test_check_says_which_engine_does_not_answer_and_which_deadline_is_never_reached(shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_SPAMASSASSIN", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("GATEPOST_SPAMASSASSIN_DEADLINE", "9s")
    found = [one for one in shop.run("check", "--json").json["findings"] if one["about"] == "engines"]
    assert [one["weight"] for one in found] == ["warning", "warning"]
    assert found[0]["found"].startswith("spamassassin cannot be reached")
    assert "scan_budget ends all engines after 2s" in found[1]["found"]


def test_a_password_file_that_cannot_be_read_is_told_by_check(shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_RSPAMD", "127.0.0.1:11333")
    monkeypatch.setenv("GATEPOST_RSPAMD_PASSWORD_FILE", "/nonexistent/password")
    (found,) = [one for one in shop.run("check", "--json").json["findings"] if one["about"] == "engines"]
    assert found["weight"] == "fatal"
    assert "/nonexistent/password" in found["found"]


def test_a_domain_says_what_happens_when_an_engine_is_away_and_takes_it_back(shop):
    shop.add("anna")
    shop.run("domain", "set", DOMAIN, "--engines-missing", "wait")
    assert "mail waits for it" in shop.run("domain", "show", DOMAIN).out
    assert shop.run("domain", "show", DOMAIN, "--json").json["engines_missing"] == "wait"
    assert "engine missing: none -> wait" in shop.run("directory", "history").out
    assert shop.run("domain", "set", DOMAIN, "--engines-missing", "perhaps").code == 2
    shop.run("domain", "set", DOMAIN, "--engines-missing", "default")
    assert shop.run("domain", "show", DOMAIN, "--json").json["engines_missing"] == "default"
