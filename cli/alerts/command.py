"""The commands: what is wrong now, history, rules, test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.alerts.silencing import checked, silence, speak
from cli.options import DEFAULT, Common, at_least_one, noun
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    pass

app = noun(
    "alerts",
    """What is wrong now, what was, the rules, and whether an alert would reach you.

Exit code 1 when something is wrong.

For example:

  gatepost alerts
  gatepost alerts history --days 7
  gatepost alerts rules
  gatepost alerts test
  gatepost alerts silence down example.com --for 2h --note "they move their server"
""",
)
app.command(silence)
app.command(speak)
MOST = 200


@app.default
async def now(*, common: Common = DEFAULT) -> int:
    """What is wrong now: since when, what was measured, what the limit is, and who was told.

    A watcher looks every quarter of a minute. Each alert is told once over every
    way that is set (alert_mail, alert_webhook, the contact outside of a domain),
    and once more when it is over. Exit code 1 when something is wrong, or nobody
    watches.

    For example:

      gatepost alerts
      gatepost alerts --json
    """
    from cli.alerts.reading import picture
    from cli.alerts.showing import now_form, show_now
    from cli.render import Screen, document
    from cli.session import session

    async with session(common) as opened:
        found = await picture(opened)
    if common.json:
        document(now_form(found))
    else:
        show_now(Screen(), found)
    return 0 if found.well else 1


@app.command
async def history(
    rule: Annotated[str, Parameter(help="Only of this rule, such as down.")] = "",
    /,
    *,
    domain: Annotated[str, Parameter(help="Only of this domain.")] = "",
    limit: Annotated[int, Parameter(help="How many at most, the newest.")] = MOST,
    period: Period = WHOLE,
    common: Common = DEFAULT,
) -> int:
    """Alerts that were raised and that are over, the newest first.

    The newest 2,000 of each partition are kept at hand; every one is in the log,
    and so in what `gatepost audit export` writes.

    For example:

      gatepost alerts history
      gatepost alerts history down --days 7
      gatepost alerts history --domain example.com --from 2026-11-01 --to 2026-11-22
    """
    from cli.alerts.showing import show_history, told_form
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import session
    from projections.readers.alerts import read_alerts

    at_least_one(limit)
    if rule:
        checked(rule)
    wanted = domain_of(domain) if domain else ""
    async with session(common, views=True) as opened:
        start, end = period.bounds(opened.now())
        found = await read_alerts(opened.wiring.store.redis, opened.wiring.store.partitions, start, end)
    chosen = [one for one in found if rule in ("", one.rule) and wanted in ("", one.domain)]
    if common.json:
        document({"alerts": [told_form(one) for one in chosen[:limit]], "left_off": max(0, len(chosen) - limit)})
    else:
        show_history(Screen(), chosen[:limit], len(chosen))
    return 0


@app.command
async def rules(*, common: Common = DEFAULT) -> int:
    """Each rule with its setting, its limit, what it looks at now, and whether that is wrong.

    Exit code 1 when something is.

    For example:

      gatepost alerts rules
      GATEPOST_ALERT_DOWN=5m gatepost alerts rules
    """
    from cli.alerts.showing import rules_form, show_rules
    from cli.render import Screen, document
    from cli.session import session
    from pipeline.alerts.rules import assess
    from pipeline.alerts.standing import standing
    from workers.alerts.measuring import Measuring

    async with session(common, views=True) as opened:
        settings = opened.wiring.settings
        measured = await Measuring(opened.wiring).measure()
        raised = await standing(opened.wiring.store)
    found = assess(measured, settings)
    if common.json:
        document({"rules": rules_form(settings, measured, found, raised)})
    else:
        show_rules(Screen(), rules_form(settings, measured, found, raised))
    return int(any(sample.wrong for sample in found.samples))


@app.command(name="test")
async def try_(*, common: Common = DEFAULT) -> int:
    """Send a test over every way, and say what came of it.

    A mail to each address of alert_mail, a post to alert_webhook, a line in the
    log. Exit code 1 when one of them did not take it.

    For example:

      gatepost alerts test
    """
    from cli.acted import acted
    from cli.alerts.showing import show_tried, tried_form
    from cli.alerts.trying import tried
    from cli.render import Screen, document
    from cli.session import session

    async with session(common) as opened:
        results = await tried(opened.wiring)
        if results:
            await acted(opened, "alerts_tested", ", ".join(str(tried_form(one)["way"]) for one in results))
        offline = opened.offline
    if common.json:
        document({"ways": [tried_form(one) for one in results], "running": not offline})
    else:
        show_tried(Screen(), results, offline=offline)
    return int(not results or any(not one.taken for one in results))
