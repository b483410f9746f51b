"""What happens to a message at which an engine should have looked and did not."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.actions import Action
from pipeline.directory.model import Domain
from pipeline.scanning.engines import missing
from pipeline.settings import Settings
from pipeline.units import SECOND
from tests.support.mail import message

NOW = 1_795_000_000 * SECOND
HOUR = 3600 * SECOND
AWAY = ("clamav (cannot be reached)",)
X, Y = "x@example.test", "y@example.test"


@pytest.mark.parametrize(
    ("unseen", "policy", "kept", "waits_since", "origin", "word"),
    [
        ((), "quarantine", {}, 0, "smtp", "pass"),
        (AWAY, "pass", {}, 0, "smtp", "pass"),
        (AWAY, "quarantine", {}, 0, "smtp", "quarantine"),
        (AWAY, "wait", {}, 0, "smtp", "wait"),
        (AWAY, "wait", {}, NOW - HOUR, "smtp", "wait"),
        (AWAY, "wait", {}, NOW - 4 * HOUR, "smtp", "quarantine"),
        (AWAY, "wait", {X: "virus"}, 0, "smtp", "wait"),
        (AWAY, "wait", {X: "virus", Y: "virus"}, 0, "smtp", "pass"),
        (AWAY, "quarantine", {X: "virus", Y: "virus"}, 0, "smtp", "pass"),
        (AWAY, "wait", {}, 0, "bounce", "pass"),
        (AWAY, "nonsense", {}, 0, "smtp", "pass"),
    ],
)
def test_what_happens(unseen, policy, kept, waits_since, origin, word):
    subject = msgspec.structs.replace(message(X, Y, origin=origin), waits_since=waits_since)
    assert missing.fate(unseen, policy, subject, kept, now=NOW, wait=4 * HOUR) == word


def test_the_domain_s_word_is_before_that_of_the_settings():
    settings = Settings(engines_missing="wait")
    assert missing.policy_of(settings, None) == "wait"
    assert missing.policy_of(settings, Domain(name="a.test")) == "wait"
    assert missing.policy_of(settings, Domain(name="a.test", engines_missing="quarantine")) == "quarantine"


def test_every_copy_is_kept_and_those_that_were_anyway_for_their_own_reason():
    actions = (
        Action(recipient=X, action="quarantine", reason="virus: bad"),
        Action(recipient=Y, action="tag", tag="t"),
    )
    kept = missing.kept_back(message(X, Y), actions, AWAY, now=NOW)
    why = "not scanned by clamav (cannot be reached)"
    assert kept == (actions[0], Action(recipient=Y, action="quarantine", reason=why, why=(why,)))


def test_a_copy_that_is_discarded_stays_so():
    actions = (Action(recipient=X, action="discard", reason="spam"),)
    assert missing.kept_back(message(X), actions, AWAY, now=NOW) == actions


def test_the_reason_tells_how_long_it_waited():
    waited = msgspec.structs.replace(message(X), waits_since=NOW - 4 * HOUR)
    (kept,) = missing.kept_back(waited, (Action(recipient=X),), AWAY, now=NOW)
    assert kept.reason == "not scanned by clamav (cannot be reached), waited for 4 h 0 min"


def test_it_is_recorded_once_that_a_message_waits_and_again_when_it_waits_for_others():
    subject = message(X)
    (event,) = missing.postponed(subject, AWAY, now=NOW, until=NOW + HOUR)
    assert (event.missing, event.until, event.domain) == (AWAY, NOW + HOUR, "example.test")
    waits = msgspec.structs.replace(subject, waits_since=NOW, missing=("clamav (did not answer within 2 s)",))
    assert missing.postponed(waits, AWAY, now=NOW, until=NOW + HOUR) == ()
    assert missing.postponed(waits, (*AWAY, "rspamd (x)"), now=NOW, until=NOW + HOUR) != ()


@pytest.mark.parametrize(
    ("unseen", "field"),
    [
        (AWAY, b"X-Gatepost-Not-Scanned-By: clamav\r\n"),
        (("clamav (a)", "rspamd (b)"), b"X-Gatepost-Not-Scanned-By: clamav, rspamd\r\n"),
        (("bad\r\nX: y (c)",), b""),
        ((), b""),
    ],
)
def test_the_field_names_who_did_not_look_and_nothing_else(unseen, field):
    assert missing.field(unseen) == field
