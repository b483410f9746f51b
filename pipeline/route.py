"""From a domain to the servers to dial, and which may not be dialled.

The rule that matters: what is checked is the address that will be dialled, after resolution, each time. A name that points
into the operator's own network, by mistake or by intent, is as forbidden as the address itself; only `allow_networks` opens
such a network. So the caller dials `Target.address` and never resolves `Target.host` again.

`resolve` answers in the order in which to try. A configured route that leads nowhere is temporary, because it can be mended
while the mail waits; for a foreign domain the DNS's own word (no such domain, null MX) is permanent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from pipeline.events import Attempt
from pipeline.faults import ConfigurationError, GatepostError, RefusedError
from pipeline.outcome import neutralise
from pipeline.resolver import LookupFailed, Resolver
from pipeline.units import Endpoint, Network

__all__ = ["LookupFailed", "Resolver", "RouteError", "Target", "check_route", "forbidden", "resolve"]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOSTS: Final = 10
"""Names of one route or one MX that are looked up; more than a real domain has, fewer than an attacker would like."""
MAX_TARGETS: Final = 20
"""Addresses tried for one message, IPv4 and IPv6 together."""
SMTP_PORT: Final = 25

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


def check_route(text: str, allowed: Sequence[Network]) -> str:
    """The route `text`, HOST:PORT, as it is to be stored: what can be known about it without asking the DNS is checked.

    Raises ConfigurationError when it is none, RefusedError when it is an address that may not be dialled.
    """
    try:
        endpoint = Endpoint.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"route {neutralise(text.encode()[:300])}: {error}") from None
    host, port = endpoint.host, endpoint.port
    if port == 0:
        raise ConfigurationError(f"route {endpoint}: the port must be from 1 to 65535")
    if host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost"):
        addresses: tuple[Address | None, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
    else:
        addresses = (literal(host),)
    if None in addresses and (_HOSTNAME.fullmatch(host) is None or host.rstrip(".").rpartition(".")[2].isdigit()):
        raise ConfigurationError(
            f"route {neutralise(text.encode()[:300])}: {host!a} is neither a host name nor an address",
            remedy="Write an international name in its xn-- form, and an IPv6 address in brackets.",
        )
    reasons = [forbidden(address, allowed) for address in addresses if address is not None]
    if reasons and all(reasons):
        raise RefusedError(f"route {endpoint}: {reasons[0]}, where routes may not go", remedy=_HINT)
    return str(endpoint).lower()


async def resolve(
    route: Sequence[str],
    name: str,
    resolver: Resolver,
    allowed: Sequence[Network],
    shuffle: Callable[[list[str]], None] = random.shuffle,
) -> tuple[Target, ...]:
    """The servers to dial for `name`, in order, at least one.

    `route`: HOST:PORT each, looked up now. Empty: the MX of `name` in order of preference, equal ones in random order
    (RFC 5321 5.1), `name` itself when it has none, port 25. Raises RouteError when nothing is left to dial.
    """
    if route:
        endpoints = [Endpoint(text) for text in route]
    else:
        endpoints = [Endpoint(f"{host}:{SMTP_PORT}") for host in await _mx(name, resolver, shuffle)]
    found = await asyncio.gather(*(_targets(endpoint, resolver, allowed) for endpoint in endpoints[:MAX_HOSTS]))
    targets = [target for result in found if not isinstance(result, _Failure) for target in result]
    if targets:
        return tuple(targets[:MAX_TARGETS])
    failures = [result for result in found if isinstance(result, _Failure)]
    # One server that may come back is reason enough to wait.
    worst = next((failure for failure in failures if failure.enhanced.startswith("4")), failures[0])
    enhanced = f"4{worst.enhanced[1:]}" if route else worst.enhanced
    raise _error(worst.server, enhanced, worst.words)


async def _mx(name: str, resolver: Resolver, shuffle: Callable[[list[str]], None]) -> list[str]:
    try:
        records = await resolver.mx(name)
    except LookupFailed as failed:
        raise _error(name, "5.1.2" if failed.permanent else "4.4.3", str(failed)) from None
    if not records:
        return [name]
    if any(host == "" for _, host in records):
        raise _error(name, "5.1.10", f"{name} says that it accepts no mail (null MX)")
    by_preference: dict[int, list[str]] = {}
    for preference, host in records:
        by_preference.setdefault(preference, []).append(host)
    hosts: list[str] = []
    for preference in sorted(by_preference):
        shuffle(by_preference[preference])
        hosts += by_preference[preference]
    return hosts


async def _targets(endpoint: Endpoint, resolver: Resolver, allowed: Sequence[Network]) -> list[Target] | _Failure:
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
        Target(server=str(endpoint), host=host, address=str(candidate), port=endpoint.port)
        for candidate, reason in zip(addresses, reasons, strict=True)
        if not reason
    ]
    if not targets:
        where = (
            reasons[0] if address is not None else f"{host} leads to an address where routes may not go: {reasons[0]}"
        )
        return _Failure(endpoint, "5.4.4", f"{where} (see the setting allow_networks)")
    return targets


def _error(server: str, enhanced: str, words: str) -> RouteError:
    # `server` may be an Endpoint, and an event takes plain text only.
    return RouteError(Attempt(server=str(server), stage="route", enhanced=enhanced, reply=words))
