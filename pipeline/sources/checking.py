"""Whether a definition is good, as far as that can be known without asking anybody. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from pipeline.address import AddressError, domain_name
from pipeline.faults import ConfigurationError
from pipeline.route import literal
from pipeline.sources.definitions import CpanelSource, CsvSource, Definition, LdapSource, Query
from pipeline.sources.faults import shown

MAX_SERVERS: Final = 10
MAX_TEXT: Final = 4000
"""Characters of a field; a filter may be long."""
MAX_QUERIES: Final = 20
MAX_ATTRIBUTES: Final = 50

_ATTRIBUTE: Final = re.compile(r"(?:[A-Za-z0-9_+.-]{1,32}:)?[A-Za-z][A-Za-z0-9-]{0,63}|[0-9]+(?:\.[0-9]+)+")
"""A description (RFC 4512 2.5) without options; before the colon, how its values begin."""
_CONDITION: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}=[^\0]{1,200}")
_SCOPES: Final = ("sub", "one", "base")


def check(definition: Definition, *, given: bool = False) -> None:
    """Everything that can be known without asking anybody. `given`: whoever opens it has a secret from elsewhere.

    Raises ConfigurationError.
    """
    _check_texts(msgspec.to_builtins(definition))
    secret = bool(given or definition.secret_file or definition.secret_env)
    if isinstance(definition, LdapSource):
        _check_ldap(definition, secret=secret)
    elif isinstance(definition, CpanelSource):
        _check_cpanel(definition, secret=secret)
    else:
        _check_csv(definition, secret=secret)
    if definition.secret_file and definition.secret_env:
        raise ConfigurationError("secret_file and secret_env are both given", remedy="Keep one of them.")
    if definition.secret_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", definition.secret_env):
        raise ConfigurationError(f"secret_env: {shown(definition.secret_env)} is no name of a variable")
    for name, low, high in (("timeout", 0.1, 600), ("time_limit", 1, 86_400)):
        if not low <= getattr(definition, name) <= high:
            raise ConfigurationError(f"{name} must be from {low:g} to {high:,} seconds")


def _check_texts(value: object, name: str = "") -> None:
    if isinstance(value, str) and (not value.isprintable() or len(value) > MAX_TEXT):
        raise ConfigurationError(f"{name}: {shown(value, 50)} is too long, or has a character that cannot be shown")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_texts(inner, name)


def warnings(definition: Definition) -> tuple[str, ...]:
    """What is allowed and unwise, in words."""
    found = []
    if not definition.verify:
        found.append("verify is off: the server's certificate is not checked, so another machine may pose as it.")
    if isinstance(definition, LdapSource):
        if definition.bind_dn and not definition.starttls and any(_is_plain(text) for text in definition.servers):
            found.append("starttls is off: the password travels in the clear.")
    elif _is_plain(definition.url):
        found.append("http:// is not encrypted: whoever is on the way can read and change the list.")
    return tuple(found)


def endpoint(url: SplitResult, default: int) -> tuple[str, int]:
    """(host, port). Raises ValueError."""
    if not url.hostname:
        raise ValueError("no host")
    return url.hostname, default if url.port is None else url.port


def parts(text: str, schemes: Sequence[str]) -> SplitResult:
    """A URL that names a server and nothing more than it should. Raises ConfigurationError."""
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    example = f"Write it as {schemes[-1]}://server.example.com."
    try:
        url = urlsplit(text)
        _, port = endpoint(url, 1)
    except ValueError:
        raise ConfigurationError(f"{shown(text)} is no {wanted} URL", remedy=example) from None
    if url.scheme not in schemes or not text.isascii() or not text.isprintable() or " " in text or port == 0:
        raise ConfigurationError(f"{shown(text)} is no {wanted} URL", remedy=example)
    if "@" in url.netloc:
        raise ConfigurationError(
            "a URL must not hold a password", remedy="Use user, and secret_file or secret_env, for what is secret."
        )
    return url


def _is_plain(text: str) -> bool:
    url = urlsplit(text)
    return url.scheme in ("ldap", "http") and not _is_loopback(url.hostname or "")


def _is_loopback(host: str) -> bool:
    address = literal(host)
    return host == "localhost" if address is None else address.is_loopback


def _check_ldap(definition: LdapSource, *, secret: bool) -> None:
    if not 1 <= len(definition.servers) <= MAX_SERVERS:
        raise ConfigurationError(f"servers: from 1 to {MAX_SERVERS} are needed")
    for text in definition.servers:
        url = parts(text, ("ldap", "ldaps"))
        if url.path.strip("/") or url.query or url.fragment:
            raise ConfigurationError(
                f"{shown(text)}: only host and port are taken from the URL", remedy="Put the rest into base and filter."
            )
    if not definition.base.strip():
        raise ConfigurationError("base is empty", remedy="Write it as dc=example,dc=com.")
    if definition.bind_dn and not secret:
        # A bind with a name and no password succeeds as anonymous (RFC 4513 5.1.2): that is never what was meant.
        raise ConfigurationError("bind_dn without a password", remedy="Give secret_file or secret_env as well.")
    if secret and not definition.bind_dn:
        raise ConfigurationError("a password without bind_dn", remedy="Say whose password it is.")
    if not 1 <= definition.page <= 10_000:
        raise ConfigurationError("page must be from 1 to 10,000")
    _check_domain(definition.domain)
    _check_queries(definition)


def _check_queries(definition: LdapSource) -> None:
    from pipeline.sources.ldap.profiles import PROFILES  # noqa: PLC0415 - only for these

    if definition.profile not in PROFILES:
        raise ConfigurationError(
            f"{shown(definition.profile)} is no profile", remedy=f"Choose one of {', '.join(PROFILES)}."
        )
    if len(definition.queries) > MAX_QUERIES:
        raise ConfigurationError(f"queries: at most {MAX_QUERIES}")
    _check_scope(definition.scope)
    _check_filter(definition.filter)
    _check_attributes(definition.more)
    for query in definition.queries:
        if query.scope:
            _check_scope(query.scope)
        _check_filter(query.filter)
        _check_query(query)


def _check_query(query: Query) -> None:
    if not query.addresses:
        raise ConfigurationError("a query without addresses", remedy="Name the attribute that has them, such as mail.")
    _check_attributes((*query.addresses, *query.aliases, *query.targets, *query.catch_all))
    for condition in query.unless:
        if not _CONDITION.fullmatch(condition):
            raise ConfigurationError(f"unless {shown(condition)}: expected ATTRIBUTE=VALUE")


def _check_scope(scope: str) -> None:
    if scope not in _SCOPES:
        raise ConfigurationError(f"{shown(scope)} is no scope", remedy=f"Choose one of {', '.join(_SCOPES)}.")


def _check_filter(text: str) -> None:
    from pipeline.sources.ldap.messages import filter_fault  # noqa: PLC0415 - loads ldap3, 50 ms

    fault = filter_fault(text) if text else ""
    if fault:
        raise ConfigurationError(
            f"filter {shown(text)}: {fault}", remedy="Write it as (objectClass=person), with brackets (RFC 4515)."
        )


def _check_attributes(names: Sequence[str]) -> None:
    if len(names) > MAX_ATTRIBUTES:
        raise ConfigurationError(f"at most {MAX_ATTRIBUTES} attributes")
    for name in names:
        if not _ATTRIBUTE.fullmatch(name):
            raise ConfigurationError(
                f"{shown(name)} is no attribute", remedy="Write it as mail or smtp:proxyAddresses."
            )


def _check_cpanel(definition: CpanelSource, *, secret: bool) -> None:
    url = parts(definition.url, ("http", "https"))
    if url.path.strip("/") or url.query or url.fragment:
        raise ConfigurationError(
            f"{shown(definition.url)}: only host and port", remedy="Write it as https://host:2083."
        )
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", definition.user):
        raise ConfigurationError(f"user: {shown(definition.user)} is no cPanel account")
    if not secret:
        raise ConfigurationError(
            "no API token", remedy="Make one in cPanel under Manage API Tokens, and give secret_file or secret_env."
        )
    if _is_plain(definition.url) and not definition.plain:
        raise ConfigurationError(
            "http:// would send the API token in the clear",
            remedy="Use https://, or set plain if that is really meant.",
        )


def _check_csv(definition: CsvSource, *, secret: bool) -> None:
    if bool(definition.path) == bool(definition.url):
        raise ConfigurationError("a list needs a path or a url", remedy="Give one of them.")
    if definition.path:
        if not Path(definition.path).is_absolute():
            raise ConfigurationError(f"path: {shown(definition.path)} is not absolute")
        if secret or definition.user or definition.ca_file:
            raise ConfigurationError("user, secret and ca_file are for a url, not for a file")
    else:
        parts(definition.url, ("http", "https"))
        if _is_plain(definition.url) and secret and not definition.plain:
            raise ConfigurationError(
                "http:// would send the secret in the clear",
                remedy="Use https://, or set plain if that is really meant.",
            )
        if definition.user and not secret:
            raise ConfigurationError("user without a password", remedy="Give secret_file or secret_env as well.")
        if ":" in definition.user or not definition.user.isprintable():
            raise ConfigurationError("user: a colon or a control character cannot be sent (RFC 7617 2)")
    _check_domain(definition.domain)


def _check_domain(domain: str) -> None:
    try:
        if domain and domain_name(domain) != domain:
            raise ConfigurationError(f"domain: write {shown(domain)} as {domain_name(domain)}")
    except AddressError as error:
        raise ConfigurationError(f"domain: {shown(domain)}: {error}") from None
