"""Where a link leads: read as a browser would read it, with what is odd about the way it is written.

Browsers drop tabs and line ends, take backslashes for slashes, undo percent signs in a host, and take an IPv4 address in any of
the forms of inet_aton (WHATWG URL 4.4 and 3.5). What hides a host from a person does not hide it here.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import unicodedata
from typing import Final
from urllib.parse import unquote

import msgspec

from pipeline.authentication.names import DOTS, a_labels
from pipeline.scanning.organisation import REMEMBERED, is_private, organisation

MAX_HOST: Final = 253

_DROPPED: Final = re.compile(r"[\t\r\n]+")
_EDGES: Final = "".join(map(chr, range(0x21)))
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}+):")
_WEB: Final = frozenset({"http", "https", "ftp"})
_AUTHORITY: Final = re.compile(r"([^/?#\\]*+)(.*)", re.DOTALL)
INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters that programs show as nothing (Default_Ignorable_Code_Point, UAX 44), and marks of direction."""
_NEEDLESS: Final = re.compile(r"%(?:2[def]|3[0-9]|4[0-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])", re.IGNORECASE)
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{0,16}|[0-9]{1,20}")
_DOTTED: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")


class Target(msgspec.Struct, frozen=True):
    scheme: str
    """In lower case; empty for what is no whole address."""
    host: str = ""
    """In lower case and A-labels; of an IPv4 address the dotted form. Empty where there is none."""
    rest: str = ""
    """Path, query, fragment; of a scheme without hosts all behind the colon."""
    user: str = ""
    """What stands before an @ in front of the host."""
    port: int = 0
    numeric: bool = False
    """The host is an address."""
    disguised: bool = False
    """It is written so that few people can read it: percent signs, other forms of an address, characters that are not seen."""

    @property
    def organisation(self) -> str:
        return organisation(self.host)

    @property
    def private(self) -> bool:
        """An address or a name of a network that is not the Internet."""
        if not self.numeric:
            return "." not in self.host or self.host.endswith(
                (".local", ".localhost", ".internal", ".lan", ".home.arpa")
            )
        return is_private(self.host)


def target_of(text: str) -> Target:
    """Of what is written in a link. Raises nothing."""
    text = _DROPPED.sub("", text.strip(_EDGES)) if not text.isprintable() or text[:1].isspace() else text.strip()
    match = _SCHEME.match(text)
    if match is None:
        if text[:2] in ("//", "\\\\", "/\\", "\\/"):
            scheme, rest = "http", text
        elif text[:4].lower() == "www.":
            scheme, rest = "http", "//" + text
        else:
            return Target("", rest=text)
    else:
        scheme, rest = match[1].lower(), text[match.end() :]
    if scheme not in _WEB:
        return Target(scheme, rest=rest)
    split = _AUTHORITY.match(rest.lstrip("/\\"))
    assert split is not None
    user, _, place = split[1].rpartition("@")
    return _place(scheme, user, place, split[2])


@functools.lru_cache(REMEMBERED)
def host_of(domain: str) -> str:
    """The host that is named by a domain as somebody wrote it in an address."""
    return target_of("//" + domain).host


def _place(scheme: str, user: str, place: str, rest: str) -> Target:
    host, colon, port = place.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or place.endswith("]"):
        host, port = place.rstrip(":"), ""
    name, numeric, disguised = _host(host)
    number = int(port[:6]) if port else 0
    return Target(scheme, name, rest, user, number if number not in (80, 443) else 0, numeric, disguised)


@functools.lru_cache(REMEMBERED)
def _host(text: str) -> tuple[str, bool, bool]:
    """(name, is an address, is disguised)."""
    text = text[: 4 * MAX_HOST]
    disguised = False
    if "%" in text:
        # Letters have no need of it; a brace that somebody left in a template has.
        disguised = _NEEDLESS.search(text) is not None
        text = unquote(text, errors="replace")
    if not text.isascii():
        clear = INVISIBLE.sub("", text)
        disguised = disguised or clear != text
        text = DOTS.sub(".", unicodedata.normalize("NFKC", clear))
    text = text.lower().rstrip(".")[:MAX_HOST]
    if text[:1] == "[":
        return text.strip("[]"), True, disguised
    address = _address(text)
    if address:
        return address, True, disguised or _DOTTED.fullmatch(text) is None
    return a_labels(text) or text.encode("ascii", "replace").decode(), False, disguised


def _address(text: str) -> str:
    """The dotted form of an IPv4 address in any form; empty when it is none."""
    parts = text.split(".")
    if len(parts) > 4 or _NUMBER.fullmatch(parts[-1]) is None:
        return ""
    numbers: list[int] = []
    for part in parts:
        if _NUMBER.fullmatch(part) is None:
            return ""
        try:
            numbers.append(_number(part))
        except ValueError:
            return ""
    last = numbers.pop()
    if any(number > 255 for number in numbers) or last >= 256 ** (4 - len(numbers)):
        return ""
    value = last
    for place, number in enumerate(numbers):
        value += number << (8 * (3 - place))
    return str(ipaddress.IPv4Address(value))


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if text[0] == "0" and len(text) > 1 else int(text)
