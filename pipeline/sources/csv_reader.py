"""The addresses in a CSV file, or behind a URL that gives one."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import hashlib
import os
import ssl
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import msgspec

from pipeline.sources.csv_lines import MAX_LINE, read
from pipeline.sources.definitions import CsvSource
from pipeline.sources.faults import (
    BusyError,
    GarbledError,
    ImplausibleError,
    LimitedError,
    MissingError,
    SlowError,
    shown,
)
from pipeline.sources.model import LIMIT, Collector, Listing, Mark, Progress, Unchanged, digest, opened, silent
from pipeline.sources.secrets import Secret
from pipeline.sources.web import opened_web
from pipeline.units import Network

MAX_SIZE: Final = 64 << 20
"""Octets of a list: a million addresses have some 30 MiB."""
IN_MEMORY: Final = 1 << 20
"""Octets of a download that are kept in memory; more goes to a temporary file, which has no name."""
SETTLED: Final = 60
"""Seconds after which a change can no longer hide behind the same Last-Modified, which counts whole seconds (RFC 9110 8.8.2.2)."""

_VERSION: Final = 1
"""Of how lines are understood."""
_EVERY: Final = 10_000
"""Addresses between two calls of progress."""


class _State(msgspec.Struct, frozen=True, array_like=True):
    """What a list was like."""

    content: bytes
    """Digest of its octets."""
    tag: str = ""
    """A strong ETag."""
    modified: str = ""
    """Last-Modified, where it can be relied on."""


class CsvReader:
    """A source over one definition, which was checked. May be used again and again."""

    def __init__(
        self,
        definition: CsvSource,
        secret: Secret | None,
        trust: ssl.SSLContext | None,
        allowed: Sequence[Network],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._definition = definition
        self._headers = _authorization(definition.user, secret)
        self._trust = trust
        self._allowed = allowed
        self._sleep = sleep
        self._place = definition.url or definition.path
        self._asked = digest(_VERSION, definition.domain, self._place)

    async def fetch(
        self, *, marker: bytes = b"", progress: Progress = silent, limit: int = LIMIT
    ) -> Listing | Unchanged:
        """See `Source`."""
        before = self._state(marker)
        try:
            async with asyncio.timeout(self._definition.time_limit):
                with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
                    if self._definition.path:
                        now: _State | None = await asyncio.to_thread(_copy, self._definition.path, file)
                    else:
                        now = await self._download(before, file)
                    if now is None or (before is not None and now.content == before.content):
                        return Unchanged(marker=marker if now is None else self._mark(now))
                    return await self._parse(file, self._mark(now), progress, limit)
        except TimeoutError:
            raise SlowError(
                f"the list was not complete within {self._definition.time_limit:g} s", remedy="Raise time_limit."
            ) from None

    def _state(self, marker: bytes) -> _State | None:
        mark = opened(marker)
        if mark is None or mark.asked != self._asked:
            return None
        try:
            return msgspec.msgpack.decode(mark.state, type=_State)
        except msgspec.DecodeError:
            return None

    def _mark(self, state: _State) -> bytes:
        return Mark(self._asked, "", msgspec.msgpack.encode(state)).seal()

    async def _download(self, before: _State | None, file: tempfile.SpooledTemporaryFile[bytes]) -> _State | None:
        """None when the server says that nothing changed."""
        assert self._trust is not None
        headers = dict(self._headers)
        if before is not None and before.tag:
            headers["If-None-Match"] = before.tag
        elif before is not None and before.modified:
            headers["If-Modified-Since"] = before.modified
        conditional = len(headers) > len(self._headers)
        content = hashlib.sha256()

        def sink(chunk: bytes) -> None:
            content.update(chunk)
            file.write(chunk)

        timeout = self._definition.timeout
        async with opened_web(self._trust, self._allowed, timeout, self._sleep) as web:
            answer = await web.get(self._definition.url, headers, sink, MAX_SIZE, timeout)
        if answer.status == 304:
            if not conditional:
                raise GarbledError("the server says that nothing changed, and was not asked that")
            return None
        return _State(content.digest(), *_validators(answer.headers))

    async def _parse(
        self, file: tempfile.SpooledTemporaryFile[bytes], marker: bytes, progress: Progress, limit: int
    ) -> Listing:
        """In a thread: a million lines take some seconds."""
        loop = asyncio.get_running_loop()
        file.seek(0)

        def told(count: int) -> None:
            loop.call_soon_threadsafe(progress, count)

        return await asyncio.to_thread(_parsed, file, self._definition.domain, marker, told, limit)


def _authorization(user: str, secret: Secret | None) -> Mapping[str, str]:
    if secret is None:
        return {}
    if not user:
        return {"Authorization": f"Bearer {secret.reveal()}"}
    pair = base64.b64encode(f"{user}:{secret.reveal()}".encode()).decode("ascii")
    return {"Authorization": f"Basic {pair}"}


def _validators(headers: Mapping[str, str]) -> tuple[str, str]:
    """(ETag, Last-Modified), each only when it surely changes with the contents."""
    tag = headers.get("ETag", "")
    if not (tag.startswith('"') and tag.endswith('"') and len(tag) <= 200):
        tag = ""  # a weak one stands for contents that are equal in somebody's eyes
    modified, date = headers.get("Last-Modified", ""), headers.get("Date", "")
    try:
        age = email.utils.parsedate_to_datetime(date[:100]) - email.utils.parsedate_to_datetime(modified[:100])
        settled = age.total_seconds() >= SETTLED
    except (ValueError, TypeError, OverflowError):
        settled = False
    return tag, modified if settled else ""


def _copy(path: str, file: tempfile.SpooledTemporaryFile[bytes]) -> _State:
    """The file's contents as they are, if nobody is writing it. Blocks."""
    content = hashlib.sha256()
    taken = 0
    try:
        # Not blocking: somebody may have put a pipe there.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as original:  # noqa: PTH123
            before = os.fstat(original.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise MissingError(f"{shown(path)} is not a plain file")
            while chunk := original.read(IN_MEMORY):
                taken += len(chunk)
                if taken > MAX_SIZE:
                    raise LimitedError(f"{shown(path)} has more than {MAX_SIZE:,} octets")
                content.update(chunk)
                file.write(chunk)
            after = os.fstat(original.fileno())
    except OSError as error:
        raise MissingError(
            f"cannot read {shown(path)}: {error.strerror}",
            remedy="Check the path, and that the gateway's user may read it.",
        ) from None
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, taken):
        raise BusyError(
            f"{shown(path)} was written while it was read",
            remedy="Write a new list beside it, and rename it when it is complete.",
        )
    return _State(content.digest())


def _parsed(
    file: BinaryIO | tempfile.SpooledTemporaryFile[bytes], domain: str, marker: bytes, told: Progress, limit: int
) -> Listing:
    collector = Collector(limit)
    good = shown_at = 0
    for line in read(_lines(file), domain):
        if line.address is None:
            collector.problem(f"line {line.number}", line.fault)
            continue
        good += 1
        collector.put(line.address, line.kind, line.targets, f"line {line.number}")
        if len(collector) >= shown_at + _EVERY:
            shown_at = len(collector)
            told(shown_at)
    listing = collector.listing(marker)
    if listing.problem_count > good:
        raise ImplausibleError(
            f"{listing.problem_count:,} lines are no addresses, and only {good:,} are; the first: {listing.problems[0]}",
            remedy="Give a list with one address on each line, or CSV whose header names a column address.",
        )
    return listing


def _lines(file: BinaryIO | tempfile.SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    """A line without an end comes in pieces, each too long, so nothing grows."""
    while line := file.readline(MAX_LINE + 1):
        yield line
