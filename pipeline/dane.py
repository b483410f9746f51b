"""DANE for SMTP (RFC 7672): what a signed zone says about the certificate of its mail server.

Only where the DNS vouches for the whole way from the name of the route to the TLSA record, which a validating resolver says with
its AD bit, and which we believe only when the setting trust_resolver_ad says so. Then a record means: encrypted or not at all. A
TLSA question that is not answered where the address was signed puts the mail off (RFC 7672 2.1.1): otherwise whoever can drop the
answer could turn encryption off.

Usages 0 and 1 mean nothing between mail servers (RFC 7672 3.1.3). With records of which none can be used, any certificate will do.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.resolver import LookupFailed, Resolver
from pipeline.route import Target, literal

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_RECORDS: Final = 20
MAX_CHAIN: Final = 10
"""Certificates of a server that are looked at."""

TRUST_ANCHOR: Final = 2
END_ENTITY: Final = 3
_WHOLE: Final = 0
"""Selector: the certificate; 1 is its public key."""
_EXACT: Final = 0
"""Matching: the octets themselves."""
_DIGESTS: Final = {1: hashlib.sha256, 2: hashlib.sha512}


class Record(NamedTuple):
    """RFC 6698 2.1"""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def usable(self) -> bool:
        return self.usage in (TRUST_ANCHOR, END_ENTITY) and self.selector in (0, 1) and self.matching in (0, 1, 2)


async def look_up(resolver: Resolver, target: Target) -> tuple[Record, ...]:
    """The records that hold for a server; none where the zone is not signed. Raises LookupFailed: then it is not known."""
    host = target.host.rstrip(".")
    if literal(host) is not None or (target.mx_of and not await resolver.secure(target.mx_of, "MX")):
        return ()
    if not await _is_signed(resolver, host):
        return ()
    name = f"_{target.port}._tcp.{host}"
    try:
        found = await resolver.tlsa(name)
        secure = await resolver.secure(name, "TLSA")
    except LookupFailed as failed:
        if failed.permanent:
            return ()
        raise
    return tuple(Record(*row) for row in found[:MAX_RECORDS]) if secure else ()


async def _is_signed(resolver: Resolver, host: str) -> bool:
    """Whether the addresses are vouched for. A family that cannot be asked about was not dialled either."""
    answers = []
    for kind in ("A", "AAAA"):
        try:
            answers.append(await resolver.secure(host, kind))
        except LookupFailed:
            continue
    return bool(answers) and all(answers)


def distrust(records: Sequence[Record], chain: Sequence[bytes], names: Sequence[str], now: dt.datetime) -> str:
    """Why a server's certificates (DER, its own first) are not those that the records speak of; empty when they are.

    `names`: whom an authority's certificate may be for (RFC 7672 3.2.2). An end entity's record asks neither for a name nor for
    a date (3.1.1).
    """
    from cryptography import x509  # noqa: PLC0415 - 30 ms, for those few servers that have such records

    usable = [record for record in records if record.usable]
    if not usable:
        return ""
    try:
        certificates = [x509.load_der_x509_certificate(one) for one in chain[:MAX_CHAIN]]
    except ValueError:
        return "its certificate cannot be read"
    if not certificates:
        return "it has no certificate"
    leaf = certificates[0]
    if any(record.usage == END_ENTITY and _matches(record, leaf) for record in usable):
        return ""
    anchors = _anchors([record for record in usable if record.usage == TRUST_ANCHOR], certificates[1:])
    why = ""
    for name in names if anchors else ():
        why = _vouched(leaf, certificates[1:], anchors, name, now)
        if not why:
            return ""
    return why or f"its certificate matches none of the {len(usable)} TLSA records"


def _anchors(records: Sequence[Record], sent: Sequence[Certificate]) -> list[Certificate]:
    from cryptography import x509  # noqa: PLC0415

    anchors = [one for one in sent if any(_matches(record, one) for record in records)]
    for record in records:
        if (record.selector, record.matching) == (_WHOLE, _EXACT):
            # The record is the authority itself, and the server need not send it.
            try:
                anchors.append(x509.load_der_x509_certificate(record.data))
            except ValueError:
                continue
    return anchors


def _matches(record: Record, certificate: Certificate) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    try:
        if record.selector == _WHOLE:
            octets = certificate.public_bytes(Encoding.DER)
        else:
            octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return record.data == (octets if record.matching == _EXACT else _DIGESTS[record.matching](octets).digest())


def _vouched(
    leaf: Certificate, between: Sequence[Certificate], anchors: Sequence[Certificate], name: str, now: dt.datetime
) -> str:
    """Why no anchor vouches for `leaf` as `name`; empty when one does."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.x509.verification import (  # noqa: PLC0415
        Criticality,
        ExtensionPolicy,
        PolicyBuilder,
        Store,
        VerificationError,
    )

    # Authorities that somebody made for one server rarely follow the rules of the web's. That they are authorities is asked for.
    authority = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    entity = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    try:
        builder = PolicyBuilder().store(Store(list(anchors))).time(now)
        builder = builder.extension_policies(ca_policy=authority, ee_policy=entity)
        builder.build_server_verifier(x509.DNSName(name)).verify(leaf, list(between))
    except (VerificationError, ValueError) as error:
        return f"the authority of its TLSA records does not vouch for it as {name} ({str(error)[:200]})"
    return ""


def _is_authority(_policy: object, _certificate: object, extension: object) -> None:
    if not getattr(extension, "ca", False):
        raise ValueError("not an authority")
