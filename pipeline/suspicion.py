"""What makes a client suspicious before it has sent anything: pure.

Only reasons that honest servers of today do not give: no name, a name made of its address, a false word in HELO, a domain that says that
this is none of its servers. Each reason is a word for the trace. What the DNS could not say for now is no reason.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Collection
from typing import Final

from pipeline.address import AddressError, domain_name

POOLS: Final = frozenset({
    "google.com", "googlemail.com", "outlook.com", "hotmail.com", "icloud.com", "apple.com", "yahoo.com", "aol.com", "gmx.net",
    "web.de", "kundenserver.de", "1and1.com", "ionos.com", "ionos.de", "t-online.de", "telekom.de", "ovh.net", "ovh.com", "orange.fr",
    "fastmail.com", "messagingengine.com", "protonmail.ch", "proton.me", "zoho.com", "zohomail.com", "mail.ru", "yandex.net",
    "amazonses.com", "sendgrid.net", "mailgun.org", "mcsv.net", "mandrillapp.com", "sparkpostmail.com", "mtasv.net", "mailjet.com",
    "sendinblue.com", "brevo.com", "exacttarget.com", "salesforce.com", "hubspotemail.net", "zendesk.com", "atlassian.net",
    "mimecast.com", "pphosted.com", "ppe-hosted.com", "messagelabs.com", "barracudanetworks.com", "hornetsecurity.com",
    "antispamcloud.com", "spamexperts.com", "mailchannels.net", "secureserver.net", "emailsrvr.com", "mailspamprotection.com",
})  # fmt: skip
"""Domains below which the SPF records of large senders are: their mail comes from hundreds of addresses, and comes again from another."""

_GENERIC: Final = re.compile(
    r"(?:^|[.\d_-])(?:a?dsl|cable|catv|cust(?:omer)?s?|dhcp|dial(?:in|up)?|dsl|dyn(?:amic)?(?:ip)?|fttx?|home|hsd|nat|pool|ppp|pppoe|"
    r"res(?:idential)?|user|wifi|wimax|wireless)(?:[.\d_-]|$)"
)
"""Words in names that providers give to their customers' connections."""
_DIGITS: Final = re.compile(r"\d+")


def reasons(
    *, address: str, name: str, names_known: bool, helo: str, ours: Callable[[str], bool], spf: str
) -> tuple[str, ...]:
    """Why a client is suspicious; empty when it is not.

    `name`: confirmed by its address, empty when there is none; `names_known`: whether the DNS could say. `ours`: whether a name is
    ours. `spf`: the result (RFC 7208 2.6).
    """
    found = []
    if not name and names_known:
        found.append("no name in the DNS")
    elif name and looks_generic(name, address):
        found.append("a name like a home connection's")
    if not says_a_name(helo, address):
        found.append("no host name in HELO")
    elif ours(helo.lower().rstrip(".")):
        found.append("our own name in HELO")
    if spf in ("fail", "softfail"):
        found.append(f"SPF {spf}")
    return tuple(found)


def says_a_name(helo: str, address: str) -> bool:
    """Whether HELO or EHLO was said with a host name of several labels, or with the client's own address (RFC 5321 4.1.1.1)."""
    if helo.startswith("["):
        return helo.strip("[]").lower().removeprefix("ipv6:") == address.lower()
    try:
        return "." in domain_name(helo.rstrip("."))
    except AddressError:
        return False


def looks_generic(name: str, address: str) -> bool:
    """Whether a name has the client's address in it, or a word of a provider for connections that come and go."""
    text = name.lower()
    if _GENERIC.search(text):
        return True
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(client, ipaddress.IPv6Address):
        return client.exploded.replace(":", "")[-8:] in text.replace("-", "").replace(".", "").replace(":", "")
    octets = [str(octet) for octet in client.packed]
    numbers = [number.lstrip("0") or "0" for number in _DIGITS.findall(text)]
    # Two octets in a row, either way: mx3.example.com has a number and is no such name.
    wanted = {*itertools.pairwise(octets), *itertools.pairwise(octets[::-1])}
    return (
        not wanted.isdisjoint(itertools.pairwise(numbers)) or "".join(f"{octet:02x}" for octet in client.packed) in text
    )


def from_known_pool(mechanism: str, domain: str) -> bool:
    """Whether SPF passed by the record of a large sender: `mechanism` as spf.Result has it, `domain` that was checked."""
    target = mechanism.partition(":")[2].partition("/")[0].lower()
    return any(_below(name, POOLS) for name in (target, domain) if name)


def _below(name: str, domains: Collection[str]) -> bool:
    labels = name.rstrip(".").split(".")
    return any(".".join(labels[at:]) in domains for at in range(len(labels)))
