"""Commands as processes of their own that need not load themselves: forked from one that has loaded them, and waits.

Half a second of processor time per command is its loading, which is the same each time. So one process per process of
tests loads the command line once, and each command is a fork of it: with a process id, an environment, a directory and
files of its own, which ends as any other. Where loading is the point (`up`, workers, what a start costs), tests
start `python -m cli.main`.

    done = run("queue", "--json", environ={...})       # as subprocess.run with captured output
    started = start("trace", "x", stdout=fd)            # .wait() is its exit code
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
ASKED: Final = 1 << 20
"""Octets that a request may have: arguments and environment."""

_waiting: list[Waiting] = []


class Waiting:
    """The process that has everything loaded. It ends when the one that started it does."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self, request: Mapping[str, Any], files: list[int]) -> socket.socket:
        """A connection on which the new process says its id, and at its end its exit code."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._ours, [json.dumps(request).encode()], [*files, theirs.fileno()])
        return ours

    def end(self) -> None:
        if os.getpid() == self.owner:
            self._ours.close()
            self._process.wait(30)


class Started:
    """A command that runs."""

    def __init__(self, words: tuple[str, ...], said: socket.socket) -> None:
        self.words = words
        self._said = said
        said.settimeout(60)
        # A command that was quick has said its exit code already.
        pid, _, self._told = said.recv(16).partition(b" ")
        self.pid = int(pid)

    def wait(self, timeout: float = 60) -> int:
        """Its exit code when it has ended; -9 when it was killed. Whoever takes longer is killed, and TimeoutExpired raised."""
        self._said.settimeout(timeout)
        told = self._told
        with self._said:
            try:
                while piece := self._said.recv(16):
                    told += piece
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.words, timeout) from None
        return int(told or -signal.SIGKILL)


def start(
    *words: str,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
) -> Started:
    """`gatepost WORDS` with this environment (None: ours) and these files; DEVNULL: none."""
    if not (_waiting and _waiting[0].owner == os.getpid()):
        _waiting[:] = [Waiting()]
        atexit.register(_waiting[0].end)
    request = {
        "words": words,
        "environ": dict(os.environ if environ is None else environ),
        "cwd": str(cwd or Path.cwd()),
    }
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - for its descriptor
        files = [nothing.fileno() if fd == subprocess.DEVNULL else fd for fd in (stdin, stdout, stderr)]
        return Started(words, _waiting[0].fork(request, files))


def run(
    *words: str,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    stdout: int = 0,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """What `gatepost WORDS` wrote, and its exit code. `stdout`: where it writes instead, if not 0."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        started = start(
            *words, environ=environ, cwd=cwd, stdin=given.fileno(), stdout=stdout or out.fileno(), stderr=err.fileno()
        )
        code = started.wait(timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read().decode(), err.read().decode())


# In the process that waits


def _load() -> None:
    """What commands load when they run."""
    import cli  # noqa: PLC0415 - only here

    for package in [cli]:
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)


def _serve(asking: socket.socket) -> None:
    """Forks for each request; returns in the fork, when it has to do what was asked, and never otherwise."""
    while True:
        select.select([asking], [], [], 1)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        with contextlib.suppress(BlockingIOError):
            asked, files, _, _ = socket.recv_fds(asking, ASKED, 4, socket.MSG_DONTWAIT)
            if not asked:
                os._exit(0)
            if os.fork() == 0:
                asking.close()
                _become(json.loads(asked), files)
            for fd in files:
                os.close(fd)


def _become(request: Mapping[str, Any], files: list[int]) -> NoReturn:
    """The command, in the fork."""
    *standard, said = files
    os.write(said, b"%d " % os.getpid())
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as at the start of a program
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = [str(ROOT / "cli" / "main.py"), *request["words"]]
    from cli.main import main  # noqa: PLC0415 - loaded already

    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os.write(said, b"%d" % code)
    os._exit(code)  # taking apart all that was loaded would cost as much as the command


if __name__ == "__main__":
    _asking = socket.socket(fileno=int(sys.argv[1]))
    _load()
    gc.freeze()
    _serve(_asking)
