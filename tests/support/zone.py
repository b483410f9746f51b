"""Answers of the DNS from memory, in the form in which pipeline.resolver gives them.

    Zone({"example.org": [("MX", (10, "mx.example.org"))], "mx.example.org": [("A", "192.0.2.1")]})

A name that is not in it does not exist. Where there is TROUBLE in place of a value, the question for that kind of record fails
for now; where it is in place of a record, all questions do. What was asked is in `asked`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dns.reversename

from pipeline.resolver import LookupFailed

TROUBLE: Final = object()
MAX_ALIASES: Final = 8


class Zone:
    def __init__(self, records: Mapping[str, Sequence[Any]]) -> None:
        self._records = {name.lower().rstrip("."): list(found) for name, found in records.items()}
        self.asked: list[tuple[str, str]] = []

    async def a(self, name: str) -> tuple[str, ...]:
        return self._answer(name, "A")

    async def aaaa(self, name: str) -> tuple[str, ...]:
        return self._answer(name, "AAAA")

    async def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        return self._answer(name, "MX")

    async def txt(self, name: str) -> tuple[bytes, ...]:
        return self._answer(name, "TXT")

    async def ptr(self, address: str) -> tuple[str, ...]:
        return self._answer(dns.reversename.from_address(address).to_text(omit_final_dot=True), "PTR")

    async def cname(self, name: str) -> tuple[str, ...]:
        return self._answer(name, "CNAME")

    def _answer(self, name: str, kind: str) -> tuple[Any, ...]:
        self.asked.append((name.lower(), kind))
        name = name.lower().rstrip(".")
        for _ in range(MAX_ALIASES):
            found = self._found(name)
            if TROUBLE in found or (kind, TROUBLE) in found:
                raise LookupFailed(f"the DNS did not answer about {name} ({kind})", permanent=False)
            alias = [value for of, value in found if of == "CNAME"] if kind != "CNAME" else []
            if not alias:
                return tuple(value for of, value in found if of == kind)
            name = alias[0].lower().rstrip(".")
        raise LookupFailed(f"too many aliases at {name}", permanent=False)

    def _found(self, name: str) -> list[Any]:
        labels = name.split(".")
        if not all(0 < len(label) < 64 for label in labels) or name not in self._records:
            if any(known.endswith("." + name) for known in self._records):
                return []  # an empty non-terminal: it exists (RFC 8020)
            raise LookupFailed(f"the name {name} does not exist", permanent=True)
        return self._records[name]
