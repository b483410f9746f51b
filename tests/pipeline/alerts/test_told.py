"""How alerts are told: mails and posts as bytes, and what is written in them."""

from __future__ import annotations

import json

import msgspec
import pytest

from pipeline.alerts import webhook
from pipeline.alerts.mail import letter
from pipeline.alerts.model import Measured
from pipeline.alerts.notices import CONTACT, MAIL, Notice, Way
from pipeline.alerts.now import NOT_MEASURED, now
from pipeline.alerts.rules import RULES
from pipeline.alerts.written import size, span
from pipeline.configuration import load
from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.units import SECOND
from tests.pipeline.alerts.test_rules import ALL_WRONG

AT = 1_796_009_520 * SECOND
NOTICE = Notice(
    id="1m84j2kspfhhkyg2chaf00", partition=0, way=Way(MAIL, "ops@x.example"), subject="!down:a.example", version=1, at=AT,
    since=AT, rule="down", what="a.example", domain="a.example", value="15 min", limit="15 min", detail="451 busy",
    text="No server of a.example ...",
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (7800, "2 h 10 min"),
     (86400, "1 d"), (86400 + 3600, "1 d 1 h"), (-5, "0 s")],
)  # fmt: skip
def test_spans_are_written_in_two_units(seconds, expected):
    assert span(seconds * SECOND) == expected


@pytest.mark.parametrize(("octets", "expected"), [(0, "0 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")])
def test_sizes_are_written_in_one_unit(octets, expected):
    assert size(octets) == expected


def test_a_mail_to_the_operator_says_what_when_and_what_was_heard():
    found = letter([NOTICE], hostname="mx.example")
    assert found.to == "ops@x.example"
    assert found.subject == "Alert: No server of a.example can be reached or takes mail, for 15 min now"
    assert "2026-11-30 03:32:00 UTC  ALERT" in found.text
    assert "What was heard: 451 busy" in found.text
    assert "`gatepost alerts` shows what is wrong now" in " ".join(found.text.split())
    assert max(map(len, found.text.splitlines())) <= 80


def test_a_mail_to_a_contact_names_its_domains_in_its_language():
    way = Way(CONTACT, "boss@y.example", "de")
    notices = [
        msgspec.structs.replace(NOTICE, way=way, over=number == 1, domain=f"d{number}.example") for number in range(2)
    ]
    found = letter(notices, hostname="mx.example")
    assert found.subject == "Alarm: 1 neu, 1 vorbei (down)"
    assert "VORBEI (es war so seit " in found.text
    assert "d0.example, d1.example" in " ".join(found.text.split())
    assert found.language == "de"


def test_an_unknown_language_is_told_in_english():
    assert letter(
        [msgspec.structs.replace(NOTICE, way=Way(MAIL, "a@x.example", "xx"))], hostname="h"
    ).subject.startswith("Alert:")


def test_what_is_posted_is_ascii_and_the_same_for_every_try():
    notice = msgspec.structs.replace(NOTICE, detail="für 日本 \u202e")
    content = webhook.body(notice, "mx.example")
    assert content == webhook.body(msgspec.structs.replace(notice, tries=5, next=7), "mx.example")
    content.decode("ascii")
    form = json.loads(content)
    assert form["at"] == form["since"] == "2026-11-30T03:32:00Z"
    assert form["event"] == "raised"
    assert json.loads(webhook.body(msgspec.structs.replace(notice, over=True, since=0), "h"))["since"] is None


def test_pauses_grow_to_ten_minutes():
    assert [webhook.pause(tries) // SECOND for tries in (1, 2, 3, 7, 1000)] == [10, 20, 40, 600, 600]


@pytest.mark.parametrize("content", [None, b"", b"  short \n", b"x" * 5000])
def test_a_secret_that_is_none_is_refused_without_being_shown(tmp_path, content):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        webhook.secret(str(path))
    assert "short" not in str(caught.value)


def test_a_secret_is_read_without_the_line_end(tmp_path):
    (tmp_path / "secret").write_bytes(b"  0123456789abcdef\n")
    assert webhook.secret(str(tmp_path / "secret")) == b"0123456789abcdef"


def test_what_each_rule_looks_at_is_written_in_a_few_words():
    for rule in RULES:
        assert now(rule, Measured(at=AT)) == NOT_MEASURED
        assert now(rule, ALL_WRONG) not in (NOT_MEASURED, "")
    assert now("waiting", ALL_WRONG) == "5,000, a.example"
    assert now("down", Measured(at=AT, domains=())) == "none"
    assert now("of another version", ALL_WRONG) == NOT_MEASURED


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"alert_webhook": "https://x.example/"}, "go together"),
        ({"alert_webhook": "ftp://x.example/", "alert_webhook_secret_file": "/x"}, "no http or https URL"),
        ({"alert_webhook": "https://x.example/a b", "alert_webhook_secret_file": "/x"}, "no http or https URL"),
        ({"alert_mail": "nobody"}, "is no address"),
        ({"alert_memory": "100"}, "alert_memory is 100"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, word):
    with pytest.raises(ConfigurationError, match=word):
        load(None, {}, settings)
    assert isinstance(load(None, {}, {}), Settings)
