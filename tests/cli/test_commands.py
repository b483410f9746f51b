"""Commands on a real store."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import re
import socket
import sys
import time

import msgspec
import pytest
import trustme

from cli import main as entry
from cli.check.machine import about_certificate, about_port
from pipeline import keys, parked
from pipeline.configuration import load
from pipeline.directory import Domain
from pipeline.events import Attempt, Delivered, Failed, Quarantined, Scanned
from pipeline.faults import ConflictError
from pipeline.ids import partition_for, partition_of
from pipeline.log import Log
from pipeline.settings import Settings
from projections.builds import live_prefixes
from projections.readers import BooksCheck, Mismatch
from projections.readers.rates import Counted, Total
from tests.cli.conftest import ANNA, BUSY, CONTENT, DOMAIN, SECOND, SENDER, Shop
from tests.support.dns import names_in_a_thread
from tests.support.servers import free_port
from tests.support.signing import rsa_signer
from workers.wiring import Wiring

TAKEN = Attempt(server="mx.example.test:25", address="192.0.2.1", stage="dot", code=250, reply="250 2.0.0 taken")
NO_USER = Attempt(
    server="mx.example.test:25", stage="rcpt", code=550, enhanced="5.1.1", reply="550-5.1.1 No such\n550 user"
)


# Domains and addresses


def test_a_domain_is_added_shown_changed_and_removed(shop: Shop):
    assert shop.run("domain", "list").out.startswith("No domain yet")
    added = shop.run("domain", "add", "Example.TEST", "--route", "mx.example.test:25", "--route", "[2606:4700::1]:2525")
    assert added.out.splitlines()[0] == "example.test added: mail goes to mx.example.test:25, then [2606:4700::1]:2525"
    assert "gatepost address add someone@example.test" in added.out
    listed = shop.run("domain", "list", "--json").json["domains"]
    assert [(one["domain"], one["route"], one["catch_all"]) for one in listed] == [
        ("example.test", ["mx.example.test:25", "[2606:4700::1]:2525"], False)
    ]
    again = shop.run("domain", "add", "example.test", "--route", "other.example.test:25")
    assert again.code == 4
    assert "gatepost domain set example.test" in again.err
    changed = shop.run(
        "domain", "set", "example.test", "--route", "other.example.test:25", "--catch-all", "--json"
    ).json
    assert changed["changed"]
    assert changed["catch_all"]
    assert changed["created_at"] == listed[0]["created_at"]
    assert "other.example.test:25" in shop.run("domain", "show", "example.test").out
    assert shop.run("domain", "remove", "example.test", "--yes").code == 0
    assert shop.run("domain", "show", "example.test").code == 3


def test_removing_a_domain_is_asked_for_and_refused_while_its_mail_waits(shop: Shop, monkeypatch):
    shop.add("anna")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    refused = shop.run("domain", "remove", DOMAIN)
    assert refused.code == 2
    assert "--yes" in refused.err
    shop.queued()
    assert shop.run("domain", "remove", DOMAIN, "--yes").code == 4


def test_a_route_into_this_machine_is_refused_with_the_setting_that_allows_it(shop: Shop, monkeypatch):
    refused = shop.run("domain", "add", DOMAIN, "--route", "127.0.0.1:25")
    assert refused.code == 4
    assert "allow_networks" in refused.err
    monkeypatch.setenv("GATEPOST_ALLOW_NETWORKS", "127.0.0.0/8")
    assert shop.run("domain", "add", DOMAIN, "--route", "127.0.0.1:25").code == 0


def test_a_changed_route_makes_waiting_mail_due(shop: Shop):
    shop.add("anna")
    message_id = shop.queued()
    shop.deferred(message_id)
    changed = shop.run("domain", "set", DOMAIN, "--route", "new.example.test:25")
    assert "1 waiting messages take the new route now" in changed.out


def test_addresses_are_added_listed_and_removed(shop: Shop):
    shop.add()
    assert shop.run("address", "add", "Anna@example.test", "ben@EXAMPLE.test").out == "2 addresses added\n"
    assert shop.run("address", "add", "anna@example.test").out == "0 addresses added, 1 was listed already\n"
    assert shop.run("address", "list", DOMAIN, "--json").json["addresses"] == ["Anna@example.test", "ben@example.test"]
    assert shop.run("address", "remove", "ANNA@example.test", "cleo@example.test").out == (
        "1 address removed, 1 was not listed\n"
    )
    assert shop.run("address", "list", DOMAIN).out == "ben@example.test\n\n1 address\n"


def test_a_quoted_and_a_composed_address_are_the_mailbox_that_smtp_looks_up(shop: Shop):
    shop.add()
    assert shop.run("address", "add", '"anna"@example.test', "gru\u0308n@example.test").code == 0

    async def known(wiring):
        return [await wiring.directory.accepts(key, Domain(name=DOMAIN)) for key in ("anna", "gr\u00fcn")]

    assert shop.do(known) == [True, True]
    assert shop.run("address", "add", '"a \\"b"@example.test').code == 0
    assert '"a \\"b"@example.test' in shop.run("address", "list", DOMAIN).out.splitlines()


def test_nothing_is_added_when_one_address_or_domain_is_wrong(shop: Shop):
    shop.add()
    assert shop.run("address", "add", "anna@example.test", "ben@").code == 2
    missing = shop.run("address", "add", "anna@example.test", "ben@other.test")
    assert missing.code == 3
    assert "gatepost domain add other.test" in missing.err
    assert shop.run("address", "list", DOMAIN, "--json").json["addresses"] == []


def test_an_import_is_all_or_nothing_and_names_each_bad_line(shop: Shop, tmp_path, monkeypatch):
    shop.add()
    file = tmp_path / "staff.csv"
    file.write_text("name,address\nAnna,anna@example.test\nBen,ben\n\x1b,x@y@z\n")
    refused = shop.run("address", "import", str(file))
    assert refused.code == 2
    assert [line.partition(": ")[0] for line in refused.err.splitlines()[:2]] == [f"{file}:3", f"{file}:4"]
    assert "\x1b" not in refused.err
    assert shop.run("address", "list", DOMAIN, "--json").json["addresses"] == []
    stdin = io.TextIOWrapper(io.BytesIO(b"anna\nben@example.test\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert shop.run("address", "import", "-", "--domain", DOMAIN).out == "2 addresses added to 1 domain\n"
    assert shop.run("address", "import", str(tmp_path / "none")).code == 2


# What waits and what went wrong


def test_an_empty_queue_says_so(shop: Shop):
    assert shop.run("queue").out == "Nothing waits.\n"
    empty = shop.run("queue", "--json").json
    assert (empty["waiting"], empty["domains"], empty["messages"]) == (
        {"messages": 0, "recipients": 0, "bytes": 0},
        [],
        [],
    )
    assert shop.run("queue", "list").out == "Nothing waits.\n"


def test_the_queue_shows_what_waits_and_the_last_answer(shop: Shop):
    shop.add("anna")
    deferred, waiting = shop.queued(), shop.queued("ben@example.test", ANNA)
    shop.deferred(deferred)
    shop.route_deferred()
    shop.fold()
    text = shop.run("queue").out
    assert "mx.example.test:25 down" in text
    assert "│ Connection refused" in text
    content = shop.run("queue", DOMAIN, "--json").json
    assert content["waiting"] == {"messages": 2, "recipients": 3, "bytes": 2 * len(CONTENT)}
    (domain,) = content["domains"]
    assert (domain["state"], domain["messages"], domain["tries"]) == ("deferred", 2, 1)
    assert domain["last_error"]["attempts"][0]["reply"] == "Connection refused"
    first, second = content["messages"]
    assert (first["id"], first["sender"], first["recipients"], first["state"]) == (deferred, SENDER, [ANNA], "queued")
    assert first["copies"][0]["last"]["reply"] == BUSY.reply
    assert first["received_at"].endswith("Z")
    assert second["id"] == waiting
    assert second["waiting"] == ["ben@example.test", ANNA]
    listed = shop.run("queue", "list", "--json", "--limit", "1").json
    assert [one["id"] for one in listed["messages"]] == [deferred]
    assert listed["messages_left_off"] == 1
    assert deferred in shop.run("queue", "list", DOMAIN).out


def test_a_retry_makes_a_domain_due_whichever_way_it_is_asked_for(shop: Shop):
    shop.add("anna")
    message_id = shop.queued()
    shop.deferred(message_id)
    shop.fold()

    async def due(wiring):
        return (await wiring.schedule.due(partition_of(message_id), wiring.clock(), 10))[0]

    for words in ((DOMAIN,), (message_id,), ("--all",)):
        assert shop.run("queue", "retry", *words).out == "example.test: 1 message tried now\n"
        assert shop.do(due) == [DOMAIN]
    assert shop.run("queue", "retry", "other.test").out == "other.test: nothing waits\n"


def test_the_queue_says_how_long_mail_waits_and_how_fast_it_moves(shop: Shop):
    for _ in range(3):
        shop.queued()
    shop.route_deferred()
    shop.fold()
    assert "by age: 3 <15 min" in shop.run("queue").out
    assert "a minute:" not in shop.run("queue").out

    async def moved(wiring):
        now = wiring.clock()
        total = Total(now, 3, 30 * SECOND, 20, 30)
        counted = Counted(now, 30 * SECOND, {DOMAIN: (20, 30)})
        await wiring.store.redis.lpush(keys.BOOKS_TOTALS, msgspec.msgpack.encode(total))
        await wiring.store.redis.lpush(keys.BOOKS_DOMAINS, msgspec.msgpack.encode(counted))

    shop.do(moved)
    out = shop.run("queue").out
    assert "a minute: 40.0 come, 60.0 and 60.0 delivered" in out
    assert "gone in: 3.0 s" in out
    (domain,) = shop.run("queue", DOMAIN, "--json").json["domains"]
    assert domain["ages"] == {"15_min": 3, "1_h": 0, "4_h": 0, "1_day": 0, "3_days": 0, "older": 0}
    assert domain["per_minute"]["5_min"] == {"arrived": 40.0, "delivered": 60.0}
    assert (domain["seconds_to_drain"], domain["grows"]) == (3.0, False)


def test_destinations_are_listed_with_their_state_and_last_words(shop: Shop):
    assert shop.run("queue", "destinations").out == "Nothing waits.\n"
    shop.add("anna", domain="held.test", route="mx.held.test:25")
    for to in (ANNA, ANNA, "anna@held.test"):
        shop.queued(to)
    shop.route_deferred()
    shop.run("queue", "hold", "--server", "mx.held.test:25", "--reason", "they \x1b[31mmove")
    shop.fold()
    out = shop.run("queue", "destinations").out
    assert out.index("mx.example.test:25") < out.index("mx.held.test:25")
    assert "down for" in out
    assert ": they \\x1b[31mmove" in out
    assert "│ Connection refused" in out
    down, held = shop.run("queue", "destinations", "--json").json["destinations"]
    assert (down["server"], down["state"], down["messages"], down["domains"]) == (
        "mx.example.test:25",
        "deferred",
        2,
        [DOMAIN],
    )
    assert down["last_error"]["attempts"][0]["reply"] == "Connection refused"
    assert (held["state"], held["hold"]["by"][:4], held["hold"]["domain"]) == ("held", "cli:", "")


def test_a_retry_of_what_does_not_wait_is_refused(shop: Shop):
    message_id = shop.quarantined()
    assert shop.run("queue", "retry", message_id).code == 4
    assert shop.run("queue", "retry", "1" * 22).code == 3


def test_failures_are_grouped_and_their_words_are_the_servers_own(shop: Shop):
    first, second = shop.queued(), shop.queued()
    for message_id in (first, second):
        shop.deferred(message_id)
    refused = shop.queued()
    shop.tried(refused, Failed, NO_USER, reason="refused", bounce="1m84e0vay17zh0a2pptx07")
    shop.fold()
    text = shop.run("failures").out
    assert "answers of the customer's own server" in text
    assert "2 times" in text
    assert "1 more line, see --verbose" in text
    assert "come \\x1b[31mback later" in shop.run("failures", DOMAIN, "--verbose").out
    one = shop.run("failures", refused).out
    assert "│ 550-5.1.1 No such\n  │ 550 user\n" in one
    assert first not in one
    content = shop.run("failures", "--json").json
    assert [failure["id"] for failure in content["failures"]] == [refused, second, first]
    assert content["failures"][0]["attempt"]["reply"] == NO_USER.reply
    assert (content["failures"][0]["state"], content["failures"][0]["next"]) == ("failed", "returned")
    assert [(group["count"], group["domain"]) for group in content["groups"]] == [(1, DOMAIN), (2, DOMAIN)]
    waiting = shop.queued()
    assert shop.run("failures", waiting).out == "No delivery error is known.\n"
    shop.route_deferred()
    shop.fold()
    assert "│ Connection refused" in shop.run("failures", waiting).out
    assert shop.run("failures", "other.test").out == "No delivery error is known.\n"


def test_failures_are_found_by_server_class_and_time(shop: Shop):
    first = shop.queued()
    shop.deferred(first)
    shop.tried(shop.queued(), Failed, NO_USER, reason="refused", bounce="1m84e0vay17zh0a2pptx07")
    shop.route_deferred()
    shop.fold()

    def stages(*words: str) -> set[str]:
        done = shop.run("failures", *words, "--json").json
        found = {failure["attempt"]["stage"] for failure in done["failures"]}
        assert {group["newest"]["attempt"]["stage"] for group in done["groups"]} == found
        return found

    assert stages() == {"rcpt", "connect"}
    assert stages("--server", "MX.example.test") == stages("--server", "mx.example.test:25") == stages()
    assert stages("--server", "192.0.2.1") == {"rcpt"}
    assert stages("--server", "mx2.example.test") == set()
    assert stages("--class", "network") == {"connect"}
    assert stages("--class", "network", "--server", "192.0.2.1") == set()
    assert stages("--from", "2026-01-01") == stages()
    assert stages("--to", "2026-01-01") == set()
    assert shop.run("failures", "--to", "2026-01-01").out == "No delivery error is known.\n"
    wrong = shop.run("failures", "--class", "nonsense")
    assert wrong.code == 2
    assert "network" in wrong.err


def test_what_servers_of_the_world_said_to_our_own_mail_is_shown_apart(shop: Shop):
    shop.deferred(shop.queued())
    shop.route_deferred("world.test")
    shop.fold()
    out = shop.run("failures").out
    assert "our own mail to domains that are not ours  1 error\n" in out
    assert "    to world.test\n" in out
    assert "│ Connection refused" in shop.run("failures", "world.test").out
    assert {one["domain"] for one in shop.run("failures", "--json").json["groups"]} == {DOMAIN, "world.test"}


def test_views_say_how_far_they_are_behind(shop: Shop):
    shop.queued()
    shop.fold()
    done = shop.run("views")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"(?m)^queue +\d+ +0 s +0 +0 +0 ", done.out)
    shop.queued()
    form = shop.run("views", "--json").json
    assert form["running"]
    queue = next(one for one in form["views"] if one["view"] == "queue")
    assert (queue["events_behind"], queue["damaged"], queue["broken"]) == (3, 0, 0)
    assert queue["behind_seconds"] > 0

    async def broken(wiring):
        redis = wiring.store.redis
        prefix = (await live_prefixes(redis, [partition_for(DOMAIN, 8)], "books"))[partition_for(DOMAIN, 8)]
        await redis.hset(prefix + "meta", "broken", 2)

    shop.fold()
    shop.do(broken)
    done = shop.run("views")
    assert done.code == 1
    assert "gatepost replay books --mend" in done.out


def test_a_view_that_stays_behind_is_late_and_the_exit_code_says_so(shop: Shop, monkeypatch):
    monkeypatch.setattr("cli.views.LATE", 0)
    monkeypatch.setattr("cli.views.MOMENT", 0.0)
    shop.queued()
    done = shop.run("views")
    assert done.code == 1
    assert re.search(r"(?m)^queue +none yet .* late$", done.out)


def test_books_tell_what_the_gateway_found_by_itself(shop: Shop):
    shop.queued()
    shop.fold()
    assert "Not checked by the gateway itself yet." in shop.run("books").out

    async def found(wiring):
        wrong = Mismatch(id="1" * 22, domain=DOMAIN, message={}, books={ANNA: "waiting"}, certain=True)
        check = BooksCheck(
            at=wiring.clock(),
            walked_at=wiring.clock(),
            walk_took=SECOND,
            messages=7,
            mismatches=(wrong,),
            mismatch_count=3,
        )
        await wiring.store.redis.set(keys.BOOKS_CHECK, msgspec.msgpack.encode(check))

    shop.do(found)
    done = shop.run("books")
    assert "Checked by the gateway itself: not balanced" in done.out
    assert "7 messages in 1.0 s" in done.out
    assert f"{'1' * 22} itself finished, in the books {ANNA} waiting" in done.out
    assert "2 more" in done.out
    assert shop.run("books", "--json").json["continuous"]["mismatch_count"] == 3


# Quarantine


def test_the_quarantine_is_listed_newest_first_and_searched(shop: Shop):
    old = shop.quarantined(subject="Grüße \x1b[31m")
    new = shop.quarantined("ben@example.test", sender="Mallory@evil.test")
    shop.queued()
    shop.fold()
    assert [one["id"] for one in shop.run("quarantine", "list", "--json").json["messages"]] == [new, old]
    table = shop.run("quarantine", "list").out
    assert "Grüße \\x1b[31m" in table
    assert "\x1b" not in table
    for words, found in (
        (["--domain", DOMAIN], [new, old]),
        (["--sender", "MALLORY"], [new]),
        (["--recipient", "anna"], [old]),
        (["--domain", "other.test"], []),
        (["--limit", "1"], [new]),
    ):
        content = shop.run("quarantine", "list", "--json", *words).json
        assert [one["id"] for one in content["messages"]] == found, words
    more = shop.run("quarantine", "list", "--json", "--after", content["after"]).json
    assert ([one["id"] for one in more["messages"]], more["after"]) == ([old], None)


def test_a_quarantined_message_is_shown_with_its_tests(shop: Shop):
    message_id = shop.quarantined()
    content = shop.run("quarantine", "show", message_id, "--json").json
    assert (content["id"], content["quarantined"], content["verdict"], content["score"]) == (
        message_id,
        [ANNA],
        "virus",
        100.0,
    )
    assert content["scan"]["findings"][0]["name"] == "EICAR"
    text = shop.run("quarantine", "show", message_id).out
    assert re.search(r"\+100 +virus +EICAR +EICAR antivirus test file", text)


def test_the_bytes_of_a_message_come_out_as_they_came_in(shop: Shop, monkeypatch):
    body = b"Subject: \xff\x00\x1b\r\n\r\n" + bytes(range(256)) * 4096
    message_id = shop.receive(content=body)
    shop.append(message_id, *_bad())
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    assert entry.main(["quarantine", "show", message_id, "--raw"]) == 0
    assert out.getvalue() == body


def _bad():
    yield lambda common: Scanned(**common, verdict="virus", score=1.0)
    yield lambda common: Quarantined(
        **common, recipients=(ANNA,), reason="virus", expires=time.time_ns() + 86400 * SECOND
    )


def test_bytes_of_bad_mail_are_not_written_to_a_terminal(shop: Shop, monkeypatch):
    message_id = shop.quarantined()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    refused = shop.run("quarantine", "show", message_id, "--raw")
    assert refused.code == 4
    assert "message.eml" in refused.err


def test_a_message_is_released_once_however_often_it_is_asked_for(shop: Shop):
    message_id = shop.quarantined()
    refused = shop.run("quarantine", "release", message_id)
    assert refused.code == 4
    assert "--virus" in refused.err
    assert shop.run("quarantine", "release", message_id, "--virus").out == f"{message_id} released, on its way\n"
    assert (
        shop.run("quarantine", "release", message_id).out == f"{message_id} was released before, and waits to leave\n"
    )
    shop.tried(message_id, Delivered, TAKEN)
    again = shop.run("quarantine", "release", message_id, "--json").json
    (one,) = again["messages"]
    assert (one["id"], one["result"], one["changed"]) == (message_id, "was released before, and has left since", False)
    trace = shop.run("trace", message_id, "--json").json
    assert [event["type"] for event in trace["events"]] == [
        "received",
        "scanned",
        "quarantined",
        "released",
        "delivered",
    ]
    assert trace["events"][3]["by"].startswith("cli:")


def test_somebody_who_was_faster_makes_a_decision_start_again(shop: Shop, monkeypatch):
    message_id = shop.quarantined()
    commit, calls = Log.commit, []

    async def faster(self, step, *, patience=None):
        calls.append(step)
        if len(calls) == 1:
            raise ConflictError("somebody was faster")
        return await commit(self, step, patience=patience)

    monkeypatch.setattr(Log, "commit", faster)
    assert shop.run("quarantine", "release", message_id, "--virus").code == 0
    assert len(calls) == 2


def test_a_deleted_message_is_gone_with_its_body(shop: Shop, monkeypatch):
    message_id = shop.quarantined()
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert shop.run("quarantine", "delete", message_id).code == 2
    assert shop.run("quarantine", "delete", message_id, "--yes").out == f"{message_id} deleted\n"
    assert shop.run("quarantine", "delete", message_id, "--yes").out == f"{message_id} was deleted before\n"
    shop.fold()
    assert shop.run("quarantine", "list").out == "Nothing is in quarantine.\n"
    assert shop.run("quarantine", "show", message_id).code == 4


def test_one_message_that_cannot_be_released_does_not_hold_up_the_others(shop: Shop):
    kept, clean = shop.quarantined(), shop.queued()
    done = shop.run("quarantine", "release", "1" * 20 + "00", clean, kept, "--virus")
    assert done.code == 4
    assert "released, on its way" in done.out
    assert len(done.err.splitlines()) == 3
    assert shop.run("quarantine", "release", "nonsense").code == 3


# Trace, books, replay


def test_a_trace_tells_everything_with_the_servers_words(shop: Shop):
    message_id = shop.queued(ANNA, "ben@example.test", subject="\x1b[31mhello")
    shop.route_deferred()
    shop.deferred(message_id)
    shop.tried(message_id, Delivered, TAKEN)
    shop.tried(message_id, Failed, NO_USER, "ben@example.test", reason="refused", unsent="null sender")
    done = shop.run("trace", message_id)
    assert done.code == 0
    assert "\x1b" not in done.out
    verbs = ("received", "scanned", "queued", "waits", "deferred", "delivered", "failed")
    places = [done.out.index(f"Z  {verb} ") for verb in verbs]
    assert places == sorted(places)
    assert "│ 550-5.1.1 No such\n" in done.out
    content = shop.run("trace", message_id.upper(), "--json").json
    assert (content["id"], content["state"], content["sender"]) == (message_id, "failed", SENDER)
    assert [(copy["address"], copy["state"]) for copy in content["copies"]] == [
        (ANNA, "delivered"), ("ben@example.test", "failed"),
    ]  # fmt: skip
    assert [event["type"] for event in content["events"]] == [
        "received", "scanned", "queued", "route_deferred", "deferred", "delivered", "failed",
    ]  # fmt: skip
    assert content["events"][4]["attempt"]["reply"] == BUSY.reply
    assert [event["about"] for event in content["events"]] == [*[message_id] * 3, f"@{DOMAIN}", *[message_id] * 3]
    assert content["events"][1]["subject"] == "\x1b[31mhello"


def test_a_trace_of_what_waits_shows_what_its_domain_waits_for(shop: Shop):
    message_id = shop.queued()
    shop.route_deferred()
    shop.route_deferred("other.test")
    events = shop.run("trace", message_id, "--json").json["events"]
    assert [(event["type"], event["domain"]) for event in events[-2:]] == [
        ("queued", DOMAIN),
        ("route_deferred", DOMAIN),
    ]
    assert events[-1]["attempts"][0]["reply"] == "Connection refused"


def test_a_trace_of_what_never_was_is_not_found(shop: Shop):
    assert shop.run("trace", "1nx9s4tkh2v6c8jq0d7w03").code == 3
    assert shop.run("trace", "1nx9s4tkh2v6c8jq0d7wzz").code == 3
    assert shop.run("trace", "../../etc/passwd").code == 3


def test_a_trace_says_that_a_message_is_set_aside_and_how_it_goes_on(shop: Shop):
    message_id = shop.queued()

    async def park(wiring):
        await parked.park_message(
            wiring.store, partition_of(message_id), DOMAIN, message_id, "its head is \x1b damaged", now=wiring.clock()
        )

    shop.do(park)
    reference = f"queue:{partition_of(message_id)}:{message_id}"
    assert f"set aside as {reference}" in shop.run("trace", message_id).out
    listed = shop.run("parked", "list").out
    assert reference in listed
    assert "its head is \\x1b damaged" in listed
    (item,) = shop.run("parked", "list", "--json").json["parked"]
    assert (item["reference"], item["kind"], item["id"]) == (reference, "queue", message_id)
    assert shop.run("check", "--json").json["ok"] in (True, False)
    assert shop.run("parked", "retry", "--all").code == 0
    assert shop.run("parked", "list").out == "Nothing is set aside.\n"
    assert shop.run("parked", "retry", reference).code == 3


def test_the_books_balance_and_agree_with_the_messages(shop: Shop):
    assert shop.run("books").out == "No mail was ever received.\n"
    shop.tried(shop.queued(), Delivered, TAKEN)
    shop.queued(ANNA, "ben@example.test")
    shop.quarantined()
    shop.fold()
    content = shop.run("books", "--json")
    assert content.code == 0
    assert content.json["balanced"]
    total = content.json["total"]
    assert {name: total[name] for name in ("received", "delivered", "waiting", "quarantined")} == {
        "received": 4, "delivered": 1, "waiting": 2, "quarantined": 1,
    }  # fmt: skip
    assert "The books balance" in shop.run("books", DOMAIN).out


def test_books_that_do_not_balance_are_exit_code_1_and_replay_finds_and_mends_them(shop: Shop):
    shop.queued()
    shop.fold()

    async def spoil(wiring):
        prefixes = await live_prefixes(wiring.store.redis, range(wiring.store.partitions), "books")
        for prefix in prefixes.values():
            if await wiring.store.redis.exists(f"{prefix}d:{DOMAIN}"):
                await wiring.store.redis.hincrby(f"{prefix}d:{DOMAIN}", "delivered", 1)

    shop.do(spoil)
    spoiled = shop.run("books")
    assert spoiled.code == 1
    assert "The books do not balance" in spoiled.out
    compared = shop.run("replay", "books")
    assert compared.code == 1
    assert "live 1, rebuilt absent" in compared.out
    assert shop.run("replay", "books", "--mend").code == 1
    assert shop.run("books").code == 0
    everything = shop.run("replay", "--all", "--json")
    assert everything.code == 0
    assert [view["view"] for view in everything.json["views"]] == [
        "queue",
        "failures",
        "books",
        "refusals",
        "classifier",
        "quarantine",
        "trace",
        "outbound",
        "alerts",
    ]
    assert shop.run("replay", "nonsense").code == 2


# Settings and checks


def test_settings_are_shown_without_passwords(shop: Shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_REDIS_URL", "redis://user:sesame@redis.test:6379/0")
    monkeypatch.setenv("GATEPOST_RETRY_INTERVAL", "5m")
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK", "https://me:sesame@hooks.test:8443/services/sesame?token=sesame")
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK_SECRET_FILE", "/etc/gatepost/secret")
    text = shop.run("config", "show").out
    assert "sesame" not in text
    assert '"https://hooks.test:8443/***"' in text
    assert "redis://user:***@redis.test:6379/0" in text
    content = shop.run("config", "show", "--json").json
    assert content["retry_interval"] == {"value": '"5m"', "default": False}
    assert set(content) == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    ("redis", "hook"),
    [
        ("redis://u:a@sesame@redis.test/0", "https://sesame@hooks.test"),
        ("redis://:sesame/sesame@redis.test/0", "https://me:sesame@hooks.test/"),
        ("redis://redis.test/0?password=sesame&db=1", "https://hooks.test?sesame"),
        ("rediss://u:sesame@[::1]:6379", "https://hooks.test#sesame"),
        ("rediss+sentinel://u:sesame@a:1,b:2/main", "https://hooks.test#sesame"),
        ("redis+cluster://:sesame@a:1,b:2", "https://hooks.test#sesame"),
    ],
)
def test_no_way_to_write_a_password_is_shown(shop: Shop, monkeypatch, redis, hook):
    monkeypatch.setenv("GATEPOST_REDIS_URL", redis)
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK", hook)
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK_SECRET_FILE", "/etc/gatepost/secret")
    for words in (["config", "show"], ["config", "show", "--json"]):
        assert "sesame" not in shop.run(*words).out


@pytest.mark.parametrize(
    "url", ["redis://:sesame/x@h/0", "redis://u:p@h:sesame/0", "sesame://x", "redis://h/0?db=sesame"]
)
def test_a_redis_url_that_is_none_is_refused_without_saying_it(shop: Shop, monkeypatch, url):
    monkeypatch.setenv("GATEPOST_REDIS_URL", url)
    done = shop.run("queue")
    assert done.code in (2, 5)
    assert "sesame" not in done.err


def test_the_sample_file_can_be_used_as_it_is(shop: Shop, tmp_path):
    file = tmp_path / "sample.toml"
    file.write_text(shop.run("config", "sample").out.replace("# data", "data"))
    assert shop.run("config", "show", "--config", str(file)).code == 0


def findings(shop: Shop, *words: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in shop.run("check", "--json", *words).json["findings"]:
        found.setdefault(finding["weight"], []).append(f"{finding['about']}: {finding['found']}")
    return found


def test_a_check_names_what_is_wrong_and_the_remedy(shop: Shop, monkeypatch, tmp_path):
    monkeypatch.setenv("GATEPOST_SMTP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("GATEPOST_RETRY_INTERVALL", "5m")
    shop.add(route="10.0.0.1:25")
    found = findings(shop)
    assert "fatal" not in found, found
    assert "settings: GATEPOST_RETRY_INTERVALL is in the environment and is no setting" in found["warning"]
    assert "domains: example.test has no address, so its mail is refused" in found["warning"]
    assert any("10.0.0.1 is a private address" in one for one in found["warning"])
    monkeypatch.setenv("GATEPOST_TLS_CERTIFICATE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("GATEPOST_TLS_KEY", str(tmp_path / "none.pem"))
    assert any(one.startswith("tls: cannot use") for one in findings(shop)["fatal"])
    done = shop.run("check")
    assert done.code == 1
    assert "-> Set tls_certificate and tls_key" in done.out


def test_a_check_says_what_to_publish_for_our_seals(shop: Shop, monkeypatch, tmp_path):
    signer = rsa_signer()
    pem = tmp_path / "arc.pem"
    for name, value in {"DOMAIN": "gateway.test", "SELECTOR": "arc", "KEY": str(pem)}.items():
        monkeypatch.setenv(f"GATEPOST_ARC_{name}", value)
    assert any(one.startswith("seal: cannot read") for one in findings(shop)["fatal"])
    pem.write_bytes(signer.pem)
    published = ("arc._domainkey.gateway.test", "TXT")
    key = signer.record.decode().partition("p=")[2]
    with names_in_a_thread({}) as names:
        monkeypatch.setenv("GATEPOST_RESOLVER", f"127.0.0.1:{names.port}")
        (found,) = (one for one in findings(shop)["warning"] if one.startswith("seal:"))
        assert found == "seal: nothing is published at arc._domainkey.gateway.test: nobody can verify our seals"
        assert f'"v=DKIM1; k=rsa; p={key}"' in " ".join(
            one["remedy"] for one in shop.run("check", "--json").json["findings"]
        )
        names.records[published] = ['"v=DKIM1; p=MIIBIjANBgkq"']
        assert any("another key is published" in one for one in findings(shop)["warning"])
        names.records[published] = [" ".join(f'"{part}"' for part in ("v=DKIM1; p=", key[:200], key[200:]))]
        assert "seal: its key is published at arc._domainkey.gateway.test" in findings(shop)["good"]
        names.failing.add(published[0])
        assert any("could not be looked up" in one for one in findings(shop)["warning"])


def test_a_check_finds_a_redis_that_would_lose_mail(shop: Shop, redis_server):
    redis_server.command("CONFIG", "SET", "appendfsync", "no")
    try:
        assert "redis: Redis never forces its file to disk (appendfsync no)" in findings(shop)["fatal"]
    finally:
        redis_server.command("CONFIG", "SET", "appendfsync", "always")


def test_a_check_finds_passwords_that_others_may_read(shop: Shop, tmp_path):
    shop.add()
    password = tmp_path / "password"
    password.write_text("sesame")
    password.chmod(0o644)
    shop.run("domain", "set", DOMAIN, "--auth-user", "relay", "--auth-secret-file", str(password))
    shop.run("sync", "add", "cpanel", "office", "--url", "https://cp.test:2083", "--user", "u", "--secret-file", str(password))  # fmt: skip
    who = f"everybody on this machine may read {password}"
    assert [one for one in findings(shop)["warning"] if one.startswith("secrets")] == [
        f"secrets: {DOMAIN}: auth_secret_file: {who}",
        f"secrets: sync office: secret_file: {who}",
    ]


def test_a_check_finds_a_clock_that_is_off(shop: Shop, monkeypatch):
    monkeypatch.setattr(Wiring, "clock", staticmethod(lambda: time.time_ns() + 3_600_000_000_000))
    assert "clock: the clock of this machine is 3600 s ahead of Redis's" in findings(shop)["warning"]


def test_a_check_works_when_redis_is_away_or_settings_are_wrong(shop: Shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert any(one.startswith("redis: ") for one in findings(shop)["fatal"])
    monkeypatch.setenv("GATEPOST_BARE_NEWLINES", "keep")
    assert any(one.startswith("settings: ") for one in findings(shop)["fatal"])


def test_a_check_finds_a_data_directory_that_is_newer_or_cannot_be_written(shop: Shop, monkeypatch, tmp_path):
    shop.data.mkdir(parents=True)
    (shop.data / "format").write_text("99\n")
    assert any("newer Gatepost" in one for one in findings(shop)["fatal"])
    (tmp_path / "file").touch()
    assert any("cannot write" in one for one in findings(shop, "--data", str(tmp_path / "file" / "data"))["fatal"])


def test_a_check_finds_a_port_in_use_and_a_certificate_that_ends(shop: Shop, tmp_path, monkeypatch):
    now = dt.datetime.now(dt.UTC)
    issued = trustme.CA().issue_cert("gateway.test", not_after=now + dt.timedelta(days=5))
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    settings = Settings(tls_certificate=str(tmp_path / "pem"), tls_key=str(tmp_path / "pem"))
    (soon,) = about_certificate(settings, now)
    assert (soon.weight, "ends on" in soon.found) == ("warning", True)
    (over,) = about_certificate(settings, now + dt.timedelta(days=6))
    assert "ended on" in over.found
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("GATEPOST_SMTP", f"127.0.0.1:{taken.getsockname()[1]}")
        (finding,) = asyncio.run(about_port(load(), running=False))
    assert finding.weight == "fatal"


@pytest.mark.parametrize("words", [("queue",), ("trace", "1nx9s4tkh2v6c8jq0d7w03"), ("domain", "list")])
def test_a_redis_that_is_away_is_exit_code_5(shop: Shop, monkeypatch, words):
    monkeypatch.setenv("GATEPOST_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    done = shop.run(*words)
    assert done.code == 5
    assert done.err.startswith("gatepost: Redis cannot be reached")
    assert done.err.endswith("\n  See that it runs, and that redis_url is right.\n")
