"""From a domain to the servers to dial, and which may not be dialled.

The rule that matters: what is checked is the address that will be dialled, after resolution, each time. A name that points
into the operator's own network, by mistake or by intent, is as forbidden as the address itself; only `allow_networks` opens
such a network. So the caller dials `Target.address` and never resolves `Target.host` again.

So is the gateway itself: an MX that points at us, and all behind it, is left out (RFC 5321 5.1), or mail would go in circles.

`resolve` answers in the order in which to try. A configured route that leads nowhere is temporary, because it can be mended
while the mail waits; for a foreign domain the DNS's own word (no such domain, null MX) is permanent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from pipeline.events import Attempt
from pipeline.faults import ConfigurationError, GatepostError, RefusedError
from pipeline.outcome import neutralise
from pipeline.resolver import LookupFailed, Resolver
from pipeline.servers import SMTP_PORT, Server, by_priority, ordered, parse, parsed
from pipeline.units import Endpoint, Network

__all__ = [
    "SMTP_PORT", "LookupFailed", "Resolver", "RouteError", "Target", "check_route", "check_routes", "forbidden", "resolve",
]  # fmt: skip

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOSTS: Final = 10
"""Names of one route or one MX that are looked up; more than a real domain has, fewer than an attacker would like."""
MAX_TARGETS: Final = 20
"""Addresses tried for one message, IPv4 and IPv6 together."""

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME: Final = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}\.?")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_HINT: Final = "If mail may go there, put the network into the setting allow_networks."


class Target(msgspec.Struct, frozen=True):
    """One address to dial."""

    server: str
    """host:port as configured or as the MX said; IPv6 in brackets."""
    host: str
    address: str
    """The IP address, checked."""
    port: int
    via: str = ""
    """`mx:NAME` when it is an MX, as it stands in the route."""
    mx_of: str = ""
    """The name whose MX it is."""


class RouteError(GatepostError):
    """No server can be chosen. `attempt` says why; `outcome.classify` tells permanent from temporary."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(
            f"{attempt.server}: {attempt.reply}", remedy=_HINT if "allow_networks" in attempt.reply else ""
        )
        self.attempt = attempt


class _Failure(msgspec.Struct, frozen=True):
    server: str
    enhanced: str
    words: str


def forbidden(address: Address, allowed: Sequence[Network]) -> str:
    """Why `address` may not be dialled, in words; empty when it may.

    Anything that is not a global unicast address is forbidden unless `allowed` has it. An IPv6 form that reaches an IPv4
    address (mapped, NAT64) is judged as that one.
    """
    inner = _embedded(address)
    if any(candidate in network for candidate in (address, inner) for network in allowed):
        return ""
    kind = _kind(inner)
    return f"{inner} is {kind}" if kind else ""


