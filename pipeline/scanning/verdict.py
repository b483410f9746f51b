"""From findings to classes. Pure.

Scores add up: what the built-in tests find, and of the engines outside the one that says most. Those look at the same message for the
same signs, each on its own scale on which it alone would be enough, so adding them all would count one sign several times.

A message may be of several classes at once, each for its own reasons. A virus is one whatever else is said, and blocked content where a single finding is
enough by itself (`DECISIVE`); lower ones only add up. Phishing and forged senders have a threshold of their own, which what the tests for
them find has to reach by itself. Bulk mail is no spam: what shows that a message went to many adds nothing to the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.directory.policy import CLEAN
from pipeline.events import Finding

DECISIVE: Final = 5.0
"""Score of one content finding that needs no others: the scale of all scores, whatever the thresholds are set to."""
FORGING: Final = ("phishing", "spoof")
BULK: Final = "bulk"
OWN: Final = frozenset({"", "builtin", "people", "classifier", "dnslists"})
"""Names of engines that are parts of the built-in tests: each sees signs of its own."""


class Sums(NamedTuple):
    """What findings come to."""

    score: float
    rest: float = 0.0
    """The same without what is enough by itself: a virus is no spam because of the points that it has as a virus."""
    forging: float = 0.0
    """Of that what speaks of phishing and forged senders; never below 0 for either."""
    weights: tuple[tuple[str, float], ...] = ()
    """Of phishing and spoof, where there is any."""
    virus: bool = False
    content: bool = False
    bulk: bool = False
    engine: str = ""
    """The engine outside that is in the score."""
    others: tuple[str, ...] = ()
    """Engines outside that gave a score, and are not in it."""


def add_up(findings: Sequence[Finding]) -> Sums:
    own: list[Finding] = []
    outside: dict[str, list[Finding]] = {}
    enough = 0.0
    for finding in findings:
        if is_decisive(finding):
            enough += finding.score
        elif finding.engine in OWN:
            own.append(finding)
        elif finding.score:
            outside.setdefault(finding.engine, []).append(finding)
    most = max(outside, key=lambda engine: (_score(outside[engine]), engine), default="")
    counted = [*own, *outside[most]] if most else own
    weights = {
        kind: weight
        for kind in FORGING
        if (weight := sum(finding.score for finding in counted if finding.kind == kind)) > 0
    }
    rest = _score(counted)
    return Sums(
        score=round(rest + enough, 2),
        rest=round(rest, 2),
        forging=round(sum(weights.values()), 2),
        weights=tuple(weights.items()),
        virus=any(finding.kind == "virus" and is_decisive(finding) for finding in findings),
        content=any(finding.kind == "content" and is_decisive(finding) for finding in findings),
        bulk=any(finding.kind == BULK and finding.score > 0 for finding in findings),
        engine=most,
        others=tuple(sorted(set(outside) - {most})),
    )


def is_decisive(finding: Finding) -> bool:
    """Whether it is enough by itself, whatever else is found."""
    if finding.kind == "virus":
        return finding.score > 0
    return finding.kind == "content" and finding.score >= DECISIVE


def _score(findings: Sequence[Finding]) -> float:
    return sum(finding.score for finding in findings if finding.kind != BULK)


def classes(sums: Sums, spam_threshold: float, phishing_threshold: float) -> tuple[str, ...]:
    """All that a message is, the worst first; it is named after that. `clean` when it is nothing else."""
    found = []
    if sums.virus:
        found.append("virus")
    if sums.content:
        found.append("content")
    if min(sums.forging, sums.rest) >= phishing_threshold:
        found += [kind for kind, _ in sorted(sums.weights, key=lambda pair: -pair[1])]
    if sums.rest >= spam_threshold:
        found.append("spam")
    if sums.bulk:
        found.append(BULK)
    return tuple(found) or (CLEAN,)
