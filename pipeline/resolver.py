"""Questions to the DNS, with a cache and a limit of time, and answers that tell "no" from "not now".

A name that does not exist is a permanent answer, a server that fails or is silent a temporary one. A name without the
records that were asked for is no failure: the answer is empty.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from pipeline.faults import ConfigurationError, GatepostError
from pipeline.outcome import neutralise

LIFETIME: Final = 5.0
"""Seconds for one question, all servers and repetitions together."""
CACHED: Final = 10_000
"""Answers kept, each for its own time to live."""

_SERVER: Final = re.compile(
    r"\[(?P<six>[^\]]+)\](?::(?P<port6>\d{1,5}))?|(?P<four>[^:]+)(?::(?P<port4>\d{1,5}))?|(?P<bare>[0-9A-Fa-f:.]+)"
)


class LookupFailed(GatepostError):
    """The DNS gave no answer. `permanent`: it said that there is none; otherwise ask again later."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class Resolver:
    """One per process. `server`: the setting `resolver`, an IP address with or without port; empty: the system's.

    Raises ConfigurationError when `server` is no such thing.
    """

    def __init__(self, server: str = "", *, lifetime: float = LIFETIME) -> None:
        self._resolver = _configured(server)
        self._resolver.lifetime = lifetime
        self._resolver.cache = dns.resolver.LRUCache(CACHED)

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The IPv4, then the IPv6 addresses of `name`.

        IPv4 first: where a server has both, receivers of mail hold IPv6 senders to stricter rules. `localhost` is not asked
        for, it is what RFC 6761 says. Raises LookupFailed when there is none and at least one question failed.
        """
        if name.lower().rstrip(".").rpartition(".")[2] == "localhost":
            return ("127.0.0.1", "::1")
        four, six = await asyncio.gather(
            self._ask(name, dns.rdatatype.A), self._ask(name, dns.rdatatype.AAAA), return_exceptions=True
        )
        found = tuple(
            str(record.address) for answer in (four, six) if not isinstance(answer, BaseException) for record in answer
        )
        for answer in (four, six):
            if isinstance(answer, BaseException) and (not found or not isinstance(answer, LookupFailed)):
                raise answer
        return found

    async def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        """(preference, host) of the MX records of `name`, unordered; host "" is the null MX. Raises LookupFailed."""
        return tuple(
            (
                record.preference,
                record.exchange.to_text(omit_final_dot=True).lower() if record.exchange.labels != (b"",) else "",
            )
            for record in await self._ask(name, dns.rdatatype.MX)
        )

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> dns.resolver.Answer:
        shown = neutralise(name.encode("utf-8", "backslashreplace")[:300])
        try:
            return await self._resolver.resolve(dns.name.from_text(name), kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            raise LookupFailed(f"the name {shown} does not exist", permanent=True) from None
        except (dns.exception.SyntaxError, dns.name.NameTooLong, dns.name.IDNAException, UnicodeError):
            raise LookupFailed(f"{shown} is not a name that can be looked up", permanent=True) from None
        except dns.exception.Timeout:
            raise LookupFailed(f"the DNS did not answer in time about {shown} ({kind.name})", permanent=False) from None
        except (dns.exception.DNSException, OSError, EOFError):
            raise LookupFailed(f"the DNS could not answer about {shown} ({kind.name})", permanent=False) from None


def _configured(server: str) -> dns.asyncresolver.Resolver:
    if not server:
        try:
            return dns.asyncresolver.Resolver()
        except (dns.resolver.NoResolverConfiguration, OSError):
            server = "127.0.0.1"  # as resolv.conf(5) says when there is no such file
    resolver = dns.asyncresolver.Resolver(configure=False)
    match = _SERVER.fullmatch(server)
    port = int(match["port6"] or match["port4"] or 53) if match else 0
    try:
        address = ipaddress.ip_address(match["six"] or match["four"] or match["bare"] if match else server)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise ConfigurationError(
            f"resolver {server!a} is not an address",
            remedy="Give an IP address, or address:port, such as 127.0.0.1:53.",
        )
    resolver.nameservers = [str(address)]
    resolver.port = port
    return resolver
