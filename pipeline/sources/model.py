"""What a source of addresses gives: everything that it lists now, or that nothing has changed.

A listing is complete or there is none: whoever reads one may take what is not in it for gone. That is why everything that
ends a list early is an error (`pipeline/sources/faults.py`), and why `Unchanged` is a type of its own and not an empty listing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from pipeline.address import Address, AddressError, listed
from pipeline.sources.faults import ImplausibleError, LimitedError, shown

LIMIT: Final = 1_000_000
"""Addresses of one source; some 450 MiB in memory."""
MAX_PROBLEMS: Final = 100
"""Problems that are kept word for word; all are counted."""
MAX_TARGETS: Final = 1000
"""Kept of one address, and of all together as many as there may be addresses: they are for information."""
MAX_CATCH_ALL: Final = 10_000

Kind: TypeAlias = Literal["mailbox", "alias", "group", "forwarder"]
Progress: TypeAlias = Callable[[int], None]
"""Called now and then with the number of addresses so far."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An address that the source accepts mail for."""

    local: str
    """As it is listed: without quotes, composed (NFC), in the case in which it was written."""
    domain: str
    """Lower case, A-labels."""
    kind: Kind = "mailbox"
    targets: tuple[str, ...] = ()
    """Where an alias, a forwarder or a group leads, as far as the source says it in addresses: for information, and not all."""
    reference: str = ""
    """Where the source has it, for messages: a DN, a line."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    entries: tuple[Entry, ...]
    """Each address once, whatever its case."""
    problems: tuple[str, ...] = ()
    """What was not understood and left out, a line each, the first MAX_PROBLEMS."""
    problem_count: int = 0
    marker: bytes = b""
    """To be given back at the next run. Empty: this source has none."""
    catch_all: tuple[tuple[str, str], ...] = ()
    """(domain, where its mail for unlisted addresses goes): for information."""


class Unchanged(msgspec.Struct, frozen=True, kw_only=True):
    """The source surely lists what it listed when `marker` was given out, so nothing was read."""

    marker: bytes


class Source(Protocol):
    async def fetch(self, *, marker: bytes = b"", progress: Progress = ..., limit: int = LIMIT) -> Listing | Unchanged:
        """The whole list as it is now.

        `marker`: of the last listing that the caller took over; without it everything is read. More than `limit` addresses
        are an error. May be cancelled at any await. Raises SourceError, and nothing else.
        """
        ...


def silent(_count: int) -> None:
    """No progress to show."""


class Collector:
    """Gathers a listing: each address once, where the first mention counts, and a bounded number of problems."""

    def __init__(self, limit: int = LIMIT, domain: str = "") -> None:
        """`domain`: for entries that are a local part only."""
        self._limit = limit
        self._domain = domain
        self._entries: dict[tuple[str, str], Entry] = {}
        self._targets = 0
        self._problems: list[str] = []
        self.problem_count = 0
        self._catch_all: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, text: str, kind: Kind, targets: tuple[str, ...] = (), reference: str = "") -> str:
        """List an address; how it is written, or nothing when it is none, which is a problem. Raises LimitedError."""
        try:
            address = listed(f"{text.strip()}@{self._domain}" if self._domain and "@" not in text else text)
        except AddressError as error:
            self.problem(reference, f"{shown(text, 100)}: {error}")
            return ""
        self.put(address, kind, targets, reference)
        return f"{address.local}@{address.domain}"

    def put(self, address: Address, kind: Kind, targets: tuple[str, ...] = (), reference: str = "") -> None:
        """List an address that was understood already. Raises LimitedError."""
        key = (address.local.casefold(), address.domain)
        if key not in self._entries:
            if len(self._entries) >= self._limit:
                raise LimitedError(
                    f"the source lists more than {self._limit:,} addresses",
                    remedy="Narrow it down, for example to a part of the directory.",
                )
            if targets:
                targets = targets[:MAX_TARGETS] if self._targets < self._limit else ()
                self._targets += len(targets)
            self._entries[key] = Entry(address.local, address.domain, kind, targets, reference)

    def problem(self, reference: str, words: str) -> None:
        self.problem_count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(shown(f"{reference}: {words}" if reference else words))

    def catch_all(self, domain: str, target: str) -> None:
        """Mail for unlisted addresses of `domain` goes to `target`."""
        if len(self._catch_all) < MAX_CATCH_ALL:
            self._catch_all[shown(domain, 255), shown(target)] = None

    def listing(self, marker: bytes = b"") -> Listing:
        """Raises ImplausibleError when there is nothing: nobody means to have every address removed in this way."""
        if not self._entries:
            problems = f", and {self.problem_count:,} that are none" if self.problem_count else ""
            raise ImplausibleError(
                f"the source lists no address at all{problems}"
                + (f"; the first: {self._problems[0]}" if self._problems else ""),
                remedy="Check what it is asked for, and what the account that asks may see.",
            )
        return Listing(
            entries=tuple(self._entries.values()),
            problems=tuple(self._problems),
            problem_count=self.problem_count,
            marker=marker,
            catch_all=tuple(self._catch_all),
        )


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a marker holds. It is good only for the same question to the same server."""

    asked: bytes
    """Digest of the question."""
    server: str
    state: bytes

    def seal(self) -> bytes:
        return _encode(self)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Mark).decode


def opened(marker: bytes) -> Mark | None:
    """None for what is no marker: then everything is read."""
    try:
        return _decode(marker)
    except msgspec.DecodeError:
        return None


def digest(*parts: object) -> bytes:
    """Of a question, whatever it is made of."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()[:16]
