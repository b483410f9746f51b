"""What servers' answers mean, at the command line."""

from __future__ import annotations

import io
import re
import sys
import time

import msgspec
import pytest

from cli.main import main
from cli.replies import history
from pipeline import keys
from pipeline.diagnosis import read, tally
from pipeline.diagnosis.table import parse, shipped
from pipeline.directory import Domain
from pipeline.events import Attempt, Deferred, Delivered, Failed
from pipeline.ids import partition_for
from tests.cli.conftest import ANNA, BUSY, DOMAIN, SECOND, Done, Shop

HUCH = Attempt(
    server="mx.example.test:25", address="192.0.2.1", stage="rcpt", code=550, enhanced="5.0.0",
    reply="550-Huch \\x1b[31m 4Xyz1\n550 for anna@example.test", software="exim",
)  # fmt: skip
NOBODY = msgspec.structs.replace(HUCH, enhanced="5.1.1", reply="550 5.1.1 User unknown")
RULE = '\n[[rule]]\nname = "huch"\nclass = "server"\naction = "hold"\nphrases = ["huch"]\n'


@pytest.fixture
def changed(tmp_path) -> str:
    file = tmp_path / "mine.toml"
    file.write_text(shipped() + RULE)
    return str(file)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """A command that needs no store."""
    monkeypatch.setenv("GATEPOST_DATA", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Done:
        code = main(["replies", *words])
        return Done(code, *capsys.readouterr())

    return call


# explain, list, table


def test_a_reply_is_explained_with_class_action_rule_phrase_and_both_tips(run):
    out = run("explain", "550 5.7.1 <a@b.example>: Relaying denied").out
    for words in (
        "The server does not feel responsible for the domain (relay-denied)", "Nothing goes back", "action   hold",
        "rule     relaying-denied", "phrases  relaying denied", "said at  rcpt", "If you run the server: Add the domain",
        "If you rent it: Ask your provider",
    ):  # fmt: skip
        assert words in out, words
    found = run("explain", "550 5.7.1 Relaying denied", "--stage", "mail", "--json").json
    assert (found["class"], found["action"], found["rule"]) == ("relay-denied", "hold", "relaying-denied")
    assert (found["stage"], found["code"], found["enhanced"]) == ("mail", 550, "5.7.1")
    assert found["matched"] == [{"condition": "phrases", "value": "relaying denied"}]
    assert set(found["tips"]) == {"owner", "renter"}
    assert found["table_version"] == read().version


def test_it_is_explained_in_german_too(run):
    out = run("explain", "550 5.1.1 User unknown", "--language", "de").out
    assert "Diesen Empfänger gibt es nicht" in out
    assert "Wenn Sie den Server betreiben: " in out
    assert "Wenn Sie ihn mieten: " in out
    assert "geht an ihren Absender zurück" in out
    listed = run("list", "--language", "de").out
    assert "Das Postfach ist voll" in listed


def test_a_status_and_the_software_are_named_where_they_decide(run, tmp_path):
    found = run("explain", "550 5.7.54 No", "--json").json
    assert {"condition": "enhanced", "value": "5.7.54"} in found["matched"]
    own = tmp_path / "own.toml"
    own.write_text(shipped() + RULE.replace("phrases", 'software = ["exim"]\nphrases'))
    words = ("explain", "550 Huch", "--table", str(own))
    assert run(*words).out.splitlines()[0].endswith("(other)")
    by_name = run(*words, "--software", "exim", "--json").json
    by_greeting = run(*words, "--greeting", "220 mx.example.com ESMTP Exim 4.96 Tue", "--json").json
    assert by_name == by_greeting
    assert {"condition": "software", "value": "exim"} in by_name["matched"]
    assert "said by   exim, rcpt\n" in run(*words, "--software", "exim").out


def test_where_the_table_has_not_the_last_word_it_is_said(run):
    out = run("explain", "450 4.1.1 User unknown").out
    assert "action      retry\ntable says  fail, but only a 5xx returns a message\n" in out
    assert (
        "fail, but what is said before the message is about the server"
        in run("explain", "550 Huch", "--stage", "greeting").out
    )


def test_a_reply_of_several_lines_is_read_from_standard_input_also_as_failures_shows_it(run, monkeypatch):
    said = b"  \xe2\x94\x82 550-5.1.1 The email account\r\n  \xe2\x94\x82 550 5.1.1 does not exist\xff\x1b[2J\n\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said)))
    found = run("explain", "-", "--json").json
    assert (found["class"], found["code"], found["reply"]) == (
        "recipient", 550, "550-5.1.1 The email account\n550 5.1.1 does not exist\\xff\\x1b[2J",
    )  # fmt: skip


def test_what_happened_in_place_of_a_reply_is_explained_when_the_stage_is_named(run):
    assert "(network)" in run("explain", "Connection refused", "--stage", "connect").out
    found = run("explain", "mx.example.com has no address", "--stage", "route", "--json").json
    assert (found["code"], found["class"], found["action"]) == (0, "dns", "back off")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain", "Relaying denied"), "does not begin with a code"),
        (("explain", "550-one\ntwo"), "does not begin with a code"),
        (("explain", ""), "there is no reply"),
        (("explain", " \n "), "there is no reply"),
        (("explain", "250 2.0.0 ok"), "250 is no refusal"),
        (("explain", "550 x", "--stage", "rctp"), "there is no stage 'rctp'"),
        (("explain", "550 x", "--software", "exmi"), "no software 'exmi'"),
        (("explain", "550 x", "--software", "exim", "--greeting", "220 x"), "say the same thing"),
        (("explain", "550 x", "--language", "fr"), "no language 'fr'"),
        (("explain", "550 x", "--table", "none.toml"), "none.toml: No such file"),
        (("list", "--language", "fr"), "no language 'fr'"),
        (("backtest", "none.toml"), "none.toml: No such file"),
        (("unknown", "--table", "none.toml"), "none.toml: No such file"),
        (("backtest", "--domain", "a..b"), "a..b"),
    ],
)
def test_what_cannot_be_explained_is_one_line_and_what_to_do(run, words, said):
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err.splitlines()[0]
    assert len(done.err.splitlines()) <= 2


