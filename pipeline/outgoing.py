"""A message as it leaves: our trace and results on top, fields that claim to be our results left out, the rest octet for octet.

The body is never touched, and no field of the header is rewritten, so what was signed still verifies; but for one case: where a
domain wants tagged mail to say so in its subject, the Subject of a tagged copy is another one, and a signature that covers it no
longer verifies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from pipeline.actions import tag_parts
from pipeline.authentication.results import chain_status, render
from pipeline.bodies import Buffer
from pipeline.mime import Header
from pipeline.scanning.engines.missing import field
from pipeline.state import Message
from pipeline.trace import received_line

if TYPE_CHECKING:
    from pipeline.authentication.seal import Sealer  # loads cryptography, for the few who seal

CHUNK: Final = 256 << 10
"""Octets of a message that are held and written at once."""
STRAY: Final = b"X-Gatepost-Stray: the message began with a line that continues a field\r\n"
"""Put between our fields and such a message, so that the line says nothing in our name."""


class Outgoing:
    """`top`: header fields to be put above the message, with their CRLF."""

    __slots__ = ("_kept", "content", "size", "top")

    def __init__(self, top: bytes, content: Buffer, drop: tuple[tuple[int, int], ...] = ()) -> None:
        self.top = top
        self.content = content
        self._kept = _kept(drop, len(content))
        self.size = len(top) + sum(stop - start for start, stop in self._kept)

    def pieces(self, chunk: int = CHUNK) -> Iterator[bytes]:
        """All of it in slices of about `chunk` octets. A mapped file is never copied whole."""
        if len(self._kept) == 1 and len(self.content) <= chunk:
            start, stop = self._kept[0]
            yield self.top + self.content[start:stop]
            return
        pending = self.top
        for start, stop in self._kept:
            for at in range(start, stop, chunk):
                pending += self.content[at : min(at + chunk, stop)]
                if len(pending) >= chunk:
                    yield pending
                    pending = b""
        if pending:
            yield pending

    @property
    def ends_a_line(self) -> bool:
        return self.content[-2:] == b"\r\n"


def _kept(drop: tuple[tuple[int, int], ...], size: int) -> list[tuple[int, int]]:
    """What is left between the ranges of `drop`. Ranges that cannot be (a damaged head) take nothing away."""
    kept = []
    at = 0
    for start, stop in drop:
        if at <= start < stop <= size:
            if start > at:
                kept.append((at, start))
            at = stop
    if at < size:
        kept.append((at, size))
    return kept


def _prefixed(content: Buffer, prefix: str) -> tuple[bytes, tuple[int, int] | None]:
    """(a Subject with `prefix` before what it says, where in the message the old one is); none is where there was none."""
    header = Header(content)
    lead = f"Subject: {prefix} ".encode("ascii", "replace")
    for name, start, end in header.spans:
        if name == b"subject":
            value = bytes(content[start:end]).partition(b":")[2].lstrip(b" \t")
            value += b"" if value.endswith(b"\n") else b"\r\n"
            # A first line that is empty but for its end would end the header for some readers.
            return lead + (value if value.strip() else b"\r\n"), (start, end)
    return lead.rstrip() + b"\r\n", None


class Forwarding:
    """Makes messages ready to leave. `sealer`: adds an ARC set (RFC 8617); None: none is added."""

    def __init__(self, *, hostname: str, authserv_id: str, sealer: Sealer | None, clock: Callable[[], int]) -> None:
        self._hostname = hostname
        self._authserv_id = authserv_id
        self._sealer = sealer
        self._clock = clock

    async def prepare(self, message: Message, content: Buffer, tag: str = "") -> Outgoing:
        """With our trace on top, and below it what we found out about the sender (RFC 8601 5). `tag`: see `events.Queued`."""
        top = received_line(message, self._hostname)
        if message.missing:
            top += field(message.missing)
        verdict, prefix = tag_parts(tag)
        subject, place = _prefixed(content, prefix) if prefix else (b"", None)
        if message.auth:
            top += render(self._authserv_id, message.auth, utf8=message.smtputf8)
            # A seal would vouch for the subject as it came.
            if self._sealer is not None and not prefix:
                top = await self._sealed(self._sealer, message, content, top) + top
        if verdict:
            top += f"X-Gatepost-Verdict: {verdict}\r\n".encode("ascii", "replace")
        top += subject
        if content[:1] in (b" ", b"\t"):
            top += STRAY
        drop = tuple(sorted((*message.drop, place))) if place is not None else message.drop
        return Outgoing(top, content, drop)

    async def _sealed(self, sealer: Sealer, message: Message, content: Buffer, top: bytes) -> bytes:
        header = Header(content)
        return await sealer.seal(
            content,
            header,
            above=top,
            results=message.auth,
            status=chain_status(message.auth, had_chain=bool(header.count(b"arc-seal"))),
            now=self._clock(),
            utf8=message.smtputf8,
        )
