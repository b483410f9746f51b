"""Public keys in the DNS (RFC 6376 3.6, RFC 8301, RFC 8463): what a record says, and whether a signature is its key's.

A record is a stranger's: its length, the size of its modulus and of its exponent are bounded, so that no key costs more than
about half a millisecond. Parsed records are remembered, because the same few signers send most of the mail.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pipeline.authentication import tags
from pipeline.authentication.tags import Malformed
from pipeline.resolver import LookupFailed

if TYPE_CHECKING:
    from pipeline.authentication.publickey import PublicKey

MAX_RECORD: Final = 4096
"""Octets; the record of an RSA key of 8,192 bits has 1,430."""
MAX_RECORDS: Final = 5
"""Looked at under one name. There should be one (RFC 6376 3.6.2.2); others get there by a wildcard."""
CACHED: Final = 1024
"""Records remembered, with their keys: at most some 6 MB."""


class Lookups(Protocol):
    """Questions to the DNS; `pipeline.resolver.Resolver` is one."""

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """TXT records, the strings of each joined. Raises LookupFailed."""
        ...


class Problem(NamedTuple):
    """Why something cannot be used: a result of RFC 8601 2.7.1, and the reason in our own words."""

    result: str
    reason: str


class Key(NamedTuple):
    kind: str
    """rsa, ed25519."""
    public: PublicKey
    is_testing: bool
    """t=y: the domain is trying DKIM out; whether it verifies or not, the message counts as unsigned (RFC 6376 3.6.1)."""
    is_strict: bool
    """t=s: i= of a signature names the domain itself, no subdomain."""

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Whether `signature` is this key's for a SHA-256 digest, which Ed25519 takes for the message (RFC 8463 3)."""
        return self.public.verifies(signature, digest)


_NO_KEY: Final = Problem("permerror", "the domain has no such key")


async def fetch(names: Lookups, wanted: Collection[str]) -> dict[str, Key | Problem]:
    """What is published under each name, all of them asked for at once."""
    if len(wanted) <= 1:
        return {name: await _fetch(names, name) for name in wanted}
    return dict(zip(wanted, await asyncio.gather(*[_fetch(names, name) for name in wanted]), strict=True))


async def _fetch(names: Lookups, name: str) -> Key | Problem:
    try:
        records = await names.txt(name)
    except LookupFailed as failed:
        return _NO_KEY if failed.permanent else Problem("temperror", "the DNS gave no answer about the key")
    problem = _NO_KEY
    for record in records[:MAX_RECORDS]:
        if len(record) > MAX_RECORD:
            problem = Problem("permerror", "the key record is too long")
            continue
        found = read(record)
        if isinstance(found, Key):
            return found
        problem = found
    return problem


@functools.lru_cache(CACHED)
def read(record: bytes) -> Key | Problem:
    """The key in a record (RFC 6376 3.6.1, 6.1.2)."""
    try:
        found = tags.parse(record)
    except Malformed:
        return Problem("permerror", "the key record is malformed")
    if b"v" in found and found[b"v"].value != b"DKIM1":
        return Problem("permerror", "the key record is of an unknown version")
    if b"p" not in found:
        return Problem("permerror", "the key record holds no key")
    if not found[b"p"].value:
        return Problem("permerror", "the key was revoked")
    if b"h" in found and b"sha256" not in tags.listed(found[b"h"].value):
        return Problem("permerror", "the key is not for SHA-256")
    if b"s" in found and not {b"*", b"email"}.intersection(tags.listed(found[b"s"].value)):
        return Problem("permerror", "the key is not for mail")
    flags = tags.listed(found[b"t"].value) if b"t" in found else ()
    kind = found[b"k"].value.lower() if b"k" in found else b"rsa"
    from pipeline.authentication import publickey  # noqa: PLC0415 - 8 MiB, for those processes that have seen a key

    public = publickey.read(kind, found[b"p"].value)
    if isinstance(public, Problem):
        return public
    return Key(kind.decode(), public, is_testing=b"y" in flags, is_strict=b"s" in flags)
