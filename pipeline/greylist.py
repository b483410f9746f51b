"""Greylisting: a suspicious client has to come twice, and once only.

Mail servers come again, most programs that send spam do not. Asked are only clients that gave a reason (`suspicion.py`), at domains that
want it. Who came back is remembered, by its network (/24, /64) or, when SPF passes, by the domain in whose name it came: a message that
comes again from another address of its sender's pool is not asked a second time.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Final

import msgspec

from pipeline import keys
from pipeline.settings import Settings
from pipeline.store import Client, Script, faults

MAX_ATTEMPTS: Final = 500
"""Of one client, remembered at once; some 50 KB."""
MS: Final = 1_000_000


class Greylisted(msgspec.Struct, frozen=True):
    passed: bool
    first: int
    """When it was first seen (ns); 0: it was let in before."""


class Greylist:
    def __init__(self, redis: Client, settings: Settings) -> None:
        self._redis = redis
        self._script = Script.named("greylist")
        self._times = [
            int(duration) // MS
            for duration in (settings.greylist_delay, settings.greylist_window, settings.greylist_memory)
        ]

    async def ask(self, identity: str, domain: str, sender: str, recipient: str, now: int) -> Greylisted:
        """Whether a message may come in now. `identity` as below, `domain` its home, `now` in ns. Raises StoreAwayError."""
        digest = hashlib.blake2b(f"{domain}\0{sender}\0{recipient}".encode("utf-8", "replace"), digest_size=12).digest()
        with faults():
            passed, first = await self._script(
                self._redis,
                [keys.greylisted(identity), keys.greylist_passed(identity, domain)],
                [now // MS, digest, *self._times, MAX_ATTEMPTS],
            )
        return Greylisted(bool(passed), int(first) * MS)


def identity(address: str, spf_domain: str = "") -> str:
    """Whom a message comes from: the domain that SPF passed for, else the client's network."""
    if spf_domain:
        return f"spf {spf_domain}"
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((client, 24 if client.version == 4 else 64), strict=False))
