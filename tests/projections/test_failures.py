"""Which errors are kept, in which words, and how equal ones are grouped."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events import Attempt, Deferred, Delivered, Failed, RouteDeferred, Undeliverable
from pipeline.ids import new_id
from pipeline.steering import ON_HOLD
from projections.failures import RECIPIENTS_NAMED, Failure, Failures, decode_failure
from projections.readers.failures import group
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, DOMAIN, SECOND, SENDER, event
from tests.support.histories import folded, recorded

ID = new_id(AT, 0, 1)


def kept(events, kept=50, cuts=()) -> list[Failure]:
    view = folded(Failures(kept), recorded(events), cuts)
    return [decode_failure(one) for one in view.lists.get("f:" + DOMAIN, [])]


def test_a_deferral_keeps_the_exact_reply_and_when_it_is_tried_again():
    (failure,) = kept([(ID, event(Deferred, (ANNA, BEN)))])
    assert failure == Failure(
        at=AT + SECOND, kind="deferred", attempt=ATTEMPT, message=ID, sender=SENDER, recipients=(ANNA, BEN),
        recipient_count=2, size=1234, tries=1, next_try=AT + 901 * SECOND,
    )  # fmt: skip
    assert failure.attempt.reply == "451-4.7.1 Greylisted,\n451 4.7.1 come back later"


@pytest.mark.parametrize(
    ("change", "following"),
    [({"bounce": "b"}, "returned"), ({"bounce": "", "unsent": "null sender"}, "gave up")],
)
def test_a_failure_says_whether_the_sender_was_told(change, following):
    (failure,) = kept([(ID, msgspec.structs.replace(event(Failed), **change))])
    assert (failure.kind, failure.next, failure.reason) == ("failed", following, "refused")


def test_a_route_leaves_a_record_for_each_server_tried():
    attempts = tuple(
        Attempt(server=f"mx{number}.example.test:25", stage="connect", reply="refused") for number in range(2)
    )
    down = RouteDeferred(at=AT, domain=DOMAIN, tries=1, since=AT, next_try=AT + SECOND, attempts=attempts)
    found = kept([("@" + DOMAIN, down)])
    assert [one.attempt.server for one in found] == ["mx1.example.test:25", "mx0.example.test:25"]
    assert {(one.kind, one.next, one.next_try, one.message) for one in found} == {
        ("route_deferred", "retry", AT + SECOND, "")
    }


def test_a_route_without_a_server_to_try_leaves_a_record_too():
    down = RouteDeferred(at=AT, domain=DOMAIN, tries=1, since=AT, next_try=AT + SECOND, attempts=())
    assert kept([("@" + DOMAIN, down)])[0].attempt.stage == "route"


def test_success_is_not_an_error():
    assert kept([(ID, event(Delivered))]) == []


@pytest.mark.parametrize("cuts", [(), (1,), (40,), range(60)])
def test_the_newest_are_kept_and_the_newest_comes_first(cuts):
    events = [(ID, msgspec.structs.replace(event(Deferred), tries=number)) for number in range(60)]
    assert [one.tries for one in kept(events, 50, cuts)] == list(range(59, 9, -1))


def test_what_is_kept_as_undeliverable_is_among_the_failures_with_why_nobody_was_told():
    (failure,) = kept([(ID, event(Undeliverable))])
    assert (failure.kind, failure.next, failure.unsent) == ("undeliverable", "kept", "null sender")
    assert (failure.attempt, failure.recipients) == (ATTEMPT, (ANNA,))


def test_none_are_kept_when_none_are_wanted():
    assert kept([(ID, event(Deferred))], kept=0) == []


def test_a_thousand_recipients_are_counted_and_the_first_hundred_named():
    everybody = tuple(f"r{number}@example.test" for number in range(1000))
    (failure,) = kept([(ID, event(Deferred, everybody))])
    assert (failure.recipient_count, failure.recipients) == (1000, everybody[:RECIPIENTS_NAMED])


def test_a_lost_last_reply_is_shown_as_a_possible_duplicate():
    unknown = msgspec.structs.replace(event(Deferred), attempt=msgspec.structs.replace(ATTEMPT, unknown=True))
    assert [one.possible_duplicate for one in kept([(ID, unknown), (ID, event(Deferred))])] == [False, True]


def said(reply: str, at: int = AT, recipient: str = ANNA, code: int = 451) -> Failure:
    attempt = Attempt(server="mx.example.test:25", stage="rcpt", code=code, reply=reply)
    return Failure(at=at, kind="deferred", attempt=attempt, recipients=(recipient,), recipient_count=1)


def test_errors_that_differ_in_numbers_and_addresses_only_are_one_group():
    newest = said(f"451 4.7.1 <{BEN}>: greylisted, 299 seconds, id 4A5B6C", AT + SECOND, BEN)
    oldest = said(f"451 4.7.1 <{ANNA}>: greylisted, 300 seconds, id 9F0E1D", AT)
    (found,) = group([newest, oldest])
    assert (found.count, found.first, found.last) == (2, AT, AT + SECOND)
    assert found.recipients == (BEN, ANNA)
    assert found.newest == newest


@pytest.mark.parametrize(
    "other",
    [
        said("451 4.7.1 something else"),
        said("451 4.7.1 greylisted", code=450),
        msgspec.structs.replace(said("451 4.7.1 greylisted"), kind="failed"),
    ],
)
def test_errors_that_say_something_else_are_groups_of_their_own(other):
    assert len(group([said("451 4.7.1 greylisted"), other])) == 2


def test_what_no_server_said_is_no_answer_of_a_server():
    returned = msgspec.structs.replace(event(Failed), reason="returned", by="cli:op")
    held = msgspec.structs.replace(ATTEMPT, stage="route", code=0, reply=ON_HOLD)
    route = RouteDeferred(at=AT, domain=DOMAIN, tries=1, since=AT, next_try=AT + SECOND, attempts=(held, ATTEMPT))
    assert [one.attempt for one in kept([(ID, returned), ("@" + DOMAIN, route)])] == [ATTEMPT]
