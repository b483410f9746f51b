"""TLS to Redis: one context for all connections of a client, and a new one when a file of it has changed.

The library makes one for each connection. That costs 20 ms of processor time, and trusts the system's authorities besides the one that
was named.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from pipeline.faults import ConfigurationError
from pipeline.topology.address import Tls


class Contexts:
    """What connections are encrypted with. The one that was there last, while its files cannot be used."""

    def __init__(self, tls: Tls) -> None:
        """Raises ConfigurationError; else a wrong file would be told as a Redis that is away."""
        self._tls = tls
        self._files = self._looked_at()
        self._made = _made(tls)

    def get(self) -> ssl.SSLContext:
        files = self._looked_at()
        if files != self._files:
            try:
                self._made = _made(self._tls)
            except ConfigurationError:
                return self._made
            self._files = files
        return self._made

    def _looked_at(self) -> list[tuple[int, int, int] | None]:
        """What tells a file from the one that was there before."""
        found: list[tuple[int, int, int] | None] = []
        for file in (self._tls.ca, self._tls.certificate, self._tls.key):
            try:
                status = Path(file).stat()
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append(None)
        return found


class Encrypted:
    """Goes before the library's class of connections with TLS among the bases."""

    ssl_context: Any

    def __init__(self, *, contexts: Contexts, **options: Any) -> None:
        self._contexts = contexts
        super().__init__(**options)

    async def _connect(self) -> None:
        self.ssl_context.context = self._contexts.get()
        await super()._connect()  # type: ignore[misc]


def _made(tls: Tls) -> ssl.SSLContext:
    """Raises ConfigurationError."""
    try:
        made = ssl.create_default_context(cafile=tls.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"cannot use redis_tls_ca {tls.ca!a}: {error}", remedy="Give a PEM file with the authority's certificate."
        ) from None
    if tls.certificate:
        try:
            made.load_cert_chain(tls.certificate, tls.key or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"cannot use redis_tls_cert {tls.certificate!a} and redis_tls_key {tls.key!a}: {error}",
                remedy="Give PEM files that belong together, and that this user may read.",
            ) from None
    return made
