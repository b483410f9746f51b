"""`gatepost alerts` on a terminal and for scripts."""

from __future__ import annotations

import pytest

from pipeline import keys
from pipeline.alerts.model import Alert, Measured, Sample
from pipeline.alerts.rules import RULES
from pipeline.alerts.standing import standing
from pipeline.alerts.steps import over_step, raised_step
from pipeline.directory import Domain
from tests.cli.conftest import DOMAIN, Shop
from workers.alerts.addressees import ways
from workers.alerts.watching import Watch

SAMPLE = Sample(
    rule="down", what=DOMAIN, domain=DOMAIN, value="20 min", limit="15 min", detail="451 \\x1b[31mcome back"
)


def raised(shop: Shop) -> None:
    async def work(wiring):
        await wiring.directory.refresh()
        told = ways(wiring.settings, DOMAIN, wiring.directory.home)
        await wiring.log.commit(raised_step(SAMPLE, None, told, now=wiring.clock(), partitions=8))

    shop.do(work)


def over(shop: Shop) -> None:
    async def work(wiring) -> None:
        (alert,) = await standing(wiring.store)
        assert isinstance(alert, Alert)
        await wiring.log.commit(over_step(alert, now=wiring.clock(), partitions=8))

    shop.do(work)


def watched(shop: Shop) -> None:
    async def work(wiring):
        await Watch(wiring).judge(Measured(at=wiring.clock(), host="here"))

    shop.do(work)


def test_when_nobody_watches_that_is_said_and_is_exit_code_1(shop: Shop):
    done = shop.run("alerts")
    assert done.code == 1
    assert "Nobody watches: the role watcher never ran here" in done.out
    assert "Alerts are told to the log only: set alert_mail or alert_webhook" in done.out
    watched(shop)
    done = shop.run("alerts")
    assert done.code == 0
    assert "Nothing is wrong." in done.out


def test_what_is_wrong_is_shown_with_since_when_and_who_was_told(shop: Shop):
    watched(shop)
    raised(shop)
    done = shop.run("alerts")
    assert done.code == 1
    assert f"No server of {DOMAIN} can be reached or takes mail, for 20 min now." in done.out
    assert "then 20 min, limit 15 min" in done.out
    assert "told to nobody but the log" in done.out
    assert f"gatepost domain set {DOMAIN} --contact-outside ADDRESS" in done.out
    form = shop.run("alerts", "--json").json
    assert (form["ok"], form["watched"], form["without_contact"]) == (False, True, [DOMAIN])
    (alert,) = form["alerts"]
    assert (alert["rule"], alert["what"], alert["domain"], alert["told"]) == ("down", DOMAIN, DOMAIN, [])


