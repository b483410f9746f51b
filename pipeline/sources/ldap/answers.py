"""What a result code of a directory server means to a postmaster (RFC 4511 4.1.9 and appendix A). Pure."""

from __future__ import annotations

import re
from typing import Final

from pipeline.sources.faults import (
    BusyError,
    DeniedError,
    GarbledError,
    LimitedError,
    MissingError,
    SlowError,
    SourceError,
    shown,
)
from pipeline.sources.ldap.messages import Result

SUCCESS: Final = 0

_OPERATIONS_ERROR: Final = 1
_TIME_LIMIT: Final = 3
_REFERRAL: Final = 10
_LIMITS: Final = frozenset({4, 11})  # sizeLimitExceeded, adminLimitExceeded
_ENCRYPT: Final = frozenset({8, 13})  # strongerAuthRequired, confidentialityRequired
_MISSING: Final = frozenset({32, 34})  # noSuchObject, invalidDNSyntax
_CREDENTIALS: Final = frozenset({48, 49})  # inappropriateAuthentication, invalidCredentials
_RIGHTS: Final = frozenset({50})  # insufficientAccessRights
_BUSY: Final = frozenset({51, 52})  # busy, unavailable
_UNWILLING: Final = 53

_NAMES: Final = {
    2: "protocolError", 12: "unavailableCriticalExtension", 16: "noSuchAttribute", 17: "undefinedAttributeType",
    18: "inappropriateMatching", 53: "unwillingToPerform", 54: "loopDetect", 80: "other",
}  # fmt: skip
_AD_DATA: Final = re.compile(rb"\bdata ([0-9a-f]{1,8})\b")
_AD_WHY: Final = {
    b"525": "there is no such account",
    b"52e": "the password is wrong, or there is no such account",
    b"530": "the account may not log in at this time",
    b"531": "the account may not log in from here",
    b"532": "its password has expired",
    b"533": "the account is disabled",
    b"701": "the account has expired",
    b"773": "its password has to be changed first",
    b"775": "the account is locked",
}
"""What Active Directory says behind invalidCredentials."""


def fault(result: Result, server: str, *, doing: str, base: str = "", bound: bool = True) -> SourceError:
    """The error for a result that is no success. `doing`: starttls, bind or search."""
    said = shown(result.words)
    words = f": {said}" if said else ""
    code = result.code
    if code in _BUSY:
        return BusyError(f"{server} is busy{words}")
    if code in _ENCRYPT:
        return DeniedError(
            f"{server} wants an encrypted connection{words}", remedy="Set starttls, or write the server as ldaps://."
        )
    if doing == "starttls":
        return DeniedError(
            f"{server} does not encrypt (StartTLS){words}", remedy="Give it a certificate, or write it as ldaps://."
        )
    if doing == "bind":
        return _refused(result, server, words)
    if code in _MISSING:
        matched = f"; there is {shown(result.matched)}" if result.matched else ""
        return MissingError(
            f"{server} has no {shown(base)!r}{matched}",
            remedy="Check base, and that the account that asks may see it.",
        )
    if code in _LIMITS:
        return LimitedError(
            f"{server} ended the list before its end: its limit for our account was reached{words}",
            remedy="Have that limit raised for the account, or lifted for paged searches.",
        )
    if code == _TIME_LIMIT:
        return SlowError(f"{server} ended the list: its time limit was reached{words}")
    if code == _REFERRAL:
        where = f", on {shown(result.referrals[0])}" if result.referrals else ""
        return MissingError(
            f"{server} says that {shown(base)!r} is elsewhere{where}",
            remedy="Name that server. Referrals are not followed.",
        )
    if code in _RIGHTS or (code in (_OPERATIONS_ERROR, _UNWILLING) and not bound):
        remedy = "Give the account the right to read." if bound else "Give bind_dn and a password."
        return DeniedError(f"{server} does not let us read the list{words}", remedy=remedy)
    return GarbledError(f"{server} answers {_NAMES.get(code, f'with error {code}')}{words}")


def _refused(result: Result, server: str, words: str) -> SourceError:
    if result.code in _CREDENTIALS:
        match = _AD_DATA.search(result.words)
        why = _AD_WHY.get(match[1], "") if match else ""
        return DeniedError(
            f"{server} refuses our name and password{f': {why}' if why else words}",
            remedy="Check bind_dn and the secret; three wrong ones may lock the account.",
        )
    return DeniedError(f"{server} refuses to let us in{words or f', error {result.code}'}")
