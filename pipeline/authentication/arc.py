"""The chain of seals that forwarders left on a message (ARC, RFC 8617), verified as its 5.2 says.

A set is three fields of one instance number: what a forwarder found (ARC-Authentication-Results), its signature over the
message (ARC-Message-Signature), and its seal over all sets so far (ARC-Seal). Nothing here raises, and a chain that cannot
be right asks the DNS nothing: first the structure is judged, then the newest set with its two keys, and only then the
others.

Every failure is `fail` (5.2.1), an unreachable DNS too; `Chain.temporary` tells it apart, because a seal that says `fail`
ends the chain for good, and the chain may be sound.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec

from pipeline.authentication import signature, tags
from pipeline.authentication.canonical import Body, BodyHash, Fields, Wanted, relaxed_field
from pipeline.authentication.domainkey import Key, Lookups, Problem
from pipeline.authentication.signature import ALGORITHMS, Claim, Unusable
from pipeline.authentication.tags import Malformed, Tag
from pipeline.events import AuthResult
from pipeline.mime import Buffer, Header

MAX_SETS: Final = 50
"""RFC 8617 4.2.1."""

RESULTS: Final = b"arc-authentication-results"
MESSAGE: Final = b"arc-message-signature"
SEAL: Final = b"arc-seal"

_CFWS: Final = rb"(?:[ \t\r\n]++|\([^()\\]*+\))*"
# 4.1.1: unlike in the other two fields, the number stands in front, and the rest is no list of tags.
_INSTANCE: Final = re.compile(rb"[^:]*+:" + _CFWS + rb"i" + _CFWS + rb"=" + _CFWS + rb"([0-9]{1,9}+)" + _CFWS + rb";")
_MANY: Final = "more sets than there may be"
_CV: Final = frozenset({b"none", b"pass", b"fail"})


class Chain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the chain on a message as it came in."""

    result: str = "none"
    """none, pass, fail."""
    reason: str = ""
    """In our own words; nothing in it is the message's."""
    instances: int = 0
    """The highest instance number."""
    oldest_pass: int = 0
    """Of a chain that passes: the first set since which nobody altered the message; 0: nobody ever did (5.2, step 5)."""
    seals: tuple[tuple[str, str], ...] = ()
    """(domain, selector) of each seal of a chain that passes, the first set first: what DMARC reports ask for (7.2.2)."""
    unsigned_octets: int = 0
    """Of the canonical body, left out by the newest signature of a chain that passes (l=)."""
    ended: bool = False
    """The newest seal itself says that the chain is broken; nothing may be added (5.1)."""
    temporary: bool = False
    """It fails because the DNS did not answer."""

    @property
    def status(self) -> str:
        """What a sealer is told: none, pass, fail; empty when nobody knows."""
        return "" if self.temporary else self.result

    def as_result(self, remote_ip: str = "") -> AuthResult:
        """`remote_ip`: the client that handed the message to us (10.2)."""
        passed = (("header.oldest-pass", str(self.oldest_pass)),) if self.result == "pass" else ()
        client = (("smtp.remote-ip", remote_ip),) if remote_ip and self.result != "none" else ()
        return AuthResult(method="arc", result=self.result, reason=self.reason, properties=client + passed)


class Set(NamedTuple):
    """Where the fields of one instance are, and the tags of two of them."""

    results: int
    message: int
    seal: int
    message_tags: Mapping[bytes, Tag]
    seal_tags: Mapping[bytes, Tag]


class Structure(NamedTuple):
    """What can be said of a chain without any key."""

    instances: int = 0
    """The highest number that a field has; MAX_SETS + 1 when there is more than may be."""
    ended: bool = False
    flaw: str = ""
    sets: Sequence[Set] = ()
    """From the first on; empty when there is a flaw."""


_Numbered: TypeAlias = dict[int, tuple[int, dict[bytes, Tag]]]
"""Instance number -> place and tags."""


class _Seal(NamedTuple):
    domain: str
    selector: str
    key_name: str
    algorithm: str
    signature: bytes
    own: bytes


