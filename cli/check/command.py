"""`gatepost check`: what would lose mail, keep the gateway from starting or make it refuse mail, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.check.finding import Finding

_STYLES: Final = {"fatal": "red", "warning": "yellow", "good": "green"}


async def check(*, common: Common = DEFAULT) -> int:
    """Find what would lose mail or refuse to start, with the remedies.

    Looks at settings, data directory, disk, Redis, certificate, port, domains and
    work that is set aside, whether the gateway runs or not, and changes nothing.
    Exit code 1 when something is fatal.

    For example:

      gatepost check
      gatepost check --json
    """
    from cli.check.examinations import examine
    from cli.render import Screen, document

    findings = await examine(common)
    fatal = any(finding.weight == "fatal" for finding in findings)
    if common.json:
        document({
            "ok": not fatal,
            "findings": [
                {"weight": one.weight, "about": one.about, "found": one.found, "remedy": one.remedy} for one in findings
            ],
        })  # fmt: skip
    else:
        _show(Screen(), findings)
    return 1 if fatal else 0


def _show(screen: object, findings: Sequence[Finding]) -> None:
    from cli.render import Screen, clean, count

    assert isinstance(screen, Screen)
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        screen.say(
            (f"{finding.weight:<7}", _STYLES[finding.weight]), f"  {finding.about:<{width}}  {clean(finding.found)}"
        )
        if finding.remedy:
            screen.say(" " * (width + 11), ("-> " + clean(finding.remedy), "bold"))
    weights = [finding.weight for finding in findings]
    screen.say()
    if "fatal" in weights:
        screen.say((f"{count(weights.count('fatal'), 'fatal finding')}: mail would be lost, or nothing starts.", "red"))
    elif "warning" in weights:
        screen.say((f"Ready; {count(weights.count('warning'), 'thing')} to look at.", "yellow"))
    else:
        screen.say(("Ready.", "green"))
