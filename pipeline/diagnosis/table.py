"""The table of replies as it is written (`table.toml`), and as it is used."""

from __future__ import annotations

import enum
import functools
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.faults import ConfigurationError

LANGUAGES: Final = ("en", "de")
SILENT: Final = "0"
"""In place of a code: there was no reply."""
LONGEST_GREETING: Final = 1024
"""Characters of a greeting that are looked at."""
LONGEST_TABLE: Final = 4 << 20
"""Octets: a hundred times ours."""
REMEDY: Final = "The head of the table that comes with Gatepost says what a rule may hold: gatepost replies table."
STAGES: Final = ("route", "connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot")
_CODE: Final = re.compile(r"[2-5](?:[0-9]{2}|xx)")
_ENHANCED: Final = re.compile(r"[245](?:\.[0-9]{1,3}){0,2}")


class Action(enum.StrEnum):
    """What the mail is best served with."""

    FAIL = "fail"
    """Return it to the sender."""
    RETRY = "retry"
    """Let this message wait; the others of its domain need not."""
    BACK_OFF = "back off"
    """Let the whole route wait."""
    OTHER_SOURCE = "other source"
    """Try from another of our addresses; let the route wait when there is none."""
    HOLD = "hold"
    """Keep the domain's mail until somebody has mended the server."""


class Class(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What replies are about. The texts are for the domain's postmaster."""

    action: Action
    en: str
    de: str
    owner_en: str
    owner_de: str
    renter_en: str
    renter_de: str

    @property
    def title(self) -> dict[str, str]:
        """As the other two: language -> text."""
        return {"en": self.en, "de": self.de}

    @property
    def owner(self) -> dict[str, str]:
        return {"en": self.owner_en, "de": self.owner_de}

    @property
    def renter(self) -> dict[str, str]:
        return {"en": self.renter_en, "de": self.renter_de}


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"about": "class"}):
    """Holds when each condition that is given does; see the head of `table.toml`."""

    name: str
    about: str
    action: Action | None = None
    codes: tuple[str, ...] = ()
    enhanced: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    software: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    also: tuple[str, ...] = msgspec.field(default=(), name="with")
    en: str = ""
    de: str = ""
    owner_en: str = ""
    owner_de: str = ""
    renter_en: str = ""
    renter_de: str = ""

    def holds(self, code: int, enhanced: str, stage: str, text: str, software: str) -> bool:
        """`text` as `diagnose.plain` makes it."""
        return (
            (not self.stages or stage in self.stages)
            and (not self.codes or any(_same_code(pattern, code) for pattern in self.codes))
            and (not self.enhanced or any(_below(pattern, enhanced) for pattern in self.enhanced))
            and (not self.software or software in self.software)
            and (not self.phrases or any(phrase in text for phrase in self.phrases))
            and (not self.also or any(phrase in text for phrase in self.also))
        )

    def met(self, code: int, enhanced: str, stage: str, text: str, software: str) -> dict[str, str]:
        """Of a rule that holds: for each condition that is given, the first of its values that is met."""
        tested = {
            "stages": (value for value in self.stages if value == stage),
            "codes": (value for value in self.codes if _same_code(value, code)),
            "enhanced": (value for value in self.enhanced if _below(value, enhanced)),
            "software": (value for value in self.software if value == software),
            "phrases": (value for value in self.phrases if value in text),
            "with": (value for value in self.also if value in text),
        }
        return {condition: value for condition, values in tested.items() if (value := next(values, None)) is not None}


def _untidy(phrase: str) -> bool:
    return not phrase or phrase != " ".join(phrase.lower().split())


