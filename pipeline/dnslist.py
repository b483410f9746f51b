"""A DNS list as the settings write it: its zone, and what each answer of its is worth (RFC 5782).

    zen.example=127.0.0.2:3,127.0.0.4-127.0.0.7:3,127.0.0.10-127.0.0.11:1
    white.example=127.0.*.2:-1,127.0.*.3:-2
    multi.example=&8:4:phishing,&64:3
    simple.example=3

An answer is an address, a range, an address with `*` for any number, or `&N` for those whose last number has one of the bits of N.
The first rule that fits an answer counts. A score alone counts for every answer. Pure.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final, NamedTuple

LARGEST: Final = 20.0
KINDS: Final = ("spam", "phishing", "spoof")
"""What a listing may make of a message."""
MAX_RULES: Final = 50

_ZONE: Final = re.compile(
    r"(?=.{1,150}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_RULE: Final = re.compile(r"(?P<answer>[^:]{1,40}):(?P<score>[+-]?\d{1,2}(?:\.\d{1,2})?)(?::(?P<kind>[a-z]{1,20}))?")
_SCORE: Final = re.compile(r"[+-]?\d{1,2}(?:\.\d{1,2})?")
_LISTED: Final = int(ipaddress.IPv4Address("127.0.0.0"))
_EXPECTED: Final = (
    "expected ZONE=ANSWER:SCORE,ANSWER-ANSWER:SCORE, such as zen.example=127.0.0.2:3,127.0.0.4-127.0.0.7:3"
)


class Rule(NamedTuple):
    """Answers from `low` to `high` that agree with `value` where `mask` has a bit, and have one of `bits`."""

    score: float
    kind: str
    low: int
    high: int
    mask: int = 0
    value: int = 0
    bits: int = 0

    def fits(self, answer: int) -> bool:
        return (
            self.low <= answer <= self.high
            and answer & self.mask == self.value
            and (not self.bits or bool(answer & self.bits))
        )


class DnsList(str):
    """ZONE=RULES, in one form."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> DnsList:
        text = "".join(str(value).lower().split())
        zone, _, written = text.partition("=")
        zone = zone.rstrip(".")
        if _ZONE.fullmatch(zone) is None or not written:
            raise ValueError(_EXPECTED)
        _rules(written)
        return cls(f"{zone}={written}")

    @property
    def zone(self) -> str:
        return str(self.partition("=")[0])

    @property
    def rules(self) -> tuple[Rule, ...]:
        return _rules(str(self.partition("=")[2]))


@functools.lru_cache(256)
def _rules(written: str) -> tuple[Rule, ...]:
    """Raises ValueError."""
    if _SCORE.fullmatch(written):
        return (Rule(_score(written), "spam", _LISTED, _LISTED + (1 << 24) - 1),)
    texts = written.split(",")
    if len(texts) > MAX_RULES:
        raise ValueError(f"{len(texts)} rules for one list; there may be {MAX_RULES}")
    return tuple([_rule(text) for text in texts])


def _rule(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!a}: {_EXPECTED}")
    score, kind, answer = _score(match["score"]), match["kind"] or "spam", match["answer"]
    if kind not in KINDS:
        raise ValueError(f"{text!a}: what is listed may be {', '.join(KINDS)}")
    if answer.startswith("&"):
        bits = int(answer[1:]) if re.fullmatch(r"&\d{1,3}", answer) else 0
        if not 0 < bits < 256:
            raise ValueError(f"{text!a}: & takes a number from 1 to 255")
        return Rule(score, kind, _LISTED, _LISTED + 0xFFFF, bits=bits)
    if "*" in answer:
        return _pattern(answer, score, kind)
    low, _, high = answer.partition("-")
    first, last = _address(low), _address(high or low)
    if first > last:
        raise ValueError(f"{text!a}: a range goes upwards")
    return Rule(score, kind, first, last)


def _pattern(answer: str, score: float, kind: str) -> Rule:
    numbers = answer.split(".")
    mask = value = 0
    for number in numbers:
        mask = mask << 8 | (0 if number == "*" else 255)
    value = _address(".".join("0" if number == "*" else number for number in numbers))
    return Rule(score, kind, _LISTED, _LISTED + (1 << 24) - 1, mask=mask, value=value)


def _address(text: str) -> int:
    try:
        found = int(ipaddress.IPv4Address(text))
    except ipaddress.AddressValueError:
        raise ValueError(f"{text!a} is no answer of a DNS list") from None
    if found >> 24 != 127:
        raise ValueError(f"{text} is no answer of a DNS list: they are in 127.0.0.0/8 (RFC 5782 2.1)")
    return found


def _score(text: str) -> float:
    score = float(text)
    if not -LARGEST <= score <= LARGEST:
        raise ValueError(f"a score of {score:g}; {LARGEST:g} at most")
    return score


def worth(rules: tuple[Rule, ...], answers: tuple[int, ...]) -> Rule | None:
    """Of the rules that fit an answer the one that weighs most; None when none does."""
    found = [rule for answer in answers if (rule := next((one for one in rules if one.fits(answer)), None)) is not None]
    return max(found, key=lambda rule: abs(rule.score), default=None)
