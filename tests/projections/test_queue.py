"""What each event does to the queue of its domain, as tables."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events import (
    Deferred,
    Delivered,
    Discarded,
    Failed,
    Quarantined,
    Queued,
    Released,
    RouteDeferred,
    RouteOpened,
    Scanned,
)
from pipeline.ids import new_id
from projections.queue import Down, LastError, Queue
from tests.support.examples import ANNA, AT, ATTEMPT, BEN, DOMAIN, SECOND, event, received
from tests.support.histories import folded, recorded

ID = new_id(AT, 0, 1)
COUNTS = "d:" + DOMAIN


@pytest.mark.parametrize(
    ("kinds", "recipients", "messages"),
    [
        ((), 2, 1),
        ((Scanned,), 2, 1),
        ((Scanned, Queued), 2, 1),
        ((Deferred,), 2, 1),
        ((Delivered,), 1, 1),
        ((Failed,), 1, 1),
        ((Quarantined,), 1, 1),
        ((Discarded,), 1, 1),
        ((Quarantined, Discarded), 1, 1),
        ((Quarantined, Released), 2, 1),
        ((Quarantined, Released, Delivered), 1, 1),
    ],
    ids=lambda kinds: "-".join(kind.__name__ for kind in kinds) if isinstance(kinds, tuple) else None,
)
def test_a_message_waits_while_one_of_its_recipients_does(kinds, recipients, messages):
    history = [(ID, received(ANNA, BEN)), *((ID, event(kind, (ANNA,))) for kind in kinds)]
    view = folded(Queue(), recorded(history))
    assert view.counts(COUNTS) == {"recipients": recipients, "messages": messages, "bytes": 1234}


@pytest.mark.parametrize("kind", [Delivered, Failed, Discarded, Quarantined])
def test_after_the_last_recipient_nothing_of_the_message_is_left(kind):
    history = [
        (ID, received(ANNA, BEN)),
        (ID, event(Deferred, (BEN,))),
        (ID, event(kind, (ANNA,))),
        (ID, event(kind, (BEN,))),
    ]
    view = folded(Queue(), recorded(history), cuts=[1, 2, 3])
    assert list(view.hashes) == ["route:" + DOMAIN]
    assert view.zsets == {}


def test_a_deferred_message_is_known_by_its_next_attempt_until_it_leaves():
    view = folded(Queue(), recorded([(ID, received(ANNA)), (ID, event(Deferred))]))
    assert view.zsets["retry:" + DOMAIN] == {ID: (AT + 901 * SECOND) // 1000}


def test_a_released_message_waits_since_its_release():
    history = [(ID, received(ANNA)), (ID, event(Quarantined)), (ID, event(Released, at=AT + 60 * SECOND))]
    for cuts in ([], [2]):
        view = folded(Queue(), recorded(history), cuts)
        assert view.zsets["since:" + DOMAIN] == {ID: (AT + 60 * SECOND) // 1000}
        assert view.counts(COUNTS) == {"recipients": 1, "messages": 1, "bytes": 1234}


def test_a_route_that_fails_keeps_its_servers_words_until_it_opens():
    down = RouteDeferred(at=AT, domain=DOMAIN, tries=3, since=AT - SECOND, next_try=AT + SECOND, attempts=(ATTEMPT,))
    view = folded(Queue(), recorded([("@" + DOMAIN, down)]))
    fields = view.hashes["route:" + DOMAIN]
    assert msgspec.msgpack.decode(fields["down"], type=Down) == Down(AT - SECOND, 3, AT + SECOND)
    assert msgspec.msgpack.decode(fields["error"], type=LastError) == LastError(AT, (ATTEMPT,))
    assert fields["server"] == b"mx.example.test:25"

    opened = RouteOpened(at=AT + SECOND, domain=DOMAIN, server="mx2.example.test:25", since=AT)
    for cuts in ([], [1]):
        view = folded(Queue(), recorded([("@" + DOMAIN, down), ("@" + DOMAIN, opened)]), cuts)
        assert set(view.hashes["route:" + DOMAIN]) == {"error", "server"}
        assert view.hashes["route:" + DOMAIN]["server"] == b"mx2.example.test:25"


def test_a_deferred_message_leaves_its_servers_words():
    view = folded(Queue(), recorded([(ID, received(ANNA)), (ID, event(Deferred))]))
    error = msgspec.msgpack.decode(view.hashes["route:" + DOMAIN]["error"], type=LastError)
    assert error == LastError(AT + SECOND, (ATTEMPT,), ID)


def test_an_expired_message_says_nothing_new_about_its_server():
    expired = msgspec.structs.replace(event(Failed), reason="expired")
    assert "route:" + DOMAIN not in folded(Queue(), recorded([(ID, received(ANNA)), (ID, expired)])).hashes
