"""Which organisation a name in the DNS belongs to, by the list of public suffixes, and which addresses are nobody's. Pure.

DMARC finds organisations in the DNS itself (see authentication/dmarc.py). Here nothing is asked: names are only compared, or looked
up in lists that have organisations' names in them.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Final

from publicsuffixlist import PublicSuffixList

from pipeline.authentication.names import a_labels

REMEMBERED: Final = 8192
"""Hosts whose parts are kept; the same ones come again and again."""
_NAME: Final = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_TEST_NAMES: Final = (".example", ".test", ".invalid")
_NOBODYS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
        "::/127", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
"""Not `ipaddress`'s `is_private`, which holds the networks of documentation too."""


@functools.cache
def suffixes() -> PublicSuffixList:
    """Read when it is first needed: 50 ms."""
    return PublicSuffixList()


@functools.cache
def _registries() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False, only_icann=True)


@functools.lru_cache(REMEMBERED)
def organisation(host: str) -> str:
    """The name below a public suffix: who has it answers for all below it. An address is its own; of a suffix, the suffix.

    Of a host as `target_of` and authentication give it: in lower case and A-labels.
    """
    if not host or ":" in host or host[-1].isdigit():
        return host
    return suffixes().privatesuffix(host) or host


@functools.lru_cache(REMEMBERED)
def registrable(name: str) -> str:
    """The name below a public suffix, of a name as somebody wrote it; empty for a suffix itself, an address, and what is no name."""
    name = a_labels(name.strip().rstrip(".")).lower()
    if _NAME.fullmatch(name) is None:
        return ""
    return suffixes().privatesuffix(name) or ""


@functools.lru_cache(REMEMBERED)
def registered_label(host: str) -> str:
    """The first label of its organisation: what a person takes for its name."""
    return organisation(host).partition(".")[0]


@functools.lru_cache(REMEMBERED)
def is_known_name(host: str) -> bool:
    """Whether it ends in a suffix that exists, so that `report.pdf` is no host; the names of RFC 2606 count, as in our tests."""
    return host.endswith(_TEST_NAMES) or _registries().privatesuffix(host) is not None


@functools.lru_cache(REMEMBERED)
def is_private(address: str) -> bool:
    """Whether an address is of a network that is nobody's in the Internet: private, loopback, link-local, shared, unspecified.

    What is no address is nobody's either.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return True
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in _NOBODYS if network.version == found.version)