def test_all_classes_are_listed_with_actions_and_rules(run):
    table = read()
    out = run("list").out
    assert all(name in out for name in table.classes)
    assert all(f"    {rule.name}" in out for rule in table.rules)
    found = run("list", "--json").json
    assert (found["version"], [one["class"] for one in found["classes"]]) == (table.version, list(table.classes))
    assert sum(len(one["rules"]) for one in found["classes"]) == len(table.rules)
    assert all(set(one["title"]) == set(one["does"]) == {"en", "de"} for one in found["classes"])


def test_the_table_that_is_printed_is_the_one_that_is_used(run, tmp_path, monkeypatch):
    printed = run("table").out
    assert parse(printed, "printed") == read()
    own = tmp_path / "own.toml"
    own.write_text(printed + RULE)
    monkeypatch.setenv("GATEPOST_REPLIES_TABLE", str(own))
    assert run("explain", "550 Huch", "--json").json["rule"] == "huch"
    own.write_text("version = 1\n")
    monkeypatch.setenv("GATEPOST_REPLIES_TABLE", str(own) + "x")
    assert run("explain", "550 Huch").code == 2


def test_what_the_tips_tell_people_to_type_exists(capsys, monkeypatch):
    table = read()
    texts = [
        text
        for one in (*table.classes.values(), *table.rules)
        for text in msgspec.structs.astuple(one)
        if isinstance(text, str)
    ]
    typed = {
        tuple(found[1].split())
        for text in texts
        for found in re.finditer(r"\bgatepost ([a-z]+(?: [a-zA-Z:-]+)+)", text)
    }
    assert len(typed) >= 3, typed
    for words in typed:
        names = [word for word in words if word.isalpha() and word.islower()][:2]
        monkeypatch.setenv("COLUMNS", "200")
        assert main([*names, "--help"]) == 0, words
        said = capsys.readouterr().out
        assert all(word in said for word in words if word.startswith("--")), words
        assert said.startswith(f"Usage: gatepost {' '.join(names)}"), words


# backtest, unknown


def tried(shop: Shop) -> None:
    shop.add("anna")
    now = time.time_ns()
    for _ in range(3):
        shop.tried(shop.queued(), Deferred, msgspec.structs.replace(HUCH, code=450, reply="450 Huch"), next_try=now)
    shop.tried(shop.queued(), Failed, HUCH, reason="refused", bounce="1m84e0vay17zh0a2pptx07")
    shop.tried(shop.queued(), Failed, NOBODY, reason="refused", unsent="null sender")
    shop.tried(shop.queued(), Failed, HUCH, reason="expired", unsent="null sender")
    shop.tried(shop.queued(), Delivered, msgspec.structs.replace(HUCH, stage="dot", code=250, reply="250 ok"))
    shop.route_deferred()


