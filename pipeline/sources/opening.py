"""From a definition to a source that can be asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlsplit

import structlog

from pipeline.faults import ConfigurationError, RefusedError
from pipeline.route import forbidden, literal
from pipeline.sources import secrets
from pipeline.sources.checking import check, warnings
from pipeline.sources.cpanel import CpanelReader
from pipeline.sources.csv_reader import CsvReader
from pipeline.sources.definitions import CpanelSource, CsvSource, Definition, LdapSource
from pipeline.sources.dialling import HINT, context
from pipeline.sources.model import Source
from pipeline.sources.secrets import Secret
from pipeline.units import Network

_log = structlog.get_logger(__name__)


def open_source(
    definition: Definition,
    *,
    allowed: Sequence[Network],
    secret: Secret | None = None,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Source:
    """The source that `definition` describes, with its secret. Asks nobody yet.

    `allowed`: networks besides the global ones that may be dialled; `allow_networks` for what a customer wrote. `secret`: given
    by the caller, in place of the file or variable that the definition names. Reads files: not for the hot path.
    Raises ConfigurationError, and RefusedError when the definition names an address that may not be dialled.
    """
    check(definition, given=secret is not None)
    for warning in warnings(definition):
        _log.warning("a source is not safe", why=warning)
    _check_addresses(definition, allowed)
    if secret is None:
        secret = secrets.read(definition.secret_file, definition.secret_env, environ)
    if isinstance(definition, CsvSource):
        _check_header(secret if not definition.user else None)
        trust = context(definition.ca_file, verify=definition.verify) if definition.url else None
        return CsvReader(definition, secret, trust, allowed, sleep)
    trust = context(definition.ca_file, verify=definition.verify)
    if isinstance(definition, CpanelSource):
        assert secret is not None  # the check says so
        _check_header(secret)
        return CpanelReader(definition, secret, trust, allowed, sleep)
    from pipeline.sources.ldap.reader import LdapReader  # noqa: PLC0415 - loads ldap3, 50 ms

    return LdapReader(definition, secret, trust, allowed)


def _check_header(secret: Secret | None) -> None:
    if secret is not None and not (secret.reveal().isascii() and secret.reveal().isprintable()):
        raise ConfigurationError("a token with other characters than visible ASCII cannot be sent (RFC 9110 5.5)")


def _check_addresses(definition: Definition, allowed: Sequence[Network]) -> None:
    """Those that are written as such; names are looked up, and checked, each time they are dialled."""
    urls = definition.servers if isinstance(definition, LdapSource) else (definition.url,)
    for url in urls:
        address = literal(urlsplit(url).hostname or "")
        reason = forbidden(address, allowed) if address is not None else ""
        if reason:
            raise RefusedError(f"{reason}, where the gateway may not dial", remedy=HINT)
