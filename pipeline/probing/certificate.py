"""Reading a server's certificate: what it is for, from when to when, and who says so. Pure."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from typing import Final

from cryptography import x509

from pipeline.outcome import neutralise
from pipeline.probing.model import Certificate
from pipeline.units import SECOND

MAX_NAMES: Final = 100
"""Of one certificate; authorities sign no more than that."""
MAX_NAME: Final = 255
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def read(der: bytes) -> Certificate | None:
    """None when it cannot be read: OpenSSL is more patient with broken ones than we need to be."""
    try:
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            names=_names(found),
            issuer=_shown(found.issuer.rfc4514_string()),
            not_before=_ns(found.not_valid_before_utc),
            not_after=_ns(found.not_valid_after_utc),
            self_signed=found.issuer == found.subject,
        )
    except Exception:  # noqa: BLE001 - the library has many for the many ways in which octets are no certificate
        return None


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        # RFC 6125 gave the common name up, and Python does not look at it; here it tells whose the certificate is.
        common = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return tuple(_shown(str(name.value)) for name in common[:MAX_NAMES])
    names = alternatives.get_values_for_type(x509.DNSName)
    addresses = alternatives.get_values_for_type(x509.IPAddress)
    return tuple(_shown(str(name)) for name in [*names, *addresses][:MAX_NAMES])


def _shown(text: str) -> str:
    return neutralise(text[:MAX_NAME].encode("utf-8", "backslashreplace"))


def _ns(moment: dt.datetime) -> int:
    return round((moment - _EPOCH).total_seconds()) * SECOND


def covers(names: Iterable[str], host: str) -> bool:
    """Whether a certificate for `names` is one for `host`: `*` stands for one whole first label (RFC 6125 6.4.3)."""
    wanted = _canonical(host)
    return any(_same(_canonical(name), wanted) for name in names)


def _canonical(name: str) -> str:
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        return name.lower().rstrip(".")


def _same(name: str, wanted: str) -> bool:
    if not name.startswith("*."):
        return name == wanted
    first, dot, rest = wanted.partition(".")
    return bool(first and dot and "." in rest) and rest == name[2:] and not wanted.replace(".", "").isdigit()
