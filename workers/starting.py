"""How workers are started: forked from a nursery (`workers/nursery.py`) where that is possible, as programs of their own elsewhere.

Linux is where it is possible: other systems have no subreaper, and on macOS libraries may not be used after a fork. Should a
nursery fail, the worker it was asked for is started as a program, and the next one is asked of a new nursery.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from workers.children import Forked, Process, adopt_orphans, end_with_parent
from workers.installed import Installed
from workers.nursery import LISTENER, WITH_LISTENER, Job, Run, load, settle, tend

log = structlog.get_logger()

PATIENCE: Final = 30.0
"""Seconds for a worker to be born, with all that a new nursery has to load before."""
PROGRAM: Final = (sys.executable, "-P", "-m")
"""-P: a file of the directory that we happen to be started in is never taken for a module."""
TELLING: Final = 5.0
"""Seconds for a worker to read its job, for which it waits."""
NUMBER: Final = 32
"""Octets that a process's number may have."""


class Nursery:
    """One such process, from our side."""

    def __init__(self, process: Process, channel: socket.socket) -> None:
        self.process = process
        self._channel = channel

    @classmethod
    def forked(cls, run: Run) -> Nursery:
        """From this process, which so shares its pages with it: only before there is a loop, a thread or a connection here."""
        ours, theirs = socket.socketpair()
        settle()
        supervisor = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                null = os.open(os.devnull, os.O_RDONLY)
                os.dup2(null, 0)
                keep = theirs.fileno()
                os.closerange(3, keep)
                os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
                tend(theirs, supervisor, run)
            finally:
                os._exit(1)
        theirs.close()
        return cls(Forked(pid), ours)

    @classmethod
    def started(cls) -> Nursery:
        """A program of its own, of the code as it is installed now."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [*PROGRAM, "cli.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread only
            )
        return cls(process, ours)

    async def bear(self) -> tuple[int, socket.socket]:
        """A worker that waits to be told what to do: its number (0: it came to nothing), and where to tell it. Raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                socket.send_fds(self._channel, [b"+"], [theirs.fileno()])
            async with asyncio.timeout(PATIENCE):
                said = await asyncio.get_running_loop().sock_recv(ours, NUMBER)
        except BaseException:
            ours.close()
            raise
        return int(said or 0), ours

    def close(self) -> None:
        self._channel.close()


class Starter:
    """Starts processes. `run`: the command, for those that are forked."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._forks = adopt_orphans()
        if self._forks:
            load()  # here: what the nursery loaded by itself it would write into pages that are ours as well, some 5 MiB
        self._installed = Installed()
        self._nursery = Nursery.forked(run) if self._forks else None

    @property
    def processes(self) -> list[Process]:
        """Those that nobody else looks after."""
        return [self._nursery.process] if self._nursery is not None else []

    def renew(self) -> None:
        """What is started from now on has the code that is installed now.

        Where that is what we have loaded, the nursery stays: of another one workers would share no page with us, some 30 MiB.
        """
        if not self._installed.same():
            self._drop(self._nursery)
            self._installed = Installed()

    async def start(
        self,
        words: Sequence[str],
        environ: Mapping[str, str],
        wanted: Callable[[], bool],
        listener: socket.socket | None = None,
    ) -> Process | None:
        """A process that does the command `words`; None when it was not `wanted` any more once it could start.

        `listener`: where it is to take connections, which stays open here as well.
        """
        pid, birth = await self._born()
        if birth is not None:
            return _told(pid, birth, Job(list(words), dict(environ)) if wanted() else None, listener)
        return _spawned(words, environ, listener) if wanted() else None

    async def _born(self) -> tuple[int, socket.socket | None]:
        """None: it is to be started as a program."""
        if not self._forks:
            return 0, None
        if self._nursery is not None and self._nursery.process.poll() is not None:
            log.warning("the process that forks workers died, a new one takes its place")
            self._drop(self._nursery)
        self._nursery = nursery = self._nursery or Nursery.started()
        try:
            pid, birth = await nursery.bear()
        except OSError as fault:  # of which TimeoutError is one
            log.warning("workers cannot be forked just now", reason=str(fault) or "no answer in time")
        else:
            if pid:
                return pid, birth
            birth.close()
            log.warning("workers cannot be forked just now", reason="the process that forks them ended")
        self._drop(nursery)
        return 0, None

    def _drop(self, nursery: Nursery | None) -> None:
        if nursery is not None and nursery is self._nursery:
            nursery.close()
            self._nursery = None

    def close(self) -> None:
        self._drop(self._nursery)


def _told(pid: int, birth: socket.socket, job: Job | None, listener: socket.socket | None) -> Process | None:
    """Not a coroutine: who asks whether there is a process finds it, or none."""
    with birth, contextlib.suppress(OSError):  # it is dead already, as will be seen
        if job is None:
            return None
        birth.settimeout(TELLING)
        if listener is not None:
            socket.send_fds(birth, [WITH_LISTENER], [listener.fileno()])
        birth.sendall(msgspec.json.encode(job))
    return Forked(pid)


def _spawned(words: Sequence[str], environ: Mapping[str, str], listener: socket.socket | None) -> Process:
    given = () if listener is None else (listener.fileno(),)
    told = {LISTENER: str(given[0])} if given else {}
    return subprocess.Popen(  # noqa: S603 - our own program
        [*PROGRAM, "cli.main", *words],
        stdin=subprocess.DEVNULL,
        env={**environ, **told},
        pass_fds=given,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread only
    )