def test_a_changed_table_is_run_over_what_was_recorded(shop: Shop, changed):
    tried(shop)
    out = shop.run("replies", "backtest", changed).out
    assert out.startswith("4 of 6 attempts would be decided otherwise:\n")
    for words in (
        "3  other, retry -> server, hold",
        "1  other, fail -> server, hold",
        "no rule -> huch",
        "│ 450 Huch",
        "1 more line",
    ):
        assert words in out, words
    assert "\x1b" not in out
    found = shop.run("replies", "backtest", changed, "--json").json
    assert (found["attempts"], found["otherwise"], found["left_off"], found["damaged"]) == (6, 4, 0, 0)
    assert [(one["count"], one["old"], one["new"]["class"]) for one in found["groups"]] == [
        (3, {"class": "other", "action": "retry", "rule": ""}, "server"),
        (1, {"class": "other", "action": "fail", "rule": ""}, "server"),
    ]
    assert found["groups"][1]["example"]["reply"] == HUCH.reply
    assert found["groups"][1]["domain"] == DOMAIN


def test_without_a_table_what_was_decided_is_counted_by_class(shop: Shop):
    tried(shop)
    found = shop.run("replies", "backtest", "--json").json
    assert {(one["old"]["class"], one["old"]["action"]): one["count"] for one in found["groups"]} == {
        ("other", "retry"): 3, ("other", "fail"): 1, ("recipient", "fail"): 1, ("network", "back off"): 1,
    }  # fmt: skip
    assert (found["otherwise"], found["groups"][0]["new"]) == (None, None)
    out = shop.run("replies", "backtest").out
    assert "recipient, fail" in out
    assert "Connection refused" in out


def test_a_table_that_changes_nothing_is_said_to(shop: Shop, tmp_path):
    same = tmp_path / "same.toml"
    same.write_text(shipped())
    tried(shop)
    assert (
        shop.run("replies", "backtest", str(same)).out == "All 6 attempts would be decided as by the table in force.\n"
    )
    assert (
        shop.run("replies", "backtest", str(same), "--domain", "other.test").out
        == "No attempt that failed is recorded there.\n"
    )


def test_domain_and_time_choose_what_is_asked_again(shop: Shop, changed):
    tried(shop)

    def attempts(*words: str) -> int:
        return shop.run("replies", "backtest", changed, "--json", *words).json["attempts"]

    assert attempts("--domain", DOMAIN.upper()) == 6
    assert attempts("--domain", "other.test") == 0
    assert attempts("--days", "1") == 6
    assert attempts("--from", "2020-01-01", "--to", "2020-12-31") == 0
    assert attempts("--to", "2020-12-31T13:00Z") == 0
    assert attempts("--from", "2020-01-01") == 6
    assert shop.run("replies", "backtest", "--from", "soon").code == 2


def test_a_log_of_many_pages_is_read_to_its_end(shop: Shop, changed, monkeypatch):
    monkeypatch.setattr(history, "PAGE", 2)
    tried(shop)
    found = shop.run("replies", "backtest", changed, "--json").json
    assert (found["attempts"], found["otherwise"]) == (6, 4)
    assert found["entries"] > 20


def test_an_entry_that_cannot_be_read_is_counted_and_passed_over(shop: Shop, changed):
    tried(shop)

    async def damage(wiring):
        log = keys.log(partition_for(DOMAIN, wiring.store.partitions))
        await wiring.store.redis.xadd(log, {"s": "x", "v": "1", "e": b"\xc1"})

    shop.do(damage)
    assert shop.run("replies", "backtest", changed, "--json").json["damaged"] == 1
    assert "1 entry of the log could not be read." in shop.run("replies", "unknown").out


def test_replies_that_no_rule_knows_are_listed_and_grow_a_rule(shop: Shop, changed):
    tried(shop)
    out = shop.run("replies", "unknown").out
    assert out.startswith("4 of 6 attempts ended with words that no rule knows:\n")
    for words in ("3 times  ", "1 time  ", "example.test, at rcpt, exim", "│ 550-Huch \\x1b[31m 4Xyz1", "│ 450 Huch"):
        assert words in out, words
    found = shop.run("replies", "unknown", "--json", "--domain", DOMAIN).json
    assert (found["attempts"], found["unknown"], found["left_off"]) == (6, 4, 0)
    assert [(one["count"], one["words"], one["code"]) for one in found["replies"]] == [
        (3, "huch", 450), (1, "huch \\# # for @", 550),
    ]  # fmt: skip
    assert found["replies"][1]["domains"] == [DOMAIN]
    assert shop.run("replies", "unknown", "--table", changed).out == "Every reply is known; there are 6 attempts.\n"