def _embedded(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _kind(address: Address) -> str:
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_reserved:
        return "a reserved address"
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:
            return "a private address"
        if address.sixtofour or address.teredo:
            return "a 6to4 or Teredo address"
    return "" if address.is_global else "a private address"


def literal(host: str) -> Address | None:
    """The address that `host` is, None when it is a name. A mapped IPv6 address is the IPv4 address in it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def check_routes(texts: Iterable[str], allowed: Sequence[Network]) -> tuple[str, ...]:
    """The servers of a route as they are to be stored, each once. Raises as check_route, and when they do not go together."""
    lines = tuple(dict.fromkeys(check_route(text, allowed) for text in texts))
    servers = [parse(line) for line in lines]
    if len(servers) > MAX_HOSTS:
        raise ConfigurationError(f"{len(servers)} servers in one route", remedy=f"At most {MAX_HOSTS} are asked.")
    if len({server.priority is None for server in servers}) > 1:
        raise ConfigurationError(
            "some servers of the route have a priority and some have none",
            remedy="Give each one a priority, or none: then they are asked as they are listed.",
        )
    names = [server.name for server in servers]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ConfigurationError(f"{twice} is in the route twice", remedy="Name it with one priority.")
    return lines


def check_route(text: str, allowed: Sequence[Network]) -> str:
    """A server of a route (see servers.py) as it is to be stored: what can be known without asking the DNS is checked.

    Raises ConfigurationError when it is none, RefusedError when it is an address that may not be dialled.
    """
    shown = neutralise(text.encode("utf-8", "surrogateescape")[:300])
    try:
        server = parse(text)
    except ValueError as error:
        raise ConfigurationError(f"route {shown}: {error}") from None
    host, port = server.place.host, server.place.port
    if port == 0:
        raise ConfigurationError(f"route {server.name}: the port must be from 1 to 65535")
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost"):
        addresses: tuple[Address | None, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
    else:
        addresses = (literal(host),)
    if None in addresses and (_HOSTNAME.fullmatch(host) is None or host.rstrip(".").rpartition(".")[2].isdigit()):
        raise ConfigurationError(
            f"route {shown}: {host!a} is neither a host name nor an address",
            remedy="Write an international name in its xn-- form, and an IPv6 address in brackets.",
        )
    if server.mx and None not in addresses:
        raise ConfigurationError(
            f"route {server.name}: {host} has no MX", remedy=f"Write {server.place} for the server itself."
        )
    reasons = [forbidden(address, allowed) for address in addresses if address is not None]
    if reasons and all(reasons):
        raise RefusedError(f"route {server.place}: {reasons[0]}, where routes may not go", remedy=_HINT)
    return server.line.lower()


async def resolve(
    route: Sequence[str],
    name: str,
    resolver: Resolver,
    allowed: Sequence[Network],
    chance: Callable[[], float] = random.random,
    ours: Callable[[str, int, Sequence[str]], str] | None = None,
) -> tuple[Target, ...]:
    """The servers to dial for `name`, in order, at least one.

    `route`: as in servers.py, looked up now. Empty: the MX of `name` in order of preference, equal ones in random order
    (RFC 5321 5.1), `name` itself when it has none, port 25. `ours` tells whether a host, its port and its addresses are this
    gateway, in words. Raises RouteError when nothing is left to dial.
    """
    servers = parsed(route) if route else [Server(Endpoint(f"{name}:{SMTP_PORT}"), mx=True)]
    asked = [
        _exchangers(server, resolver, allowed, chance, ours, via=server.name if route else "")
        if server.mx
        else _single(server.place, resolver, allowed, ours)
        for server in ordered(servers, chance)[:MAX_HOSTS]
    ]
    found = [answer for answers in await asyncio.gather(*asked) for answer in answers]
    targets = [target for result in found if not isinstance(result, _Failure) for target in result]
    if targets:
        return tuple(targets[:MAX_TARGETS])
    failures = [result for result in found if isinstance(result, _Failure)] or [
        _Failure(name, "4.3.5", "no server of the route can be understood")
    ]
    # One server that may come back is reason enough to wait.
    worst = next((failure for failure in failures if failure.enhanced.startswith("4")), failures[0])
    enhanced = f"4{worst.enhanced[1:]}" if route else worst.enhanced
    raise _error(worst.server, enhanced, worst.words)


async def _single(
    place: Endpoint,
    resolver: Resolver,
    allowed: Sequence[Network],
    ours: Callable[[str, int, Sequence[str]], str] | None,
) -> list[list[Target] | _Failure]:
    found = await _targets(place, resolver, allowed)
    why = _is_ours(found, ours)
    return [_Failure(place, "5.4.6", why)] if why else [found]


async def _exchangers(
    server: Server,
    resolver: Resolver,
    allowed: Sequence[Network],
    chance: Callable[[], float],
    ours: Callable[[str, int, Sequence[str]], str] | None,
    *,
    via: str,
) -> list[list[Target] | _Failure]:
    """Of each MX of a name its addresses, in order; one that is this gateway ends the list (RFC 5321 5.1)."""
    name, port = server.place.host, server.place.port
    known_as = via or name
    try:
        records = await resolver.mx(name)
    except LookupFailed as failed:
        return [_Failure(known_as, "5.1.2" if failed.permanent else "4.4.3", str(failed))]
    if any(host == "" for _, host in records):
        return [_Failure(known_as, "5.1.10", f"{name} says that it accepts no mail (null MX)")]
    # An MX that was not asked is as good as none, so the best are taken before anything is looked up.
    best = sorted(records)[:MAX_HOSTS] if records else [(0, name)]
    groups = by_priority([Server(_endpoint(host, port), priority=preference) for preference, host in best])
    found: list[list[Target] | _Failure] = []
    for group in groups:
        hosts = ordered(group, chance)
        answers = await asyncio.gather(
            *(_targets(host.place, resolver, allowed, via, mx_of=name if records else "") for host in hosts)
        )
        why = next(filter(None, (_is_ours(answer, ours) for answer in answers)), "")
        if why:
            return found or [_Failure(known_as, "5.4.6", f"the MX of {name} leads back here: {why}")]
        found += answers
    return found


def _endpoint(host: str, port: int) -> Endpoint:
    return Endpoint(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _is_ours(found: list[Target] | _Failure, ours: Callable[[str, int, Sequence[str]], str] | None) -> str:
    if isinstance(found, _Failure) or ours is None:
        return ""
    return ours(found[0].host, found[0].port, [target.address for target in found])


async def _targets(
    endpoint: Endpoint, resolver: Resolver, allowed: Sequence[Network], via: str = "", mx_of: str = ""
) -> list[Target] | _Failure:
    """The addresses of one server that may be dialled, or why there is none."""
    host = endpoint.host
    address = literal(host)
    if address is not None:
        addresses = [address]
    else:
        try:
            addresses = [found for text in await resolver.addresses(host) if (found := literal(text)) is not None]
        except LookupFailed as failed:
            return _Failure(endpoint, "5.1.2" if failed.permanent else "4.4.3", str(failed))
    if not addresses:
        return _Failure(endpoint, "5.4.4", f"{host} has no address")
    reasons = [forbidden(candidate, allowed) for candidate in addresses]
    targets = [
        Target(server=str(endpoint), host=host, address=str(candidate), port=endpoint.port, via=via, mx_of=mx_of)
        for candidate, reason in zip(addresses, reasons, strict=True)
        if not reason
    ]
    if not targets:
        where = (
            reasons[0] if address is not None else f"{host} leads to an address where routes may not go: {reasons[0]}"
        )
        return _Failure(endpoint, "5.4.4", f"{where} (see the setting allow_networks)")
    return _in_turn(targets)


def _in_turn(targets: list[Target]) -> list[Target]:
    """One address of each family in turn, beginning with IPv4: when one family does not work, the other is next."""
    six = [target for target in targets if ":" in target.address]
    four = [target for target in targets if ":" not in target.address]
    pairs = itertools.zip_longest(four, six)
    return [target for pair in pairs for target in pair if target is not None]


def _error(server: str, enhanced: str, words: str) -> RouteError:
    # `server` may be an Endpoint, and an event takes plain text only.
    return RouteError(Attempt(server=str(server), stage="route", enhanced=enhanced, reply=words))
