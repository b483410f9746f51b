"""Whom we believe at the other end of a TLS connection, and the words for it when we do not.

OpenSSL judges certificates, during the handshake: the chain, the dates, and the name as the route or the MX has it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import sys
from pathlib import Path
from typing import Final

from pipeline.faults import ConfigurationError
from pipeline.outcome import neutralise
from pipeline.sources import dialling

_REASONS: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is signed by itself, and by no authority that is trusted here",
    19: "its authority is not trusted here",
    20: "its authority is not known here, or the server leaves out a certificate between",
    21: "its authority is not known here, or the server leaves out a certificate between",
    23: "it was revoked",
}
"""X509_V_ERR_* of OpenSSL; what is not here is told in its own words."""
_WRONG_NAME: Final = frozenset({62, 64})


@functools.cache
def anybody() -> ssl.SSLContext:
    """Any certificate is better than none."""
    # Not create_default_context: it loads the system's authorities, 20 ms and a megabyte for certificates nobody checks.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def verified(ca_file: str) -> ssl.SSLContext:
    """Only who is vouched for, by TLS 1.2 or later. A file that was changed is read anew. Raises ConfigurationError."""
    try:
        changed = Path(ca_file).stat().st_mtime_ns if ca_file else 0
    except OSError as error:
        why = (error.strerror or "no such file").lower()
        raise ConfigurationError(f"the authorities in {neutralise(os.fsencode(ca_file))}: {why}") from None
    return _verified(ca_file, changed)


@functools.lru_cache(64)
def _verified(ca_file: str, changed: int) -> ssl.SSLContext:  # noqa: ARG001 - part of the key
    return dialling.context(ca_file, verify=True)


def chain_of(transport: asyncio.BaseTransport | None) -> list[bytes]:
    """The certificates that the server sent, its own first, DER."""
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    if tls is None:
        return []
    if sys.version_info >= (3, 13):
        return list(tls.get_unverified_chain())
    # What Python 3.13 made public is there since 3.10.
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in tls._sslobj.get_unverified_chain() or ()]  # noqa: SLF001


def distrust(error: BaseException | None, host: str) -> str:
    """Why the certificate of `host` is not believed; empty when the handshake failed for another reason."""
    # Neither attribute is there when the error was made by a library and not by OpenSSL.
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ""
    code = getattr(error, "verify_code", 0)
    if code in _WRONG_NAME:
        why = f"it is for another name than {host}"
    else:
        why = _REASONS.get(code) or getattr(error, "verify_message", "") or "it cannot be verified"
    return neutralise(f"The certificate of {host} is not trusted: {why}".encode())
