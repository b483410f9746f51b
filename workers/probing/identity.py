"""What is said to log in (RFC 4954, RFC 4616). Pure; what it makes is secret and must be sent without being shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from pipeline.outcome import neutralise
from pipeline.probing.model import Login

MECHANISMS: Final = ("PLAIN", "LOGIN")
"""What a password is enough for, the better one first."""
HIDDEN: Final = "(hidden)"


def words_of(mechanism: str, login: Login) -> tuple[str, Sequence[str]]:
    """The command, and the answer to each further reply (334)."""
    if mechanism == "PLAIN":
        return f"AUTH PLAIN {_encoded(_plain(login))}", ()
    return "AUTH LOGIN", [_encoded(word.encode()) for word in (login.user, login.password)]


def hidden(text: str, login: Login) -> str:
    """What a server said, without the password, should it have said that."""
    octets = login.password.encode()
    for word in (neutralise(octets), _encoded(octets), _encoded(_plain(login))):
        if word:
            text = text.replace(word, HIDDEN)
    return text


def _plain(login: Login) -> bytes:
    return b"\0%b\0%b" % (login.user.encode(), login.password.encode())


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
