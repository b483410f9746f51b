"""How the servers of a route are spoken to: encryption, identity, and from which of our addresses. Stored with the domain; additive only.

Options belong to the route that they stand beside: who takes a parent's route takes its options with it, and who has a route of
their own takes none, or a password would be sent to a server that it is not for. `check` says what is nonsense, as far as that can
be known without asking anybody.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Final

import msgspec

from pipeline.faults import ConfigurationError

MAX_TEXT: Final = 500
MAX_SOURCES: Final = 50

_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62}){0,40}")
_LITERAL: Final = re.compile(r"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,45}\]")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class Tls(enum.StrEnum):
    NEVER = "never"
    OFFERED = "offered"
    """When the server offers it, with any certificate; in the clear when the handshake fails (RFC 7435)."""
    ALWAYS = "always"
    """With any certificate, and never in the clear."""
    VERIFIED = "verified"
    """Only with a certificate for the server's name that an authority vouches for."""


class ClientCommand(enum.StrEnum):
    """How a server that offers it is told who sent a message to us."""

    XCLIENT = "xclient"
    XFORWARD = "xforward"


class RouteOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    tls: Tls = Tls.OFFERED
    ca_file: str = ""
    """PEM file with the authorities that count for `verified`; empty: the system's."""
    dane: bool = True
    """Follow TLSA records where the DNS is trusted (RFC 7672)."""
    auth_user: str = ""
    auth_secret_file: str = ""
    auth_secret_env: str = ""
    auth_in_clear: bool = False
    """The password may be sent without encryption."""
    ehlo: str = ""
    """Our name for these servers; empty: that of the source address, or the setting hostname."""
    client: ClientCommand | None = None
    sources: tuple[str, ...] = ()
    """Of the setting source_addresses those that may be used, the preferred one first; empty: all of them."""

    @property
    def shared(self) -> RouteOptions:
        """What has to be equal for two domains to use the same connection."""
        return msgspec.structs.replace(self, sources=()) if self.sources else self


PLAIN: Final = RouteOptions()


def is_ehlo_name(text: str) -> bool:
    """Whether it can be said in EHLO (RFC 5321 4.1.1.1): a host name, or an address in brackets."""
    return _NAME.fullmatch(text) is not None or _LITERAL.fullmatch(text) is not None


def check(options: RouteOptions) -> None:
    """Raises ConfigurationError."""
    for name in ("ca_file", "auth_user", "auth_secret_file", "auth_secret_env"):
        text = getattr(options, name)
        if not text.isprintable() or len(text) > MAX_TEXT:
            raise ConfigurationError(f"{name} is too long, or has a character that cannot be shown")
    if options.ca_file and options.tls is not Tls.VERIFIED:
        raise ConfigurationError(
            f"authorities are given, and TLS is {options.tls}: nobody would ask them",
            remedy="Say --tls verified as well, or --ca-file none.",
        )
    if options.ehlo and not is_ehlo_name(options.ehlo):
        raise ConfigurationError(
            f"{options.ehlo!a} cannot be said in EHLO", remedy="Give a host name, such as mail.example.com."
        )
    if options.client is ClientCommand.XCLIENT and options.auth_user:
        raise ConfigurationError(
            "XCLIENT makes a server forget who logged in", remedy="Say --client xforward, or --auth-user none."
        )
    _check_auth(options)
    _check_sources(options)


def _check_auth(options: RouteOptions) -> None:
    secrets = [secret for secret in (options.auth_secret_file, options.auth_secret_env) if secret]
    if not options.auth_user:
        if secrets or options.auth_in_clear:
            raise ConfigurationError("a password is spoken of, and no user", remedy="Say --auth-user as well.")
        return
    if len(secrets) != 1:
        raise ConfigurationError(
            f"{'two passwords' if secrets else 'no password'} for {options.auth_user!a}",
            remedy="Say either --auth-secret-file or --auth-secret-env; the other one is `none`.",
        )
    if options.auth_secret_env and _VARIABLE.fullmatch(options.auth_secret_env) is None:
        raise ConfigurationError(f"{options.auth_secret_env!a} is no name of a variable")
    if options.tls is Tls.NEVER and not options.auth_in_clear:
        raise ConfigurationError(
            "the password would never be sent: it needs encryption, and TLS is never used",
            remedy="Say --tls always, or --auth-in-clear where the way to the server is safe.",
        )


def _check_sources(options: RouteOptions) -> None:
    if len(options.sources) > MAX_SOURCES:
        raise ConfigurationError(f"more than {MAX_SOURCES} source addresses")
    for source in options.sources:
        try:
            ipaddress.ip_address(source)
        except ValueError:
            raise ConfigurationError(
                f"{source!a} is no IP address", remedy="Name addresses of the setting source_addresses."
            ) from None