def test_what_is_left_off_is_said(shop: Shop, changed, monkeypatch):
    monkeypatch.setattr(tally, "MAX_GROUPS", 1)
    tried(shop)
    assert "of more groups than are kept apart are not shown" in shop.run("replies", "unknown").out
    assert "of more groups than are kept apart are not shown" in shop.run("replies", "backtest", changed).out


# failures and trace


def test_failures_say_what_each_answer_is_about_and_what_can_be_done(shop: Shop):
    tried(shop)
    shop.fold()
    out = shop.run("failures").out
    for words in (
        "These are the answers of the customer's own server", "    There is no such recipient (recipient)",
        "      If you run the server: Your server does not know the address", "The server cannot be reached (network)",
    ):  # fmt: skip
        assert words in out, words
    assert out.count("If you run the server: Look into your server's log at that time.") == 1, "each tip once"
    failed = shop.run("failures", "--json").json
    by_class = {one["attempt"]["diagnosis"]["class"]: one["attempt"]["diagnosis"] for one in failed["failures"]}
    assert by_class["recipient"]["action"] == "fail"
    assert by_class["recipient"]["tips"]["owner"].startswith("Your server does not know")
    assert {group["newest"]["attempt"]["diagnosis"]["class"] for group in failed["groups"]} == set(by_class)


def test_tips_are_in_the_language_of_the_domain_or_of_its_parent_unless_another_is_asked_for(shop: Shop):
    tried(shop)
    shop.fold()

    async def german(wiring):
        parent = Domain(name="parent.test", route=("mx.example.test:25",), language="de")
        await wiring.directory.set_domain(parent, by="test", now=1)
        child = msgspec.structs.replace(wiring.directory.domain(DOMAIN), parent="parent.test")
        await wiring.directory.set_domain(child, by="test", now=1)

    shop.do(german)
    assert "Diesen Empfänger gibt es nicht (recipient)" in shop.run("failures", DOMAIN).out
    assert "There is no such recipient" in shop.run("failures", DOMAIN, "--language", "en").out
    assert "Wenn Sie ihn mieten: " in shop.run("failures", DOMAIN, "--all").out
    assert shop.run("failures", "--json").json["failures"][0]["attempt"]["diagnosis"]["language"] == "de"
    assert shop.run("failures", "--language", "fr").code == 2


def test_a_trace_says_what_each_answer_is_about(shop: Shop):
    shop.add("anna")
    message_id = shop.queued()
    shop.deferred(message_id)
    shop.route_deferred()
    shop.tried(message_id, Failed, NOBODY, reason="refused", bounce="1m84e0vay17zh0a2pptx07")
    out = shop.run("trace", message_id).out
    lines = [line.strip() for line in out.splitlines()]
    assert lines.index("│ 550 5.1.1 User unknown") + 1 == lines.index("There is no such recipient (recipient)")
    assert "The server cannot be reached (network)" in lines
    assert any(line.startswith("If you rent it: ") for line in lines)
    events = shop.run("trace", message_id, "--json", "--language", "de").json["events"]
    abouts = {one["type"]: one for one in events}
    assert abouts["deferred"]["attempt"]["diagnosis"]["action"] == "retry"
    assert abouts["failed"]["attempt"]["diagnosis"]["title"] == "Diesen Empfänger gibt es nicht"
    assert abouts["route_deferred"]["attempts"][0]["diagnosis"]["class"] == "network"
    assert "diagnosis" not in abouts["queued"]


def test_a_message_that_waited_too_long_without_a_try_has_no_diagnosis(shop: Shop):
    shop.add("anna")
    message_id = shop.queued()
    shop.append(
        message_id,
        lambda common: Failed(
            **common, recipients=(ANNA,), sender="", size=1, tries=0, reason="expired", unsent="null sender"
        ),
    )
    shop.fold()
    assert shop.run("trace", message_id).code == 0
    assert "(network)" not in shop.run("failures").out
    assert "diagnosis" not in shop.run("failures", "--json").json["failures"][0]["attempt"]


def test_a_table_of_one_s_own_is_the_one_that_explains(shop: Shop, changed, monkeypatch):
    tried(shop)
    shop.fold()
    monkeypatch.setenv("GATEPOST_REPLIES_TABLE", changed)
    assert "The server is busy or has trouble of its own (server)" in shop.run("failures").out
    assert shop.run("replies", "unknown", "--json").json["unknown"] == 0


def test_a_busy_mailbox_is_no_reason_to_return_mail(shop: Shop):
    shop.add("anna")
    shop.tried(shop.queued(), Deferred, BUSY, next_try=time.time_ns() + SECOND)
    shop.fold()
    assert shop.run("failures", "--json").json["failures"][0]["attempt"]["diagnosis"]["action"] == "retry"
