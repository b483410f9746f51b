"""Posting to the operator's webhook: bounded in time and octets, redirects are not followed. It may be anywhere: the operator chose it."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import msgspec

from pipeline.alerts import webhook
from pipeline.alerts.notices import Notice
from pipeline.text import printable
from pipeline.units import SECOND

TIMEOUT: Final = 10.0
"""Seconds for one post, from the name to the last octet that is read of the answer."""
MAX_ANSWER: Final = 2048
"""Octets of an answer that are read; the rest is not waited for."""
SHOWN: Final = 200
BUSY: Final = frozenset({408, 425, 429})
"""Of 4xx those that speak of the moment, not of what was posted."""


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    taken: bool
    said: str
    """The answer, or what happened instead, made safe to show."""
    away: bool = False
    """The next one would fare no better just now."""


async def post(url: str, key: bytes, notice: Notice, gateway: str, now: int, *, within: float) -> Posted:
    """One try, `within` seconds. `now` in ns."""
    import aiohttp  # noqa: PLC0415 - 10 MiB, for those who have a webhook

    content = webhook.body(notice, gateway)
    headers = webhook.headers(key, now // SECOND, content, notice)
    try:
        async with (
            asyncio.timeout(within),
            # An answer of some KiB may unpack to gigabytes: it is shown as it comes.
            aiohttp.ClientSession(trust_env=False, auto_decompress=False) as session,
            session.post(
                url, data=content, headers={**headers, "Accept-Encoding": "identity"}, allow_redirects=False
            ) as response,
        ):
            return _judged(response.status, await response.content.read(MAX_ANSWER))
    except TimeoutError:
        return Posted(taken=False, away=True, said=f"no answer within {within:g} s")
    except aiohttp.ClientResponseError as error:
        return Posted(taken=False, away=True, said=_shown(f"no answer of HTTP: {error.message}"))
    except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
        return Posted(taken=False, away=True, said=_shown(_without(url, f"{type(error).__name__}: {error}")))


def _judged(status: int, said: bytes) -> Posted:
    text = _shown(f"HTTP {status} {said.decode('utf-8', 'replace')}")
    if 200 <= status < 300:
        return Posted(taken=True, said=text)
    return Posted(taken=False, away=status >= 500 or status in BUSY, said=text)


def _without(url: str, text: str) -> str:
    """What is said of an error, but not the address: whoever has that can often post there."""
    for secret in (url, url.partition("://")[2]):
        text = text.replace(secret, "the webhook")
    return text


def _shown(text: str) -> str:
    return printable(" ".join(text.split()))[:SHOWN]
