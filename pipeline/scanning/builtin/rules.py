"""What the judges of files share: the operator's choice, and what they may ask of the inspection that called them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from pipeline.events import Finding
from pipeline.scanning.files.listing import Member
from pipeline.scanning.files.octets import Budget


class Rules(NamedTuple):
    extensions: frozenset[str]
    """Blocked endings of names, in lower case, without the dot."""
    types: frozenset[str]
    """Blocked groups of `kinds`."""
    encrypted: str
    """pass or block."""
    macros: str
    """pass, score, auto or block."""


class Inspector(Protocol):
    @property
    def rules(self) -> Rules: ...
    @property
    def budget(self) -> Budget: ...
    def add(self, findings: Iterable[Finding]) -> bool:
        """Whether one of them is enough to hold the message."""
        ...

    def named(self, name: str, archive: str = "") -> bool:
        """The same for what the name says."""
        ...

    def file(self, member: Member, archive: str, depth: int) -> bool:
        """The same for a file within `archive`."""
        ...

    def encrypted(self, name: str, label: str) -> None:
        """What is called `label` cannot be looked into without a password."""
        ...
