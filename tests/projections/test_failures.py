"""Which errors are kept, in which words, and how equal ones are grouped."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events import Attempt, Deferred, Delivered, Failed, RouteDeferred, Undeliverable
from pipeline.ids import new_id
from pipeline.steering import ON_HOLD
from projections.failure_groups import Group, decode_group, decode_groups, group_row, groups_row, without_numbers
from projections.failures import RECIPIENTS_NAMED, Failure, Failures, decode_failure
from projections.readers.failures import group
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, DOMAIN, SECOND, SENDER, event, received
from tests.support.histories import Keys, folded, recorded

ID = new_id(AT, 0, 1)


CAME = (new_id(AT, 0, 9), received(ANNA))
"""What makes the domain one of ours."""


def view_of(events, kept=50, cuts=()) -> Keys:
    return folded(Failures(kept), recorded([CAME, *events]), cuts)


def kept(events, kept=50, cuts=()) -> list[Failure]:
    view = view_of(events, kept, cuts)
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


# --- Equal ones as one


def groups_of(events, kept=50, cuts=(), domain=DOMAIN) -> list[Group]:
    """The one met last first."""
    rows = view_of(events, kept, cuts).hashes["known"]
    order = decode_groups(rows[groups_row(domain)])
    assert sum(name.startswith("=") for name in rows) == 1 + len(order)
    return [decode_group(rows[group_row(domain, digest)]) for digest in reversed(order)]


def refused(reply: str, at: int = AT, *recipients: str) -> Deferred:
    made = msgspec.structs.replace(
        event(Deferred, recipients or (ANNA,)), attempt=msgspec.structs.replace(ATTEMPT, reply=reply)
    )
    return msgspec.structs.replace(made, at=at)


@pytest.mark.parametrize("cuts", [(), (1, 2), range(200)])
def test_equal_errors_are_counted_beyond_those_that_are_kept(cuts):
    events = [(ID, refused(f"451 busy, {number} waiting", AT + number, f"r{number}@x")) for number in range(120)]
    (found,) = groups_of(events, 50, cuts)
    assert (found.count, found.first, found.last) == (120, AT, AT + 119)
    assert found.recipients == tuple(f"r{number}@x" for number in range(119, 99, -1))
    assert found.newest.attempt.reply == "451 busy, 119 waiting"


@pytest.mark.parametrize("cuts", [(), (3,), (4, 5), range(20)])
def test_the_group_not_met_for_the_longest_makes_room_and_begins_anew(cuts):
    words = ["one", "two", "three", "two", "four", "one", "three", "three"]
    found = groups_of([(ID, refused(f"451 {word}", AT + number)) for number, word in enumerate(words)], 3, cuts)
    assert [(one.newest.attempt.reply, one.count) for one in found] == [
        ("451 three", 2),
        ("451 one", 1),
        ("451 four", 1),
    ]


def test_a_group_that_cannot_be_read_begins_anew():
    projection = Failures(5)
    writes = projection.fold(recorded([(ID, refused("451 x"))]), {"@" + DOMAIN: b"1", "=" + DOMAIN: b"\xc1"})
    stored = dict(zip(writes[0][2::2], writes[0][3::2], strict=True))
    (digest,) = decode_groups(stored["=" + DOMAIN])
    again = {"@" + DOMAIN: b"1", "=" + DOMAIN: stored["=" + DOMAIN], group_row(DOMAIN, digest): b"\xc1"}
    (_, _, *words) = projection.fold(recorded([(ID, refused("451 x"))]), again)[0]
    assert decode_group(words[-1]).count == 1


# --- Our own mail to the world


def test_errors_of_domains_that_no_mail_came_in_for_share_one_list():
    bounce, other = new_id(AT, 0, 2), new_id(AT, 0, 3)
    events = [(bounce, received(ANNA, origin="bounce")), (bounce, event(Deferred)), (other, event(Deferred))]
    elsewhere = [(name, msgspec.structs.replace(one, domain="world.test")) for name, one in events]
    view = folded(Failures(), recorded([*events, *elsewhere]))
    assert [key for key in view.lists if key.startswith("f:")] == ["f:*"]
    assert [decode_failure(one).domain for one in view.lists["f:*"]] == ["world.test", "world.test", DOMAIN, DOMAIN]
    assert not any(name.startswith("@") for name in view.hashes["known"])


@pytest.mark.parametrize("cuts", [(), (1,), (2,), range(9)])
def test_a_domain_is_ours_from_the_first_message_that_came_in_for_it(cuts):
    down = RouteDeferred(at=AT, domain=DOMAIN, tries=1, since=AT, next_try=AT + SECOND, attempts=(ATTEMPT,))
    view = folded(Failures(), recorded([("@" + DOMAIN, down), CAME, ("@" + DOMAIN, down)]), cuts)
    assert {key: len(value) for key, value in view.lists.items()} == {"f:*": 1, "f:" + DOMAIN: 1}


def test_a_long_reply_of_letters_only_is_compared_in_no_time():
    assert without_numbers("a" * 100_000) == "a" * 100_000
    assert without_numbers("id 4A5B6C cafe 77") == "id # cafe #"
