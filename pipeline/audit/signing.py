"""Keys that exports are signed with: Ed25519 (RFC 8032), as PEM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.faults import ConfigurationError, RefusedError

LARGEST: Final = 16 << 10


def make(path: Path) -> Path:
    """A new private key in `path`, which only its owner may read, and its public one beside it: where that is. Raises RefusedError."""
    public = path.parent / (path.name + ".pub")
    if public.exists() or public.is_symlink():
        raise _there(public)
    key = Ed25519PrivateKey.generate()
    _write(path, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ), 0o600)  # fmt: skip
    _write(public, key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ), 0o644)  # fmt: skip
    return public


def _there(path: Path) -> RefusedError:
    return RefusedError(f"{path} is there already", remedy="Choose another name: a key is never overwritten.")


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise _there(path) from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def private(path: Path) -> Ed25519PrivateKey:
    """Raises ConfigurationError."""
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise ConfigurationError(f"{path} can be read by others", remedy=f"Take that away: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} is no private Ed25519 key", remedy="Make one: gatepost audit key FILE")
    return key


def public(path: Path) -> bytes:
    """The 32 octets of a public key. Raises ConfigurationError."""
    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} is no public Ed25519 key", remedy="Give the .pub file of the key.")
    return key.public_bytes_raw()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
