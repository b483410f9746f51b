"""What holds for every projection: batches do not matter, history may be anything, and the model says the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import (
    MESSAGE_EVENTS,
    Delivered,
    Discarded,
    Failed,
    Quarantined,
    Received,
    Recorded,
    Released,
    Undeliverable,
)
from pipeline.ids import new_id
from pipeline.settings import Settings
from pipeline.state import Message, Stage, evolve
from projections.base import OWN
from projections.books import Books
from projections.failures import Failures
from projections.queue import Queue, decode_row
from projections.views import projections
from tests.support.examples import ANNA, AT, BEN, DOMAIN, event, received
from tests.support.histories import Keys, folded, impossible, legal, pairs, recorded

ALL = [Failures(7), *projections(Settings())]
WAITING = (Stage.RECEIVED, Stage.SCANNED, Stage.QUEUED, Stage.HELD)
ID = new_id(AT, 0, 1)

seeds = st.integers(0, 2**32)
cuts = st.lists(st.integers(0, 120), max_size=40)


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
@given(seed=seeds, cuts=cuts)
def test_batches_of_any_size_leave_the_same_view(projection, seed, cuts):
    events, _ = legal(random.Random(seed), messages=8, steps=120)
    assert folded(projection, events, cuts).dump() == folded(projection, events, range(len(events))).dump()


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
@given(seed=seeds, cuts=cuts)
def test_impossible_histories_are_folded_all_the_same_in_batches_of_any_size(projection, seed, cuts):
    events = impossible(random.Random(seed), 60)
    assert folded(projection, events, cuts).dump() == folded(projection, events, range(len(events))).dump()


@pytest.mark.parametrize("projection", ALL, ids=lambda one: one.name)
@given(seed=seeds, cuts=cuts)
def test_only_the_kinds_that_a_view_names_make_a_difference_to_it(projection, seed, cuts):
    """So the others need not be read for it."""
    for events in (legal(random.Random(seed), messages=8, steps=120)[0], impossible(random.Random(seed), 60)):
        mine = [one for one in events if type(one.event) in projection.kinds]
        assert folded(projection, mine, cuts).dump() == folded(projection, events, cuts).dump()


@given(seed=seeds, cuts=cuts)
def test_the_queue_holds_exactly_the_recipients_that_wait_and_since_when(seed, cuts):
    events, messages = legal(random.Random(seed), messages=8, steps=120)
    view = folded(Queue(), events, cuts)
    expected: dict[str, Counter[str]] = {}
    for message in messages.values():
        if waiting := len(message.addresses(*WAITING)):
            counts = expected.setdefault("d:" + message.domain, Counter())
            counts.update(recipients=waiting, messages=1, bytes=message.size)
            if message.addresses(Stage.HELD):
                counts["held"] += 1
    assert {key: view.counts(key) for key in view.hashes if key.startswith("d:")} == expected
    assert {name: decode_row(row).since for name, row in view.hashes.get("live", {}).items()} == waiting_since(events)
    scores = {
        name: score for key, zset in view.zsets.items() if key.startswith("since:") for name, score in zset.items()
    }
    assert scores == {name: since // 1000 for name, since in waiting_since(events).items()}


def mail(view: Keys) -> list[str]:
    """The messages that it has a row of."""
    return [name for name in view.hashes.get("live", {}) if not name.startswith("@")]


def waiting_since(events: Sequence[Recorded]) -> dict[str, int]:
    """When each message that waits at the end began to, event by event through the state machine."""
    messages: dict[str, Message] = {}
    since: dict[str, int] = {}
    for one in events:
        if isinstance(one.event, MESSAGE_EVENTS):
            message = messages[one.subject] = evolve(messages.get(one.subject), one.event, one.subject)
            if not message.addresses(*WAITING):
                since.pop(one.subject, None)
            else:
                since.setdefault(one.subject, one.event.at)
    return since


@given(seed=seeds, cuts=cuts)
def test_the_books_of_legal_histories_balance_and_agree_with_the_messages(seed, cuts):
    events, messages = legal(random.Random(seed), messages=8, steps=120)
    view = folded(Books(), events, cuts)
    stages = {
        "delivered": (Stage.DELIVERED,), "failed": (Stage.FAILED,), "discarded": (Stage.DISCARDED,),
        "waiting": WAITING, "quarantined": (Stage.QUARANTINED,), "redirected": (Stage.REDIRECTED,),
    }  # fmt: skip
    accounts = accounts_of(events)
    for domain in set(accounts.values()):
        mine = [message for message in messages.values() if accounts[message.id] == domain]
        counts = view.counts("d:" + domain)
        assert "odd" not in counts
        assert counts["received"] == sum(len(message.recipients) for message in mine)
        for field, wanted in stages.items():
            assert counts.get(field, 0) == sum(len(message.addresses(*wanted)) for message in mine), field


def accounts_of(events: Sequence[Recorded]) -> dict[str, str]:
    """Whose books each message is in: a domain's from the first message on that came in for it by SMTP, else our own."""
    ours: set[str] = set()
    accounts = {}
    for one in events:
        if isinstance(one.event, Received):
            if one.event.origin == "smtp":
                ours.add(one.event.domain)
            accounts[one.subject] = one.event.domain if one.event.domain in ours else OWN
    return accounts


