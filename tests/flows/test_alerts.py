"""Alerts with a whole gateway: a customer's server goes down and comes back, and whoever asked to hear hears it once each."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator

import pytest

from pipeline.events import AlertOver, AlertRaised
from tests.support.customer import Customer, customer
from tests.support.gateway import Gateway, gateway
from tests.support.servers import wait_until
from tests.support.webhook import Webhook, verified, webhook

MAIL = b"From: a@elsewhere.test\r\nTo: anna\r\nSubject: x\r\nMessage-ID: <1@elsewhere.test>\r\n\r\nhello\r\n"
OPS = "ops@operator.test"
BOSS = "boss@private.test"
SECRET = b"a secret of thirty-two octets :-)"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as started:
        yield started


@pytest.fixture
def running(hook: Webhook, tmp_path) -> Iterator[Gateway]:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    with gateway(
        retry_interval="1s", queue_lifetime="1h", keep_connection="500ms", alert_down="2s", alert_mail=OPS,
        alert_mail_interval="0", alert_webhook=hook.url, alert_webhook_secret_file=str(secret), alert_disk="0",
    ) as started:  # fmt: skip
        yield started


@pytest.fixture
def outside(running: Gateway) -> Iterator[Customer]:
    """Where the operator and the contact outside have their mail."""
    with customer() as started:
        running.add(started.route, OPS, domain="operator.test")
        running.add(started.route, BOSS, domain="private.test")
        yield started


def subjects(outside: Customer, address: str) -> list[str]:
    return [
        email.message_from_bytes(one.content, policy=email.policy.default)["Subject"].strip()
        for one in outside.arrived
        if address in one.recipients
    ]


def test_a_server_that_goes_down_and_comes_back_is_told_of_once_each_over_every_way(
    running: Gateway, outside: Customer, hook: Webhook
):
    with customer() as server:
        running.add(server.route, "anna@down.test", domain="down.test")
        running.cli("domain", "set", "down.test", "--contact-outside", BOSS, "--language", "de")
        server.stop()
        running.send(MAIL, "anna@down.test")
        wait_until(lambda: subjects(outside, OPS) and subjects(outside, BOSS), within=40, what="the mails")
        wait_until(lambda: hook.taken, within=20, what="the post")
        now = running.json("alerts", ok=False)
        assert now["ok"] is False
        assert [(one["rule"], one["what"]) for one in now["alerts"]] == [("down", "down.test")]
        assert sorted(one["way"] for one in now["alerts"][0]["told"]) == ["contact", "mail", "webhook"]
        assert running.cli("alerts", ok=False).returncode == 1
        server.start()
        wait_until(lambda: len(hook.taken) == 2, within=40, what="the second post")
        wait_until(lambda: len(subjects(outside, OPS)) == 2, within=40, what="the second mail")
        wait_until(lambda: len(subjects(outside, BOSS)) == 2, within=40, what="the contact's second mail")
    assert [post.form["event"] for post in hook.taken] == ["raised", "over"]
    assert all(verified(SECRET, post) for post in hook.taken)
    first, second = subjects(outside, OPS)
    assert first.startswith("Alert: No server of down.test can be reached or takes mail, for ")
    assert second.startswith("Over: A server of down.test takes mail again")
    assert subjects(outside, BOSS)[0].startswith("Alarm: Kein Server von down.test ist erreichbar")
    alerts = [one for one in running.events() if isinstance(one.event, AlertRaised | AlertOver)]
    assert [(one.subject, one.version, type(one.event)) for one in alerts] == [
        ("!down:down.test", 1, AlertRaised), ("!down:down.test", 2, AlertOver),
    ]  # fmt: skip
    assert running.json("alerts") | {"at": "", "looked_at": ""} == {
        "at": "", "ok": True, "watched": True, "looked_at": "", "alerts": [], "pending": [], "silences": [], "without_contact": [],
        "webhook": {"failed": 0, "next_try": None},
    }  # fmt: skip
    history = running.json("alerts", "history")["alerts"]
    assert [(one["event"], one["rule"], one["what"]) for one in history] == [
        ("over", "down", "down.test"), ("raised", "down", "down.test"),
    ]  # fmt: skip


def test_a_test_says_over_every_way_what_came_of_it(running: Gateway, outside: Customer, hook: Webhook):
    ways = running.json("alerts", "test")["ways"]
    assert [(one["way"], one["taken"]) for one in ways] == [("mail", True), ("webhook", True)]
    assert hook.taken[0].form["event"] == "test"
    wait_until(lambda: subjects(outside, OPS), within=30, what="the mail")
    assert subjects(outside, OPS) == ["Alert: Test: this is how an alert looks"]
    hook.mode = "500"
    failed = running.cli("alerts", "test", ok=False)
    assert failed.returncode == 1
    assert "HTTP 500" in failed.stdout
    assert "from=gatepost" not in failed.stdout
