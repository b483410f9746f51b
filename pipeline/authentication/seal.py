"""Sealing what we forward (RFC 8617 5.1): the three fields of one more set, to be put on top of a message.

Nothing of a message may change after it was sealed. A chain that was sound gets `cv=pass` and a seal over all its sets; one
that was broken on its way to us gets `cv=fail` and a seal over our set alone (5.1.2), and with that it has ended. A chain
that nobody could judge, because the DNS was silent, is left to whoever comes next: without our set it is as sound as it was.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pipeline.address import AddressError, domain_name
from pipeline.authentication import arc, signature
from pipeline.authentication.canonical import Body, Fields, Wanted, relaxed_field
from pipeline.authentication.publickey import MAX_BITS, MIN_BITS, PADDING, SHA256
from pipeline.authentication.results import folded, render_arc
from pipeline.events import AuthResult
from pipeline.faults import ConfigurationError
from pipeline.mime import Buffer, Header
from pipeline.mime.header import MAX_OCTETS
from pipeline.units import SECOND

PrivateKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey

SIGNED: Final = (
    b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition", b"content-id",
    b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id",
    b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post",
    b"list-owner", b"list-archive", b"dkim-signature",
)  # fmt: skip
"""RFC 6376 5.4.1 and RFC 8617 4.1.2. Not what the next server may add to or take away: trace fields and results."""
MAX_OF_ONE: Final = 10
"""Fields of one name that are signed, from the lowest."""
_LINE: Final = 72
"""Base64 characters of a signature on a line."""
_REMEDY: Final = "Make a key with: openssl genrsa -out arc.pem 2048"


class Sealer(Protocol):
    """Whoever seals in our name."""

    async def seal(
        self,
        content: Buffer,
        header: Header,
        *,
        above: bytes,
        results: Sequence[AuthResult],
        status: str,
        now: int,
        utf8: bool = False,
        body: Body | None = None,
    ) -> bytes:
        """The three fields to put above `above` and the message; empty when it is not to be sealed.

        `content` with its `header` is the message as it came in. `above`: the fields, with their CRLF, that will stand
        between the set and the message. `results`: all that we found out about it. `status`: of the chain it came with, as
        `arc.Chain.status` says it. `now` in ns. `utf8`: the message needs SMTPUTF8, so that the results may be UTF-8.

        Not sealed is what has a chain that has ended or has 50 sets already, a chain of unknown status or of another one
        than it had when it was verified, and a header of which no signature would be verified (`signature.doubtful`).
        """
        ...


class KeySealer:
    """Seals with a private key in memory. Its public key has to be published as `record` at `key_name`."""

    def __init__(self, domain: str, selector: str, authserv_id: str, pem: bytes) -> None:
        """Raises ConfigurationError."""
        try:
            self._domain = domain_name(domain)
            self.key_name = domain_name(f"{selector}._domainkey.{self._domain}")
        except AddressError as error:
            raise ConfigurationError(
                f"the seal's domain {domain!a} or selector {selector!a}: {error}",
                remedy="Set arc_domain to a domain such as example.com, and arc_selector to a word such as gatepost.",
            ) from None
        self._selector = self.key_name[: -len(f"._domainkey.{self._domain}")]
        self._authserv_id = authserv_id
        self._key = load_key(pem)
        self._algorithm = "rsa-sha256" if isinstance(self._key, RSAPrivateKey) else "ed25519-sha256"

    @classmethod
    def from_file(cls, domain: str, selector: str, authserv_id: str, path: Path) -> KeySealer:
        """Raises ConfigurationError."""
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the seal's key {path}: {error.strerror}",
                remedy="Set arc_key to the PEM file with the private key, and let this user read it.",
            ) from None
        return cls(domain, selector, authserv_id, pem)

    @property
    def record(self) -> str:
        """The TXT record that others verify our seals with (RFC 6376 3.6.1, RFC 8463 4.2)."""
        public = self._key.public_key()
        if isinstance(public, Ed25519PublicKey):
            kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"

    async def seal(
        self,
        content: Buffer,
        header: Header,
        *,
        above: bytes,
        results: Sequence[AuthResult],
        status: str,
        now: int,
        utf8: bool = False,
        body: Body | None = None,
    ) -> bytes:
        if header.end - header.start > MAX_OCTETS:
            return b""
        whole = Header(above + header.content[header.start : header.end])
        fields = Fields(whole)
        chain = arc.structure(fields)
        if signature.doubtful(whole) or not may_seal(chain, status):
            return b""
        instance = chain.instances + 1
        wanted = Wanted(relaxed=True)
        hashes = await (body or Body(content, header.body)).hashes({wanted})
        found = render_arc(instance, self._authserv_id, results, utf8=utf8)
        message = self._message(instance, fields, hashes[wanted].digest, now)
        return self._seal(instance, fields, chain.sets, status, found, message, now) + message + found

    def _message(self, instance: int, fields: Fields, body_hash: bytes, now: int) -> bytes:
        names = [name for name in SIGNED for _ in fields.places(name)[:MAX_OF_ONE]]
        names.insert(0, b"from")  # once more than there are: nobody can add one (RFC 6376 8.15)
        listed = [f"{name.decode()}:" for name in names]
        listed[0] = f"h={listed[0]}"
        listed[-1] = f"{listed[-1][:-1]};"
        text = folded(
            "ARC-Message-Signature:",
            [
                [f"i={instance};", f"a={self._algorithm};", "c=relaxed/relaxed;", *self._signer(now)],
                listed,
                [f"bh={base64.b64encode(body_hash).decode()};"],
                ["b="],
            ],
        )
        signed = [fields.canonical(place, relaxed=True) for place in fields.select(names, own=-1)]
        return self._signed(text, b"".join(signed))

    def _seal(
        self,
        instance: int,
        fields: Fields,
        sets: Sequence[arc.Set],
        status: str,
        found: bytes,
        message: bytes,
        now: int,
    ) -> bytes:
        text = folded(
            "ARC-Seal:",
            [[f"i={instance};", f"a={self._algorithm};", f"cv={status};", *self._signer(now)], ["b="]],
        )
        covered = [
            fields.canonical(place, relaxed=True)
            for one in (sets if status == "pass" else ())
            for place in (one.results, one.message, one.seal)
        ]
        return self._signed(text, b"".join([*covered, relaxed_field(found), relaxed_field(message)]))

    def _signer(self, now: int) -> tuple[str, str, str]:
        return f"d={self._domain};", f"s={self._selector};", f"t={now // SECOND};"

    def _signed(self, text: bytes, before: bytes) -> bytes:
        """The field `text`, whose b= is last and empty, signed together with what is signed `before` it."""
        digest = hashlib.sha256(before + relaxed_field(text)[:-2]).digest()
        if isinstance(self._key, RSAPrivateKey):
            octets = self._key.sign(digest, PADDING, SHA256)
        else:
            octets = self._key.sign(digest)
        value = base64.b64encode(octets)
        lines = [value[at : at + _LINE] for at in range(0, len(value), _LINE)]
        return text[:-2] + b"\r\n\t".join(lines) + b"\r\n"


def may_seal(chain: arc.Structure, status: str) -> bool:
    """Whether a set may be added to a chain that was found to have this status."""
    if chain.ended or chain.instances >= arc.MAX_SETS:
        return False
    is_none = chain.instances == 0 and not chain.flaw
    return {"none": is_none, "pass": bool(chain.sets), "fail": not is_none}.get(status, False)


def load_key(pem: bytes) -> PrivateKey:
    """A private key that seals can be made with. Raises ConfigurationError, in whose text nothing of the key is."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ConfigurationError(
            "the seal's key is encrypted", remedy="Give the key without a passphrase, in a file that only we can read."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError("the seal's key is not a private key in PEM", remedy=_REMEDY) from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("the seal's key is neither RSA nor Ed25519", remedy=_REMEDY)
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise ConfigurationError(
            f"the seal's key has {key.key_size} bits; others accept {MIN_BITS} to {MAX_BITS}", remedy=_REMEDY
        )
    return key