@pytest.mark.parametrize("projection", [Queue(), Books()], ids=lambda one: one.name)
def test_mail_that_comes_and_goes_within_a_batch_leaves_no_trace_of_itself(projection):
    view = folded(projection, recorded([(ID, received(ANNA, BEN)), (ID, event(Delivered, (ANNA, BEN)))]))
    assert not mail(view)
    assert not any(key.startswith(("since:", "retry:")) for key in view.zsets)


@pytest.mark.parametrize("kind", [Delivered, Failed])
@pytest.mark.parametrize("projection", [Queue(), Books()], ids=lambda one: one.name)
def test_an_outcome_for_somebody_nobody_knew_is_counted_as_odd(projection, kind):
    view = folded(projection, recorded([(ID, event(kind, (ANNA, BEN)))]))
    assert view.counts("d:" + DOMAIN)["odd"] == 2


def test_a_row_that_cannot_be_read_is_none_and_its_message_becomes_odd():
    for projection in (Queue(), Books()):
        writes = projection.fold(recorded([(ID, event(Delivered))]), {ID: b"\xc1"})
        added = next(one for one in writes if one[0] == "ADD")
        assert added[1] == "d:" + DOMAIN
        assert ("odd", "1") in pairs(added[2:])
        assert ("HDEL", "live", ID) in writes


def test_a_recipient_delivered_twice_unbalances_the_books():
    twice = [(ID, received(ANNA)), (ID, event(Delivered)), (ID, event(Delivered))]
    counts = folded(Books(), recorded(twice)).counts("d:" + DOMAIN)
    assert (counts["received"], counts["delivered"], counts["odd"]) == (1, 2, 1)


def test_a_recipient_that_was_named_twice_counts_once():
    view = folded(Books(), recorded([(ID, received(ANNA, ANNA)), (ID, event(Delivered, (ANNA, ANNA)))]))
    assert view.counts("d:" + DOMAIN) == {
        "received": 1, "delivered": 1, "messages": 1, "bytes": 1234, "deliveries": 1,
    }  # fmt: skip


def test_a_discard_finds_out_by_itself_whether_the_copy_waited_or_lay_in_quarantine():
    start = [(ID, received(ANNA, BEN)), (ID, event(Quarantined, (BEN,)))]
    before = folded(Books(), recorded(start)).counts("d:" + DOMAIN)
    after = folded(Books(), recorded([*start, (ID, event(Discarded, (ANNA, BEN)))])).counts("d:" + DOMAIN)
    assert (before["waiting"], before["quarantined"]) == (1, 1)
    assert after == {"received": 2, "discarded": 2, "messages": 1, "bytes": 1234}


def test_what_is_kept_as_undeliverable_leaves_the_queue_and_is_in_the_books_once():
    start = [(ID, received(ANNA, BEN)), (ID, event(Delivered, (BEN,))), (ID, event(Undeliverable))]
    counts = folded(Books(), recorded(start)).counts("d:" + DOMAIN)
    assert (counts["received"], counts["delivered"], counts["quarantined"]) == (2, 1, 1)
    assert not counts.keys() & {"failed", "waiting", "odd"}
    assert "live" not in folded(Queue(), recorded(start)).hashes
    released = folded(Books(), recorded([*start, (ID, event(Released)), (ID, event(Delivered))])).counts("d:" + DOMAIN)
    assert released == {"received": 2, "delivered": 2, "messages": 1, "bytes": 1234, "deliveries": 2}


def test_sizes_out_of_all_bounds_do_not_break_a_counter():
    for projection in (Queue(), Books()):
        view = folded(
            projection, recorded([(ID, received(ANNA, size=2**63 - 1)), (new_id(AT, 0, 2), received(size=-5))])
        )
        assert view.counts("d:" + DOMAIN)["bytes"] == 2**53


def test_received_without_recipients_waits_for_nobody():
    nobody = Received(at=AT, domain=DOMAIN, sender="", recipients=(), size=1, expires=AT)
    for projection in (Queue(), Books()):
        assert not mail(folded(projection, recorded([(ID, nobody)])))


@pytest.mark.parametrize("origin", ["bounce", "report", "alert", "redirect"])
def test_our_own_mail_to_the_world_is_in_one_account_and_leaves_nothing_of_its_domains(origin):
    history = []
    for number, domain in enumerate(("world.test", "elsewhere.test")):
        name = new_id(AT, 0, number)
        history += [(name, received(ANNA, BEN, origin=origin)), (name, event(Delivered)), (name, event(Failed, (BEN,)))]
        history[-3:] = [(name, msgspec.structs.replace(one, domain=domain)) for name, one in history[-3:]]
    for cuts in ([], range(6)):
        view = folded(Books(), recorded(history), cuts)
        assert view.hashes.keys() == {"d:*"}
        assert view.counts("d:*") == {
            "received": 4, "delivered": 2, "failed": 2, "messages": 2, "bytes": 2468, "deliveries": 2,
        }  # fmt: skip


def test_a_bounce_to_a_domain_that_mail_comes_in_for_is_in_its_books():
    bounce = new_id(AT, 0, 2)
    view = folded(Books(), recorded([(ID, received(ANNA)), (bounce, received(BEN, origin="bounce"))]), [1])
    assert view.counts("d:" + DOMAIN)["received"] == 2
