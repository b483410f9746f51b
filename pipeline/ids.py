"""Message ids: 22 characters that sort by time and carry their partition.

    0k3x9v2qd 7m1c0f5tz8a 03
    |         |           `- partition, 2 characters (0 to 1023)
    |         `------------- 55 random bits
    `----------------------- milliseconds since 1970, 45 bits

The alphabet is Crockford's base 32 in lower case: no i, l, o, u, so an id survives being read over the phone. Because an
id names its partition and its birth, any process finds a message, and the start of its history, without an index.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 22
MAX_PARTITIONS: Final = 1024
_VALUE: Final = {character: value for value, character in enumerate(ALPHABET)}
_LETTERS: Final = frozenset(ALPHABET)
_RANDOM_BITS: Final = 55
_PARTITION_BITS: Final = 10
_LATEST: Final = ((1 << 45) - 1) * 1_000_000
"""The last moment (ns) that an id can be of."""
PACKED: Final = 14
_PAIRS: Final = tuple(first + second for first in ALPHABET for second in ALPHABET)
_SHIFTS: Final = range(100, -1, -10)


def _written(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


def _decode(text: str) -> int:
    value = 0
    for character in text:
        value = value << 5 | _VALUE[character]
    return value


def new_id(at: int, partition: int, random: int | None = None) -> str:
    """A fresh id. `at`: ns since the epoch; `random`: 55 bits, drawn from the system when not given."""
    bits = secrets.randbits(_RANDOM_BITS) if random is None else random & ((1 << _RANDOM_BITS) - 1)
    return _written(at // 1_000_000 << _RANDOM_BITS + _PARTITION_BITS | bits << _PARTITION_BITS | partition)


def earliest(at: int) -> str:
    """The least id of a moment (ns): those before it were made earlier."""
    return new_id(min(max(at, 0), _LATEST), 0, 0)


def derived_id(at: int, partition: int, cause: str) -> str:
    """The id of what follows from `cause`: the same for every worker that tries, so it is made only once."""
    return new_id(at, partition, int.from_bytes(hashlib.blake2b(cause.encode(), digest_size=8).digest(), "big"))


def is_id(text: str) -> bool:
    return len(text) == LENGTH and _LETTERS.issuperset(text)


def packed(message_id: str) -> bytes:
    """An id in 14 octets that sort as the ids do."""
    return _decode(message_id).to_bytes(PACKED, "big")


def unpacked(octets: bytes) -> str:
    return _written(int.from_bytes(octets, "big"))


def partition_of(message_id: str) -> int:
    return _decode(message_id[-2:])


def born(message_id: str) -> int:
    """Milliseconds since the epoch at which the id was made."""
    return _decode(message_id[:9])


@functools.lru_cache(4096)
def partition_for(domain: str, partitions: int) -> int:
    """Where everything about `domain` lives: a stable hash, the same on every machine and Python."""
    return int.from_bytes(hashlib.blake2b(domain.encode(), digest_size=4).digest(), "big") % partitions
