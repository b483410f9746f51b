"""From counts to a judgement: pure.

Each word has a probability that mail with it is spam (Robinson's: the ratio of its frequencies, drawn towards one half while it is
rare). The log odds of the words that say something are added up and divided by the root of their number, so that a long message is
not surer than a short one; words come in company, and a plain sum (naive Bayes) would take each company for as many witnesses.
bench/README.md has what this and the alternatives caught.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from pipeline.events import Finding

STRENGTH: Final = 1.0
"""Messages that a word's prior weighs as much as."""
NEUTRAL: Final = 0.1
"""A word whose probability is nearer to one half says nothing."""
MOST: Final = 150
"""Words that count: those that say most."""
SLOPE: Final = 1.5
"""From evidence to the probability that people are told."""
UNSURE: Final = 0.9
"""Evidence below which nothing is said: some 0.8 or less that it is spam, or that it is none."""
KNOWN: Final = 4.0
"""Evidence from which on a message teaches nothing new. Who teaches many does well to leave those out: the words of what is easy to
tell would drown those of what is hard."""
FEW: Final = 50
"""Messages of either kind below which all teach something."""
GRADES: Final = ((-4.0, -0.3), (-0.9, -0.1), (0.9, 0.05), (1.65, 0.1), (4.8, 1.0))
"""Evidence -> part of the spam threshold; between them in proportion. 0.7 of evidence weigh as much as one point of the built-in tests, on a
threshold of 5. Chosen on the corpus of bench/README.md: where the whole threshold begins, one honest newsletter of 250 is left."""


class Counted(NamedTuple):
    """What was learnt, as far as it concerns one message. Counts may be weighed, so they are no whole numbers."""

    spam: float
    """Messages in all."""
    ham: float
    tokens: list[tuple[float, float]]
    """(in spam, in other mail) of each of its tokens that was ever seen."""
    learnt: int
    """Messages that people spoke of."""


def evidence(counted: Counted) -> float:
    """Above zero: like spam; the further, the surer. 0 when nothing is known."""
    if counted.spam <= 0 or counted.ham <= 0:
        return 0.0
    spam, ham = 1 / counted.spam, 1 / counted.ham
    said = [odds for bad, good in counted.tokens if (odds := _odds(bad, good, spam, ham))]
    if not said:
        return 0.0
    if len(said) > MOST:
        said.sort(key=abs, reverse=True)
        del said[MOST:]
    return math.fsum(said) / math.sqrt(len(said))


def teaches(counted: Counted, *, spam: bool) -> bool:
    """Whether a message is in doubt, or taken for the other kind."""
    if min(counted.spam, counted.ham) < FEW:
        return True
    return evidence(counted) * (1 if spam else -1) < KNOWN


def _odds(bad: float, good: float, spam: float, ham: float) -> float:
    """Log odds of one word; 0 for one that says nothing."""
    seen = bad + good
    often, otherwise = bad * spam, good * ham
    if seen <= 0 or often + otherwise <= 0:
        return 0.0
    probability = (STRENGTH * 0.5 + seen * often / (often + otherwise)) / (STRENGTH + seen)
    if abs(probability - 0.5) < NEUTRAL:
        return 0.0
    return math.log(probability / (1 - probability))


def probability(found: float) -> float:
    """As people are told."""
    return 1 / (1 + math.exp(-SLOPE * max(min(found, 40.0), -40.0)))


def finding(counted: Counted, threshold: float) -> Finding | None:
    """None when it is not sure. `threshold`: score from which a message is spam."""
    found = evidence(counted)
    if abs(found) < UNSURE:
        return None
    sure = probability(found) if found > 0 else 1 - probability(found)
    is_spam = found > 0
    kind = "was marked as spam" if is_spam else "is wanted"
    said = "over 0.999" if sure > 0.999 else f"{sure:.2f}" if sure < 0.99 else f"{sure:.3f}"
    return Finding(
        name="BAYES_SPAM" if is_spam else "BAYES_HAM",
        score=round(graded(found) * threshold, 2),
        text=f"words as in mail that {kind}: probability {said}, learnt from {counted.learnt:,} messages",
    )


def graded(found: float) -> float:
    """The part of the threshold that it is worth."""
    return _between(GRADES, found)


def _between(grades: Iterable[tuple[float, float]], value: float) -> float:
    before: tuple[float, float] | None = None
    worth = 0.0
    for at, worth in grades:
        if value <= at:
            if before is None:
                return worth
            return before[1] + (worth - before[1]) * (value - before[0]) / (at - before[0])
        before = (at, worth)
    return worth
