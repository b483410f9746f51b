"""How alerts look: on a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli.alerts.reading import Picture
from cli.render import BAD, GOOD, QUIET, STRONG, WARN, Screen, age, clean, count, local, relative, rfc3339
from pipeline.alerts.model import Alert, Assessment, Measured
from pipeline.alerts.notices import HOOK, Way
from pipeline.alerts.now import NOT_MEASURED, now
from pipeline.alerts.rules import RULES, setting
from pipeline.settings import Settings
from projections.alerts import Told

if TYPE_CHECKING:
    from cli.alerts.trying import Tried

# What is wrong now


def show_now(screen: Screen, found: Picture) -> None:
    if found.alerts:
        for alert in found.alerts:
            _alert(screen, alert, found.at)
        screen.say()
    if found.running and not found.watched:
        screen.say(("Nobody watches: ", BAD), "the role watcher ", _silent(found), ". See `gatepost worker --help`.")
    elif not found.alerts:
        screen.say(("Nothing is wrong.", GOOD))
    _telling(screen, found)


def _silent(found: Picture) -> str:
    return f"has not looked for {age(found.at - found.looked)}" if found.looked else "never ran here"


def _alert(screen: Screen, alert: Alert, at: int) -> None:
    told = ", ".join(_way(Way.read(text)) for text in alert.told)
    screen.say((clean(alert.rule), BAD), "  ", (clean(alert.text), STRONG))
    measured = (
        f"since {local(alert.since)}, {age(at - alert.since)}; then {clean(alert.value)}, limit {clean(alert.limit)}"
    )
    screen.say("  ", (measured, QUIET))
    screen.say("  ", (f"told to {clean(told)}" if told else "told to nobody but the log", QUIET if told else WARN))


def _way(way: Way) -> str:
    return "the webhook" if way.way == HOOK else way.to


def _telling(screen: Screen, found: Picture) -> None:
    """What is still to be told, and who hears of nothing."""
    for one in found.silences:
        note = f": {clean(one.note)}" if one.note else ""
        about = clean(f"{one.rule} {one.what}".strip())
        screen.say((f"alerts of {about} are not told until {local(one.until)}, by {clean(one.by)}{note}", WARN))
    posts = sum(notice.way.way == HOOK for notice in found.pending)
    if mails := len(found.pending) - posts:
        when = "when the silence ends" if any(notice.quiet for notice in found.pending) else "soon"
        screen.say((f"{count(mails, 'notice')} will be told by mail {when}", QUIET))
    if posts:
        again = f"; it failed {count(found.webhook_tries, 'time')}, and is tried again {relative(found.webhook_until, found.at)}"
        screen.say(
            (f"{count(posts, 'notice')} to be told to the webhook" + (again if found.webhook_tries else ""), WARN)
        )
    if found.deaf:
        screen.say(("Alerts are told to the log only: ", WARN), "set alert_mail or alert_webhook.")
    for domain in found.without_contact[:5]:
        command = f"gatepost domain set {clean(domain)} --contact-outside ADDRESS"
        screen.say((f"{clean(domain)} has no contact outside, so only you hear of it: ", QUIET), command)


def now_form(found: Picture) -> dict[str, Any]:
    return {
        "at": rfc3339(found.at),
        "ok": found.well,
        "watched": found.watched,
        "looked_at": rfc3339(found.looked),
        "alerts": [alert_form(alert) for alert in found.alerts],
        "pending": [
            {"id": one.id, "way": one.way.way, "to": one.way.to, "rule": one.rule, "what": one.what, "tries": one.tries}
            for one in found.pending
        ],
        "webhook": {"failed": found.webhook_tries, "next_try": rfc3339(found.webhook_until)},
        "silences": [
            {"rule": one.rule, "what": one.what or None, "until": rfc3339(one.until), "by": one.by, "note": one.note}
            for one in found.silences
        ],
        "without_contact": list(found.without_contact),
    }


def alert_form(alert: Alert) -> dict[str, Any]:
    return {
        "rule": alert.rule,
        "what": alert.what,
        "domain": alert.domain or None,
        "since": rfc3339(alert.since),
        "text": alert.text,
        "value": alert.value,
        "limit": alert.limit,
        "told": [{"way": way.way, "to": way.to or None} for way in map(Way.read, alert.told)],
    }


# What was


def show_history(screen: Screen, found: Sequence[Told], total: int) -> None:
    if not found:
        screen.say(("No alert.", GOOD))
        return
    for told in found:
        word, style = ("over ", GOOD) if told.over else ("alert", BAD)
        lasted = f"  it was so for {age(told.at - told.since)}" if told.over and told.since else ""
        screen.say((local(told.at), STRONG), "  ", (word, style), f"  {clean(told.text)}", (lasted, QUIET))
        if told.detail:
            screen.quote(told.detail)
    if total > len(found):
        screen.say((f"{count(total - len(found), 'older one')}, see --limit", QUIET))


def told_form(told: Told) -> dict[str, Any]:
    return {
        "at": rfc3339(told.at),
        "event": "over" if told.over else "raised",
        "rule": told.rule,
        "what": told.what,
        "domain": told.domain or None,
        "since": rfc3339(told.since),
        "text": told.text,
        "value": told.value,
        "limit": told.limit,
        "detail": told.detail,
    }


# The rules


def rules_form(
    settings: Settings, measured: Measured, found: Assessment, raised: Sequence[Alert]
) -> list[dict[str, Any]]:
    forms = []
    for rule in RULES:
        limit, wrong = (
            getattr(settings, setting(rule)),
            [one for one in found.samples if one.rule == rule and one.wrong],
        )
        alerts = sum(alert.rule == rule for alert in raised)
        value = now(rule, measured)
        state = "alert" if alerts else "wrong" if wrong else "unknown" if value == NOT_MEASURED else "well"
        forms.append({
            "rule": rule,
            "setting": setting(rule),
            "limit": str(limit).lower(),
            "now": value,
            "state": state if limit else "off",
            "alerts": alerts,
        })  # fmt: skip
    return forms


def show_rules(screen: Screen, forms: Sequence[dict[str, Any]]) -> None:
    styles = {"alert": BAD, "wrong": WARN, "well": GOOD, "unknown": QUIET, "off": QUIET}
    screen.table(
        ["rule", "setting", "limit", "now", "state"],
        [
            [
                (form["rule"], STRONG), form["setting"], form["limit"], clean(form["now"]),
                (form["state"], styles[form["state"]]),
            ]
            for form in forms
        ],
    )  # fmt: skip


# A test


def show_tried(screen: Screen, results: Sequence[Tried], *, offline: bool) -> None:
    if not results:
        screen.say(("Nobody is told of alerts: ", BAD), "set alert_mail or alert_webhook. See docs/alerts.md.")
    for one in results:
        screen.say((f"{one.way:<8}", STRONG), f"{clean(one.to)}  ", (clean(one.said), GOOD if one.taken else BAD))
        if one.message:
            screen.say("        ", (f"gatepost trace {one.message}", QUIET))
    if offline and any(one.message for one in results):
        screen.say(("Gatepost is not running here, so mail leaves when it does.", WARN))


def tried_form(one: Tried) -> dict[str, Any]:
    return {"way": one.way, "to": one.to, "taken": one.taken, "said": one.said, "message": one.message or None}
