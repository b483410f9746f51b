"""Findings and decisions in words and as JSON, wherever it is told how a message was judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.events import AuthResult, Decision, Finding

STYLES: Final = {"deliver": "green", "tag": "yellow", "quarantine": "red", "discard": "red"}
DONE: Final = {
    "deliver": "delivered",
    "tag": "delivered, tagged",
    "quarantine": "kept in quarantine",
    "discard": "discarded",
}
MAX_RESULTS: Final = 20


def tell(
    screen: Screen, findings: Sequence[Finding], decisions: Sequence[Decision], verdict: str, score: float
) -> None:
    """Every finding, what they come to, and what follows for whom."""
    from cli.render import clean

    tell_findings(screen, findings)
    screen.say()
    screen.say((f"{clean(verdict)}, score {score:g}", "bold"))
    tell_decisions(screen, decisions, verdict)


def tell_findings(screen: Screen, findings: Sequence[Finding]) -> None:
    from cli.render import clean

    screen.say()
    if not findings:
        screen.say(("Nothing was found.", "green"))
        return
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


def tell_decisions(screen: Screen, decisions: Sequence[Decision], verdict: str) -> None:
    """`verdict`: of the message as a whole; said again only where it is another for these recipients."""
    from cli.render import clean
    from cli.words import people

    for decision in decisions:
        screen.say()
        other = f", for them {clean(decision.verdict)}" if decision.verdict != verdict else ""
        screen.say(
            people(decision.recipients), ": ",
            (DONE.get(decision.action, clean(decision.action)), STYLES.get(decision.action, "")), other,
        )  # fmt: skip
        for line in decision.why:
            screen.say("  ", (clean(line), "dim"))


def authentication(results: Sequence[AuthResult]) -> str:
    """Clean, in one line."""
    from cli.render import clean

    said = [f"{one.method}={one.result}" + (f" ({one.reason})" if one.reason else "") for one in results[:MAX_RESULTS]]
    return clean(", ".join(said))


def authentication_forms(results: Sequence[AuthResult]) -> list[dict[str, Any]]:
    return [
        {"method": one.method, "result": one.result, "reason": one.reason, "properties": dict(one.properties)}
        for one in results
    ]


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
