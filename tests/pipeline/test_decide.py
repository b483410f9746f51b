"""What follows from what: every decision as a pure function."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipeline import decide
from pipeline.actions import Action
from pipeline.events import (
    Deferred,
    Delivered,
    Discarded,
    Failed,
    Quarantined,
    Queued,
    Released,
    Scanned,
    Undeliverable,
)
from pipeline.faults import RefusedError
from pipeline.outcome import Kind, Outcome
from pipeline.state import Stage, evolve
from pipeline.steps import fold
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, SECOND, event, message_in

CARL = "carl@example.test"
DORA = "dora@example.test"
EMIL = "emil@example.test"
NOW = AT + 10 * SECOND


def names(events):
    return [type(e).__name__ for e in events]


def answered(message, outcomes, why=""):
    return decide.answered(
        message,
        {address: Outcome(kind=kind, attempt=ATTEMPT) for address, kind in outcomes.items()},
        now=NOW, next_try=NOW + 900 * SECOND, unsent=lambda _: why, partition_of_sender=5, retention=SECOND,
    )  # fmt: skip


def test_a_clean_message_is_scanned_and_queued():
    message = message_in(Stage.RECEIVED, ANNA, BEN)
    events = decide.judged(message, event(Scanned), (), now=NOW, retention=SECOND)
    assert names(events) == ["Scanned", "Queued"]
    assert fold(message, events).addresses(Stage.QUEUED) == (ANNA, BEN)


def test_each_recipient_of_a_message_gets_the_outcome_of_their_own_policy():
    message = message_in(Stage.RECEIVED, ANNA, BEN, CARL, DORA, EMIL)
    actions = (
        Action(recipient=ANNA, action="quarantine", reason="spam"),
        Action(recipient=CARL, action="quarantine", reason="virus"),
        Action(recipient=DORA, action="tag", tag="spam; score=7"),
        Action(recipient=EMIL, action="discard", reason="spam"),
    )
    events = decide.judged(message, event(Scanned), actions, now=NOW, retention=SECOND)
    assert names(events) == ["Scanned", "Quarantined", "Quarantined", "Discarded", "Queued", "Queued"]
    after = fold(message, events)
    assert after.addresses(Stage.QUARANTINED) == (ANNA, CARL)
    assert after.addresses(Stage.QUEUED) == (BEN, DORA)
    assert after.addresses(Stage.DISCARDED) == (EMIL,)
    assert {recipient.address: recipient.tag for recipient in after.recipients if recipient.tag} == {
        DORA: "spam; score=7"
    }


def test_what_is_released_says_nothing_of_our_verdict():
    message = message_in(Stage.RECEIVED, ANNA)
    actions = (Action(recipient=ANNA, action="quarantine", reason="spam", tag="spam; score=7"),)
    kept = fold(message, decide.judged(message, event(Scanned), actions, now=NOW, retention=SECOND))
    after = fold(kept, decide.released(kept, by="x", now=NOW, lifetime=SECOND))
    assert [recipient.tag for recipient in after.recipients] == [""]


def test_a_message_that_all_recipients_discard_is_over():
    message = message_in(Stage.RECEIVED, ANNA, BEN)
    actions = [Action(recipient=address, action="discard", reason="spam") for address in (ANNA, BEN)]
    events = decide.judged(message, event(Scanned), actions, now=NOW, retention=SECOND)
    assert names(events) == ["Scanned", "Discarded"]
    assert not fold(message, events).live


def test_a_message_that_was_judged_before_is_not_judged_again():
    assert decide.judged(message_in(Stage.QUEUED), event(Scanned), (), now=NOW, retention=1) == ()


def test_answers_are_kept_apart_per_recipient():
    message = message_in(Stage.QUEUED, ANNA, BEN, CARL)
    events = answered(message, {ANNA: Kind.ACCEPTED, BEN: Kind.REFUSED, CARL: Kind.DEFERRED})
    assert {type(e): e.recipients for e in events} == {Delivered: (ANNA,), Failed: (BEN,), Deferred: (CARL,)}
    after = fold(message, events)
    assert after.live
    assert [recipient.tries for recipient in after.recipients] == [1, 1, 1]


def test_an_unknown_outcome_is_tried_again_and_says_so():
    (deferred,) = answered(message_in(Stage.QUEUED), {ANNA: Kind.UNKNOWN})
    assert isinstance(deferred, Deferred)
    assert deferred.next_try == NOW + 900 * SECOND


def test_answers_about_recipients_that_have_an_outcome_already_change_nothing():
    message = evolve(message_in(Stage.QUEUED, ANNA, BEN), event(Delivered, (ANNA,)))
    assert answered(message, {ANNA: Kind.REFUSED}) == ()
    assert names(answered(message, {ANNA: Kind.REFUSED, BEN: Kind.ACCEPTED})) == ["Delivered"]


def test_a_refused_recipient_is_owed_one_bounce_unless_it_is_not_worth_it():
    message = message_in(Stage.QUEUED, ANNA, BEN)
    events = answered(message, {ANNA: Kind.REFUSED, BEN: Kind.REFUSED})
    bounce, addresses = decide.bounced(events)
    assert addresses == {ANNA, BEN}
    assert bounce == decide.bounce_id(message, NOW, 5)
    kept = answered(message, {ANNA: Kind.REFUSED}, why="null sender")
    assert decide.bounced(kept) == ("", frozenset())
    assert kept[0].unsent == "null sender"


@pytest.mark.parametrize("ending", ["refused", "expired"])
def test_what_the_sender_is_not_to_be_told_is_kept_in_quarantine_for_the_postmaster(ending):
    message = message_in(Stage.QUEUED, ANNA, BEN)
    if ending == "refused":
        events = answered(message, {ANNA: Kind.REFUSED, BEN: Kind.ACCEPTED}, why="null sender")
    else:
        message = evolve(message, event(Delivered, (BEN,)))
        events = decide.expired(
            message, now=message.expires, route=ATTEMPT, unsent=lambda _: "null sender", partition_of_sender=5,
            retention=SECOND,
        )  # fmt: skip
    kept = next(one for one in events if isinstance(one, Undeliverable))
    assert (kept.recipients, kept.reason, kept.unsent, kept.attempt) == ((ANNA,), ending, "null sender", ATTEMPT)
    after = fold(message, events)
    assert after.addresses(Stage.QUARANTINED) == (ANNA,)
    assert after.ends == kept.expires == kept.at + SECOND
    assert [one.unsent for one in after.recipients] == ["null sender", ""]


@pytest.mark.parametrize("origin", ["bounce", "report", "alert"])
def test_what_we_wrote_and_cannot_be_delivered_has_failed_and_nothing_of_it_is_kept(origin):
    (failed,) = answered(replace(message_in(Stage.QUEUED), origin=origin), {ANNA: Kind.REFUSED}, why="null sender")
    assert isinstance(failed, Failed)
    assert (failed.bounce, failed.unsent) == ("", "null sender")


def test_undeliverable_mail_can_be_released_and_become_undeliverable_again():
    message = message_in(Stage.QUEUED)
    message = fold(message, answered(message, {ANNA: Kind.REFUSED}, why="x"))
    message = fold(message, decide.released(message, by="me", now=NOW, lifetime=SECOND))
    assert message.addresses(Stage.QUEUED) == (ANNA,)
    assert (message.recipients[0].unsent, message.ends) == ("", NOW + SECOND)
    again = fold(message, answered(message, {ANNA: Kind.REFUSED}, why="x"))
    assert again.addresses(Stage.QUARANTINED) == (ANNA,)
    assert again.recipients[0].tries == 2


def test_the_end_of_waiting_returns_what_is_queued_and_discards_what_is_kept():
    message = message_in(Stage.SCANNED, ANNA, BEN)
    message = fold(message, [event(Queued, (ANNA,)), event(Quarantined, (BEN,))])
    at = {"unsent": lambda _: "", "partition_of_sender": 5, "route": ATTEMPT, "retention": SECOND}
    assert decide.expired(message, now=message.ends - 1, **at) == ()
    events = decide.expired(message, now=message.ends, **at)
    assert {type(e): e.recipients for e in events} == {Failed: (ANNA,)}
    assert events[0].attempt == ATTEMPT
    message = fold(message, events)
    assert message.ends == message.kept_until
    assert decide.expired(message, now=message.ends - 1, **at) == ()
    events = decide.expired(message, now=message.ends, **at)
    assert {type(e): e.recipients for e in events} == {Discarded: (BEN,)}
    assert not fold(message, events).live


def test_a_copy_in_quarantine_does_not_change_how_long_the_others_are_tried():
    """Nor does a head of an earlier version, which has one end for all, lose it."""
    message = message_in(Stage.SCANNED, ANNA, BEN)
    mixed = fold(message, [event(Queued, (ANNA,)), event(Quarantined, (BEN,))])
    assert mixed.ends == message.expires < mixed.kept_until
    old = replace(fold(message, [event(Quarantined, (ANNA, BEN))]), kept_until=0, expires=NOW)
    assert old.ends == NOW
    at = {"unsent": lambda _: "", "partition_of_sender": 5, "route": None, "retention": SECOND}
    assert names(decide.expired(old, now=NOW, **at)) == ["Discarded"]


def test_releasing_twice_is_one_release():
    message = message_in(Stage.QUARANTINED, ANNA, BEN)
    events = decide.released(message, by="me", now=NOW, lifetime=SECOND)
    assert [type(e) for e in events] == [Released]
    after = fold(message, events)
    assert after.addresses(Stage.QUEUED) == (ANNA, BEN)
    assert decide.released(after, by="me", now=NOW, lifetime=SECOND) == ()


def test_a_release_for_one_recipient_leaves_the_others():
    message = message_in(Stage.QUARANTINED, ANNA, BEN)
    after = fold(message, decide.released(message, by="me", now=NOW, lifetime=SECOND, recipients=[BEN]))
    assert after.addresses(Stage.QUARANTINED) == (ANNA,)


@pytest.mark.parametrize("stage", [Stage.RECEIVED, Stage.DELIVERED, Stage.DISCARDED])
def test_only_what_is_in_quarantine_can_be_released_or_deleted(stage):
    for command in (
        lambda m: decide.released(m, by="me", now=NOW, lifetime=SECOND),
        lambda m: decide.deleted(m, by="me", now=NOW),
    ):
        with pytest.raises(RefusedError, match=stage):
            command(message_in(stage))


@pytest.mark.parametrize(
    ("notify", "server_reports", "sender", "origin", "told"),
    [
        ("SUCCESS", False, "s@x.test", "smtp", True),
        ("failure,Success", False, "s@x.test", "smtp", True),
        ("SUCCESS", True, "s@x.test", "smtp", False),
        ("FAILURE", False, "s@x.test", "smtp", False),
        ("", False, "s@x.test", "smtp", False),
        ("SUCCESS", False, "", "smtp", False),
        ("SUCCESS", False, "s@x.test", "bounce", False),
    ],
)
def test_a_report_is_promised_to_who_asked_and_will_hear_from_nobody_else(notify, server_reports, sender, origin, told):
    message = message_in(Stage.QUEUED, ANNA, BEN)
    recipients = (replace(message.recipients[0], notify=notify), message.recipients[1])
    message = replace(message, recipients=recipients, sender=sender, origin=origin)
    attempt = replace(ATTEMPT, dsn=server_reports)
    events = decide.answered(
        message,
        {address: Outcome(kind=Kind.ACCEPTED, attempt=attempt) for address in (ANNA, BEN)},
        now=NOW, next_try=NOW, unsent=lambda _: "", partition_of_sender=5, retention=SECOND,
    )  # fmt: skip
    reported, addresses = decide.bounced(events)
    assert (bool(reported), addresses) == (told, frozenset({ANNA} if told else ()))
    assert {address for event in events for address in event.recipients} == {ANNA, BEN}


def test_no_report_of_a_delivery_goes_to_who_would_get_no_bounce():
    message = message_in(Stage.QUEUED)
    message = replace(message, recipients=(replace(message.recipients[0], notify="SUCCESS"),))
    assert decide.bounced(answered(message, {ANNA: Kind.ACCEPTED}, why="message is from a list")) == ("", frozenset())
    asked = decide.answered(
        message,
        {ANNA: Outcome(kind=Kind.ACCEPTED, attempt=replace(ATTEMPT, dsn=False))},
        now=NOW, next_try=NOW, unsent=lambda one: "sender asked for none" if one.notify else "", partition_of_sender=5,
        retention=SECOND,
    )  # fmt: skip
    assert decide.bounced(asked)[1] == {ANNA}


def test_without_the_report_what_would_be_returned_is_kept_and_of_the_rest_nothing_is_said():
    message = message_in(Stage.QUEUED, ANNA, BEN, CARL)
    asked = replace(message.recipients[1], notify="SUCCESS")
    message = replace(message, recipients=(message.recipients[0], asked, message.recipients[2]))
    outcomes = {ANNA: Kind.REFUSED, BEN: Kind.ACCEPTED, CARL: Kind.DEFERRED}
    events = answered(message, outcomes)
    assert decide.bounced(events)[1] == {ANNA, BEN}
    quiet = decide.without_report(message, events, why="too many", retention=SECOND)
    assert names(quiet) == ["Undeliverable", "Delivered", "Deferred"]
    assert decide.bounced(quiet) == ("", frozenset())
    assert (quiet[0].recipients, quiet[0].unsent, quiet[0].tries) == ((ANNA,), "too many", 1)
    assert fold(message, quiet).addresses(Stage.QUARANTINED) == (ANNA,)


def test_a_warning_names_what_waits_once_and_when_it_is_time():
    message = evolve(message_in(Stage.SCANNED, ANNA, BEN), replace(event(Queued, (ANNA, BEN)), warn_at=NOW))
    at = {"route": None, "partition_of_sender": 5}
    assert decide.delayed(message, now=NOW - 1, wanted=lambda _: True, **at) == ()
    assert decide.delayed(message, now=NOW, wanted=lambda _: False, **at) == ()
    (warned,) = events = decide.delayed(message, now=NOW, wanted=lambda one: one.address == BEN, **at)
    assert (warned.recipients, warned.until) == ((BEN,), message.expires)
    assert decide.bounced(events) == (warned.warning, {BEN})
    after = fold(message, events)
    assert after.addresses(Stage.QUEUED) == (ANNA, BEN)
    assert decide.delayed(after, now=NOW + SECOND, wanted=lambda _: True, **at) == ()
