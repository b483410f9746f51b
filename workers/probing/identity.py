"""What is said to log in (RFC 4954, RFC 4616, RFC 2195). Pure; what it makes is secret and must be sent without being shown."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from pipeline.outcome import neutralise
from pipeline.probing.model import Login

MECHANISMS: Final = ("CRAM-MD5", "PLAIN", "LOGIN")
"""Those that are known, in the order in which the deliverer prefers them."""
HIDDEN: Final = "(hidden)"


def words_of(mechanism: str, login: Login) -> tuple[str, Sequence[Callable[[str], str]]]:
    """The command, and what makes the answer to each further reply (334) out of its text."""
    if mechanism == "PLAIN":
        return f"AUTH PLAIN {_encoded(_plain(login))}", ()
    if mechanism == "LOGIN":
        user, password = (_encoded(word.encode()) for word in (login.user, login.password))
        return "AUTH LOGIN", (lambda _: user, lambda _: password)
    return "AUTH CRAM-MD5", (lambda text: _proven(text, login),)


def hidden(text: str, login: Login) -> str:
    """What a server said, without the password, should it have said that."""
    octets = login.password.encode()
    for word in (neutralise(octets), _encoded(octets), _encoded(_plain(login))):
        if word:
            text = text.replace(word, HIDDEN)
    return text


def _proven(text: str, login: Login) -> str:
    """To a challenge that is none the answer is as good as any: the server refuses it."""
    try:
        challenge = base64.b64decode(text[4:].strip(), validate=True)
    except (binascii.Error, ValueError):
        challenge = b""
    digest = hmac.new(login.password.encode(), challenge, hashlib.md5).hexdigest()
    return _encoded(f"{login.user} {digest}".encode())


def _plain(login: Login) -> bytes:
    return b"\0%b\0%b" % (login.user.encode(), login.password.encode())


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
