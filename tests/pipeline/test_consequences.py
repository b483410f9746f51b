"""What follows for a domain and for a recipient from words that are about the server, weighed against what else is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline import diagnosis
from pipeline.consequences import LONGEST_REASON, RECENT, Course, Evidence, of_route, reason, unwanted, weigh
from pipeline.diagnosis import diagnose
from pipeline.events import Attempt
from pipeline.outcome import Kind, Outcome, outcome
from pipeline.state import Stage
from tests.support.examples import ANNA, AT, BEN, SECOND, message_in

TABLE = diagnosis.read()
NOW = AT + 3600 * SECOND
FRESH, WORKS = Evidence(now=NOW), Evidence(now=NOW, good=NOW - SECOND)

RELAY = "550 5.7.1 Relaying denied"
BLOCKED = "554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org"
BUSY = "451 4.3.0 insufficient system resources"
LIMIT = "450 4.7.1 too many messages, slow down"
UNKNOWN = "550 5.1.1 no such user"
GREY = "451 4.7.1 greylisted, come back"


def said(reply, stage="rcpt"):
    code = int(reply[:3])
    return Attempt(server="mx:25", stage=stage, code=code, enhanced=reply.split()[1], reply=reply)


def weighed(evidence, *replies, stage="rcpt", message=None):
    """`replies` for Anna and Ben; (course, kinds)."""
    names = (ANNA, BEN)[: len(replies)]
    outcomes = {
        name: outcome(said(reply, stage if reply[0] != "2" else "dot"))
        for name, reply in zip(names, replies, strict=True)
    }
    found = weigh(message or message_in(Stage.QUEUED, *names), outcomes, evidence, TABLE)
    return str(found.course), [str(found.outcomes[name].kind) for name in names]


@pytest.mark.parametrize(
    ("reply", "fresh", "works"),
    [
        (UNKNOWN, ("go on", "refused"), ("go on", "refused")),
        (GREY, ("go on", "deferred"), ("go on", "deferred")),
        (BUSY, ("back off", "deferred"), ("go on", "deferred")),
        (LIMIT, ("back off", "deferred"), ("go on", "deferred")),
        (RELAY, ("hold", "deferred"), ("go on", "deferred")),
        ("454 4.7.1 Relay access denied", ("back off", "deferred"), ("go on", "deferred")),
        (BLOCKED, ("other source", "deferred"), ("go on", "deferred")),
        ("530 5.7.0 Must issue a STARTTLS command first", ("hold", "deferred"), ("go on", "deferred")),
        ("530 5.7.1 Authentication required", ("hold", "deferred"), ("go on", "deferred")),
    ],
)
def test_what_one_reply_means_where_nothing_is_known_and_where_the_server_took_a_message_a_second_ago(
    reply, fresh, works
):
    assert weighed(FRESH, reply) == (fresh[0], [fresh[1]])
    assert weighed(WORKS, reply) == (works[0], [works[1]])


@pytest.mark.parametrize("reply", [BUSY, LIMIT, RELAY, BLOCKED])
def test_the_second_message_in_a_row_that_is_answered_so_is_the_server(reply):
    assert weighed(replace(WORKS, hurt=1), reply)[0] == weighed(FRESH, reply)[0] != "go on"


def test_a_success_of_a_minute_ago_is_none():
    assert weighed(Evidence(now=NOW, good=NOW - RECENT), RELAY)[0] == "hold"


@pytest.mark.parametrize(("reply", "course"), [(BLOCKED, "hold"), (BLOCKED.replace("554 5", "454 4"), "back off")])
def test_where_there_is_no_other_address_a_5xx_that_blocks_ours_is_a_hold_and_a_4xx_makes_the_route_wait(reply, course):
    assert weighed(replace(FRESH, elsewhere=False), reply) == (course, ["deferred"])


def test_a_recipient_that_is_refused_where_another_one_is_taken_waits_alone_whatever_the_words():
    assert weighed(FRESH, RELAY, "250 2.0.0 ok") == ("go on", ["deferred", "accepted"])
    assert weighed(FRESH, RELAY, UNKNOWN) == ("hold", ["deferred", "refused"])


def test_words_to_all_recipients_are_not_made_one_s_own_by_each_other():
    assert weighed(FRESH, RELAY, RELAY, stage="dot") == ("hold", ["deferred", "deferred"])


def before(reply, *, ago):
    """Anna's message, which was answered with `reply` some seconds ago."""
    message = message_in(Stage.QUEUED, ANNA)
    recipient = replace(message.recipients[0], last=said(reply), tried_at=NOW - ago * SECOND, tries=1)
    return replace(message, recipients=(recipient,))


@pytest.mark.parametrize(
    ("earlier", "good_ago", "result"),
    [
        (RELAY, 300, ("go on", ["refused"])),
        (RELAY, 1200, ("hold", ["deferred"])),
        (BLOCKED, 300, ("go on", ["refused"])),
        (GREY, 300, ("hold", ["deferred"])),
        (UNKNOWN, 300, ("hold", ["deferred"])),
    ],
)
def test_a_refusal_is_the_recipient_s_own_when_the_server_took_other_mail_between_two_of_them(
    earlier, good_ago, result
):
    evidence = Evidence(now=NOW, good=NOW - good_ago * SECOND)
    assert weighed(evidence, RELAY, message=before(earlier, ago=900)) == result


