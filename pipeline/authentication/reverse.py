"""The name behind an address, believed only when it leads back there (RFC 8601 3)."""

from __future__ import annotations

from typing import Final, Protocol

from pipeline.resolver import LookupFailed

MAX_NAMES: Final = 5
"""Names of one address that are looked at."""


class Lookups(Protocol):
    async def a(self, name: str) -> tuple[str, ...]: ...
    async def aaaa(self, name: str) -> tuple[str, ...]: ...
    async def ptr(self, address: str) -> tuple[str, ...]: ...


async def reverse(address: str, names: Lookups) -> tuple[str, str]:
    """The result of "iprev" (pass, fail, temperror), and the name; empty unless it passed."""
    try:
        found = await names.ptr(address)
    except LookupFailed as failed:
        return ("fail" if failed.permanent else "temperror"), ""
    trouble = False
    for name in found[:MAX_NAMES]:
        try:
            addresses = await (names.aaaa(name) if ":" in address else names.a(name))
        except LookupFailed as failed:
            trouble = trouble or not failed.permanent
            continue
        if address in addresses:
            return "pass", name
    return ("temperror" if trouble else "fail"), ""
