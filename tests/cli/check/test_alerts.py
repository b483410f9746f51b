"""What `gatepost check` says of alerts."""

from __future__ import annotations

from cli.check.alerts import about_alerts
from cli.check.finding import GOOD, WARNING
from pipeline.directory import Domain
from pipeline.settings import Settings

HOMES = [Domain(name=f"d{number}.example", contact_outside="b@x.example" if number == 0 else "") for number in range(5)]


def test_it_says_who_is_told_and_of_which_domains_only_the_operator():
    found = list(about_alerts(Settings(alert_mail=("ops@x.example",)), HOMES))
    assert [(one.weight, one.found) for one in found] == [
        (GOOD, "told to ops@x.example; see `gatepost alerts test`"),
        (GOOD, "4 of 5 domains have no contact outside, so only you hear of them: d1.example, d2.example, d3.example, ..."),
    ]  # fmt: skip


def test_a_secret_that_cannot_be_read_is_found_and_not_shown(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"hunter2")
    settings = Settings(alert_webhook="https://x.example/", alert_webhook_secret_file=str(path))
    warning = next(iter(about_alerts(settings, HOMES[:1])))
    assert (warning.weight, warning.found) == (WARNING, f"alert_webhook_secret_file {path} holds 7 octets")
    assert "hunter2" not in repr(warning)


def test_when_nobody_is_told_that_is_said():
    (found,) = about_alerts(Settings(), HOMES[:1])
    assert found.found == "told to the log only: alert_mail and alert_webhook are not set"
