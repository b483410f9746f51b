"""Public keys of signatures (RFC 6376, RFC 8301, RFC 8463). Loads cryptography, so it is itself loaded with the first key.

Most processes never see one, and of a program that runs for months each counts.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pipeline.authentication import tags
from pipeline.authentication.domainkey import Problem

MIN_BITS: Final = 1024
"""RFC 8301 3.2: a signature by a shorter RSA key must not count as valid."""
MAX_BITS: Final = 8192
"""Twice what RFC 8301 3.2 asks for; 0.25 ms to verify."""
MAX_EXPONENT: Final = 1 << 33
"""Above 2^32 + 1, the largest that is in use. An exponent as long as the modulus would take 4 ms."""

PADDING: Final = PKCS1v15()
SHA256: Final = Prehashed(hashes.SHA256())


class PublicKey:
    __slots__ = ("_key",)

    def __init__(self, key: RSAPublicKey | Ed25519PublicKey) -> None:
        self._key = key

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Whether `signature` is this key's for a SHA-256 digest, which Ed25519 takes for the message (RFC 8463 3)."""
        try:
            if isinstance(self._key, RSAPublicKey):
                self._key.verify(signature, digest, PADDING, SHA256)
            else:
                self._key.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


def read(kind: bytes, value: bytes) -> PublicKey | Problem:
    """The key of a record's p= (RFC 6376 3.6.1)."""
    try:
        octets = tags.base64_value(value)
        if kind == b"ed25519":
            return PublicKey(Ed25519PublicKey.from_public_bytes(octets))
        if kind != b"rsa":
            return Problem("permerror", "the key is of an unknown kind")
        # A SubjectPublicKeyInfo, as everybody publishes it, or the RSAPublicKey that the text of RFC 6376 3.6.1 has.
        public = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        return Problem("permerror", "the key cannot be read")
    if not isinstance(public, RSAPublicKey):
        return Problem("permerror", "the key is not an RSA key, as it says")
    if public.key_size < MIN_BITS:
        return Problem("policy", f"an RSA key of less than {MIN_BITS} bits")
    if public.key_size > MAX_BITS or public.public_numbers().e > MAX_EXPONENT:
        return Problem("policy", "an RSA key that takes too long to verify")
    return PublicKey(public)
