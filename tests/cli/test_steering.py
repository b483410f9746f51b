"""`gatepost queue hold`, `resume`, `bounce`, `delete`, `undo`, `redirect` as they are typed: what is said, and what is recorded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.steering.asked import until_of
from pipeline import keys
from pipeline.events import Held, Queued, Redirected, Resumed, Retried, RouteDeferred, Scanned, ServerHeld
from pipeline.faults import ConfigurationError
from pipeline.ids import partition_for, partition_of
from pipeline.log import decode_entry
from tests.cli.conftest import ANNA, DOMAIN, Shop
from workers.steering import Steering
from workers.steward import Steward
from workers.wiring import Wiring

WHY = ("--reason", "a reason")
ROOT = Path(__file__).parents[2]


def events(shop: Shop, message_id: str):
    async def work(wiring):
        return [one.event async for one in wiring.log.history(message_id) if one.subject == message_id]

    return shop.do(work)


def head(shop: Shop, message_id: str):
    async def work(wiring):
        return (await wiring.schedule.heads(partition_of(message_id), [message_id]))[0]

    return shop.do(work)


def carry_out(shop: Shop, after: float = 601):
    """What the janitor does, some time later."""

    async def work(wiring):
        wiring.clock = lambda: time.time_ns() + int(after * 1e9)
        return await Steward(wiring).end_holds() + await Steward(wiring).end_directory_holds()

    return shop.do(work)


@pytest.fixture
def filled(shop: Shop) -> Shop:
    shop.add("anna", "ben")
    return shop


def test_a_message_is_held_shown_and_resumed(filled: Shop):
    message_id, other = filled.queued(), filled.queued()
    done = filled.run("queue", "hold", message_id, "--reason", "wrong \x1b[31mattachment", "--until", "2h")
    assert (done.code, done.out[:21]) == (0, "1 message held until ")
    held = events(filled, message_id)[-1]
    assert isinstance(held, Held)
    assert held.by.startswith("cli:")
    assert abs(held.until - time.time_ns() - 7200 * 10**9) < 60 * 10**9
    filled.fold()
    listed = filled.run("queue", "list").out
    assert "wrong \\x1b[31mattachment" in listed.replace("\n", " ") or "attachment" in listed
    assert "\x1b" not in listed
    assert "1 message held or about to end" in filled.run("queue").out
    rows = {one["id"]: one for one in filled.run("queue", "list", "--json").json["messages"]}
    assert (rows[message_id]["state"], rows[message_id]["hold"]["then"]) == ("held", "resume")
    assert (rows[other]["state"], rows[other]["hold"]) == ("queued", None)
    (domain,) = filled.run("queue", "--json").json["domains"]
    assert (domain["messages"], domain["held"], domain["state"]) == (2, 1, "open")
    assert "held" in filled.run("trace", message_id).out
    assert filled.run("books").code == 0

    again = filled.run("queue", "hold", message_id, "--reason", "another", "--json").json
    assert (again["done"], again["already"]) == (1, 0)
    assert filled.run("queue", "hold", message_id, "--reason", "another", "--json").json["already"] == 1
    assert filled.run("queue", "resume", message_id).out == "1 message may leave now\n"
    assert filled.run("queue", "resume", message_id).out == "1 message not held\n"
    assert isinstance(events(filled, message_id)[-1], Resumed)
    assert filled.run("queue", "retry", message_id).code == 0


def test_a_hold_with_an_end_ends_by_itself(filled: Shop):
    message_id = filled.queued()
    filled.run("queue", "hold", message_id, *WHY, "--until", "1h")
    assert carry_out(filled, 3000) == 0
    assert carry_out(filled, 3700) == 1
    assert head(filled, message_id).hold is None


@pytest.mark.parametrize(("then", "last"), [("bounce", "Failed"), ("delete", "Discarded")])
def test_an_end_is_planned_can_be_taken_back_and_comes_when_it_was_not(filled: Shop, then, last):
    message_id = filled.queued()
    planned = filled.run("queue", then, message_id, *WHY, "--yes")
    action = re.search(r"undo ([0-9a-z]{22})", planned.out)[1]
    assert planned.code == 0
    assert "was to be so already" in filled.run("queue", then, message_id, *WHY, "--yes").out
    listed = filled.run("queue", "undo", "--list", "--json").json["actions"]
    assert [(one["action"], one["then"], one["messages"], one["reason"]) for one in listed] == [
        (action, then, 1, "a reason")
    ]
    assert carry_out(filled, 500) == 0
    assert "taken back" in filled.run("queue", "undo", action).out
    assert carry_out(filled) == 0
    assert head(filled, message_id).stage == "queued"
    assert filled.run("queue", "undo").out == "Nothing to take back.\n"

    filled.run("queue", then, message_id, *WHY, "--yes")
    assert carry_out(filled) == 1
    assert type(events(filled, message_id)[-1]).__name__ == last
    assert head(filled, message_id) is None
    assert filled.run("queue", "undo", action).code == 3
    assert filled.run("queue", "undo", message_id).code == 4
    filled.fold()
    assert filled.run("books").code == 0
    assert filled.run("queue").out == "Nothing waits.\n"
    assert filled.run("failures", "--json").json["failures"] == []


def test_undo_needs_a_name_when_several_can_be_taken_back_and_takes_that_of_a_message(filled: Shop):
    first, second = filled.queued(), filled.queued()
    filled.run("queue", "bounce", first, *WHY, "--yes")
    filled.run("queue", "delete", second, *WHY, "--yes")
    unclear = filled.run("queue", "undo")
    assert (unclear.code, "which one" in unclear.err) == (2, True)
    assert filled.run("queue", "undo", second).code == 0
    assert head(filled, second).hold is None
    assert filled.run("queue", "undo").code == 0
    assert head(filled, first).hold is None


def test_taking_back_restores_the_hold_that_was_there(filled: Shop):
    message_id = filled.queued()
    filled.run("queue", "hold", message_id, "--reason", "before")
    filled.run("queue", "delete", message_id, *WHY, "--yes")
    filled.run("queue", "undo")
    hold = head(filled, message_id).hold
    assert (hold.reason, hold.then) == ("before", "")


def test_without_a_terminal_nothing_ends_unless_it_was_said(filled: Shop):
    message_id = filled.queued()
    asked = filled.run("queue", "delete", message_id, *WHY)
    assert (asked.code, "--yes" in asked.err) == (2, True)
    dry = filled.run("queue", "bounce", message_id, *WHY, "--dry-run")
    assert (dry.code, "1 message, 1 recipient" in dry.err, message_id in dry.err) == (0, True, True)
    assert head(filled, message_id).hold is None


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--domain", DOMAIN], "abc"),
        (["--domain", "other.test"], "d"),
        (["--sender", "OTHER@"], "c"),
        (["--recipient", "ben"], "b"),
        (["--said", "mailbox is BUSY"], "a"),
        (["--class", "mailbox-full"], ""),
        (["--class", "recipient"], "a"),
        (["--older-than", "1h"], ""),
        (["--older-than", "0s", "--recipient", "anna"], "acd"),
        (["--sender", "<>"], ""),
    ],
)
def test_filters_select_what_is_meant_and_nothing_else(filled: Shop, words, meant):
    filled.add("anna", domain="other.test")
    ids = {"a": filled.queued(), "b": filled.queued("ben@example.test"), "d": filled.queued("anna@other.test")}
    ids["c"] = filled.receive(ANNA, sender="other@elsewhere.test")
    filled.append(
        ids["c"],
        lambda common: Scanned(**common, verdict="clean", score=0.0),
        lambda common: Queued(**common, recipients=(ANNA,), size=1),
    )
    filled.deferred(ids["a"])
    filled.quarantined()
    dry = filled.run("queue", "delete", *words, *WHY, "--dry-run", "--json").json
    assert set(dry["examples"]) == {ids[name] for name in meant}
    assert dry["messages"] == len(meant)
    done = filled.run("queue", "delete", *words, *WHY, "--yes", "--json").json
    assert done["done"] == len(meant)
    assert {name for name, one in ids.items() if head(filled, one).hold is not None} == set(meant)


def test_many_messages_end_together_and_are_taken_back_together(filled: Shop):
    ids = [filled.queued() for _ in range(70)]
    done = filled.run("queue", "bounce", "--domain", DOMAIN, *WHY, "--yes", "--json").json
    assert done["done"] == 70
    assert filled.run("queue", "undo", done["action"], "--json").json["done"] == 70
    filled.run("queue", "bounce", "--domain", DOMAIN, *WHY, "--yes")
    assert carry_out(filled) == 70
    assert head(filled, ids[0]) is None
    filled.fold()
    assert filled.run("books").code == 0


def test_what_cannot_be_steered_is_said_and_does_not_hold_up_the_others(filled: Shop):
    good, bad = filled.queued(), filled.quarantined()
    done = filled.run("queue", "hold", bad, "1" * 22, good, *WHY)
    assert (done.code, done.out[:14]) == (4, "1 message held")
    assert "it is quarantined" in done.err
    assert "no message 1111" in done.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["hold", *WHY], 2),
        (["hold", "x", *WHY], 3),
        (["hold", "--domain", DOMAIN, "--server", "a:25", *WHY], 2),
        (["hold", "--domain", "other.test", *WHY], 3),
        (["hold", "--server", "a:99999", *WHY], 2),
        (["hold", "--server", "", *WHY], 2),
        (["hold", "--server", "a b:25", *WHY], 2),
        (["hold", "--server", "\x1b[31m:25", *WHY], 2),
        (["hold", "--server", "\udcff:25", *WHY], 2),
        (["bounce", "--sender", "\udcff", *WHY, "--domain", "\udcff"], 2),
        (["redirect", "1" * 22, "--to", "\udcff@example.test", *WHY, "--yes"], 2),
        (["hold", "--domain", DOMAIN, *WHY, "--until", "yesterday"], 2),
        (["hold", "--domain", DOMAIN, "--reason", " "], 2),
        (["hold", "--domain", DOMAIN, "--reason", "x" * 501], 2),
        (["bounce", *WHY], 2),
        (["bounce", "--class", "nonsense", *WHY], 2),
        (["bounce", "--older-than", "soon", *WHY], 2),
        (["delete", "1" * 22, "--sender", "x", *WHY], 2),
        (["resume", "--domain", DOMAIN], 4),
        (["resume", "--server", "mx.example.test:25"], 4),
        (["undo", "nonsense"], 3),
        (["redirect", "1" * 22, *WHY], 2),
        (["redirect", "1" * 22, "--to", "nobody@", *WHY, "--yes"], 2),
        (["redirect", "1" * 22, "--to", f"stranger@{DOMAIN}", *WHY, "--yes"], 4),
        (["redirect", "1" * 22, "--to", "x@outside.test", *WHY, "--yes"], 4),
        (["redirect", "--domain", DOMAIN, "--route", "b:25"], 2),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out_and_never_a_traceback(filled: Shop, words, code):
    done = filled.run("queue", *words)
    assert done.code == code, done.err
    assert done.err.startswith("gatepost: ")
    assert "Traceback" not in done.err


def test_a_reason_that_is_no_text_is_written_down_as_far_as_it_is(filled: Shop):
    message_id = filled.queued()
    assert filled.run("queue", "hold", message_id, "--reason", "k\udcffnn\x1b[31m Grüße").code == 0
    assert events(filled, message_id)[-1].reason == "k?nn\x1b[31m Grüße"
    assert "\x1b" not in filled.run("trace", message_id).out
    assert filled.run("queue", "resume", message_id, "--reason", "\udcff").code == 0


def test_a_domain_s_hold_has_an_end_and_is_recorded_as_a_change(filled: Shop):
    filled.queued()
    done = filled.run("queue", "hold", "--domain", DOMAIN, *WHY, "--until", "1h")
    assert done.out.startswith(f"{DOMAIN} is held until ")
    assert filled.run("queue", "hold", "--domain", DOMAIN, *WHY).code == 4
    filled.fold()
    assert ", until " in filled.run("queue").out
    assert filled.run("queue", "--json").json["domains"][0]["hold"]["until"]
    assert carry_out(filled, 3700) == 1
    history = filled.run("directory", "history").out
    assert "flows again" in history
    assert "the time of the hold is over" in history
    assert filled.run("queue", "--json").json["domains"][0]["hold"] is None
    filled.run("queue", "hold", "--domain", DOMAIN, *WHY)
    assert "1 message to be forwarded now" in filled.run("queue", "resume", "--domain", DOMAIN).out


def test_a_server_s_hold_is_shown_recorded_taken_back_and_ends(filled: Shop):
    filled.queued()
    filled.fold()
    done = filled.run("queue", "hold", "--server", "MX.example.test", *WHY)
    assert done.out.startswith("mx.example.test:25 is held.")
    assert filled.run("queue", "hold", "--server", "mx.example.test:25", *WHY).code == 4
    shown = filled.run("queue")
    assert "mx.example.test:25 held" in shown.out
    assert "server mx.example.test:25: held now by cli:" in shown.out or "held" in shown.out
    content = filled.run("queue", "--json").json
    assert [(one["server"], one["reason"]) for one in content["held_servers"]] == [("mx.example.test:25", "a reason")]
    assert (content["domains"][0]["state"], content["domains"][0]["server_hold"]["reason"]) == ("held", "a reason")

    async def last(wiring):
        ((entry, fields),) = await wiring.store.redis.xrevrange(keys.DIRECTORY_LOG, count=1)
        return decode_entry(0, entry, fields).event

    event = filled.do(last)
    assert (type(event), event.server, event.reason) == (ServerHeld, "mx.example.test:25", "a reason")
    number = event.change
    assert "server mx.example.test:25 held: a reason" in filled.run("directory", "history").out
    assert filled.run("directory", "revert", str(number), "--yes").code == 0
    assert filled.run("queue", "--json").json["held_servers"] == []
    filled.run("queue", "hold", "--server", "mx.example.test:25", *WHY, "--until", "1h")
    assert filled.run("queue", "retry", "--server", "mx.example.test:25").out == f"{DOMAIN}: 1 message tried now\n"
    assert carry_out(filled, 3700) == 1
    assert filled.run("queue", "--json").json["held_servers"] == []
    filled.run("queue", "hold", "--server", "mx.example.test:25", *WHY)
    resumed = filled.run("queue", "resume", "--server", "mx.example.test:25", "--json").json
    assert (resumed["waiting"], resumed["domains"]) == (1, {DOMAIN: 1})


def test_redirected_mail_ends_here_and_waits_to_become_another_message(filled: Shop):
    filled.add("carl", domain="other.test")
    message_id = filled.queued(ANNA, "ben@example.test")
    done = filled.run("queue", "redirect", message_id, "--to", "Carl@OTHER.test", *WHY, "--yes")
    assert done.out.startswith("1 message redirected to Carl@other.test\n")
    last = events(filled, message_id)[-1]
    assert isinstance(last, Redirected)
    assert (last.recipients, last.to, last.reason) == ((ANNA, "ben@example.test"), "Carl@other.test", "a reason")
    assert head(filled, message_id) is None
    again = filled.run("queue", "redirect", message_id, "--to", "carl@other.test", *WHY, "--yes")
    assert (again.code, "is finished" in again.err) == (4, True)
    filled.fold()
    books = {one["domain"]: one for one in filled.run("books", "--json").json["domains"]}
    assert (books[DOMAIN]["redirected"], books[DOMAIN]["balanced"]) == (2, True)
    assert "redirected" in filled.run("trace", message_id).out


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"\n", 1), (b"yes\n", 0)])
def test_on_a_terminal_it_says_what_is_meant_asks_and_touches_nothing_that_came_in_meanwhile(
    filled: Shop, answer, code
):
    message_id = filled.queued()
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "cli.main", "queue", "delete", "--domain", DOMAIN, *WHY]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as asked:
        said = ""
        while "[y/N]" not in said:
            said += asked.stderr.read(1)
        later = filled.queued()
        os.write(ours, answer)
        _, rest = asked.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == code
    assert f"{message_id}  sender@elsewhere.test to {ANNA}" in said
    assert "Delete 1 message for good? [y/N]" in said
    assert rest == ""
    assert (head(filled, message_id).hold is not None) == (code == 0)
    assert head(filled, later).hold is None


def test_check_names_a_held_server(filled: Shop):
    filled.run("queue", "hold", "--server", "mx.example.test:25", *WHY)
    checked = filled.run("check").out
    assert "the server mx.example.test:25 is held: a reason" in " ".join(checked.split())


def test_a_domain_with_held_mail_cannot_be_removed(filled: Shop):
    message_id = filled.queued()
    filled.run("queue", "hold", message_id, *WHY)
    refused = filled.run("domain", "remove", DOMAIN, "--yes")
    assert (refused.code, "still waiting" in refused.err) == (4, True)


def test_a_message_in_a_deliverer_s_hands_is_left_to_it(filled: Shop, monkeypatch):
    message_id = filled.queued()

    async def claim(wiring):
        now = wiring.clock()
        partition = partition_for(DOMAIN, wiring.store.partitions)
        return await wiring.schedule.claim(partition, DOMAIN, "t", now=now, retry_at=now + 1, more=False)

    assert filled.do(claim).work
    monkeypatch.setitem(Steering.__init__.__kwdefaults__, "patience", 0.3)
    for words in (
        ["hold"],
        ["bounce", "--yes"],
        ["delete", "--yes"],
        ["redirect", "--to", "ben@example.test", "--yes"],
    ):
        done = filled.run("queue", words[0], message_id, *words[1:], *WHY)
        assert (done.code, "is being delivered just now" in done.err) == (4, True), done
    assert head(filled, message_id).stage == "queued"


NOW = 1_795_000_000 * 10**9  # 2026-11-18 11:06:40 UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None), ("2h", 7200), ("90", 90), ("12:06", 3560), ("11:06", 86360), ("2026-11-18 12:00", 3200),
        ("2026-11-18T12:00:00+00:00", 3200), ("2026-11-19", 46400),
    ],
)  # fmt: skip
def test_a_time_is_understood_as_people_write_it(monkeypatch, text, seconds):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert until_of(text, NOW) == (0 if seconds is None else NOW + seconds * 10**9)


@pytest.mark.parametrize("text", ["soon", "25:00", "2026-13-01", "2020-01-01", "999999d", "0s", "-1h", "9" * 400])
def test_what_is_no_time_to_come_is_refused(text):
    with pytest.raises(ConfigurationError):
        until_of(text, NOW)


def test_a_retry_is_recorded_with_who_asked_and_leaves_what_is_known_of_the_route(filled: Shop):
    message_id = filled.queued()
    filled.route_deferred()
    filled.run("queue", "retry", DOMAIN)
    filled.run("queue", "retry", "other.test")

    async def work(wiring):
        route = await wiring.schedule.route(partition_for(DOMAIN, wiring.store.partitions), DOMAIN)
        return route, [one.event async for one in wiring.log.history(message_id) if one.subject == f"@{DOMAIN}"]

    route, recorded = filled.do(work)
    assert (route.tries, route.version, len(route.attempts)) == (1, 2, 1)
    assert [(type(one), getattr(one, "waiting", 0)) for one in recorded] == [(RouteDeferred, 0), (Retried, 1)]
    assert "1 message for example.test at once, by cli:" in filled.run("trace", message_id).out


def test_a_trace_says_who_holds_a_message_and_what_comes_then(filled: Shop):
    message_id = filled.queued()
    filled.run("queue", "delete", message_id, *WHY, "--yes")
    assert re.search(r"held +since .* by cli:\S+, to be deleted at .*: a reason", filled.run("trace", message_id).out)


@pytest.mark.parametrize(("off", "says"), [(3600, "3600 s ahead of Redis's"), (-3600, "3600 s behind Redis's")])
def test_what_may_be_in_a_deliverers_hands_is_left_alone_at_a_machine_whose_clock_is_off(
    filled: Shop, monkeypatch, off, says
):
    message_id = filled.queued()
    before = events(filled, message_id)
    monkeypatch.setattr(Wiring, "clock", staticmethod(lambda: time.time_ns() + off * 10**9))
    for words in (("hold",), ("delete", "--yes"), ("redirect", "--yes", "--to", "ben@example.test")):
        refused = filled.run("queue", words[0], message_id, *words[1:], *WHY)
        assert (refused.code, says in refused.err, "Keep the clocks" in refused.err) == (5, True, True), refused
    assert events(filled, message_id) == before
