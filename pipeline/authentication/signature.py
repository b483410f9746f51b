"""What DKIM-Signature and ARC-Message-Signature have in common (RFC 6376 3.5, RFC 8617 4.1.2): reading one, and verifying
it.

Reading is strict: what the grammar does not allow is no signature. Everything read is bounded by the header, which is
bounded itself, and by the limits below.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from pipeline.address import AddressError, domain_name
from pipeline.authentication import domainkey, tags
from pipeline.authentication.canonical import Body, BodyHash, Fields, Wanted, relaxed_field
from pipeline.authentication.domainkey import Key, Lookups, Problem
from pipeline.authentication.tags import Malformed, Tag
from pipeline.mime import Header
from pipeline.units import SECOND

MAX_NAMES: Final = 1000
"""Names in h=: a signature over all fields of a message that is looked at (2,000) has about as many."""
FUTURE: Final = 86_400
"""Seconds that t= may be ahead of our clock. Clocks set to a wrong zone are honest, and a late t= gains nobody anything."""
GRACE: Final = 300
"""Seconds after x= in which a signature still counts: clocks differ."""

ALGORITHMS: Final = {b"rsa-sha256": "rsa", b"ed25519-sha256": "ed25519"}
"""And the kind of key that each takes."""
NAMED: Final = frozenset({*ALGORITHMS, b"rsa-sha1"})
"""Algorithms that DKIM ever had."""
_FORMS: Final = {b"simple": False, b"relaxed": True}
_MAX_SIGNER: Final = 1000
"""Octets of d= and s= in UTF-8: no name is longer, and names are remembered."""
_NO_TAG: Final = Tag(b"", 0, 0)


class Unusable(Exception):
    """A signature that is not verified at all: the problem says why."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.problem = Problem(result, reason)


class Claim(NamedTuple):
    """A signature as it was read: who says what about which octets."""

    place: int
    """Of its field."""
    algorithm: str
    domain: str
    selector: str
    """Both in lower case and A-labels (RFC 8616 4)."""
    key_name: str
    signature: bytes
    own: bytes
    """Its field as it was signed: b= empty, and without the last CRLF (3.7)."""
    names: list[bytes]
    relaxed: bool
    body: Wanted
    body_hash: bytes


def doubtful(header: Header) -> str:
    """Why nothing can be said of any signature in a header; empty when something can."""
    if header.cut:
        # Which field is the lowest of its name cannot be told, and what is in the rest neither.
        return "the header is larger than is looked at"
    if header.malformed:
        # For many servers the header ends there, and they would show another message than the one that was verified.
        return "the header holds a line that is no field"
    return ""


def read_tags(field: bytes) -> dict[bytes, Tag]:
    """The tags of a signature's field; positions are the field's. Raises Unusable."""
    colon = field.index(b":") + 1
    try:
        found = tags.parse(field[colon:])
    except Malformed as wrong:
        raise Unusable("permerror", f"the signature is malformed: {wrong}") from None
    return {name: Tag(tag.value, tag.start + colon, tag.end + colon) for name, tag in found.items()}


def required(found: Mapping[bytes, Tag], *names: bytes) -> None:
    for name in names:
        if not found.get(name, _NO_TAG).value:
            raise Unusable("permerror", f"the signature has no {name.decode()} tag")


def signer(found: Mapping[bytes, Tag]) -> tuple[str, str, str]:
    """(domain, selector, name of the key) from d= and s=. Raises Unusable."""
    domain, selector = found[b"d"].value, found[b"s"].value
    if len(domain) + len(selector) <= _MAX_SIGNER:
        with contextlib.suppress(AddressError, UnicodeDecodeError):
            return _signer(domain, selector)
    raise Unusable("permerror", "the domain or the selector is not a name")


@functools.lru_cache(1024)
def _signer(d: bytes, s: bytes) -> tuple[str, str, str]:
    domain = domain_name(d.decode())
    if "." not in domain:
        raise AddressError("a domain of one label")  # 3.5: sub-domain 1*("." sub-domain)
    selector = s.decode()
    selector = selector.lower() if selector.isascii() else domain_name(selector)
    key_name = domain_name(f"{selector}._domainkey.{domain}")
    return domain, selector, key_name


def algorithm(found: Mapping[bytes, Tag]) -> str:
    """Raises Unusable."""
    value = found[b"a"].value.lower()
    if value == b"rsa-sha1":
        # RFC 8301 3.1: it must not be used. RFC 8601 2.7.1 calls that policy: the signature may be right, and is not accepted.
        raise Unusable("policy", "rsa-sha1 is no longer accepted")
    if value not in ALGORITHMS:
        raise Unusable("neutral", "an algorithm that is not known")
    return value.decode()


