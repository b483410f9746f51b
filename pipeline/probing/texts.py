"""Findings in words: what was found, why it matters, and what is to be done by who owns the server and by who rents it.

The words are in `texts.toml`. Where a finding follows from a server's reply, the table of replies (`pipeline/diagnosis/`) says what the
reply is about; where that is the very thing that was found, its tips, which know more than ours, are given instead.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Final

import msgspec

from pipeline import diagnosis
from pipeline.diagnosis.table import LANGUAGES, OTHER
from pipeline.events import Attempt
from pipeline.probing.model import Answer, Finding, Weight

_DIGITS: Final = {"en": (",", "."), "de": (".", ",")}
"""Between thousands, and before decimals."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `texts.toml` says about one kind of finding."""

    en: str
    de: str
    why_en: str
    why_de: str
    owner_en: str = ""
    owner_de: str = ""
    renter_en: str = ""
    renter_de: str = ""
    replies: bool = False
    """Where the table of replies knows the server's reply, its tips come in place of these."""


class Texts(msgspec.Struct, frozen=True, kw_only=True):
    """Each: language -> words."""

    title: dict[str, str]
    explanation: dict[str, str]
    owner: dict[str, str]
    """What to do for who runs the server; empty where nothing is to be done."""
    renter: dict[str, str]
    """What to do for who rents it."""
    about: dict[str, str]
    """What the server's reply is about; empty where there was none, or nobody knows."""


@functools.cache
def read() -> Mapping[str, Entry]:
    """Kind of finding -> its words."""
    text = resources.files(__package__).joinpath("texts.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Entry])


def texts(finding: Finding) -> Texts:
    entry = read()[finding.kind]
    about, owner, renter = _explained(finding, tips=entry.replies)
    given = {
        field: {language: _filled(getattr(entry, f"{prefix}{language}"), finding, language) for language in LANGUAGES}
        for field, prefix in (("title", ""), ("explanation", "why_"), ("owner", "owner_"), ("renter", "renter_"))
    }
    return Texts(
        title=given["title"],
        explanation=given["explanation"],
        owner=owner or given["owner"],
        renter=renter or given["renter"],
        about=about,
    )


def _explained(finding: Finding, *, tips: bool) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What the reply is about, and if `tips`, what to do about it; empty where nobody knows."""
    if finding.answer is None or finding.weight == Weight.GOOD:
        return {}, {}, {}
    said = diagnosis.diagnose(attempt(finding.answer), software=finding.software)
    if said.about == OTHER:
        return {}, {}, {}
    return (said.title, said.owner, said.renter) if tips else (said.title, {}, {})


def attempt(answer: Answer) -> Attempt:
    """A step's end as the table of replies wants it."""
    return Attempt(server="", stage=answer.stage, code=answer.code, enhanced=answer.enhanced, reply=answer.text)


def _filled(template: str, finding: Finding, language: str) -> str:
    """The values are put in as they are: braces in a stranger's words mean nothing."""
    return template.format_map({name: _written(value, language) for name, value in finding.values.items()})


def _written(value: str | float, language: str) -> str:
    if isinstance(value, str):
        return value
    written = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}" if value < 0.1 else f"{value:,.1f}"
    thousands, decimals = _DIGITS[language]
    return written.translate({ord(","): thousands, ord("."): decimals})
