"""Which organisation a name in the DNS belongs to, by the list of public suffixes; and which host a link leads to. Pure.

DMARC finds organisations in the DNS itself (see authentication/dmarc.py). Here nothing is asked: names are only compared, or looked
up in lists that have organisations' names in them.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final
from urllib.parse import unquote

from publicsuffixlist import PublicSuffixList

from pipeline.authentication.names import a_labels

_NAME: Final = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
# As browsers read it: any number of slashes of both kinds, and what stands before @ is no host (WHATWG URL 4.4).
_URL: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,20}+:)?+[/\\]{2,}+(?:[^/\\?#@]*+@)*+([^/\\?#:@]++)|(www\.[^/\\?#:@]++)", re.IGNORECASE
)


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@functools.lru_cache(8192)
def organization(name: str) -> str:
    """The domain directly below a public suffix, in lower case and A-labels; empty for a suffix itself, and for what is no name."""
    name = a_labels(name.strip().rstrip(".")).lower()
    if _NAME.fullmatch(name) is None:
        return ""
    return _suffixes().privatesuffix(name) or ""


def host_of(url: str) -> str:
    """The host that a link leads to, in lower case, without its last dot; empty for links that lead to none (mailto:, #)."""
    match = _URL.match(url.strip()[:2000])
    if match is None:
        return ""
    host = match[1] or match[2] or ""
    return (unquote(host) if "%" in host else host).lower().rstrip(".")


def is_private(address: str) -> bool:
    """Whether an address is of a network that is nobody's in the Internet: private, loopback, link-local, shared, unspecified."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return True
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in _NOBODYS if network.version == found.version)


_NOBODYS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
        "::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
