"""Phishing and impersonation: all its tests over one view of the message. See docs/phishing.md for what they look for and weigh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pipeline.events import Finding
from pipeline.scanning.builtin import tables
from pipeline.scanning.builtin.combined import combined
from pipeline.scanning.builtin.guarding import guarded
from pipeline.scanning.builtin.links import links
from pipeline.scanning.builtin.pages import pages
from pipeline.scanning.builtin.senders import senders
from pipeline.scanning.builtin.view import View
from pipeline.scanning.engine import Mail

MAX_FINDINGS: Final = 30


class Phishing:
    """`brands`: a file in place of our table of brands; empty: ours. Raises ConfigurationError when it cannot be read."""

    def __init__(self, brands: str = "") -> None:
        self._brands = tables.brands(brands)

    def look(self, mail: Mail) -> list[Finding]:
        view = View(mail, self._brands)
        found: list[Finding] = []
        for test in (senders, links, pages):
            guarded(test.__name__, mail, test, view, found)
        found += combined(view, frozenset(_names(found)))
        return found[:MAX_FINDINGS]


def _names(findings: Iterable[Finding]) -> Iterator[str]:
    return (finding.name for finding in findings)
