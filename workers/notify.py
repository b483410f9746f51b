"""Telling who started us that we are ready, and asking whom we started: the protocol of sd_notify(3)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

READY: Final = "READY=1"
SYNCS: Final = "X_SYNCS=1"
"""There are syncs: a word for our supervisor, which starts a process for them."""
_said: set[str] = set()


def is_ready() -> bool:
    """Whether this process has said that it is."""
    return READY in _said


def notify(state: str) -> None:
    """Send e.g. `READY=1` to NOTIFY_SOCKET, if there is one."""
    _said.add(state)
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"{state}\nX_PID={os.getpid()}".encode(), address)


class Notifications:
    """A NOTIFY_SOCKET of our own; `heard` is called with the process id of the child, and what it said."""

    def __init__(self, heard: Callable[[int, str], None]) -> None:
        self._heard = heard
        self._directory = tempfile.TemporaryDirectory(prefix="gatepost-")
        self.path = str(Path(self._directory.name) / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            state, _, pid = self._socket.recv(4096).decode(errors="replace").partition("\nX_PID=")
            if pid.isdecimal():
                self._heard(int(pid), state)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._directory.cleanup()
