"""GET over HTTP, as sources need it: bounded in octets and time, no redirects, no proxies, nobody dialled that may not be.

An answer is complete or an error: a body that ends early is never taken for a whole one, and so one whose end nothing tells
(neither a length nor chunks, RFC 9112 6.3) is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.route import literal
from pipeline.sources.dialling import resolve, unreachable, untrusted
from pipeline.sources.faults import (
    BusyError,
    DeniedError,
    GarbledError,
    LimitedError,
    MissingError,
    SlowError,
    SourceError,
    UnreachableError,
    shown,
)
from pipeline.units import Network

TRIES: Final = 4
"""Of one question whose answer is "later"."""
MAX_WAIT: Final = 120.0
"""Seconds waited for one such answer; the whole list's time ends before a longer wait would."""
FIRST_WAIT: Final = 2.0
"""Seconds, doubled each time, where the server does not say how long."""

_CONNECTIONS: Final = 4
_CHUNK: Final = 64 << 10


class Answer(NamedTuple):
    status: int
    """200 or 304."""
    headers: Mapping[str, str]


class Web:
    """Questions to one server. Made by `opened_web`."""

    def __init__(
        self, session: aiohttp.ClientSession, allowed: Sequence[Network], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._session = session
        self._allowed = allowed
        self._sleep = sleep

    async def get(
        self, url: str, headers: Mapping[str, str], sink: Callable[[bytes], object], most: int, seconds: float
    ) -> Answer:
        """Hands the body of a 200 to `sink`, at most `most` octets of it. Raises SourceError.

        A server that is busy (429, 503) is asked again, in its own time if that is not too long.
        """
        wait = FIRST_WAIT
        for left in range(TRIES - 1, -1, -1):
            try:
                return await self._once(url, headers, sink, most, seconds)
            except _LaterError as later:
                asked = wait if later.seconds is None else later.seconds
                if not left or asked > MAX_WAIT:
                    raise BusyError(
                        f"{_server(url)} is busy (HTTP {later.status}), and wants {asked:g} s to be waited",
                        remedy="Try again later, or ask its administrator to raise the limit for us.",
                    ) from None
            await self._sleep(asked)
            wait *= 2
        raise AssertionError  # the last try returns or raises

    async def _once(
        self, url: str, headers: Mapping[str, str], sink: Callable[[bytes], object], most: int, seconds: float
    ) -> Answer:
        server = _server(url)
        host = urlsplit(url).hostname or ""
        if literal(host) is not None:
            await resolve(host, 0, self._allowed, seconds)
        with _faults(server, seconds):
            async with asyncio.timeout(seconds):
                response = await self._session.get(url, headers=headers, allow_redirects=False)
            async with response:
                if response.status == 304:
                    return Answer(304, response.headers)
                if response.status != 200:
                    raise _refused(response, server)
                _check_framing(response, server)
                taken = 0
                while chunk := await _chunk(response, seconds):
                    taken += len(chunk)
                    if taken > most:
                        raise LimitedError(f"{server} sends more than {most:,} octets")
                    sink(chunk)
                return Answer(200, response.headers)


@contextlib.asynccontextmanager
async def opened_web(
    trust: ssl.SSLContext,
    allowed: Sequence[Network],
    seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Web]:
    connector = aiohttp.TCPConnector(
        ssl=trust, resolver=_Resolver(allowed, seconds), use_dns_cache=False, limit=_CONNECTIONS
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"User-Agent": "Gatepost", "Accept-Encoding": "identity"},
        # Compressed, a small answer may be an endless one; it was not asked for.
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield Web(session, allowed, sleep)


class _LaterError(Exception):
    """Not now. `seconds`: None when the server does not say."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__()
        self.status = status
        self.seconds = seconds


class _Resolver(AbstractResolver):
    """Only addresses that may be dialled. For a literal address aiohttp does not ask: `Web` looks at those itself."""

    def __init__(self, allowed: Sequence[Network], seconds: float) -> None:
        self._allowed = allowed
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # both
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await resolve(host, port, self._allowed, self._seconds)
        ]

    async def close(self) -> None:
        pass


def _server(url: str) -> str:
    """Host and port, as the definition has them."""
    return shown(urlsplit(url).netloc)


async def _chunk(response: aiohttp.ClientResponse, seconds: float) -> bytes:
    async with asyncio.timeout(seconds):
        return await response.content.read(_CHUNK)


def _check_framing(response: aiohttp.ClientResponse, server: str) -> None:
    headers = response.headers
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise GarbledError(f"{server} sends something compressed, which was not asked for")
    if "Content-Length" not in headers and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise GarbledError(
            f"{server} does not say how long its answer is, so nobody can tell whether it is complete",
            remedy="Let it send Content-Length, or use HTTP/1.1 with chunks.",
        )


def _refused(response: aiohttp.ClientResponse, server: str) -> Exception:
    status = response.status
    if status in (429, 503):
        return _LaterError(status, _seconds(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        return DeniedError(
            f"{server} refuses our name and secret (HTTP {status})",
            remedy="Check the user and the secret, and their rights.",
        )
    if status in (404, 410):
        return MissingError(f"{server} has no such page (HTTP {status})", remedy="Check the URL.")
    if 300 <= status < 400:
        where = shown(response.headers.get("Location", "elsewhere"))
        return MissingError(
            f"{server} sends us on to {where} (HTTP {status})",
            remedy="Write the URL as it is there. Redirects are not followed: they would carry the secret along.",
        )
    if status >= 500:
        return BusyError(f"{server} has trouble of its own (HTTP {status})", remedy="Try again later.")
    return GarbledError(f"{server} answers HTTP {status}, {shown(response.reason or 'without a reason', 100)}")


def _seconds(text: str) -> float | None:
    """From Retry-After: a number, or a date (RFC 9110 10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(text[:100]).timestamp() - time.time())
    return None


@contextlib.contextmanager
def _faults(server: str, seconds: float) -> Iterator[None]:
    """Turn what aiohttp raises into SourceError."""
    try:
        yield
    except (SourceError, _LaterError):
        raise
    except TimeoutError:
        raise SlowError(f"{server} was silent for {seconds:g} s") from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise _untrusted(error.certificate_error, server) from None
    except aiohttp.ClientConnectorSSLError as error:
        raise _untrusted(error.os_error, server) from None
    except aiohttp.ServerDisconnectedError:
        raise UnreachableError(f"{server} closed the connection before it had answered") from None
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError):
        raise GarbledError(f"{server} sent something that is no complete HTTP answer") from None
    except OSError as error:
        raise unreachable(error, server) from None
    except (aiohttp.ClientError, ValueError):
        raise GarbledError(f"{server} cannot be asked over HTTP", remedy="Check the URL.") from None


def _untrusted(error: Exception, server: str) -> SourceError:
    return untrusted(error if isinstance(error, ssl.SSLError) else ssl.SSLError(), server)