def test_a_temporary_answer_is_never_made_permanent_by_an_earlier_refusal():
    evidence = Evidence(now=NOW, good=NOW - 300 * SECOND)
    for reply in ("454 4.7.1 Relay access denied", BUSY, LIMIT, "450 4.7.1 blocked using spamhaus"):
        assert weighed(evidence, reply, message=before(RELAY, ago=900))[1] == ["deferred"]


def test_a_domain_that_only_a_bounce_goes_to_is_never_held_and_its_refusals_are_final():
    assert weighed(replace(FRESH, ours=False), RELAY) == ("go on", ["refused"])
    assert weighed(replace(FRESH, ours=False), BUSY) == ("back off", ["deferred"])
    assert weighed(replace(FRESH, ours=False), BLOCKED) == ("other source", ["deferred"])
    assert weighed(replace(FRESH, ours=False, elsewhere=False), BLOCKED) == ("go on", ["refused"])


@pytest.mark.parametrize(
    ("code", "enhanced", "words"),
    [(553, "5.6.7", "The message has a non-ASCII address or header, and the server does not offer SMTPUTF8"),
     (553, "5.1.7", "The sender is not an address"), (553, "5.1.3", "The recipient is not an address")],
)  # fmt: skip
def test_what_this_gateway_says_itself_is_about_the_message(code, enhanced, words):
    assert weighed(FRESH, f"{code} {enhanced} (said by this gateway) {words}", stage="mail") == ("go on", ["refused"])


def test_an_unknown_outcome_and_a_silence_stay_what_they_are():
    silent = Attempt(server="mx:25", stage="dot", reply="The server closed the connection.", unknown=True)
    found = weigh(message_in(Stage.QUEUED, ANNA), {ANNA: outcome(silent)}, FRESH, TABLE)
    assert (found.course, found.outcomes[ANNA].kind, found.diagnosis) == (Course.GO_ON, Kind.UNKNOWN, None)


@pytest.mark.parametrize(
    ("replies", "evidence", "course"),
    [
        ([("554 5.7.1 Relaying denied", "greeting")], FRESH, "hold"),
        ([("535 5.7.8 authentication credentials invalid", "auth")], FRESH, "hold"),
        ([("535 5.7.8 authentication credentials invalid", "auth")], WORKS, "back off"),
        ([("454 4.7.0 relaying denied", "greeting")], FRESH, "back off"),
        ([("554 5.3.2 no service here", "greeting")], FRESH, "back off"),
        ([(BLOCKED, "greeting"), (BLOCKED, "ehlo")], FRESH, "hold"),
        ([(BLOCKED, "greeting"), ("421 4.3.2 not now", "greeting")], FRESH, "back off"),
        ([(BLOCKED, "greeting")], replace(FRESH, ours=False), "back off"),
    ],
)
def test_a_domain_is_held_for_what_was_said_in_place_of_a_session_only_when_every_server_says_so(
    replies, evidence, course
):
    found = of_route([said(reply, stage) for reply, stage in replies], evidence, TABLE)
    assert found.course == course


def test_only_the_words_that_block_our_address_ask_for_another_one():
    blocked = said(BLOCKED, "greeting")
    silent = Attempt(server="mx:25", stage="connect", reply="blocked using spamhaus")
    assert unwanted([said("421 4.3.2 not now", "greeting"), blocked, silent], TABLE) == [blocked]


@given(st.lists(st.sampled_from([UNKNOWN, GREY, BUSY, LIMIT, RELAY, BLOCKED, "250 2.0.0 ok"]), min_size=1, max_size=2))
def test_nothing_that_was_taken_is_lost_and_no_4xx_becomes_a_failure(replies):
    for evidence in (FRESH, WORKS, replace(WORKS, hurt=3), replace(FRESH, ours=False, elsewhere=False)):
        _, kinds = weighed(evidence, *replies)
        for reply, kind in zip(replies, kinds, strict=True):
            assert (kind == "accepted") == (reply[0] == "2")
            assert kind != "refused" or reply[0] == "5"


def test_the_reason_of_a_hold_is_one_short_line_with_the_server_s_words():
    attempt = said("550-5.7.1 Relaying denied\n550 5.7.1 " + "x" * 4000)
    text = reason(attempt, diagnose(attempt, table=TABLE))
    assert text.startswith("The server does not feel responsible for the domain: 550-5.7.1 Relaying denied 550 5.7.1 x")
    assert len(text) == LONGEST_REASON
    assert text.isprintable()


def test_an_outcome_that_does_not_change_is_the_same_object():
    given_ = {ANNA: outcome(said(UNKNOWN))}
    assert weigh(message_in(Stage.QUEUED, ANNA), given_, FRESH, TABLE).outcomes[ANNA] is given_[ANNA]
    assert isinstance(given_[ANNA], Outcome)
