"""The built-in tests as one engine: one that fails costs no other its findings, and is seen."""

from __future__ import annotations

import sys

import structlog

from pipeline.scanning.builtin import BuiltIn, attachments, phishing, tables
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.guard import Timed
from pipeline.scanning.organisation import suffixes
from tests.support.deceiving import mail
from tests.support.mail import EICAR, HEAD, OURS, PROGRAM, SETTINGS, attachment, message, multipart

DECEIVING = (
    b"From: PayPal <x@evil.example>\r\nTo: x@y.example\r\nSubject: verify your account\r\nContent-Type: text/html\r\n\r\n"
    b'<a href="https://www.paypal.com@evil.example/">www.paypal.com</a>'
)


def fail(*_):
    raise ValueError("secret words")


def names(findings):
    return [finding.name for finding in findings]


def test_a_test_that_fails_costs_its_own_findings_and_says_which_it_was(monkeypatch):
    engine = BuiltIn(SETTINGS, OURS)
    monkeypatch.setitem(engine._tests, "fields", fail)
    with structlog.testing.capture_logs() as logs:
        found = engine.look(Mail(message(), HEAD + b"\r\n" + EICAR))
    assert names(found)[:2] == ["EICAR", "ENGINE_ERROR"]
    assert found[1].text == "builtin/fields failed (ValueError)"
    assert found[1].score == 0
    assert [(line["engine"], line["error"]) for line in logs] == [("builtin/fields", "ValueError")]
    assert "secret" not in str(logs)


def test_a_part_of_the_tests_for_phishing_that_fails_costs_no_other_part(monkeypatch):
    monkeypatch.setattr(phishing, "links", fail)
    found = BuiltIn(SETTINGS, OURS).look(mail(DECEIVING))
    assert {"FROM_BRAND", "ENGINE_ERROR", "BRAND_PHISHING"} <= set(names(found))


def test_an_attachment_that_breaks_its_test_hides_no_other(monkeypatch):
    whole = attachments.Attachments._contents

    def some(self, part, inspection):
        return fail() if b"break" in part.head else whole(self, part, inspection)

    monkeypatch.setattr(attachments.Attachments, "_contents", some)
    content = HEAD + multipart([attachment(b"break", "a.txt"), attachment(b"break", "b.txt"), attachment(PROGRAM, "c")])
    found = names(BuiltIn(SETTINGS, OURS).look(Mail(message(), content)))
    assert found.count("ENGINE_ERROR") == 1
    assert "EXECUTABLE" in found


def test_a_test_that_fails_is_an_error_of_the_engine_and_its_time_counts(monkeypatch):
    engine = BuiltIn(SETTINGS, OURS)
    timed = Timed(engine)
    timed.look(Mail(message(), HEAD + b"\r\n"))
    assert timed.health().errors == 0
    monkeypatch.setitem(engine._tests, "bulk", fail)
    timed.look(Mail(message(), HEAD + b"\r\n"))
    health = timed.health()
    assert (health.messages, health.errors, health.last_error) == (2, 1, "builtin/bulk failed (ValueError)")
    assert len(health.times) == 2


def test_after_a_rehearsal_no_message_waits_for_a_table():
    readers = (suffixes, tables.phrases, tables.hosts, tables.freemail)
    # All that other tests left in memory: what is remembered of a name spares the look into the list.
    for module in [module for name, module in sys.modules.items() if name.startswith("pipeline.scanning.")]:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    BuiltIn(SETTINGS, OURS).rehearse()
    assert all(reader.cache_info().currsize == 1 for reader in readers)
