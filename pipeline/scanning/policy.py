"""From findings to what happens: pure, and one outcome per recipient.

A finding of kind virus or content with any score is enough by itself. All others add up, whatever their kind, and from
`spam_threshold` on the message is named after the kind that weighs most. What we wrote ourselves (a bounce) and what
a person released from the quarantine is always delivered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.events import Finding
from pipeline.mime import plain
from pipeline.scanning.engine import Report
from pipeline.settings import Settings
from pipeline.state import Message

CLEAN: Final = "clean"
DECISIVE: Final = ("virus", "content")
"""Kinds that need no sum, the worst first."""
CUMULATIVE: Final = ("phishing", "spoof", "spam")
"""Kinds that add up; of equal weights the first names the message."""
_SAID: Final = {
    "virus": "virus",
    "content": "blocked content",
    "phishing": "phishing",
    "spoof": "forged sender",
    "spam": "spam",
}
MAX_REASON: Final = 200
ALWAYS_DELIVERED: Final = ("bounce", "release")
"""Origins of what nobody judges again."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one recipient's copy."""

    recipient: str
    deliver: bool
    reason: str = ""
    """Why it is quarantined, in words."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """clean, spam, phishing, virus, content, spoof."""
    score: float
    actions: tuple[Action, ...]
    """One for each recipient, in the order of the envelope."""
    findings: tuple[Finding, ...] = ()
    engines: tuple[str, ...] = ()
    took: int = 0

    @property
    def quarantine(self) -> Mapping[str, str]:
        """Address -> reason, of the recipients whose copy is kept back."""
        return {action.recipient: action.reason for action in self.actions if not action.deliver}


def judge(report: Report, message: Message, settings: Settings) -> Verdict:
    score = round(sum(finding.score for finding in report.findings), 2)
    verdict = classify(report.findings, settings.spam_threshold)
    deliver = verdict == CLEAN or message.origin in ALWAYS_DELIVERED
    reason = "" if deliver else explain(verdict, report.findings, score)
    return Verdict(
        verdict=verdict,
        score=score,
        actions=tuple(
            [Action(recipient=recipient.address, deliver=deliver, reason=reason) for recipient in message.recipients]
        ),
        findings=report.findings,
        engines=report.engines,
        took=report.took,
    )


def classify(findings: Sequence[Finding], threshold: float) -> str:
    if not findings:
        return CLEAN
    weights: dict[str, float] = {}
    for finding in findings:
        weights[finding.kind] = weights.get(finding.kind, 0.0) + finding.score
    for kind in DECISIVE:
        if any(finding.score > 0 for finding in findings if finding.kind == kind):
            return kind
    if sum(weights.values()) < threshold:
        return CLEAN
    return max(CUMULATIVE, key=lambda kind: weights.get(kind, 0.0))


def explain(verdict: str, findings: Sequence[Finding], score: float) -> str:
    """One line for the postmaster: the class, and the finding that weighs most in it."""
    worst = max(
        (finding for finding in findings if finding.kind == verdict), key=lambda finding: finding.score, default=None
    )
    said = _SAID[verdict] if verdict in DECISIVE else f"{_SAID[verdict]} (score {score:g})"
    return plain(f"{said}: {worst.text or worst.name}" if worst else said, MAX_REASON)
