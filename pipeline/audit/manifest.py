"""What stands beside an export: what was asked for, what is in it, and hashes by which all of it can be checked.

The manifest is JSON, indented by two, its keys sorted, ASCII, with one LF at the end: exactly so, or it was changed. Its own hash is SHA-256 of
its content without `hash` and `signature`, as JSON with sorted keys and without blanks; the signature (Ed25519, RFC 8032) is of the same octets.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.archive.model import DIRECTORY
from pipeline.archive.seal import Seal
from pipeline.audit import chain
from pipeline.audit.entries import FIRST, is_entry
from pipeline.faults import ConfigurationError
from pipeline.ids import MAX_PARTITIONS, partition_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT: Final = "gatepost-audit-1"
FORMATS: Final = ("jsonl", "parquet")
ALGORITHM: Final = "Ed25519"
SUFFIX: Final = ".manifest.json"
LARGEST: Final = 256 << 20
"""Octets of a manifest that is read: some hundred for each segment and partition."""


def beside(file: Path) -> Path:
    return file.parent / (file.name + SUFFIX)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an export is of. `domain` empty: everything. `start` and `end` both belong to it, as RFC 3339 in ms."""

    domain: str
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    partitions: int
    """That the store has."""

    @property
    def logs(self) -> tuple[int, ...]:
        """Those that are read, in the order of the records."""
        if self.domain:
            return (DIRECTORY, partition_for(self.domain, self.partitions))
        return (DIRECTORY, *range(self.partitions))


class Made(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: str
    by: str
    program: str


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    format: str
    """jsonl or parquet."""
    octets: int
    sha256: str


class Piece(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What of one log is in an export."""

    begin: str
    """The log was read from behind this place ..."""
    end: str
    """... up to this one, which was the newest entry, or is the end of the stretch."""
    first: str = ""
    last: str = ""
    records: int = 0
    unreadable: int = 0
    """Entries that cannot be read, and of which therefore nobody knows whom they concern: in an export of a domain they are not."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    line: int
    partition: int
    entry: str
    text: str


class Continuity(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether the events of each subject followed from one another when they were exported (see subjects.py)."""

    subjects: int = 0
    """Whose beginning is in the export."""
    faults: int = 0
    named: list[Fault] = []


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    algorithm: str
    public_key: str
    value: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str = FORMAT
    asked: Asked
    made: Made
    file: File
    records: int
    chain: str
    """The last record's hash."""
    kinds: dict[str, int]
    partitions: dict[str, Piece]
    continuity: Continuity
    seals: list[Seal]
    """Of the archive's segments that the stretch touches, as they are in the archive."""
    hash: str = ""
    signature: Signature | None = None

    def piece(self, partition: int) -> Piece:
        return self.partitions.get(str(partition), NOTHING)


NOTHING: Final = Piece(begin="0-0", end="0-0")


def canonical(manifest: Manifest) -> bytes:
    """What is hashed and signed."""
    content = msgspec.to_builtins(manifest)
    del content["hash"], content["signature"]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def rendered(manifest: Manifest) -> bytes:
    content = msgspec.to_builtins(manifest)
    return (json.dumps(content, sort_keys=True, indent=2, ensure_ascii=True) + "\n").encode("ascii")


def sealed(manifest: Manifest, key: Ed25519PrivateKey | None = None) -> Manifest:
    """With its hash and, where there is a key, its signature."""
    octets = canonical(manifest)
    signature = None
    if key is not None:
        signature = Signature(
            algorithm=ALGORITHM,
            public_key=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
            value=base64.b64encode(key.sign(octets)).decode(),
        )
    return msgspec.structs.replace(manifest, hash=hashlib.sha256(octets).hexdigest(), signature=signature)


def read(path: Path) -> bytes:
    """Raises ConfigurationError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", remedy="An export and its manifest belong together."
        ) from None
    if len(data) > LARGEST:
        raise ConfigurationError(f"{path} is no manifest: it is too large")
    return data


def parsed(data: bytes, public: bytes | None) -> tuple[Manifest | None, list[str]]:
    """The manifest, and what is wrong with it, in words. `public`: the key by which it has to be signed (32 octets)."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        _meant(manifest)
    except (ValueError, RecursionError) as error:
        return None, [f"the manifest is none of the format {FORMAT}: {error}"]
    wrong = []
    if rendered(manifest) != data:
        wrong.append("the manifest was changed: it is not written as it was")
    if hashlib.sha256(canonical(manifest)).hexdigest() != manifest.hash:
        wrong.append("the manifest was changed: its hash is another")
    return manifest, wrong + _signature(manifest, public)


def _meant(manifest: Manifest) -> None:
    """Raises ValueError for what cannot be worked with."""
    if manifest.format != FORMAT:
        raise ValueError(f"it says {manifest.format!a}")
    if not 1 <= manifest.asked.partitions <= MAX_PARTITIONS:
        raise ValueError(f"a store has no {manifest.asked.partitions} partitions")
    if manifest.file.format not in FORMATS:
        raise ValueError(f"a file is not of the format {manifest.file.format!a}")
    chain.moment(manifest.made.at)
    chain.moment(manifest.asked.start)
    chain.moment(manifest.asked.end)
    for piece in manifest.partitions.values():
        for place in (piece.begin, piece.end):
            if place != FIRST and not is_entry(place):
                raise ValueError(f"{place!a} is no place in a log")


def _signature(manifest: Manifest, public: bytes | None) -> list[str]:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - loads OpenSSL, for the few who need it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - as above

    signature = manifest.signature
    if signature is None:
        return [] if public is None else ["the manifest is not signed"]
    if signature.algorithm != ALGORITHM:
        return [f"the signature is of another kind than {ALGORITHM}"]
    try:
        named = base64.b64decode(signature.public_key, validate=True)
        value = base64.b64decode(signature.value, validate=True)
        Ed25519PublicKey.from_public_bytes(named).verify(value, canonical(manifest))
    except (InvalidSignature, ValueError):
        return ["the signature is not of this manifest"]
    if public is not None and named != public:
        return ["the manifest is signed with another key"]
    return []