def check_times(found: Mapping[bytes, Tag], now: int) -> None:
    """`now` in ns. Raises Unusable."""
    seconds = now // SECOND
    made = _number(found, b"t")
    expires = _number(found, b"x")
    if made is not None and expires is not None and expires <= made:
        raise Unusable("permerror", "the signature expires before it was made")
    if expires is not None and expires + GRACE < seconds:
        raise Unusable("policy", "the signature has expired")
    if made is not None and made - FUTURE > seconds:
        raise Unusable("policy", "the signature is dated in the future")


def base64_tag(found: Mapping[bytes, Tag], name: bytes) -> bytes:
    """Raises Unusable."""
    try:
        return tags.base64_value(found[name].value)
    except Malformed:
        raise Unusable("permerror", f"the {name.decode()} tag is not base64") from None


def without_signature(field: bytes, found: Mapping[bytes, Tag]) -> bytes:
    """The field with the value of b= and all white space around it deleted (3.5)."""
    return field[: found[b"b"].start] + field[found[b"b"].end :]


def read(fields: Fields, place: int, found: Mapping[bytes, Tag], now: int) -> Claim:
    """The claim in a field whose tags were read. Raises Unusable."""
    required(found, b"a", b"b", b"bh", b"d", b"h", b"s")
    domain, selector, key_name = signer(found)
    if found[b"h"].value.count(b":") >= MAX_NAMES:
        raise Unusable("permerror", "more signed fields than are looked at")
    names = tags.listed(found[b"h"].value)
    if b"from" not in names:
        raise Unusable("permerror", "From is not signed")
    if names.count(b"from") < len(fields.places(b"from")):
        # What people see may be the other one (8.15).
        raise Unusable("permerror", "there is a From that is not signed")
    chosen = algorithm(found)
    if b"dns/txt" not in tags.listed(found[b"q"].value if b"q" in found else b"dns/txt"):
        raise Unusable("neutral", "the key is not in the DNS")
    header_form, body_form = _forms(found)
    check_times(found, now)
    body_hash = base64_tag(found, b"bh")
    return Claim(
        place=place,
        algorithm=chosen,
        domain=domain,
        selector=selector,
        key_name=key_name,
        signature=base64_tag(found, b"b"),
        own=_own(without_signature(fields.raw(place), found), relaxed=header_form),
        names=names,
        relaxed=header_form,
        body=Wanted(body_form, _number(found, b"l")),
        body_hash=body_hash,
    )


async def gather(
    names: Lookups, wanted_keys: Collection[str], body: Body, wanted_hashes: Collection[Wanted]
) -> tuple[dict[str, Key | Problem], dict[Wanted, BodyHash]]:
    """Keys and hashes. While a large body is hashed the answers travel; for a small one that is not worth a task."""
    if body.is_large:
        return await asyncio.gather(domainkey.fetch(names, wanted_keys), body.hashes(wanted_hashes))
    return await domainkey.fetch(names, wanted_keys), await body.hashes(wanted_hashes)


def verify(claim: Claim, fields: Fields, key: Key | Problem, body: BodyHash) -> Problem | None:
    """What is wrong with a signature (6.1.2, 6.1.3); None when it verifies."""
    if isinstance(key, Problem):
        return key
    if key.kind != ALGORITHMS[claim.algorithm.encode()]:
        return Problem("permerror", "the key is for another algorithm")
    if not body.digest:
        return Problem("permerror", "the signature covers more than the body")
    if body.digest != claim.body_hash:
        return Problem("fail", "the body was altered")
    places = fields.select(claim.names, claim.place)
    signed = b"".join([fields.canonical(place, relaxed=claim.relaxed) for place in places])
    if not key.verifies(claim.signature, hashlib.sha256(signed + claim.own).digest()):
        return Problem("fail", "the signature does not verify")
    return None


def _forms(found: Mapping[bytes, Tag]) -> tuple[bool, bool]:
    """Whether header and body are in the relaxed form (3.5, c=)."""
    header, slash, body = (found[b"c"].value if b"c" in found else b"simple/simple").lower().partition(b"/")
    try:
        return _FORMS[header], _FORMS[body] if slash else False
    except KeyError:
        raise Unusable("neutral", "a canonicalisation that is not known") from None


def _own(field: bytes, *, relaxed: bool) -> bytes:
    if relaxed:
        return relaxed_field(field)[:-2]
    return field[:-2] if field.endswith(b"\r\n") else field


def _number(found: Mapping[bytes, Tag], name: bytes) -> int | None:
    if name not in found:
        return None
    try:
        return tags.number(found[name].value)
    except Malformed:
        raise Unusable("permerror", f"the {name.decode()} tag is not a number") from None
