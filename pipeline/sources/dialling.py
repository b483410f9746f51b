"""From a server's name to addresses that may be dialled, and whom to trust there.

The rule is that of routes (`pipeline/route.py`): what is checked is the address that is dialled, after resolution, each time.
A source is written by whoever administers a domain, and must not become a way to talk to the operator's own machines.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from pipeline.faults import ConfigurationError
from pipeline.route import forbidden, literal
from pipeline.sources.faults import ForbiddenError, SlowError, UnreachableError, UntrustedError, shown
from pipeline.units import Network

MAX_ADDRESSES: Final = 10
"""Of one name; more than a real server has."""

HINT: Final = "If the gateway may talk to it, the operator puts the network into the setting allow_networks."


async def resolve(host: str, port: int, allowed: Sequence[Network], seconds: float) -> list[str]:
    """The addresses of `host` that may be dialled, at least one. The system resolves: such servers are in hosts files too.

    Raises UnreachableError, SlowError, ForbiddenError.
    """
    address = literal(host)
    if address is not None:
        texts = [str(address)]
    else:
        try:
            async with asyncio.timeout(seconds):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise SlowError(f"the name {shown(host)} could not be looked up in time") from None
        except (OSError, UnicodeError):
            raise UnreachableError(
                f"the name {shown(host)} cannot be looked up", remedy="Check how it is written, and this machine's DNS."
            ) from None
        texts = list(dict.fromkeys(str(info[4][0]) for info in found))
    reasons = {}
    for text in texts[:MAX_ADDRESSES]:
        candidate = literal(text.partition("%")[0])  # a link-local address may come with its interface
        reasons[text] = "no address" if candidate is None else forbidden(candidate, allowed)
    good = [text for text, reason in reasons.items() if not reason]
    if not good:
        raise ForbiddenError(
            f"{shown(host)} may not be dialled: {next(iter(reasons.values()), 'it has no address')}", remedy=HINT
        )
    return good


def context(ca_file: str, *, verify: bool) -> ssl.SSLContext:
    """Whom to trust. Raises ConfigurationError when the file is no certificate."""
    try:
        made = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        why = "not a PEM file with certificates" if isinstance(error, ssl.SSLError | ValueError) else error.strerror
        raise ConfigurationError(f"ca_file {shown(ca_file)}: {why}") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python leaves it to the system's configuration
    # Python 3.13 asks certificates for extensions that those of companies' own authorities often lack.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def untrusted(error: ssl.SSLError, server: str) -> UntrustedError:
    """What a failed handshake means."""
    # Neither attribute is there when the error was made by a library and not by OpenSSL.
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or "it cannot be verified"
        return UntrustedError(
            f"the certificate of {server} is not trusted: {shown(why)}",
            remedy="Name its authority's file as ca_file, and the server as its certificate does.",
        )
    reason = getattr(error, "reason", "") or "no TLS"
    return UntrustedError(
        f"no encrypted connection to {server}: {shown(reason.replace('_', ' ').lower())}",
        remedy="Check that this port speaks TLS, version 1.2 or later.",
    )


def unreachable(error: OSError, server: str) -> UnreachableError:
    why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "no connection"
    return UnreachableError(
        f"{server} cannot be reached: {why}", remedy="Check that it runs, and that no firewall is between."
    )