def test_who_was_told_and_who_still_has_to_be_is_shown(shop: Shop, monkeypatch):
    async def contact(wiring):
        domain = Domain(name=DOMAIN, route=("192.0.2.1:25",), contact_outside="boss@private.test", language="de")
        await wiring.directory.set_domain(domain, by="test", now=wiring.clock())

    async def failed(wiring):
        await wiring.store.redis.hset(
            keys.ALERT_WEBHOOK, mapping={"tries": 3, "until": wiring.clock() // 10**6 + 40_000}
        )

    shop.do(contact)
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK", "http://127.0.0.1:9/x")
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK_SECRET_FILE", "/nonexistent")
    monkeypatch.setenv("GATEPOST_ALERT_MAIL", "ops@elsewhere.test")

    async def work(wiring):
        from pipeline import configuration  # noqa: PLC0415 - the settings of this test

        await wiring.directory.refresh()
        told = ways(configuration.load(), DOMAIN, wiring.directory.home)
        await wiring.log.commit(raised_step(SAMPLE, None, told, now=wiring.clock(), partitions=8))

    shop.do(work)
    shop.do(failed)
    done = shop.run("alerts")
    assert "told to ops@elsewhere.test, the webhook, boss@private.test" in done.out
    assert "2 notices will be told by mail soon" in done.out
    assert "1 notice to be told to the webhook; it failed 3 times, and is tried again in" in done.out
    assert "contact-outside" not in done.out


def test_the_history_is_told_newest_first_and_can_be_narrowed(shop: Shop):
    raised(shop)
    over(shop)
    shop.fold()
    done = shop.run("alerts", "history")
    assert done.code == 0
    first, second = [line for line in done.out.splitlines() if DOMAIN in line]
    assert "over" in first
    assert "alert" in second
    assert "451 \\x1b[31mcome back" in done.out
    assert "\x1b" not in done.out
    found = shop.run("alerts", "history", "down", "--domain", DOMAIN, "--json").json
    assert [one["event"] for one in found["alerts"]] == ["over", "raised"]
    assert found["left_off"] == 0
    assert shop.run("alerts", "history", "--limit", "1", "--json").json["left_off"] == 1
    assert shop.run("alerts", "history", "disk", "--json").json["alerts"] == []
    assert "No alert." in shop.run("alerts", "history", "--to", "2020-01-01").out


def test_every_rule_is_listed_with_its_setting_and_what_it_looks_at_now(shop: Shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_ALERT_DISK", "1024GiB")
    monkeypatch.setenv("GATEPOST_ALERT_LAG", "0")
    done = shop.run("alerts", "rules", "--json")
    assert done.code == 1
    forms = {form["rule"]: form for form in done.json["rules"]}
    assert list(forms) == list(RULES)
    assert forms["disk"]["state"] == "wrong"
    assert forms["disk"]["now"].endswith(" free")
    assert (forms["lag"]["state"], forms["books"]["state"], forms["parked"]["now"]) == ("off", "unknown", "0")
    assert "alert_waiting" in shop.run("alerts", "rules").out


def test_a_test_without_any_way_says_what_to_set(shop: Shop):
    done = shop.run("alerts", "test")
    assert done.code == 1
    assert "Nobody is told of alerts: set alert_mail or alert_webhook." in done.out


def test_a_test_names_the_mail_and_why_the_webhook_was_not_told(shop: Shop, monkeypatch):
    monkeypatch.setenv("GATEPOST_ALERT_MAIL", "ops@elsewhere.test")
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK", "http://127.0.0.1:9/x")
    monkeypatch.setenv("GATEPOST_ALERT_WEBHOOK_SECRET_FILE", "/nonexistent/file")
    done = shop.run("alerts", "test", "--json")
    assert done.code == 1
    mail, post = done.json["ways"]
    assert (mail["way"], mail["to"], mail["taken"]) == ("mail", "ops@elsewhere.test", True)
    assert post["taken"] is False
    assert "/nonexistent/file: No such file or directory" in post["said"]
    assert mail["message"] in shop.run("trace", mail["message"]).out


def test_a_rule_is_silenced_for_some_time_and_speaks_again(shop: Shop):
    watched(shop)
    done = shop.run("alerts", "silence", "down", DOMAIN, "--for", "2h", "--note", "their \x1b move")
    assert done.code == 0
    assert f"Nobody is told of down {DOMAIN} until " in done.out
    told = shop.run("alerts").out
    assert f"alerts of down {DOMAIN} are not told until" in told
    assert "their \\x1b move" in told
    (form,) = shop.run("alerts", "--json").json["silences"]
    assert (form["rule"], form["what"]) == ("down", DOMAIN)
    assert form["by"].startswith("cli:")
    again = shop.run("alerts", "silence", "down", DOMAIN, "--for", "3h", "--json").json
    assert again["until"] > form["until"]
    assert shop.run("alerts", "speak", "down", DOMAIN).code == 0
    assert shop.run("alerts", "--json").json["silences"] == []


@pytest.mark.parametrize(
    "words",
    [("nonsense", "--for", "1h"), ("down",), ("down", "--for", "40d"), ("down", "--for", "x"), ("down", "--until", "2020-01-01"),
     ("down", "--for", "1h", "--until", "2030-01-01")],
)  # fmt: skip
def test_a_silence_needs_a_rule_and_an_end(shop: Shop, words):
    watched(shop)
    assert shop.run("alerts", "silence", *words).code == 2


@pytest.mark.parametrize(
    ("words", "stored"),
    [(("--alert-waiting", "200", "--alert-oldest", "30m"), (200, 1800.0)), (("--alert-waiting", "never"), (-1, 0.0)),
     (("--alert-oldest", "0"), (0, -1)), (("--alert-waiting", "default"), (0, 0.0))],
)  # fmt: skip
def test_a_domain_has_limits_of_its_own(shop: Shop, words, stored):
    async def add(wiring):
        await wiring.directory.set_domain(Domain(name=DOMAIN, route=("192.0.2.1:25",)), by="test", now=wiring.clock())

    shop.do(add)
    assert shop.run("domain", "set", DOMAIN, *words).code == 0
    form = shop.run("domain", "show", DOMAIN, "--json").json
    found = form.get("domain") if isinstance(form.get("domain"), dict) else form
    assert (found["alert_waiting"], found["alert_oldest"]) == stored


def test_nonsense_as_a_limit_is_refused(shop: Shop):
    async def add(wiring):
        await wiring.directory.set_domain(Domain(name=DOMAIN, route=("192.0.2.1:25",)), by="test", now=wiring.clock())

    shop.do(add)
    assert shop.run("domain", "set", DOMAIN, "--alert-waiting", "many").code == 2
    assert shop.run("domain", "set", DOMAIN, "--alert-oldest", "long").code == 2


@pytest.mark.parametrize(
    "words", [["nonsense"], ["--limit", "0"], ["--limit", "-5"], ["--domain", "\x1b[31m"], ["--from", "x"]]
)
def test_a_history_of_what_is_not_there_is_refused(shop: Shop, words):
    done = shop.run("alerts", "history", *words)
    assert done.code == 2
    assert "\x1b" not in done.err
