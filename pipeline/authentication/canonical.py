"""Canonicalisation (RFC 6376 3.4): the octets of a message in the form in which signatures are computed over them.

A body is read in chunks, so a mapped one is never in memory as a whole, and whatever the chunks are, what comes out is the
same: held back between two of them are the empty lines, as a number, and the white space and the CR that may turn out to end
a line. All work is done by operations on whole chunks; nothing here looks at single lines.

Only CRLF ends a line. A bare CR or LF, which does not get past our receiver, is an octet like any other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from pipeline.mime import Buffer, Header

CHUNK: Final = 64 << 10
"""Octets of a body that are worked on at a time: they and their copies stay in the processor's cache."""
IN_THREAD: Final = 256 << 10
"""Octets above which a body is hashed in a thread: so many take up to 1 ms, and the event loop has others to serve."""
_MANY_LINES: Final = b"\r\n" * (CHUNK // 2)

_WSP: Final = b" \t"
_CRLF: Final = b"\r\n"


class Wanted(NamedTuple):
    """Which hash of a body: of all of its canonical form, or of its first `limit` octets."""

    relaxed: bool
    limit: int | None = None


class BodyHash(NamedTuple):
    digest: bytes
    """SHA-256; empty when the body is shorter than the limit."""
    octets: int
    """Length of the whole body in its canonical form."""


def compress(data: bytes) -> bytes:
    """Each run of white space as one space."""
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    # Each round halves the runs, so the rounds are few and each is linear.
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


class Canonical:
    """The canonical form of one body, piece by piece: `feed` its chunks, then `finish`."""

    __slots__ = ("_held", "_is_empty", "_lines", "_relaxed")

    def __init__(self, *, relaxed: bool) -> None:
        self._relaxed = relaxed
        self._held = b""
        """The end of the last chunk, shortened: a space, a CR, or both, which may belong to the end of a line."""
        self._lines = 0
        """Ends of lines that count only if something follows."""
        self._is_empty = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        data = self._hold_back(self._held + chunk if self._held else chunk)
        if self._relaxed and (
            b" " in data or b"\t" in data
        ):  # base64 has none, and that is what most of a large body is
            data = compress(data).replace(b" \r\n", _CRLF)
        kept, lines = _without_last_lines(data)
        if kept:
            yield from self._before(kept)
        self._lines += lines

    def finish(self) -> Iterator[bytes]:
        """White space that ends the body without a CRLF is ignored, as at the end of any line (3.4.4)."""
        if b"\r" in self._held:
            yield from self._before(self._held)
        # 3.4.3: a body without a last CRLF gets one, an empty body too; 3.4.4: but an empty body stays empty.
        if not (self._relaxed and self._is_empty):
            yield _CRLF

    def _hold_back(self, data: bytes) -> bytes:
        held = b""
        if data.endswith(b"\r"):
            held = b"\r"
            data = data[:-1]
        if self._relaxed and data.endswith((b" ", b"\t")):
            held = b" " + held
            data = data.rstrip(_WSP)
        self._held = held
        return data

    def _before(self, kept: bytes) -> Iterator[bytes]:
        while self._lines:
            lines = min(self._lines, len(_MANY_LINES) // 2)
            yield _MANY_LINES[: 2 * lines]
            self._lines -= lines
        self._is_empty = False
        yield kept


def _without_last_lines(data: bytes) -> tuple[bytes, int]:
    """`data` without the CRLFs at its end, and how many these are."""
    if not data.endswith(_CRLF):
        return data, 0
    tail = data[len(data.rstrip(_CRLF)) :]
    # Behind the last two equal octets CR and LF take turns, up to the LF at the end.
    lines = (len(tail) - 1 - max(tail.rfind(b"\r\r"), tail.rfind(b"\n\n"))) // 2
    return data[: len(data) - 2 * lines], lines


class _Hashes:
    """Hashes of one canonical form: of the whole, and of its beginnings, all from one pass."""

    def __init__(self, wanted: Collection[Wanted], *, relaxed: bool) -> None:
        self._form = Canonical(relaxed=relaxed)
        self._relaxed = relaxed
        self._limits = sorted({want.limit for want in wanted if want.limit is not None}, reverse=True)
        self._is_whole = any(want.limit is None for want in wanted)
        self._sha = hashlib.sha256()
        self._octets = 0
        self._found: dict[int, bytes] = {}

    def feed(self, chunk: bytes) -> None:
        self._take(self._form.feed(chunk))

    def finish(self) -> dict[Wanted, BodyHash]:
        self._take(self._form.finish())
        self._take((b"",))  # a limit of 0 octets in a body of none
        octets = self._octets
        found = {Wanted(self._relaxed, limit): BodyHash(digest, octets) for limit, digest in self._found.items()}
        found |= {Wanted(self._relaxed, limit): BodyHash(b"", octets) for limit in self._limits}
        if self._is_whole:
            found[Wanted(self._relaxed)] = BodyHash(self._sha.digest(), octets)
        return found

    def _take(self, pieces: Iterator[bytes] | tuple[bytes, ...]) -> None:
        for piece in pieces:
            after = self._octets + len(piece)
            while self._limits and self._limits[-1] <= after:
                limit = self._limits.pop()
                beginning = self._sha.copy()
                beginning.update(piece[: limit - self._octets])
                self._found[limit] = beginning.digest()
            if self._is_whole or self._limits:
                self._sha.update(piece)
            self._octets = after


def body_hashes(content: Buffer, start: int, wanted: Collection[Wanted], chunk: int = CHUNK) -> dict[Wanted, BodyHash]:
    """All `wanted` hashes of the body that begins at `start`, in one pass over it."""
    forms = [
        _Hashes([want for want in wanted if want.relaxed is relaxed], relaxed=relaxed)
        for relaxed in {want.relaxed for want in wanted}
    ]
    if not forms:
        return {}
    for at in range(start, len(content), chunk):
        piece = content[at : at + chunk]
        for form in forms:
            form.feed(piece)
    return {want: found for form in forms for want, found in form.finish().items()}


class Body:
    """The body of one message and its hashes, each computed once: DKIM, ARC and the sealer share one `Body`."""

    __slots__ = ("_content", "_known", "_lock", "_start")

    def __init__(self, content: Buffer, start: int) -> None:
        self._content = content
        self._start = start
        self._known: dict[Wanted, BodyHash] = {}
        self._lock: asyncio.Lock | None = None

    @property
    def is_large(self) -> bool:
        return len(self._content) - self._start > IN_THREAD

    async def hashes(self, wanted: Collection[Wanted]) -> dict[Wanted, BodyHash]:
        """All that is known, `wanted` included. A large body is read in a thread."""
        if not self.is_large:
            self._compute(wanted)
        else:
            self._lock = self._lock or asyncio.Lock()
            async with self._lock:
                await asyncio.to_thread(self._compute, wanted)
        return self._known

    def _compute(self, wanted: Collection[Wanted]) -> None:
        missing = {want for want in wanted if want not in self._known}
        self._known |= body_hashes(self._content, self._start, missing)


def relaxed_field(field: bytes) -> bytes:
    """A field as it was received, in its relaxed form (3.4.2), with a CRLF."""
    name, _, value = field.partition(b":")
    return name.rstrip(_WSP).lower() + b":" + compress(value.replace(_CRLF, b"")).strip(_WSP) + _CRLF


class Fields:
    """The fields of a header as signatures see them: by position, whole, each put into its relaxed form once."""

    __slots__ = ("_header", "_places", "_relaxed")

    def __init__(self, header: Header) -> None:
        self._header = header
        self._places: dict[bytes, list[int]] | None = None
        self._relaxed: dict[int, bytes] = {}

    def places(self, name: bytes) -> Sequence[int]:
        """Where the fields of a name (in lower case) are, from the top."""
        # Where the others are need not be known for a name that is not there, and much mail has no signature.
        return self._by_name().get(name, ()) if name in self._header.index else ()

    def _by_name(self) -> dict[bytes, list[int]]:
        if self._places is None:
            self._places = {}
            for place, (name, _, _) in enumerate(self._header.spans):
                self._places.setdefault(name, []).append(place)
        return self._places

    def raw(self, place: int) -> bytes:
        """As received, with its CRLF. The last of a message that ends in its header may lack it; then it gets it."""
        _, start, end = self._header.spans[place]
        field = self._header.content[start:end]
        return field if field.endswith(b"\n") else field + _CRLF

    def canonical(self, place: int, *, relaxed: bool) -> bytes:
        if not relaxed:
            return self.raw(place)
        form = self._relaxed.get(place)
        if form is None:
            form = self._relaxed[place] = relaxed_field(self.raw(place))
        return form

    def select(self, names: Sequence[bytes], own: int) -> list[int]:
        """The fields that a signature's h= names (5.4.2): the lowest of each name first, one more for each repetition.

        A name more often than there are such fields selects nothing, which is how a signer forbids to add one. `own`: the
        signature's place; it was not there when it was computed.
        """
        chosen = []
        everywhere = self._by_name()
        left: dict[bytes, int] = {}
        for name in names:
            places = everywhere.get(name)
            if places is None:
                continue
            at = left.get(name, len(places)) - 1
            if at >= 0 and places[at] == own:
                at -= 1
            if at >= 0:
                chosen.append(places[at])
            left[name] = at
        return chosen
