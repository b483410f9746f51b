"""Questions to the DNS, with a cache and a limit of time, and answers that tell "no" from "not now".

A name that does not exist is a permanent answer, a server that fails or is silent a temporary one. A name without the
records that were asked for is no failure: the answer is empty.

Answers are kept in the form in which they are wanted, each for its own time to live: a scanned message asks some five
questions, nearly always the same ones, and a look into the cache must cost nothing. What failed is kept for a moment too, or
a domain whose servers are silent would hold up each of its messages; and a question that is under way is not asked twice.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
import dns.reversename

from pipeline.faults import ConfigurationError, GatepostError
from pipeline.outcome import neutralise

LIFETIME: Final = 5.0
"""Seconds for one question, all servers and repetitions together."""
CACHED: Final = 10_000
"""Answers kept; about 5 MB."""
LONGEST: Final = 86_400.0
"""Seconds that an answer is kept whatever its time to live says."""
FAILED: Final = 10.0
"""Seconds until what failed is asked again."""

SILENT: Final = 20
"""Questions one after the other that were not answered in time, after which the DNS counts as dead."""
DEAD: Final = 5.0
"""Seconds for which a dead DNS is not asked: otherwise each message would wait for it."""

_SERVER: Final = re.compile(
    r"\[(?P<six>[^\]]+)\](?::(?P<port6>\d{1,5}))?|(?P<four>[^:]+)(?::(?P<port4>\d{1,5}))?|(?P<bare>[0-9A-Fa-f:.]+)"
)


class LookupFailed(GatepostError):
    """The DNS gave no answer. `permanent`: it said that there is none; otherwise ask again later."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class _No(NamedTuple):
    """What a LookupFailed is made of: an exception that is raised again and again would collect tracebacks."""

    words: str
    permanent: bool


class _Known(NamedTuple):
    until: float
    """By the resolver's clock."""
    answer: tuple[Any, ...] | _No
    secure: bool = False
    """The DNS vouches for it."""


