"""Events in words."""

from __future__ import annotations

import pytest

from cli.words import describe
from pipeline.directory import Domain
from pipeline.directory.model import encode
from pipeline.events import (
    ALL_EVENTS,
    MESSAGE_EVENTS,
    AddressesRemoved,
    AddressesSet,
    Attempt,
    Client,
    Deferred,
    DomainRemoved,
    DomainSet,
    Learned,
    OperatorEvent,
    Received,
    RecipientSpec,
    Refused,
    Reported,
    Retried,
    RouteDeferred,
    RouteOpened,
    RulesRemoved,
    RulesSet,
    Scanned,
    ServerHeld,
    ServerResumed,
    SyncRan,
    SyncRemoved,
    SyncSet,
)
from tests.support import examples

HOSTILE = "\x1b]0;title\x07\u202e[bold]"


def texts(told):
    yield told.text
    yield from told.more
    yield from (where for where, _ in told.quotes)


COMMON = {"at": examples.AT, "domain": examples.DOMAIN}
EVENTS = [
    *(examples.event(kind) for kind in MESSAGE_EVENTS),
    RouteDeferred(**COMMON, tries=1, since=examples.AT, next_try=examples.AT, attempts=(examples.ATTEMPT,)),
    RouteOpened(**COMMON, server="mx.example.test:25", since=examples.AT),
    Retried(**COMMON, by="cli:root", waiting=2),
    DomainSet(**COMMON, by="cli:root"),
    DomainRemoved(**COMMON, by="cli:root"),
    AddressesSet(**COMMON, by="cli:root", locals=("anna",)),
    AddressesRemoved(**COMMON, by="cli:root", locals=("anna",)),
    *(one for one in examples.ONE_OF_EACH if isinstance(one, Refused | SyncSet | SyncRemoved | SyncRan)),
    *(
        one
        for one in examples.ONE_OF_EACH
        if isinstance(one, ServerHeld | ServerResumed | RulesSet | RulesRemoved | Learned | Reported | OperatorEvent)
    ),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__struct_config__.tag)
def test_an_event_has_words(event):
    told = describe(event)
    assert told.verb
    assert told.text
    assert all(text.isprintable() for text in texts(told))


def test_no_event_is_without_words():
    assert {type(event) for event in EVENTS} == set(ALL_EVENTS)


def test_text_of_strangers_is_cleaned_in_words():
    attempt = Attempt(server=HOSTILE, address=HOSTILE, stage="rcpt", code=450, reply=HOSTILE)
    for event in (
        Scanned(**COMMON, verdict="clean", score=0.0, subject=HOSTILE),
        Deferred(**COMMON, recipients=(HOSTILE,), sender=HOSTILE, size=1, tries=1, attempt=attempt, next_try=1),
        RouteDeferred(**COMMON, tries=1, since=1, next_try=1, attempts=(attempt,)),
        Received(**COMMON, sender=HOSTILE, recipients=(), size=1, expires=1),
        Received(
            **COMMON, sender="", size=1, expires=1,
            recipients=(RecipientSpec(address="anna@example.test", original="anna@" + HOSTILE),),
        ),
        Refused(
            **COMMON, reason=HOSTILE, client=Client(address=HOSTILE, helo=HOSTILE), stage="rcpt", code=550,
            enhanced="5.1.1", reply="no", sender=HOSTILE, recipient=HOSTILE,
        ),
        DomainSet(**COMMON, by=HOSTILE, after=encode(Domain(name="example.test", contact=HOSTILE))),
        AddressesSet(**COMMON, by=HOSTILE, locals=(HOSTILE,), before=(b"",), after=(b"",)),
        AddressesRemoved(**COMMON, by=HOSTILE, locals=(HOSTILE,)),
        SyncRan(**COMMON, by=HOSTILE, name=HOSTILE, run=1, result="failed", problems=(HOSTILE,), problem_count=1),
    ):  # fmt: skip
        told = describe(event)
        assert all(text.isprintable() for text in texts(told))
        assert "\\x1b" in "".join(texts(told))


def test_the_null_sender_is_written_as_people_know_it():
    assert describe(examples.received(sender="")).text.startswith("from <> to anna@example.test")


def test_many_recipients_are_counted():
    event = examples.received(*(f"user{number}@example.test" for number in range(1000)))
    assert "user4@example.test and 995 more" in describe(event).text