def _same_code(pattern: str, code: int) -> bool:
    return str(code) == pattern or (pattern[1:] == "xx" and code // 100 == int(pattern[0]))


def _below(pattern: str, enhanced: str) -> bool:
    return enhanced == pattern or enhanced.startswith(pattern + ".")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"classes": "class", "rules": "rule"}):
    version: int
    software: dict[str, tuple[str, ...]]
    """Name -> what its greeting holds."""
    classes: dict[str, Class]
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two rules are called {twice.pop()!r}")
        if OTHER not in self.classes:
            raise ValueError(f"there is no class {OTHER!r}")
        for name, known in self.classes.items():
            if not all(text.strip() for text in msgspec.structs.astuple(known)):
                raise ValueError(f"class {name!r}: a text is empty")
        for rule in self.rules:
            fault = self._fault(rule)
            if fault:
                raise ValueError(f"rule {rule.name!r}: {fault}")
        if any(_untidy(phrase) for phrases in self.software.values() for phrase in phrases):
            raise ValueError("software: phrases are in lower case, with single blanks")

    def _fault(self, rule: Rule) -> str:
        """What would make a rule hold never, or always, without being meant."""
        if not rule.name:
            return "a rule has a name"
        if rule.about not in self.classes:
            return f"there is no class {rule.about!r}"
        if not any((rule.codes, rule.enhanced, rule.stages, rule.software, rule.phrases, rule.also)):
            return "it holds for every reply; give it a condition"
        if any(_untidy(phrase) for phrase in (*rule.phrases, *rule.also)):
            return "phrases are in lower case, with single blanks"
        if any(code != SILENT and not _CODE.fullmatch(code) for code in rule.codes):
            return "a code is like 550 or 5xx, or 0"
        if any(not _ENHANCED.fullmatch(status) for status in rule.enhanced):
            return "an enhanced status is like 5.1.1 or 5.7"
        strange = [stage for stage in rule.stages if stage not in STAGES]
        if strange:
            return f"there is no stage {strange[0]!r}, only {', '.join(STAGES)}"
        strange = [name for name in rule.software if name not in self.software]
        return f"there is no software {strange[0]!r}" if strange else ""

    def software_of(self, greeting: str) -> str:
        """What a server is, as far as its greeting says; empty when nothing is recognised."""
        text = " ".join(greeting[:LONGEST_GREETING].lower().split())
        for name, phrases in self.software.items():
            if any(phrase in text for phrase in phrases):
                return name
        return ""


OTHER: Final = "other"


@functools.cache
def read() -> Table:
    """The table that comes with this version."""
    return parse(shipped(), "table.toml")


def shipped() -> str:
    """Its text."""
    return resources.files(__package__).joinpath("table.toml").read_text("utf-8")


@functools.cache
def in_force(path: str) -> Table:
    """The table that the setting `replies_table` names, read once in a process; ours where it is empty. Raises ConfigurationError."""
    return load(Path(path).expanduser()) if path else read()


def load(path: Path) -> Table:
    """Another table, to be tried. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_TABLE + 1)
        if len(text) > LONGEST_TABLE:
            raise ConfigurationError(f"{path}: longer than {LONGEST_TABLE:,} octets, so it is no table")
        return parse(text.decode("utf-8"), str(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def parse(text: str, name: str) -> Table:
    """Raises ConfigurationError."""
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name}: {error}", remedy=REMEDY) from None
    try:
        return msgspec.convert(written, Table)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name}: {_culprit(written) or error}", remedy=REMEDY) from None


def _culprit(written: dict[str, Any]) -> str:
    """Which class or rule cannot be read, and why; msgspec counts rules, and does not name classes."""
    classes, rules = written.get("class"), written.get("rule")
    parts: list[tuple[str, Any, type[Class | Rule]]] = []
    if isinstance(classes, dict):
        parts += [(f"class {name!r}", part, Class) for name, part in classes.items()]
    for number, part in enumerate(rules if isinstance(rules, list) else (), start=1):
        called = repr(part["name"]) if isinstance(part, dict) and "name" in part else f"number {number}"
        parts.append((f"rule {called}", part, Rule))
    for what, part, kind in parts:
        try:
            msgspec.convert(part, kind)
        except msgspec.ValidationError as error:
            return f"{what}: {error}"
    return ""
