"""What `gatepost up` answers for all of its processes.

Each process answers on a socket of its own, which only this user can open; here their answers become one. A process that is dead,
restarting, stopped or stuck does not answer in time, and that is the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from pipeline import metrics
from pipeline.meters import Gauge
from pipeline.units import EngineAddress
from workers.monitoring import exposition
from workers.monitoring.http import NOT_FOUND, Answer, Pages, forget, listening
from workers.monitoring.merging import merged
from workers.monitoring.store import StoreView
from workers.wiring import SOCKET_LIMIT, Wiring, private_directory

PATIENCE: Final = 3.0
"""Seconds for a process to answer."""
LONGEST: Final = 4 << 20
"""Octets of an answer; 60 KiB are usual."""
NAME_ROOM: Final = 32
"""Octets for the name of a socket in its folder."""
SELF: Final = {"process": "supervisor", "role": "supervisor"}


class Child(Protocol):
    """A process of ours."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def socket(self) -> str:
        """Where it answers."""

    @property
    def idle(self) -> bool:
        """None is to run, as there is nothing to do."""

    @property
    def alive(self) -> bool: ...


class Said(msgspec.Struct, frozen=True):
    """By a process; `status` 0: nothing, for the reason that `body` gives."""

    status: int
    body: str


def run_folder(data: Path) -> Path:
    """Where the sockets of the processes are: in the data directory, or in one of this user's when that path is too long."""
    folder = data.resolve() / "run"
    if len(os.fsencode(folder)) + NAME_ROOM > SOCKET_LIMIT:
        folder = private_directory() / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.run"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for left in folder.glob("*.sock"):
        left.unlink(missing_ok=True)
    return folder


class Front:
    """Raises ConfigurationError when `place` cannot be had. `children`: those that are to run just now."""

    def __init__(self, place: EngineAddress, data: Path, children: Callable[[], Sequence[Child]]) -> None:
        self._children = children
        self._sock = listening(place)
        self._path = place.path
        self._folder = run_folder(data)
        self._pages = Pages(self.page)
        self._own = exposition.of_process(SELF["role"])
        self._numbers = 0
        self._store: StoreView | None = None
        exposition.note_build()

    async def start(self) -> None:
        await self._pages.start(self._sock)

    def attach(self, wiring: Wiring) -> None:
        self._store = StoreView(wiring)

    async def close(self) -> None:
        await self._pages.close()
        self._sock.close()
        forget(self._path)

    def socket_for(self, child: Child) -> str:
        """Where the next process in a child's place is to answer: a new name each time, as its predecessor may still be at work."""
        if not child.alive:
            forget(child.socket)
        self._numbers += 1
        return str(self._folder / f"{child.name}.{self._numbers}.sock")

    # Pages

    async def page(self, path: str, accept: str) -> Answer:
        if path == "/metrics":
            return await self._metrics(as_openmetrics=exposition.wants_openmetrics(accept))
        kind, _, name = path[1:].partition("/")
        if kind not in ("healthz", "readyz"):
            return NOT_FOUND
        children = [child for child in self._children() if name in ("", child.name)]
        if not children:
            return Answer(404, "There is no such process.\n") if name else Answer.not_now("starting")
        states = _states(await self._ask(children, f"/{kind}"))
        bad = {process: state for process, state in states.items() if state not in ("ok", "idle")}
        if bad:
            return Answer.not_now("; ".join(f"{one}: {state}" for one, state in bad.items()), processes=states)
        return Answer.ok(processes=states)

    async def _metrics(self, *, as_openmetrics: bool) -> Answer:
        accept = exposition.OPENMETRICS if as_openmetrics else ""
        children = [child for child in self._children() if not child.idle]
        said, store = await asyncio.gather(self._ask(children, "/metrics", accept), self._of_store())
        up = metrics.PROCESS_UP.fresh()
        for child in children:
            up.set(said[child].status == 200, child.name, child.role)
        ours = exposition.of([up, metrics.RESTARTS, *store])
        parts = [
            ({}, exposition.written(ours, as_openmetrics=as_openmetrics)),
            (SELF, exposition.written(self._own, as_openmetrics=as_openmetrics)),
            *(({"process": child.name}, one.body) for child, one in said.items() if one.status == 200),
        ]
        return Answer(200, merged(parts, as_openmetrics=as_openmetrics), exposition.TYPES[as_openmetrics])

    async def _of_store(self) -> Iterable[Gauge]:
        return await self._store.read() if self._store is not None else ()

    async def _ask(self, children: Sequence[Child], path: str, accept: str = "") -> dict[Child, Said]:
        said = await asyncio.gather(*(_ask(child, path, accept) for child in children))
        return dict(zip(children, said, strict=True))


def _states(said: Mapping[Child, Said]) -> dict[str, str]:
    return {child.name: _state(child, one) for child, one in said.items()}


def _state(child: Child, said: Said) -> str:
    """In a word or a line."""
    if child.idle:
        return "idle"
    if said.status == 200:
        return "ok"
    reason = said.body
    with contextlib.suppress(ValueError, AttributeError):
        reason = str(json.loads(said.body).get("reason", ""))
    return reason or "failing"


async def _ask(child: Child, path: str, accept: str) -> Said:
    if not child.alive:
        return Said(0, "not running")
    try:
        async with asyncio.timeout(PATIENCE):
            return await _fetch(child.socket, path, accept)
    except TimeoutError:
        return Said(0, "does not answer")
    except (OSError, ValueError, asyncio.IncompleteReadError):
        return Said(0, "starting, or does not answer")


async def _fetch(socket_path: str, path: str, accept: str) -> Said:
    """GET over a unix socket. Raises OSError, ValueError for what is no answer of ours."""
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: gatepost\r\nAccept: {accept}\r\n\r\n".encode("ascii"))
        pieces, left = [], LONGEST
        while left > 0 and (piece := await reader.read(1 << 16)):
            pieces.append(piece)
            left -= len(piece)
    finally:
        writer.transport.abort()
    head, found, body = b"".join(pieces).partition(b"\r\n\r\n")
    if not found or left <= 0:
        raise ValueError("no answer")
    return Said(int(head.split(b" ", 2)[1]), body.decode())
