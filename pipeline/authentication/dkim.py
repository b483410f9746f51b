"""DKIM signatures verified (RFC 6376, RFC 8301, RFC 8463, RFC 8616).

At most ten signatures of a message are looked at, from the top. Their keys are asked for at once, each once, and the body is
hashed once for each form in which it was signed. Nothing here raises, whatever the message holds.

    pass        it verifies. `unsigned_octets` tells how much of the body's end it leaves out (l=): that may be anybody's
    fail        the body or a signed field was altered, or it was never a signature of this key
    policy      it may verify, and counts for nothing: rsa-sha1, a short RSA key, past its end or dated in the future
    neutral     it is in a form that is not known, or the header is one that nobody can be sure to read like its signer
    permerror   it is no signature by the grammar, or there is no key for it
    temperror   the DNS did not answer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.address import AddressError, domain_name
from pipeline.authentication import signature, tags
from pipeline.authentication.canonical import Body, BodyHash, Fields, Wanted
from pipeline.authentication.domainkey import Key, Lookups, Problem
from pipeline.authentication.signature import Claim, Unusable
from pipeline.authentication.tags import Malformed, Tag
from pipeline.events import AuthResult
from pipeline.mime import Buffer, Header

MAX_SIGNATURES: Final = 10
"""Mail has one or two, and what went through lists four; each costs its sender nothing and us a question to the DNS."""
MAX_IDENTITY: Final = 1000
"""Octets of i=: a local part and a domain are 320 at most, and some of them take three in quoted-printable."""
_LONGEST_MARK: Final = 64

_NAME: Final = b"dkim-signature"


class Signature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one signature came to. All texts are fit to be shown; those that could not be read are empty."""

    result: str
    reason: str = ""
    """In our own words; nothing in it is the message's."""
    domain: str = ""
    """d=, in lower case and A-labels."""
    selector: str = ""
    identity: str = ""
    """i=, or `@domain` where there is none."""
    algorithm: str = ""
    mark: str = ""
    """The beginning of b=, long enough to tell the message's signatures apart (RFC 6008)."""
    unsigned_octets: int = 0
    """Of the canonical body behind what l= covers."""
    testing: bool = False
    """The key says t=y: whether it verifies or not, the message counts as unsigned (RFC 6376 3.6.1)."""

    def as_result(self) -> AuthResult:
        named = (
            ("header.d", self.domain),
            ("header.i", self.identity),
            ("header.s", self.selector),
            ("header.a", self.algorithm),
            ("header.b", self.mark),
        )
        properties = tuple([(name, value) for name, value in named if value])
        return AuthResult(method="dkim", result=self.result, reason=self.reason, properties=properties)


def as_results(signatures: Sequence[Signature]) -> tuple[AuthResult, ...]:
    """For Authentication-Results: one for each, or `none`."""
    return tuple([found.as_result() for found in signatures]) or (AuthResult(method="dkim", result="none"),)


async def verify(
    content: Buffer,
    header: Header,
    names: Lookups,
    *,
    now: int,
    fields: Fields | None = None,
    body: Body | None = None,
) -> tuple[Signature, ...]:
    """What the signatures of a message came to, from the top; empty when there are none. `now` in ns.

    `fields` and `body` of the same message, where the caller has them: what is computed there is not computed again.
    """
    fields = fields or Fields(header)
    places = fields.places(_NAME)[:MAX_SIGNATURES]
    doubt = signature.doubtful(header) if places or header.cut else ""
    if doubt:
        return (Signature(result="neutral", reason=doubt),)
    if not places:
        return ()
    body = body or Body(content, header.body)
    read = [_read(fields, place, now) for place in places]
    claims = [claim for claim, _ in read if isinstance(claim, Claim)]
    keys, hashes = await signature.gather(
        names, {claim.key_name for claim in claims}, body, {claim.body for claim in claims}
    )
    return _told_apart([_judge(claim, found, fields, keys, hashes) for claim, found in read])


class _Found(msgspec.Struct):
    """What could be read of a signature, also of one that is not verified."""

    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    b: str = ""


def _read(fields: Fields, place: int, now: int) -> tuple[Claim | Problem, _Found]:
    found = _Found()
    try:
        listed = signature.read_tags(fields.raw(place))
        found.b = _shown(listed.get(b"b"))
        signature.required(listed, b"v", b"a", b"b", b"bh", b"d", b"h", b"s")
        found.domain, found.selector, _ = signature.signer(listed)
        found.identity = f"@{found.domain}"
        _check_version(listed)
        if listed[b"a"].value.lower() in signature.NAMED:
            found.algorithm = listed[b"a"].value.lower().decode()
        found.identity = _identity(listed, found.domain)
        return signature.read(fields, place, listed, now), found
    except Unusable as unusable:
        return unusable.problem, found


def _check_version(listed: Mapping[bytes, Tag]) -> None:
    if listed[b"v"].value != b"1":
        raise Unusable("permerror", "a version that is not known")


def _shown(tag: Tag | None) -> str:
    """The beginning of b= without white space, if it is base64."""
    try:
        if tag is None or not tags.base64_value(tag.value):
            return ""
    except Malformed:
        return ""
    return b"".join(tag.value.split())[:_LONGEST_MARK].decode("ascii")


def _identity(listed: Mapping[bytes, Tag], domain: str) -> str:
    """i= in one form: the domain in A-labels. It is the signer's or one below it (6.1.1). Raises Unusable."""
    if b"i" not in listed:
        return f"@{domain}"
    try:
        local, at, host = tags.quoted_printable(listed[b"i"].value, MAX_IDENTITY).rpartition("@")
        host = domain_name(host)
    except (Malformed, AddressError):
        raise Unusable("permerror", "the identity is not an address") from None
    if not at:
        raise Unusable("permerror", "the identity is not an address")
    if host != domain and not host.endswith(f".{domain}"):
        raise Unusable("permerror", "the identity is of another domain than the signature")
    return f"{local}@{host}"


def _judge(
    claim: Claim | Problem,
    found: _Found,
    fields: Fields,
    keys: Mapping[str, Key | Problem],
    hashes: Mapping[Wanted, BodyHash],
) -> Signature:
    problem: Problem | None
    unsigned = 0
    testing = False
    if isinstance(claim, Problem):
        problem = claim
    else:
        key = keys[claim.key_name]
        body = hashes[claim.body]
        problem = signature.verify(claim, fields, key, body)
        if isinstance(key, Key):
            testing = key.is_testing
            if problem is None and key.is_strict and found.identity.rpartition("@")[2] != claim.domain:
                problem = Problem("permerror", "the key is not for subdomains")
        if problem is None and claim.body.limit is not None:
            unsigned = body.octets - claim.body.limit
    reason = problem.reason if problem else f"{unsigned} octets at the end are not signed" if unsigned else ""
    return Signature(
        result=problem.result if problem else "pass",
        reason=reason,
        domain=found.domain,
        selector=found.selector,
        identity=found.identity,
        algorithm=found.algorithm,
        mark=found.b,
        unsigned_octets=unsigned,
        testing=testing,
    )


def _told_apart(signatures: Sequence[Signature]) -> tuple[Signature, ...]:
    """With each mark cut to 8 characters, or as many as it takes (RFC 6008 3)."""
    whole = [found.mark for found in signatures]
    length = 8
    while length < _LONGEST_MARK and len({mark[:length] for mark in whole}) < len(set(whole)):
        length *= 2
    return tuple([msgspec.structs.replace(found, mark=found.mark[:length]) for found in signatures])
