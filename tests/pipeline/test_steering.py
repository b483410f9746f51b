"""What a postmaster decides about waiting mail, as tables; and that no order of such decisions leads out of the table of states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import keys, steering
from pipeline.decide import answered, expired
from pipeline.events import Deferred, Discarded, Failed, Held, Queued, Redirected, Resumed
from pipeline.faults import RefusedError
from pipeline.ids import partition_of
from pipeline.outcome import Kind, Outcome
from pipeline.state import TERMINAL, Message, Stage, evolve
from pipeline.steps import MS, fold, message_step
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, CARL, SECOND, event, message_in

NOW = AT + 60 * SECOND
LATER = NOW + 600 * SECOND
BY = {"by": "cli:op", "now": NOW}


def sent(_):
    return ""


def plan(message: Message, then: str = "bounce", action: str = "a1", **changes):
    asked = {"by": "cli:op", "reason": "why", "now": NOW, "until": LATER, **changes}
    return steering.planned(message, then=then, action=action, **asked)


def after(message: Message, *events) -> Message:
    return fold(message, events) if events else message


def end(message: Message, now: int = LATER):
    return steering.carried_out(message, now=now, route=None, unsent=sent, partition_of_sender=3)


def test_a_hold_covers_every_waiting_copy_and_says_who_why_and_until_when():
    message = message_in(Stage.QUEUED, ANNA, BEN)
    (held,) = steering.held(message, reason="look at it", until=LATER, **BY)
    assert held == Held(
        at=NOW, domain=message.domain, recipients=(ANNA, BEN), by="cli:op", reason="look at it", until=LATER
    )
    message = after(message, held)
    assert message.stage is Stage.HELD
    assert (message.hold.by, message.hold.since, message.hold.until) == ("cli:op", NOW, LATER)
    assert steering.held(message, reason="look at it", until=LATER, **BY) == ()
    assert steering.held(message, reason="another reason", **BY) != ()


def test_resuming_lets_it_leave_at_once_and_twice_is_once():
    message = after(
        message_in(Stage.QUEUED), event(Deferred), *steering.held(message_in(Stage.QUEUED), reason="x", **BY)
    )
    (resumed,) = steering.resumed(message, **BY)
    message = after(message, resumed)
    assert (message.stage, message.hold, message.next_try) == (Stage.QUEUED, None, 0)
    assert steering.resumed(message, **BY) == ()


@pytest.mark.parametrize("stage", [Stage.RECEIVED, Stage.QUARANTINED, *sorted(TERMINAL)])
def test_what_does_not_wait_to_leave_cannot_be_steered_and_is_said_to_be_where_it_is(stage):
    message = message_in(stage)
    for decided in (
        lambda: steering.held(message, reason="x", **BY),
        lambda: steering.resumed(message, **BY),
        lambda: plan(message),
        lambda: steering.redirected(message, to=CARL, reason="x", lifetime=1, partition=0, **BY),
    ):
        with pytest.raises(RefusedError, match=f"it is {stage}"):
            decided()
    assert steering.undone(message, **BY) == ()
    assert end(message) == ()


@pytest.mark.parametrize(
    ("then", "kind", "stage"), [("bounce", Failed, Stage.FAILED), ("delete", Discarded, Stage.DISCARDED)]
)
def test_a_planned_end_comes_when_its_time_is_over_and_not_before(then, kind, stage):
    message = after(message_in(Stage.QUEUED, ANNA, BEN), *plan(message_in(Stage.QUEUED, ANNA, BEN), then))
    assert end(message, LATER - 1) == ()
    events = end(message)
    assert {type(one) for one in events} == {kind}
    assert all(one.by == "cli:op" and one.note == "why" for one in events)
    assert after(message, *events).stage is stage
    assert after(message, *events).hold is None


def test_a_return_makes_one_bounce_for_all_recipients_or_says_why_there_is_none():
    message = after(message_in(Stage.QUEUED, ANNA, BEN), *plan(message_in(Stage.QUEUED, ANNA, BEN)))
    events = end(message)
    assert len({one.bounce for one in events}) == 1
    assert partition_of(events[0].bounce) == 3
    silent = steering.carried_out(
        message, now=LATER, route=ATTEMPT, unsent=lambda _: "null sender", partition_of_sender=3
    )
    assert [(one.bounce, one.unsent, one.attempt) for one in silent] == [("", "null sender", ATTEMPT)] * 2


def test_asking_for_the_same_end_twice_is_once_and_for_another_one_is_refused():
    message = after(message_in(Stage.QUEUED), *plan(message_in(Stage.QUEUED)))
    assert plan(message, action="a2") == ()
    for decided in (
        lambda: plan(message, "delete"),
        lambda: steering.held(message, reason="x", **BY),
        lambda: steering.resumed(message, **BY),
        lambda: steering.redirected(message, to=CARL, reason="x", lifetime=1, partition=0, **BY),
    ):
        with pytest.raises(RefusedError, match="returned to its sender") as refused:
            decided()
        assert "queue undo" in refused.value.remedy


def test_taking_a_plan_back_lets_mail_flow_or_puts_the_hold_back_that_was_there():
    free = message_in(Stage.QUEUED)
    (resumed,) = steering.undone(after(free, *plan(free)), **BY)
    assert isinstance(resumed, Resumed)
    assert resumed.undoes == "a1"

    held = after(
        free, Held(at=AT, domain=free.domain, recipients=(ANNA,), by="cli:first", reason="before", until=LATER)
    )
    planned = after(held, *plan(held, by="cli:second"))
    assert planned.hold.then == "bounce"
    again = after(planned, *steering.undone(planned, by="cli:third", now=NOW))
    assert again.hold == held.hold
    assert steering.undone(again, **BY) == ()
    assert steering.undone(planned, action="another", **BY) == ()


def test_a_hold_with_an_end_lets_mail_flow_then():
    message = after(message_in(Stage.QUEUED), *steering.held(message_in(Stage.QUEUED), reason="x", until=LATER, **BY))
    (resumed,) = end(message)
    assert (type(resumed), resumed.by) == (Resumed, steering.OURSELVES)
    forever = after(message_in(Stage.QUEUED), *steering.held(message_in(Stage.QUEUED), reason="x", **BY))
    assert end(forever, NOW * 2) == ()


def test_held_mail_ends_when_its_lifetime_does_and_planned_mail_as_planned():
    free = message_in(Stage.QUEUED)
    at = {"now": free.expires, "route": None, "unsent": sent, "partition_of_sender": 0, "retention": SECOND}
    (failed,) = expired(after(free, *steering.held(free, reason="x", **BY)), **at)
    assert failed.reason == "expired"
    assert expired(after(free, *plan(free)), **at) == ()


def test_a_delivery_that_happened_is_recorded_of_a_held_copy_too_and_nothing_else():
    message = after(message_in(Stage.QUEUED), *plan(message_in(Stage.QUEUED)))
    at = {"now": NOW, "next_try": LATER, "unsent": sent, "partition_of_sender": 0, "retention": SECOND}
    for kind, stage in ((Kind.ACCEPTED, Stage.DELIVERED), (Kind.REFUSED, Stage.HELD), (Kind.DEFERRED, Stage.HELD)):
        events = answered(message, {ANNA: Outcome(kind=kind, attempt=ATTEMPT)}, **at)
        assert after(message, *events).stage is stage


def test_a_redirection_ends_the_waiting_copies_and_begins_a_message_that_says_where_it_came_from():
    message = message_in(Stage.QUEUED, ANNA, BEN)
    asked = {"to": CARL, "reason": "on leave", "lifetime": 7 * SECOND, "partition": 5, **BY}
    event_, received = steering.redirected(message, **asked)
    assert isinstance(event_, Redirected)
    assert after(message, event_).stage is Stage.REDIRECTED
    assert (partition_of(event_.message), received.domain, received.cause) == (5, "other.test", message.id)
    (spec,) = received.recipients
    assert (spec.address, spec.original) == (CARL, ANNA)
    assert steering.redirected(message, **asked) == (event_, received)
    with pytest.raises(RefusedError, match="already"):
        steering.redirected(message_in(Stage.QUEUED), to=ANNA, reason="x", lifetime=1, partition=0, **BY)


# --- Where it is found


class Sets:
    """The sorted sets that steps write, in memory."""

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, int]] = {}

    def apply(self, effects) -> None:
        for verb, key, *words in effects:
            if verb == "ZADD":
                self.sets.setdefault(key, {})[words[1]] = int(words[0])
            elif verb == "ZREM":
                self.sets.get(key, {}).pop(words[0], None)

    def score(self, key: str, member: str) -> int | None:
        return self.sets.get(key, {}).get(member)


MOVES = ("hold", "hold until", "resume", "bounce", "delete", "undo", "deliver", "defer", "end", "redirect")


def moved(message: Message, move: str, now: int):
    """The events of a move; none where it is refused."""
    by = {"by": "cli:op", "now": now}
    try:
        match move:
            case "hold" | "hold until":
                return steering.held(message, reason=move, until=now + SECOND if move != "hold" else 0, **by)
            case "resume":
                return steering.resumed(message, **by)
            case "bounce" | "delete":
                return steering.planned(message, then=move, reason="x", until=now + SECOND, action=move, **by)
            case "undo":
                return steering.undone(message, **by)
            case "redirect":
                return steering.redirected(message, to=CARL, reason="x", lifetime=1, partition=0, **by)[:1]
            case "end":
                return steering.carried_out(message, now=now, route=None, unsent=sent, partition_of_sender=0)
            case _:
                kind = Kind.ACCEPTED if move == "deliver" else Kind.DEFERRED
                outcome = {ANNA: Outcome(kind=kind, attempt=ATTEMPT)}
                return answered(
                    message,
                    outcome,
                    now=now,
                    next_try=now + SECOND,
                    unsent=sent,
                    partition_of_sender=0,
                    retention=SECOND,
                )
    except RefusedError:
        return ()


@given(st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 3)), max_size=25))
def test_a_message_is_found_where_its_stage_and_hold_say_whatever_was_decided_in_whatever_order(moves):
    message, sets = message_in(Stage.SCANNED, ANNA, BEN), Sets()
    step, message = message_step(message, [event(Queued, (ANNA, BEN))], now=AT)
    sets.apply(step.effects)
    now, partition = NOW, partition_of(message.id)
    for move, seconds in moves:
        now += seconds * SECOND
        events = moved(message, move, now)
        if not events:
            continue
        step, message = message_step(message, events, now=now)
        sets.apply(step.effects)
        if not message.live:
            break
        assert (message.hold is not None) == bool(message.addresses(Stage.HELD))
        queued = sets.score(keys.queue(partition, message.domain), message.id)
        assert (queued is not None) == bool(message.addresses(Stage.QUEUED))
        since = message.hold.since // MS if message.hold else None
        until = message.hold.until // MS if message.hold and message.hold.until else None
        assert sets.score(keys.ends(partition), message.id) == until
        for name in (keys.held(partition), keys.held_of(partition, message.domain)):
            assert (sets.score(name, message.id) is not None) == (since is not None)
    if not message.live:
        assert not any(sets.sets.values())


def test_a_head_without_a_hold_is_as_it_always_was():
    message = message_in(Stage.QUEUED)
    assert evolve(message, event(Held)).hold is not None
    assert message.hold is None
