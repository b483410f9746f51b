"""What is to be looked at for a domain, as the directory and the settings have it. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.address import Address, AddressError, parse
from pipeline.directory import Domain
from pipeline.directory.model import Kind
from pipeline.directory.options import PLAIN, RouteOptions, Tls
from pipeline.faults import ConfigurationError
from pipeline.probing.model import Login, Plan, Source
from pipeline.servers import by_priority, parsed
from workers.deliverer.login import CannotLogIn, secret_of
from workers.wiring import Wiring

LOOKED_AT: Final = 1000
"""Addresses of a domain among which one is chosen: any will do that needs no explanation."""
RANDOM: Final = "gatepost-test-"
POSTMASTER: Final = "postmaster"


async def plan_for(
    wiring: Wiring,
    name: str,
    *,
    token: str,
    to: Address | None = None,
    send: bool = False,
    quick: bool = False,
    each_source: bool = False,
) -> Plan:
    """The test of `name`: of its route when the domain is ours (an alias has that of its home), else of its MX.

    `each_source`: from each of our addresses that the domain's mail may leave from, not only from the first one of each family.
    `token`: something nobody can guess, for the address that cannot be there and for the message. Raises ConfigurationError when `to`
    is elsewhere or there are no source addresses to try, and StoreAwayError.
    """
    await wiring.directory.refresh()
    home = wiring.directory.home(name)
    domain = home.name if home is not None else name
    if to is not None and to.domain not in (name, domain):
        raise ConfigurationError(f"{to} is not of {name}", remedy="Name an address of the domain that is tested.")
    options = (home.route_options if home is not None else None) or PLAIN
    found = str(Address(to.local, domain)) if to is not None else await _listed(wiring, home)
    return Plan(
        domain=domain,
        route=_in_order(home.route) if home is not None else (),
        hostname=wiring.hostname,
        known=found or f"{POSTMASTER}@{domain}",
        random=f"{RANDOM}{token}@{domain}",
        listed=bool(found),
        catch_all=home is not None and home.catch_all,
        size=_size(wiring, home),
        allowed=wiring.settings.allow_networks,
        quick=quick,
        send=token if send else "",
        sources=_sources(wiring, options, each=each_source),
        plain=options.tls is Tls.NEVER,
        encrypted=options.tls is Tls.ALWAYS,
        verified=options.tls is Tls.VERIFIED,
        ca_file=options.ca_file,
    )


def login_for(wiring: Wiring, name: str) -> Login | None:
    """Who we are to the servers of a domain, where they want to know. Raises ConfigurationError when there is no password to be had."""
    home = wiring.directory.home(name)
    options = (home.route_options if home is not None else None) or PLAIN
    if not options.auth_user:
        return None
    try:
        secret = secret_of(options)
    except CannotLogIn as error:
        raise ConfigurationError(error.words) from None
    return Login(options.auth_user, secret.reveal(), options.auth_in_clear)


def _in_order(route: Sequence[str]) -> tuple[str, ...]:
    """The servers as they are asked, those of one priority as they are listed."""
    return tuple(server.line for group in by_priority(parsed(route)) for server in group)


def _sources(wiring: Wiring, options: RouteOptions, *, each: bool) -> tuple[Source, ...]:
    """Raises ConfigurationError when each is to be tried and there is none."""
    ours = {source.address: source for source in wiring.settings.source_addresses}
    wanted = [ours[address] for address in options.sources or ours if address in ours]
    if not wanted and (each or options.sources):
        raise ConfigurationError(
            "there is no source address that the domain's mail may leave from",
            remedy="See the setting source_addresses.",
        )
    if not each:
        wanted = list({":" in source.address: source for source in reversed(wanted)}.values())
    if not wanted:
        return (Source(ehlo=options.ehlo),)
    return tuple(Source(source.address, options.ehlo or source.name) for source in wanted)


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
