"""Which rule of the table an attempt meets: pure.

Two things hold whatever a table says. A 4xx never becomes a failure, and neither does what was said before the message was (the
connection, the greeting, EHLO, STARTTLS): that is about the server or about us. And what no rule knows goes by its code.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from pipeline.diagnosis.table import OTHER, Action, Rule, Table, read
from pipeline.events import Attempt

UNMATCHED: Final = ""
"""In place of a rule's name."""
_ABOUT_THE_MESSAGE: Final = frozenset({"mail", "rcpt", "data", "dot"})
_ADDRESS: Final = re.compile(r"(?<![^\s<>@])[^\s<>@]{1,255}+@[^\s<>@]{1,255}+")
"""A mailbox may be called spam@ or virus@. Looked for where a word begins, so that a long word costs no more than its length."""
_CODES: Final = re.compile(r"^[2-5][0-9]{2}(?:[ \t-](?:[245]\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.]))?|$)", re.MULTILINE)


class Diagnosis(msgspec.Struct, frozen=True):
    rule: str
    """UNMATCHED when none holds: a reply worth a look."""
    about: str
    """The class."""
    action: Action
    title: dict[str, str]
    """Language -> a few words."""
    owner: dict[str, str]
    """Language -> a tip for who owns the server."""
    renter: dict[str, str]
    """Language -> a tip for who rents it."""


class Met(msgspec.Struct, frozen=True):
    """A condition of a rule, and which of its values an attempt met."""

    condition: str
    """As the table calls it: codes, enhanced, stages, software, phrases, with."""
    value: str


class Explained(msgspec.Struct, frozen=True):
    found: Diagnosis
    met: tuple[Met, ...]
    """Empty where no rule holds."""
    proposed: Action
    """What the rule or its class says, before the two things that hold whatever a table says."""


def diagnose(attempt: Attempt, *, software: str | None = None, table: Table | None = None) -> Diagnosis:
    """What a refusal, or silence, is about. `software`: another than the attempt says, as `Table.software_of` knows it."""
    used = table or read()
    return _made(used, _rule_of(used, attempt, attempt.software if software is None else software), attempt)


def explain(attempt: Attempt, *, table: Table | None = None) -> Explained:
    """As `diagnose`, and why."""
    used = table or read()
    rule = _rule_of(used, attempt, attempt.software)
    text = plain(attempt.reply)
    values = rule.met(attempt.code, attempt.enhanced, attempt.stage, text, attempt.software)
    return Explained(
        found=_made(used, rule, attempt),
        met=tuple(Met(condition, value) for condition, value in values.items()),
        proposed=rule.action or used.classes[rule.about].action,
    )


def _rule_of(table: Table, attempt: Attempt, software: str) -> Rule:
    text = plain(attempt.reply)
    for rule in table.rules:
        if rule.holds(attempt.code, attempt.enhanced, attempt.stage, text, software):
            return rule
    return Rule(name=UNMATCHED, about=OTHER)


def plain(reply: str) -> str:
    """The words of a reply as phrases are looked for in them: lower case, one line, single blanks, no codes, no addresses."""
    return " ".join(_ADDRESS.sub("@", _CODES.sub(" ", reply)).lower().split())


def _made(table: Table, rule: Rule, attempt: Attempt) -> Diagnosis:
    known = table.classes[rule.about]
    return Diagnosis(
        rule=rule.name,
        about=rule.about,
        action=_allowed(rule.action or known.action, attempt),
        title={"en": rule.en or known.en, "de": rule.de or known.de},
        owner={"en": rule.owner_en or known.owner_en, "de": rule.owner_de or known.owner_de},
        renter={"en": rule.renter_en or known.renter_en, "de": rule.renter_de or known.renter_de},
    )


def _allowed(action: Action, attempt: Attempt) -> Action:
    if action not in (Action.FAIL, Action.RETRY):
        return action
    if attempt.stage == "route":
        return action if attempt.enhanced.startswith("5") else Action.BACK_OFF
    if attempt.stage not in _ABOUT_THE_MESSAGE:
        return Action.BACK_OFF
    return action if attempt.code // 100 == 5 else Action.RETRY
