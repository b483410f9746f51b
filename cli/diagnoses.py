"""What an answer of a server is about, for people: in the language of the domain that it concerns."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cyclopts import Parameter

from cli.render import clean
from pipeline.diagnosis import Diagnosis, Table, diagnose
from pipeline.diagnosis.table import LANGUAGES
from pipeline.diagnosis.words import OWNER, RENTER
from pipeline.events import Attempt, Deferred, Event, Failed, RouteDeferred, Undeliverable, Warned
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    from cli.session import Session

REMEMBERED: Final = 1024
"""Replies whose meaning is kept at hand: title and tips are asked for one after the other, and many replies are alike."""
LANGUAGE: Final = Parameter(help="For titles and tips: en or de. Left out: the domain's, else en.")


class Diagnoses:
    """A table, and the language of each domain."""

    def __init__(self, table: Table, languages: Mapping[str, str], language: str = "") -> None:
        self._table = table
        self._languages = languages
        self._language = language
        self._told: set[str] = set()
        self._remembered = functools.lru_cache(REMEMBERED)(self._diagnosed)

    def of(self, attempt: Attempt) -> Diagnosis:
        return self._remembered(attempt.stage, attempt.code, attempt.enhanced, attempt.reply, attempt.software)

    def _diagnosed(self, stage: str, code: int, enhanced: str, reply: str, software: str) -> Diagnosis:
        attempt = Attempt(server="", stage=stage, code=code, enhanced=enhanced, reply=reply, software=software)
        return diagnose(attempt, table=self._table)

    @property
    def classes(self) -> frozenset[str]:
        """What an answer may be about."""
        return frozenset(self._table.classes)

    def language(self, domain: str) -> str:
        return self._language or self._languages.get(domain) or LANGUAGES[0]

    def form(self, domain: str, attempt: Attempt) -> dict[str, Any] | None:
        """None where no server was asked."""
        return diagnosis_form(self.of(attempt), self.language(domain)) if attempt.stage else None

    def title(self, domain: str, attempt: Attempt) -> str:
        """`There is no such recipient (recipient)`; empty where no server was asked."""
        if not attempt.stage:
            return ""
        found = self.of(attempt)
        return f"{clean(found.title[self.language(domain)])} ({clean(found.about)})"

    def tips(self, domain: str, attempt: Attempt) -> Iterator[str]:
        """What its owner, and who rents it, can do: each said once by one command."""
        if not attempt.stage:
            return
        for tip in tips(self.of(attempt), self.language(domain)):
            if tip not in self._told:
                self._told.add(tip)
                yield tip


async def diagnoses(opened: Session, language: str) -> Diagnoses:
    """Raises ConfigurationError: no such language, or a table of the operator's that cannot be read."""
    chosen = language_of(language)
    directory = opened.wiring.directory
    await directory.refresh()
    homes = {name: directory.home(name) for name in directory.domains()}
    languages = {name: home.language for name, home in homes.items() if home is not None}
    return Diagnoses(opened.wiring.table, languages, chosen)


def language_of(text: str) -> str:
    """Raises ConfigurationError."""
    if text and text not in LANGUAGES:
        raise ConfigurationError(f"no language {text!a}", remedy=f"One of {', '.join(LANGUAGES)}.")
    return text


def tips(found: Diagnosis, language: str) -> tuple[str, str]:
    return (
        f"{OWNER[language]}: {clean(found.owner[language])}",
        f"{RENTER[language]}: {clean(found.renter[language])}",
    )


def diagnosis_form(found: Diagnosis, language: str) -> dict[str, Any]:
    """As scripts read it; the field names are promises."""
    return {
        "class": found.about,
        "action": found.action.value,
        "rule": found.rule,
        "language": language,
        "title": found.title[language],
        "tips": {"owner": found.owner[language], "renter": found.renter[language]},
    }


def attempts_of(event: Event) -> tuple[Attempt, ...]:
    """The tries of an event that did not succeed."""
    if isinstance(event, RouteDeferred):
        return event.attempts
    if isinstance(event, Deferred | Failed | Undeliverable | Warned) and event.attempt is not None:
        return (event.attempt,)
    return ()
