"""Addresses of the envelope: mailboxes, paths, domains, and the null sender (RFC 5321 4.1.2, RFC 6531 3.3).

Inside, an address is the text `local@domain`: the local part as the client typed it, quotes included, the domain in lower
case and as A-labels. The null sender is the empty string; only this module knows that it is written `<>`. Whether two
addresses are the same is decided by `Address.key` and the domain, never by comparing typed text: quoting that changes
nothing, case, and Unicode composition do not make another mailbox.

No control character, line separator or bidirectional override passes, quoted or not, so an address can never break a
line of a protocol, a header or a terminal.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Final

import msgspec

NULL_SENDER: Final = ""
_NULL_PATH: Final = "<>"

MAX_LOCAL: Final = 255
"""Octets. RFC 5321 4.5.3.1.1 asks for 64 at least; VERP and SRS senders are longer in daily mail."""
MAX_DOMAIN: Final = 253
"""Octets as A-labels (RFC 1035 3.1: 255 on the wire, with the first length and the root)."""

MAX_LABEL: Final = 63
"""Octets (RFC 1035 2.3.4)."""
_MAX_TYPED: Final = 4 * MAX_DOMAIN
"""Characters. At most four become one when they are composed (Unicode's UAX 15), so no name that fits is typed longer."""

_WIDE: Final = "\u0080-\U0010ffff"
_ATOM: Final = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_WIDE}-]+"
_DOT_STRING: Final = rf"{_ATOM}(?:\.{_ATOM})*"
_QUOTED_STRING: Final = rf'"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*"'
_HOST: Final = r"[^\s<>@,:;()\[\]\"\\]+"
_LITERAL: Final = r"\[[0-9A-Za-z:.]+\]"
_MAILBOX: Final = re.compile(rf"({_DOT_STRING}|{_QUOTED_STRING})@({_HOST}|{_LITERAL})")
_PATH: Final = re.compile(rf"<(?:@{_HOST}(?:,@{_HOST})*:)?{_MAILBOX.pattern}>(?: +(.*))?", re.DOTALL)
_POSTMASTER: Final = re.compile(r"<(postmaster)>(?: +(.*))?", re.DOTALL | re.IGNORECASE | re.ASCII)
_NULL: Final = re.compile(r"<>(?: +(.*))?", re.DOTALL)
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# Underscores are not of the host grammar, but senders' domains have them. A number last would make it an IPv4 address.
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
# Surrogates are what a terminal or a file held that was no UTF-8: they cannot be written down again.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE: Final = re.compile(r"\\(.)")


class AddressError(ValueError):
    """Not an address. The text says why, for the operator; it is not for the wire."""


class Address(msgspec.Struct, frozen=True):
    """A mailbox. `domain` is empty only for the bare `postmaster` (RFC 5321 4.5.1)."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def plain(self) -> str:
        """The local part without its quoting: `"john"` and `john` name the same mailbox."""
        if self.local.startswith('"'):
            return _ESCAPE.sub(r"\1", self.local[1:-1])
        return self.local

    @property
    def key(self) -> str:
        """What local parts are compared and looked up by."""
        return local_key(self.plain)


def local_key(plain: str) -> str:
    """The same for all ways to write a local part, given without its quotes (Unicode's canonical caseless matching, D145).

    Folded characters may compose differently than those that were typed, so composing comes last.
    """
    if plain.isascii():
        return plain.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", plain).casefold())


def mailbox_key(address: str) -> str:
    """The same for all ways to write the address of one mailbox, and for no two mailboxes."""
    local, _, domain = address.rpartition("@")
    return f"{Address(local, domain).key}@{domain.lower()}"


def domain_name(text: str) -> str:
    """A host name in lower case and A-labels (RFC 5890), Unicode ones mapped by UTS 46. Raises AddressError."""
    name = text.lower() if text.isascii() else _a_labels(text)
    if len(name) > MAX_DOMAIN:
        raise AddressError("the domain is too long")
    if _DOMAIN.fullmatch(name) is None:
        raise AddressError("not a domain name")
    return name


def _a_labels(text: str) -> str:
    import idna  # noqa: PLC0415 - its tables take 0.1 s to load, and few addresses need them

    if len(text) > _MAX_TYPED:
        raise AddressError("the domain is too long")
    try:
        # The mapping may yield any ASCII, fullwidth @ included; the caller checks what comes out.
        name = idna.uts46_remap(text, std3_rules=False)
        # To encode a label takes the square of its length, and none that fits has more characters than octets: each that
        # is not ASCII takes a digit at least (RFC 3492 3), and "xn--" comes before them.
        if len(name) > MAX_DOMAIN or max(map(len, name.split("."))) > MAX_LABEL:
            raise AddressError("the domain is too long")
        return idna.encode(name).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise AddressError("not an internationalised domain name") from None


def _literal(text: str) -> str:
    """An address literal (RFC 5321 4.1.3), normalised. General-address-literals are refused: none was ever registered."""
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise AddressError("not an address literal") from None


def _mailbox(local: str, domain: str) -> Address:
    if not local.isascii():
        if _UNSAFE.search(local):
            raise AddressError("the local part contains control characters")
        if len(local.encode("utf-8", "replace")) > MAX_LOCAL:
            raise AddressError("the local part is too long")
    elif len(local) > MAX_LOCAL:
        raise AddressError("the local part is too long")
    return Address(local, _literal(domain) if domain.startswith("[") else domain_name(domain))


def parse(text: str) -> Address:
    """A mailbox as people write it: `local@domain`. Raises AddressError."""
    match = _MAILBOX.fullmatch(text)
    if match is None:
        raise AddressError("not an address; expected local@domain")
    return _mailbox(match[1], match[2])


def listed(text: str) -> Address:
    """A mailbox as lists of addresses keep it: the local part without its quotes, and composed (NFC). Raises AddressError.

    Its text may therefore not be an address as it is typed; whoever shows it puts the quotes back where they are needed.
    """
    found = parse(text.strip())
    return Address(unicodedata.normalize("NFC", found.plain), found.domain)


def reverse_path(text: str) -> tuple[str, str]:
    """(sender, the parameters after it) from what follows `MAIL FROM:`. The null sender is "".

    A source route is dropped (RFC 5321 appendix C). Raises AddressError.
    """
    match = _PATH.fullmatch(text)
    if match is not None:
        return str(_mailbox(match[1], match[2])), match[3] or ""
    null = _NULL.fullmatch(text)
    if null is None:
        raise AddressError("not a reverse path")
    return NULL_SENDER, null[1] or ""


def forward_path(text: str) -> tuple[Address, str]:
    """(recipient, the parameters after it) from what follows `RCPT TO:`.

    A source route is dropped; the bare `<postmaster>` has an empty domain. Raises AddressError.
    """
    match = _PATH.fullmatch(text)
    if match is not None:
        return _mailbox(match[1], match[2]), match[3] or ""
    bare = _POSTMASTER.fullmatch(text)
    if bare is None:
        raise AddressError("not a forward path")
    return Address(bare[1], ""), bare[2] or ""


def path(address: str) -> str:
    """An address, or the null sender, as MAIL FROM and Return-Path write it."""
    return f"<{address}>" if address else _NULL_PATH
