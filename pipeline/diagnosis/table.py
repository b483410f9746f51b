"""The table of replies as it is written (`table.toml`), and as it is used."""

from __future__ import annotations

import enum
import functools
import tomllib
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from pipeline.faults import ConfigurationError

LANGUAGES: Final = ("en", "de")
SILENT: Final = "0"
"""In place of a code: there was no reply."""


LONGEST_GREETING: Final = 1024
"""Characters of a greeting that are looked at."""


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
        for rule in self.rules:
            if rule.about not in self.classes:
                raise ValueError(f"rule {rule.name!r}: there is no class {rule.about!r}")
            phrases = [*rule.phrases, *rule.also]
            if any(phrase != " ".join(phrase.lower().split()) or not phrase for phrase in phrases):
                raise ValueError(f"rule {rule.name!r}: phrases are in lower case, with single blanks")
            if any(code != SILENT and not (len(code) == 3 and code[0] in "2345") for code in rule.codes):
                raise ValueError(f"rule {rule.name!r}: a code is like 550 or 5xx, or 0")

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
    return parse(resources.files(__package__).joinpath("table.toml").read_text("utf-8"), "table.toml")


def load(path: Path) -> Table:
    """Another table, to be tried. Raises ConfigurationError."""
    try:
        return parse(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def parse(text: str, name: str) -> Table:
    """Raises ConfigurationError."""
    try:
        return msgspec.convert(tomllib.loads(text), Table)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"{name}: {error}", remedy="Its head says what a rule may hold.") from None
