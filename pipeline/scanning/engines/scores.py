"""What other engines think, on our scale. Pure.

Each has a threshold of its own, and that is our `spam_threshold`: a message that is just spam for Rspamd is just spam for us. One finding per
engine carries its score; what it found in detail stands beside it with no score, so that nothing counts twice.

Engines look at the same things, so their scores must not simply add up. `scaled` is a square below the threshold and grows slowly above it:
two engines that are each half convinced make a quarter of the threshold each, together half of it; that takes three at six tenths,
or one that is sure. No engine gives more than twice the threshold, and none takes away more than a fifth of it, however much it likes a message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pipeline.events import Finding
from pipeline.text import printable

MAX_SYMBOLS: Final = 50
"""Kept of one engine, the heaviest."""
MAX_NAME: Final = 64
MAX_TEXT: Final = 200
NAMED: Final = 3
"""Symbols that the finding with the score names."""
MOST: Final = 2.0
"""Of the threshold, that one engine can give."""
LEAST: Final = -0.2
VIRUS: Final = 100.0
"""As of our own: one finding of this kind is enough."""

# Each as a word of the name: PHISHING, URL_PHISH, DBL_PHISH, but no fish.
_PHISHING: Final = re.compile(r"PHISH", re.IGNORECASE)
_VIRUS: Final = re.compile(r"(?:^|_)(?:VIRUS|CLAM|MALWARE|TROJAN)", re.IGNORECASE)
_SPOOF: Final = re.compile(r"SPOOF|DMARC_POLICY_REJECT|DMARC_REJECT|FAKE_REPLY_C|FORGED_MUA", re.IGNORECASE)
_BULK: Final = re.compile(r"BULK|MAILLIST|MAILING_LIST|NEWSLETTER|MARKETING|LIST_UNSUB|DCC_CHECK", re.IGNORECASE)
_KINDS: Final = (("phishing", _PHISHING), ("virus", _VIRUS), ("spoof", _SPOOF), ("bulk", _BULK))
_CARRIED: Final = ("phishing", "spoof", "spam")
"""What a score may be of: it adds up with others, so it is never a virus, which is decided by itself, and bulk is no harm."""

_ANTIVIRUS: Final = re.compile(r"[A-Z0-9]+_VIRUS", re.IGNORECASE)
"""What Rspamd's antivirus module says of a scanner behind it: CLAM_VIRUS, SOPHOS_VIRUS. That it failed, or met a limit, has another end."""

_CLAM_LIMITS: Final = re.compile(r"Heuristics\.(?:Limits\.Exceeded|Broken)", re.IGNORECASE)
_CLAM_CONTENT: Final = re.compile(r"(?:Heuristics\.(?:Encrypted|OLE2|Structured)|PUA)\.", re.IGNORECASE)


class Symbol(NamedTuple):
    name: str
    weight: float = 0.0
    """In the engine's own points."""
    text: str = ""


def scaled(part: float, threshold: float) -> float:
    """Our score for `part` of the engine's own threshold: 1.0 is spam to it."""
    if not math.isfinite(part):
        return 0.0
    if part < 0:
        share = max(LEAST, part * -LEAST)
    elif part < 1:
        share = part * part
    else:
        share = min(MOST, 1 + (part - 1) / 2)
    return round(share * threshold, 2)


def kind_of(name: str) -> str:
    """What a symbol is about, as far as its name says."""
    return next((kind for kind, pattern in _KINDS if pattern.search(name)), "spam")


def carried_kind(symbols: Iterable[Symbol]) -> str:
    """What a score is mostly of."""
    weights = dict.fromkeys(_CARRIED, 0.0)
    for symbol in symbols:
        kind = kind_of(symbol.name)
        if symbol.weight > 0:
            weights[kind if kind in weights else "spam"] += symbol.weight
    heaviest = max(_CARRIED, key=lambda kind: weights[kind])
    return heaviest if weights[heaviest] > 0 else "spam"


def tidy(text: str, most: int = MAX_TEXT) -> str:
    """A text of an engine, which may repeat what a stranger wrote, as it is stored and shown."""
    return printable(" ".join(text[: most * 2].split()))[:most]


def opinion(engine: str, said: str, part: float, symbols: Sequence[Symbol], threshold: float) -> tuple[Finding, ...]:
    """The finding with the score, and those of its symbols. `said`: what the engine made of it, in words."""
    heavy = sorted(symbols, key=lambda symbol: -abs(symbol.weight))[:MAX_SYMBOLS]
    named = ", ".join(f"{symbol.name} {symbol.weight:g}" for symbol in heavy[:NAMED] if symbol.weight)
    named = named or ", ".join(symbol.name for symbol in heavy[:NAMED])
    score = scaled(part, threshold)
    carrier = Finding(
        name=f"{engine.upper()}_SCORE",
        score=score,
        text=tidy(f"{said}: {named}" if named else said),
        # What it is not sure of is no more than suspicious, whatever it is about.
        kind=carried_kind(symbols) if part >= 1 else "spam",
        engine=engine,
    )
    return carrier, *(_detail(engine, one) for one in heavy)


def _detail(engine: str, symbol: Symbol) -> Finding:
    """Beside the score it has none of its own; but a virus is one whoever lets the sender pass."""
    virus = symbol.weight > 0 and _ANTIVIRUS.fullmatch(symbol.name) is not None
    return Finding(
        name=tidy(symbol.name, MAX_NAME), text=tidy(symbol.text), kind="virus" if virus else kind_of(symbol.name),
        engine=engine, score=VIRUS if virus else 0.0,
    )  # fmt: skip


def rspamd_part(score: float, tag_at: float, action: str) -> float:
    """How sure Rspamd is. Its action has the last word: rules of its operator may force one whatever the score."""
    part = score / tag_at if tag_at > 0 else 0.0
    if action in ("reject", "add header", "rewrite subject", "quarantine", "discard"):
        return max(part, 1.0)
    return min(part, 0.99)


def clamav_finding(signature: str, threshold: float) -> Finding:
    """What ClamAV calls by a name. Its heuristics are not all about viruses."""
    name = tidy(signature)
    if _CLAM_LIMITS.match(signature):
        return Finding(
            name="CLAMAV_LIMITS", text=f"ClamAV could not look at all of it: {name}", kind="content", engine="clamav"
        )
    if _PHISHING.search(signature):
        return Finding(
            name="CLAMAV_PHISHING", score=threshold, text=f"ClamAV found {name}", kind="phishing", engine="clamav"
        )
    if _CLAM_CONTENT.match(signature):
        return Finding(
            name="CLAMAV_CONTENT", score=threshold, text=f"ClamAV found {name}", kind="content", engine="clamav"
        )
    return Finding(name="CLAMAV", score=VIRUS, text=f"ClamAV found {name}", kind="virus", engine="clamav")