def structure(fields: Fields) -> Structure:
    """The sets on a message, in order (5.2, 1 to 3)."""
    if not any(fields.places(name) for name in (RESULTS, MESSAGE, SEAL)):
        return Structure()
    found, flaw = _collected(fields)
    highest = max(max(those, default=0) for those in found.values())
    if flaw == _MANY or highest > MAX_SETS:
        return Structure(MAX_SETS + 1, flaw=_MANY)
    newest = found[SEAL].get(highest)
    if newest and _cv(newest[1]) == b"fail":
        return Structure(highest, ended=True, flaw="the chain was broken before it came here")
    expected = list(range(1, highest + 1))
    if flaw or any(sorted(those) != expected for those in found.values()):
        return Structure(highest, flaw=flaw or "a set that is not complete")
    sets = [
        Set(found[RESULTS][at][0], found[MESSAGE][at][0], found[SEAL][at][0], found[MESSAGE][at][1], found[SEAL][at][1])
        for at in expected
    ]
    if any(_cv(one.seal_tags) != (b"pass" if at else b"none") for at, one in enumerate(sets)):
        return Structure(highest, flaw="a seal that contradicts its place in the chain")
    return Structure(highest, sets=sets)


def _collected(fields: Fields) -> tuple[dict[bytes, _Numbered], str]:
    """The fields of each kind by instance number, and what is wrong with them. Too many are not read at all."""
    found: dict[bytes, _Numbered] = {RESULTS: {}, MESSAGE: {}, SEAL: {}}
    flaw = ""
    if any(len(fields.places(name)) > MAX_SETS for name in found):
        return found, _MANY
    for name, those in found.items():
        for place in fields.places(name):
            instance, listed = _instance(name, fields.raw(place))
            if instance == 0:
                flaw = "a field without an instance number"
            elif instance in those:
                flaw = "two fields of one kind with one instance number"
            else:
                those[instance] = (place, listed)
    return found, flaw


def _instance(name: bytes, field: bytes) -> tuple[int, dict[bytes, Tag]]:
    """The instance number of a field, 0 when it has none, and its tags."""
    if name == RESULTS:
        match = _INSTANCE.match(field)
        return int(match[1]) if match else 0, {}
    try:
        listed = signature.read_tags(field)
        return tags.number(listed[b"i"].value) if b"i" in listed else 0, listed
    except (Unusable, Malformed):
        return 0, {}


def _cv(listed: Mapping[bytes, Tag]) -> bytes:
    value = listed[b"cv"].value.lower() if b"cv" in listed else b""
    return value if value in _CV else b""


async def verify(
    content: Buffer,
    header: Header,
    names: Lookups,
    *,
    now: int,
    fields: Fields | None = None,
    body: Body | None = None,
) -> Chain:
    """What became of the chain on a message. `now` in ns; `fields` and `body` as for `dkim.verify`."""
    fields = fields or Fields(header)
    found = structure(fields)
    if found.instances == 0 and not found.flaw:
        return Chain()
    flaw = signature.doubtful(header) or found.flaw
    if flaw:
        return Chain(result="fail", reason=flaw, instances=found.instances, ended=found.ended)
    problem, chain = await _verified(found, fields, names, now, body or Body(content, header.body))
    if problem is not None:
        return Chain(
            result="fail", reason=problem.reason, instances=found.instances, temporary=problem.result == "temperror"
        )
    return chain


