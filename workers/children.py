"""Processes of ours, and how we learn of their deaths: at once, whoever forked them.

A worker is forked by another process (`workers/nursery.py`) and becomes a child of the supervisor nevertheless, because its
parent ends at once and the supervisor takes orphans among its descendants (prctl(2), PR_SET_CHILD_SUBREAPER). So it can be waited
for, its exit code is known, its number cannot be given to somebody else meanwhile, and it ends when the supervisor does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Final, Protocol

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36


class Process(Protocol):
    """What we need of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None: it runs."""

    def send_signal(self, sig: int) -> None: ...


class Forked:
    """A child that `subprocess` did not start."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0  # as subprocess has it: somebody else waited for it
            else:
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Not to one that is over: its number may be another's."""
        if self.poll() is None:
            os.kill(self.pid, sig)


def end_with_parent() -> None:
    """In a new process: stop in order when the supervisor is killed, instead of working on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> bool:
    """From now on orphans among our descendants are our children. Whether this system has that."""
    return sys.platform == "linux" and not ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Deaths:
    """Wakes who waits for the end of a process. `known`: the children that somebody looks after; all others were orphans."""

    def __init__(self, known: Callable[[], Iterable[Process]]) -> None:
        self._known = known
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._look)

    async def of(self, process: Process) -> int:
        """Its exit code, when it has one."""
        while (code := process.poll()) is None:
            await self._news.wait()
        return code

    def _look(self) -> None:
        if sys.platform == "linux":
            self._bury_strangers()
        self._news.set()
        self._news = asyncio.Event()

    def _bury_strangers(self) -> None:
        """Orphans that ended: a worker that was not wanted after all, a process of a Redis that was killed."""
        with contextlib.suppress(ChildProcessError):
            ours = {process.pid for process in self._known() if process.poll() is None}
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in ours:
                    return  # died just now, which will be told to us
                os.waitpid(found.si_pid, 0)

    def close(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
