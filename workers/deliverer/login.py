"""SMTP AUTH (RFC 4954): PLAIN, else LOGIN, and the password only where nobody else can read it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import aiosmtplib

from pipeline.directory import RouteOptions
from pipeline.faults import ConfigurationError
from pipeline.outcome import neutralise
from pipeline.sources import secrets
from pipeline.sources.secrets import Secret

MECHANISMS: Final = ("plain", "login")
"""What a password is enough for, the better one first."""
HIDDEN: Final = "[secret]"


class CannotLogIn(Exception):
    """Nothing was sent. `enhanced` is our status for it."""

    def __init__(self, words: str, enhanced: str) -> None:
        super().__init__(words)
        self.words = words
        self.enhanced = enhanced


def secret_of(options: RouteOptions) -> Secret:
    """Read anew for each connection, so that a changed password holds from the next one on. Raises CannotLogIn."""
    try:
        secret = secrets.read(options.auth_secret_file, options.auth_secret_env)
    except ConfigurationError as error:
        raise CannotLogIn(neutralise(f"We cannot log in: {error}".encode()), "4.3.5") from None
    if secret is None:
        raise CannotLogIn("We cannot log in: there is no password.", "4.3.5")
    return secret


async def log_in(client: aiosmtplib.SMTP, options: RouteOptions, secret: Secret, *, encrypted: bool) -> None:
    """Raises CannotLogIn, and what aiosmtplib raises: its words may have to go through `hide`."""
    if not encrypted and not options.auth_in_clear:
        raise CannotLogIn(
            "The password was not sent: the connection is not encrypted, and the route does not allow it in the clear.", "4.7.11"
        )  # fmt: skip
    offered = [method.lower() for method in client.server_auth_methods]
    mechanism = next((mechanism for mechanism in MECHANISMS if mechanism in offered), "")
    if not mechanism:
        offer = f"only {', '.join(offered)[:200]}" if offered else "no AUTH at all"
        raise CannotLogIn(neutralise(f"The server offers {offer}, and we need PLAIN or LOGIN.".encode()), "4.7.4")
    user, password = options.auth_user.encode(), secret.reveal().encode()
    if mechanism == "plain":
        await client.auth_plain(user, password)
    else:
        await client.auth_login(user, password)


def hide(words: str, options: RouteOptions, secret: Secret) -> str:
    """A server's words without the password, which some repeat together with the command that they do not like."""
    user, password = options.auth_user, secret.reveal()
    for text in _forms(user, password):
        words = words.replace(text, HIDDEN)
    return words


def _forms(user: str, password: str) -> Sequence[str]:
    plain = f"\0{user}\0{password}"
    encoded = (base64.b64encode(text.encode()).decode() for text in (plain, f"{user}{plain}", password))
    # A password of a few letters is found in any text; its encoded forms are long enough.
    shown = [password, neutralise(password.encode())] if len(password) > 3 else []
    return [*encoded, *shown]