async def _verified(
    found: Structure, fields: Fields, names: Lookups, now: int, body: Body
) -> tuple[Problem | None, Chain]:
    sets = found.sets
    count = len(sets)
    read = [_read_seal(fields, one, now) for one in sets]
    seals = [seal for seal in read if isinstance(seal, _Seal)]
    for instance, problem in enumerate(read, 1):
        if isinstance(problem, Problem):
            return _in_set(instance, problem), Chain()
    message = _read_message(fields, sets[-1], now)
    if isinstance(message, Problem):
        return _in_set(count, message), Chain()
    wanted = {message.key_name, seals[-1].key_name}
    keys, hashes = await signature.gather(names, wanted, body, {message.body})
    digests = seal_digests(fields, sets, [seal.own for seal in seals])
    wrong = signature.verify(message, fields, keys[message.key_name], hashes[message.body])
    if wrong is not None:
        return _in_set(count, wrong), Chain()
    wrong = _verify_seal(seals[-1], keys[seals[-1].key_name], digests[-1])
    if wrong is not None:
        return _in_set(count, wrong), Chain()
    older = _older_messages(fields, sets, now)
    wanted = {seal.key_name for seal in seals} | {claim.key_name for claim in older}
    more, hashes = await signature.gather(names, wanted - keys.keys(), body, {claim.body for claim in older})
    keys |= more
    for instance in range(count - 1, 0, -1):
        seal = seals[instance - 1]
        wrong = _verify_seal(seal, keys[seal.key_name], digests[instance - 1])
        if wrong is not None:
            return _in_set(instance, wrong), Chain()
    limit = message.body.limit
    return None, Chain(
        result="pass",
        instances=count,
        oldest_pass=_oldest_pass(older, count, fields, keys, hashes),
        seals=tuple([(seal.domain, seal.selector) for seal in seals]),
        unsigned_octets=0 if limit is None else hashes[message.body].octets - limit,
    )


def _in_set(instance: int, problem: Problem) -> Problem:
    return Problem(problem.result, f"set {instance}: {problem.reason}")


def _read_message(fields: Fields, one: Set, now: int) -> Claim | Problem:
    try:
        claim = signature.read(fields, one.message, one.message_tags, now)
    except Unusable as unusable:
        return unusable.problem
    if SEAL in claim.names:
        return Problem("permerror", "the message signature covers a seal")  # 4.1.2
    return claim


def _older_messages(fields: Fields, sets: Sequence[Set], now: int) -> list[Claim]:
    """The message signatures before the newest, newer ones first, up to one that cannot be read."""
    older = []
    for one in reversed(sets[:-1]):
        claim = _read_message(fields, one, now)
        if isinstance(claim, Problem):
            break
        older.append(claim)
    return older


def _oldest_pass(
    older: Sequence[Claim],
    count: int,
    fields: Fields,
    keys: Mapping[str, Key | Problem],
    hashes: Mapping[Wanted, BodyHash],
) -> int:
    verified = 0
    for claim in older:
        if signature.verify(claim, fields, keys[claim.key_name], hashes[claim.body]) is not None:
            break
        verified += 1
    return 0 if verified == count - 1 else count - verified


def _read_seal(fields: Fields, one: Set, now: int) -> _Seal | Problem:
    listed = one.seal_tags
    if b"h" in listed:
        return Problem("permerror", "a seal that names fields")  # 4.1.3
    try:
        signature.required(listed, b"a", b"b", b"d", b"s")
        signature.check_times({name: tag for name, tag in listed.items() if name == b"t"}, now)
        domain, selector, key_name = signature.signer(listed)
        algorithm = signature.algorithm(listed)
        octets = signature.base64_tag(listed, b"b")
    except Unusable as unusable:
        return unusable.problem
    own = relaxed_field(signature.without_signature(fields.raw(one.seal), listed))[:-2]
    return _Seal(domain, selector, key_name, algorithm, octets, own)


def seal_digests(fields: Fields, sets: Sequence[Set], own: Sequence[bytes]) -> list[bytes]:
    """What each seal signs (5.1.1): all sets up to its own, in order, its own field with b= empty. One pass for all."""
    digests = []
    sha = hashlib.sha256()
    for one, seal in zip(sets, own, strict=True):
        sha.update(fields.canonical(one.results, relaxed=True))
        sha.update(fields.canonical(one.message, relaxed=True))
        this = sha.copy()
        this.update(seal)
        digests.append(this.digest())
        sha.update(fields.canonical(one.seal, relaxed=True))
    return digests


def _verify_seal(seal: _Seal, key: Key | Problem, digest: bytes) -> Problem | None:
    if isinstance(key, Problem):
        return key
    if key.kind != ALGORITHMS[seal.algorithm.encode()]:
        return Problem("permerror", "the key is for another algorithm")
    if not key.verifies(seal.signature, digest):
        return Problem("fail", "a seal does not verify")
    return None
