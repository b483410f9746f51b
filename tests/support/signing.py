"""Signers and keys: dkimpy as others sign and verify, keys made once, and a DNS of the test's own that counts its questions."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

import dkim
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError

from pipeline.resolver import LookupFailed


class Signer(msgspec.Struct, frozen=True):
    """A domain's key, in the forms that everybody wants."""

    kind: str
    pem: bytes
    seed: bytes
    """What dkimpy signs with."""
    record: bytes


@functools.cache
def rsa_signer(bits: int = 2048, number: int = 0) -> Signer:
    """Keys of one size differ by number."""
    key = rsa.generate_private_key(65537, bits)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Signer("rsa", pem, pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public))


@functools.cache
def ed25519_signer(number: int = 0) -> Signer:
    key = ed25519.Ed25519PrivateKey.generate()
    seed = base64.b64encode(key.private_bytes_raw())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes_raw()
    return Signer("ed25519", pem, seed, b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public))


class Published:
    """TXT records by name. `failing` names give no answer; one without a record does not exist."""

    def __init__(
        self, records: Mapping[str, bytes | Sequence[bytes]] | None = None, failing: Sequence[str] = ()
    ) -> None:
        self.records = {
            name: (value,) if isinstance(value, bytes) else tuple(value) for name, value in (records or {}).items()
        }
        self.failing = set(failing)
        self.asked: list[str] = []

    async def txt(self, name: str) -> tuple[bytes, ...]:
        self.asked.append(name)
        if name in self.failing:
            raise LookupFailed(f"no answer about {name}", permanent=False)
        if name not in self.records:
            raise LookupFailed(f"{name} does not exist", permanent=True)
        return self.records[name]

    def for_dkimpy(self, name: bytes, timeout: int = 5) -> bytes:
        found = self.records.get(name.decode().rstrip("."), (b"",))
        return found[0] if found else b""


def sign(
    message: bytes,
    signer: Signer,
    domain: str = "a.example",
    selector: str = "s1",
    forms: str = "relaxed/relaxed",
    *,
    length: bool = False,
    names: Sequence[bytes] | None = None,
    identity: str | None = None,
) -> bytes:
    """`message` with a DKIM-Signature by dkimpy on top."""
    algorithm = b"rsa-sha256" if signer.kind == "rsa" else b"ed25519-sha256"
    made = dkim.DKIM(message, signature_algorithm=algorithm).sign(
        selector.encode(), domain.encode(), signer.seed, length=length, include_headers=names,
        canonicalize=tuple(forms.encode().split(b"/")), identity=identity.encode() if identity else None,
    )  # fmt: skip
    return bytes(made) + message


def verified_by_dkimpy(message: bytes, published: Published, number: int = 0) -> bool:
    try:
        return bool(dkim.DKIM(message).verify(number, dnsfunc=published.for_dkimpy))
    except (dkim.DKIMException, ValueError, IndexError, KeyError):  # what it raises on some malformed messages
        return False


def sealed_by_dkimpy(
    message: bytes,
    signer: Signer,
    domain: str,
    results: bytes,
    selector: str = "s1",
    authserv_id: str = "mx.other.example",
) -> bytes:
    """`message` with an Authentication-Results field holding `results`, and dkimpy's set on top of it."""
    message = b"Authentication-Results: " + authserv_id.encode() + b"; " + results + b"\r\n" + message
    made = dkim.ARC(message).sign(selector.encode(), domain.encode(), signer.seed, authserv_id.encode())
    assert made, "dkimpy did not seal"
    return b"".join(made) + message


def chain_by_dkimpy(message: bytes, published: Published) -> tuple[str, str]:
    """(result, reason); `ended` is a chain whose newest seal says that it failed, `crashed` is what dkimpy did."""
    try:
        result, _, reason = dkim.ARC(message).verify(dnsfunc=published.for_dkimpy)
    except dkim.DKIMException as error:
        return "fail", str(error)
    except (IndexError, ValueError):
        return "crashed", "as it does on fields that are malformed in some ways"
    return "ended" if result is None else result.decode(), reason


def crafted(message: bytes, signer: Signer, **changed: str | None) -> bytes:
    """`message` with a DKIM-Signature that no signer would make: tags as `changed` says (None leaves one out), signed as
    they are.

    What is signed is what dkimpy's canonicalisation and choice of fields say.
    """
    algorithm = "rsa-sha256" if signer.kind == "rsa" else "ed25519-sha256"
    tags: dict[str, str | None] = {
        "v": "1", "a": algorithm, "c": "relaxed/relaxed", "d": "a.example", "s": "s1", "h": "from:to:subject"
    }  # fmt: skip
    tags |= changed
    try:
        form = CanonicalizationPolicy.from_c_value((tags["c"] or "simple/simple").lower().encode())
    except InvalidCanonicalizationPolicyError:
        form = CanonicalizationPolicy.from_c_value(b"simple/simple")
    headers, body = dkim.rfc822_parse(message)
    covered = form.canonicalize_body(body)
    if (tags.get("l") or "").isdigit():
        covered = covered[: int(tags["l"] or 0)]
    tags.setdefault("bh", base64.b64encode(hashlib.sha256(covered).digest()).decode())
    text = "; ".join(f"{name}={value}" for name, value in tags.items() if value is not None and name != "b")
    value = b" " + text.encode() + b"; b="
    names = [name.strip().lower().encode() for name in (tags["h"] or "").split(":")]
    chosen = dkim.select_headers(form.canonicalize_headers(headers), names)
    ((own, signed),) = form.canonicalize_headers([(b"DKIM-Signature", value)])
    data = b"".join(name + b":" + rest for name, rest in chosen) + own + b":" + signed.rstrip()
    field = b"DKIM-Signature:" + value + (tags["b"] or "" if "b" in tags else raw_signature(signer, data)).encode()
    return field + b"\r\n" + message


def raw_signature(signer: Signer, data: bytes) -> str:
    digest = hashlib.sha256(data).digest()
    key = load_pem_private_key(signer.pem, None)
    if isinstance(key, rsa.RSAPrivateKey):
        return base64.b64encode(key.sign(digest, PKCS1v15(), Prehashed(hashes.SHA256()))).decode()
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return base64.b64encode(key.sign(digest)).decode()


_B: Final = re.compile(rb"\sb=(?:[A-Za-z0-9+/=]|\r\n\s)+")
_ODD_NAME: Final = re.compile(rb"(?m)^(?:[!-9;-~]+[ \t]+)?:")


def comparable(message: bytes, altered: bytes, at: int) -> bool:
    """Whether dkimpy is to be asked about a signed message that was altered in one octet, at `at`.

    It passes over garbage in the base64 of b= and insists on its padding, does not know the white space that RFC 5322 4.5
    still allows before the colon of a field, and takes a colon for the beginning of a name.
    """
    return _ODD_NAME.search(altered) is None and not any(
        match.start() < at <= match.end() for match in _B.finditer(message)
    )
