"""What is to be looked at for a domain, as the directory and the settings have it. Reads, and changes nothing."""

from __future__ import annotations

from typing import Final

from pipeline.address import Address, AddressError, parse
from pipeline.directory import Domain
from pipeline.directory.model import Kind
from pipeline.faults import ConfigurationError
from pipeline.probing.model import Plan
from workers.wiring import Wiring

LOOKED_AT: Final = 1000
"""Addresses of a domain among which one is chosen: any will do that needs no explanation."""
RANDOM: Final = "gatepost-test-"
POSTMASTER: Final = "postmaster"


async def plan_for(
    wiring: Wiring, name: str, *, token: str, to: Address | None = None, send: bool = False, quick: bool = False
) -> Plan:
    """The test of `name`: of its route when the domain is ours (an alias has that of its home), else of its MX.

    `token`: something nobody can guess, for the address that cannot be there and for the message. Raises ConfigurationError when `to`
    is elsewhere, and StoreAwayError.
    """
    await wiring.directory.refresh()
    home = wiring.directory.home(name)
    domain = home.name if home is not None else name
    if to is not None and to.domain not in (name, domain):
        raise ConfigurationError(f"{to} is not of {name}", remedy="Name an address of the domain that is tested.")
    found = str(Address(to.local, domain)) if to is not None else await _listed(wiring, home)
    return Plan(
        domain=domain,
        route=home.route if home is not None else (),
        hostname=wiring.hostname,
        known=found or f"{POSTMASTER}@{domain}",
        random=f"{RANDOM}{token}@{domain}",
        listed=bool(found),
        catch_all=home is not None and home.catch_all,
        size=_size(wiring, home),
        allowed=wiring.settings.allow_networks,
        quick=quick,
        send=token if send else "",
    )


def _size(wiring: Wiring, home: Domain | None) -> int:
    """The largest message that we accept for the domain."""
    most = int(wiring.settings.max_message_size)
    return min(home.max_message_size or most, most) if home is not None else most


async def _listed(wiring: Wiring, home: Domain | None) -> str:
    """One of the domain's addresses, a mailbox if there is one; empty when none is listed that can be written plainly."""
    if home is None:
        return ""
    best: tuple[bool, str] | None = None
    seen = 0
    async for row in wiring.directory.addresses(home.name):
        seen += 1
        address = f"{row.local}@{home.name}"
        if row.accepted(wiring.clock()) and _plain(address):
            best = min(best or (True, "\U0010ffff"), (row.kind is not Kind.MAILBOX, address))
        if seen >= LOOKED_AT:
            break
    return best[1] if best is not None else ""


def _plain(address: str) -> bool:
    """Whether every server can be told it as it is."""
    try:
        parse(address)
    except AddressError:
        return False
    return address.isascii()
