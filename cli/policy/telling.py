"""Findings and decisions in words, for `gatepost policy explain` and `gatepost scan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.events import Decision, Finding

STYLES = {"deliver": "green", "tag": "yellow", "quarantine": "red", "discard": "red"}
DONE = {"deliver": "delivered", "tag": "delivered, tagged", "quarantine": "kept in quarantine", "discard": "discarded"}


def tell(
    screen: Screen, findings: Sequence[Finding], decisions: Sequence[Decision], verdict: str, score: float
) -> None:
    """Every finding, what they come to, and what follows for whom."""
    from cli.render import clean
    from cli.words import people

    screen.say()
    if findings:
        screen.table(
            [">score", "kind", "finding", "why"],
            [
                [
                    f"{finding.score:+g}", clean(finding.kind), clean(finding.name),
                    clean(f"{finding.engine}: {finding.text}" if finding.engine else finding.text),
                ]
                for finding in sorted(findings, key=lambda finding: -finding.score)
            ],
        )  # fmt: skip
    else:
        screen.say(("Nothing was found.", "green"))
    screen.say()
    screen.say((f"{clean(verdict)}, score {score:g}", "bold"))
    for decision in decisions:
        screen.say()
        other = f", for them {clean(decision.verdict)}" if decision.verdict != verdict else ""
        screen.say(
            people(decision.recipients), ": ",
            (DONE.get(decision.action, clean(decision.action)), STYLES.get(decision.action, "")), other,
        )  # fmt: skip
        for line in decision.why:
            screen.say("  ", (clean(line), "dim"))


def finding_forms(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "score": one.score, "kind": one.kind, "engine": one.engine, "text": one.text}
        for one in findings
    ]


def decision_forms(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    return [
        {"recipients": list(one.recipients), "action": one.action, "verdict": one.verdict, "why": list(one.why)}
        for one in decisions
    ]
