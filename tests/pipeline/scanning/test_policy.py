"""From findings to outcomes, as a table."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events import Finding
from pipeline.scanning.engine import Report
from pipeline.scanning.policy import classify, judge
from pipeline.settings import Settings
from tests.support.mail import message

SETTINGS = Settings()


def finding(kind: str, score: float, text: str = "") -> Finding:
    return Finding(name=f"{kind}_{score}".upper(), score=score, kind=kind, text=text)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], "clean"),
        ([("spam", 4.9)], "clean"),
        ([("spam", 5.0)], "spam"),
        ([("spam", 2.5), ("spam", 2.5)], "spam"),
        ([("spam", 8.0), ("spam", -4.0)], "clean"),
        ([("spam", 2.0), ("phishing", 3.0)], "phishing"),
        ([("spam", 3.0), ("phishing", 2.0)], "spam"),
        ([("spam", 2.5), ("phishing", 2.5)], "phishing"),
        ([("spoof", 4.0), ("spam", 1.0)], "spoof"),
        ([("content", 0.5)], "content"),
        ([("content", 0.0)], "clean"),
        ([("virus", 1.0)], "virus"),
        ([("virus", 0.0)], "clean"),
        ([("virus", 1.0), ("spam", -50.0)], "virus"),
        ([("content", 10.0), ("virus", 1.0), ("spam", 1000.0)], "virus"),
        ([("content", 10.0), ("spam", 1000.0)], "content"),
        ([("a kind of tomorrow", 9.0)], "phishing"),
    ],
)
def test_the_class_follows_from_kinds_and_scores(found, verdict):
    assert classify([finding(*each) for each in found], 5.0) == verdict


def test_the_order_of_findings_does_not_matter():
    found = [finding("spam", 3.0), finding("phishing", 3.0), finding("spoof", 1.0)]
    assert classify(found, 5.0) == classify(found[::-1], 5.0) == "phishing"


def test_each_recipient_has_an_action_of_its_own():
    report = Report(findings=(finding("spam", 7.25, "too loud"),), engines=("builtin/1",), took=5)
    judged = judge(report, message("a@x.example", "b@x.example"), SETTINGS)
    assert [(action.recipient, action.deliver) for action in judged.actions] == [
        ("a@x.example", False),
        ("b@x.example", False),
    ]
    assert judged.quarantine == dict.fromkeys(("a@x.example", "b@x.example"), "spam (score 7.25): too loud")
    assert (judged.score, judged.findings, judged.engines, judged.took) == (7.25, report.findings, ("builtin/1",), 5)


def test_a_clean_message_goes_to_everybody():
    judged = judge(Report(), message("a@x.example", "b@x.example"), SETTINGS)
    assert (judged.verdict, judged.score, judged.quarantine) == ("clean", 0, {})
    assert all(action.deliver for action in judged.actions)


@pytest.mark.parametrize("kind", ["virus", "content", "spam", "phishing", "spoof"])
def test_a_bounce_of_our_own_is_always_delivered(kind):
    judged = judge(Report(findings=(finding(kind, 50.0),)), message(origin="bounce"), SETTINGS)
    assert judged.quarantine == {}
    assert judged.verdict == kind


def test_the_threshold_is_a_setting_and_does_not_touch_viruses():
    high = msgspec.structs.replace(SETTINGS, spam_threshold=20.0)
    assert judge(Report(findings=(finding("spam", 19.0),)), message(), high).verdict == "clean"
    assert judge(Report(findings=(finding("virus", 1.0),)), message(), high).verdict == "virus"


def test_a_reason_is_one_short_line_without_control_characters():
    judged = judge(Report(findings=(finding("virus", 1.0, "x\x1b[2J\r\n" + "y" * 500),)), message(), SETTINGS)
    (reason,) = judged.quarantine.values()
    assert reason.startswith("virus: x [2J y")
    assert len(reason) == 200
    assert reason.isprintable()


def test_a_finding_without_words_is_named():
    assert (
        judge(Report(findings=(finding("content", 1.0),)), message(), SETTINGS).actions[0].reason
        == "blocked content: CONTENT_1.0"
    )


def test_judging_twice_gives_the_same():
    report = Report(findings=(finding("spam", 7.0),))
    assert judge(report, message(), SETTINGS) == judge(report, message(), SETTINGS)