class Resolver:
    """One per process. `server`: the setting `resolver`, an IP address with or without port; empty: the system's.
    `clock` gives seconds that only go forward. `authenticated`: it validates DNSSEC, and what it says of that is believed.

    Raises ConfigurationError when `server` is no such thing.
    """

    def __init__(
        self,
        server: str = "",
        *,
        lifetime: float = LIFETIME,
        clock: Callable[[], float] = time.monotonic,
        authenticated: bool = False,
    ) -> None:
        self._clock = clock
        self._resolver = _configured(server)
        self._resolver.lifetime = lifetime
        self._authenticated = authenticated
        if authenticated:
            # Asking with AD is asking for it in the answer (RFC 6840 5.7).
            self._resolver.flags = dns.flags.RD | dns.flags.AD
        self._known: dict[tuple[str, str], _Known] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[_Known]] = {}
        self._silent = 0
        self._dead_until = 0.0

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The IPv4, then the IPv6 addresses of `name`.

        IPv4 first: where a server has both, receivers of mail hold IPv6 senders to stricter rules. `localhost` is not asked
        for, it is what RFC 6761 says. Raises LookupFailed when there is none and at least one question failed.
        """
        if name.lower().rstrip(".").rpartition(".")[2] == "localhost":
            return ("127.0.0.1", "::1")
        four, six = await asyncio.gather(self.a(name), self.aaaa(name), return_exceptions=True)
        found = tuple(address for answer in (four, six) if not isinstance(answer, BaseException) for address in answer)
        for answer in (four, six):
            if isinstance(answer, BaseException) and (not found or not isinstance(answer, LookupFailed)):
                raise answer
        return found

    async def a(self, name: str) -> tuple[str, ...]:
        """IPv4 addresses. Raises LookupFailed, as all the questions below do."""
        return await self._ask(name, "A")

    async def aaaa(self, name: str) -> tuple[str, ...]:
        """IPv6 addresses."""
        return await self._ask(name, "AAAA")

    async def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        """(preference, host) of the MX records, unordered; host "" is the null MX."""
        return await self._ask(name, "MX")

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """TXT records, the strings of each joined (RFC 7208 3.3, RFC 6376 3.6.2.2)."""
        return await self._ask(name, "TXT")

    async def cname(self, name: str) -> tuple[str, ...]:
        """What the name is an alias of. The only question that follows no alias: it tells whether the name itself exists."""
        return await self._ask(name, "CNAME")

    async def ptr(self, address: str) -> tuple[str, ...]:
        """The names that an IP address claims to have."""
        name = _reverse(address)
        if not name:
            raise LookupFailed("that is no IP address", permanent=True)
        return await self._ask(name, "PTR")

    async def tlsa(self, name: str) -> tuple[tuple[int, int, int, bytes], ...]:
        """(usage, selector, matching, data) of TLSA records (RFC 6698 2.1)."""
        return await self._ask(name, "TLSA")

    async def secure(self, name: str, kind: str) -> bool:
        """Whether the DNS vouches for its answer (RFC 4035 3.2.3); never where it is not believed. Raises LookupFailed."""
        return (await self._answered(name, kind)).secure

    def expect(self, name: str, kind: str) -> None:
        """Ask a question whose answer will be wanted soon, and wait for nothing. For PTR, `name` is the address."""
        name = _reverse(name) if kind == "PTR" else name
        key = (name.lower(), kind)
        known = self._known.get(key)
        if name and (known is None or known.until <= self._clock()):
            self._task(key, name)

    async def _ask(self, name: str, kind: str) -> tuple[Any, ...]:
        answer = (await self._answered(name, kind)).answer
        assert not isinstance(answer, _No)
        return answer

    async def _answered(self, name: str, kind: str) -> _Known:
        """Raises LookupFailed when the answer is none."""
        key = (name.lower(), kind)
        known = self._known.get(key)
        if known is not None and known.until > self._clock():
            if isinstance(known.answer, _No):
                raise LookupFailed(known.answer.words, permanent=known.answer.permanent)
            return known
        # Who loses patience leaves the question to the others, and its answer to the cache.
        return await asyncio.shield(self._task(key, name))

    def _task(self, key: tuple[str, str], name: str) -> asyncio.Task[_Known]:
        """The question under way; it begins when nobody has asked it yet."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._look_up(name, key[1]))
            task.add_done_callback(functools.partial(self._asked, key))
        return task

    def _asked(self, key: tuple[str, str], task: asyncio.Task[_Known]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # all who waited may be gone, and then nobody else looks at it

    async def _look_up(self, name: str, kind: str) -> _Known:
        shown = neutralise(name.encode("utf-8", "backslashreplace")[:300])
        seconds: float = FAILED
        permanent = False
        if self._clock() < self._dead_until:
            raise LookupFailed(f"the DNS does not answer, so it was not asked about {shown} ({kind})", permanent=False)
        try:
            answer = await self._resolver.resolve(
                dns.name.from_text(name), kind, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN as error:
            permanent, why = True, f"the name {shown} does not exist"
            responses = error.responses().values()  # type: ignore[no-untyped-call]  # the library's
            seconds = min(map(_time_to_live, responses), default=FAILED)
        except (dns.exception.SyntaxError, dns.name.NameTooLong, dns.name.IDNAException, UnicodeError):
            permanent, why = True, f"{shown} is not a name that can be looked up"
        except dns.exception.Timeout:
            self._unanswered()
            why = f"the DNS did not answer in time about {shown} ({kind})"
        except (dns.exception.DNSException, OSError, EOFError):
            why = f"the DNS could not answer about {shown} ({kind})"
        else:
            self._silent = 0
            found = tuple(map(_CONVERTED[kind], answer))
            secure = self._authenticated and bool(answer.response.flags & dns.flags.AD)
            return self._keep(name, kind, answer.expiration - time.time(), found, secure=secure)
        if permanent:
            self._silent = 0
        self._keep(name, kind, seconds, _No(why, permanent))
        raise LookupFailed(why, permanent=permanent)

    def _unanswered(self) -> None:
        self._silent += 1
        if self._silent >= SILENT:
            self._dead_until = self._clock() + DEAD

    def _keep(
        self, name: str, kind: str, seconds: float, answer: tuple[Any, ...] | _No, *, secure: bool = False
    ) -> _Known:
        known = _Known(self._clock() + min(seconds, LONGEST), answer, secure)
        if seconds <= 0:
            return known
        if len(self._known) >= CACHED:
            # The oldest tenth: what is needed comes back at its next question.
            for key in list(self._known)[: CACHED // 10]:
                del self._known[key]
        self._known[name.lower(), kind] = known
        return known


def _address(record: Any) -> str:
    return str(record.address)


def _host(name: dns.name.Name) -> str:
    return "" if name.labels == (b"",) else name.to_text(omit_final_dot=True).lower()


_CONVERTED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "A": _address,
    "AAAA": _address,
    "MX": lambda record: (record.preference, _host(record.exchange)),
    "TXT": lambda record: b"".join(record.strings),
    "CNAME": lambda record: _host(record.target),
    "PTR": lambda record: _host(record.target),
    "TLSA": lambda record: (record.usage, record.selector, record.mtype, record.cert),
}


@functools.lru_cache(1024)
def _reverse(address: str) -> str:
    """The name below which an address's names are; empty for what is no address."""
    try:
        return dns.reversename.from_address(address).to_text(omit_final_dot=True)
    except (dns.exception.DNSException, ValueError):
        return ""


def _time_to_live(response: dns.message.Message) -> float:
    """How long a name's absence may be believed (RFC 2308 5)."""
    assert isinstance(response, dns.message.QueryMessage)
    try:
        return float(response.resolve_chaining().minimum_ttl)
    except dns.exception.DNSException:
        return FAILED


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
