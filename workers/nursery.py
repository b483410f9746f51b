"""The process that workers are forked from: it has loaded what they load, and does nothing else.

A process with an interpreter of its own takes 30 MiB and more, and half a second of CPU to start; of one that is forked, most
pages are its parent's until it writes to them. What could not be shared safely is not there when a worker is forked: no thread, no
event loop, no connection, no settings, no TLS context, and no descriptor but the one that wishes come in by.

a wish    comes with a socket, which the new worker gets
a birth   the nursery forks, and what it forked forks again and ends: the worker is an orphan, whom the supervisor adopts
          (`workers/children.py`). It looks whether that is so, says its number over its socket, and gets its words and its
          environment. Who gets none ends: whatever breaks in between, nobody works whom the supervisor does not know.
the end   when the supervisor closes the other end, or is killed
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, TypeAlias

import msgspec

from workers.children import end_with_parent
from workers.title import entitle

Run: TypeAlias = Callable[[Sequence[str]], int]
"""A command, from its words to its exit code."""

SHARED: Final = (
    "workers.roles",
    "workers.receiver.role",
    "workers.scanner",
    "workers.deliverer.role",
    "workers.projector",
    "workers.janitor",
    "workers.watcher",
    "workers.archiver",
)
"""What is loaded before there are workers. Not the syncer, whose libraries few gateways need, nor DuckDB."""
PIECE: Final = 1 << 16
LISTENER: Final = "GATEPOST_LISTENER"
"""The variable that tells a worker the number of the descriptor where it is to take connections."""
WITH_LISTENER: Final = b" "
"""What such a descriptor comes with, before the job, to whose JSON it makes no difference."""


class Job(msgspec.Struct):
    """What a worker is told. Whoever sends it may be older than who reads it, after an upgrade in place."""

    words: list[str]
    environ: dict[str, str]


def tend(channel: socket.socket, supervisor: int, run: Run) -> NoReturn:
    """Be the nursery of process `supervisor`."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the supervisor says when we end
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    entitle(("gatepost", "nursery"))
    load()
    settle()
    while os.getppid() == supervisor:
        _, files, _, _ = socket.recv_fds(channel, 1, 1)
        if not files:
            break
        with socket.socket(fileno=files[0]) as birth, contextlib.suppress(OSError):
            _bear(channel, birth, supervisor, run)
    os._exit(0)


def load() -> None:
    """Have what workers share."""
    for name in SHARED:
        importlib.import_module(name)


def settle() -> None:
    """Have no garbage, and never look through what is here for any: looking writes to each object, and so copies its page."""
    gc.collect()
    gc.freeze()


def _bear(channel: socket.socket, birth: socket.socket, supervisor: int, run: Run) -> None:
    """Raises OSError when there is no room for another process."""
    orphaned, held = os.pipe()
    between = os.fork()
    if not between:
        try:
            os.close(held)
            if not os.fork():
                channel.close()
                os.read(orphaned, 1)
                os.close(orphaned)
                _live(birth, supervisor, run)
        finally:
            os._exit(0)
    os.close(orphaned)
    os.waitpid(between, 0)
    os.close(held)


def _live(birth: socket.socket, supervisor: int, run: Run) -> None:
    """Be a worker, and end."""
    code = 1
    try:
        end_with_parent()
        job = _job(birth) if os.getppid() == supervisor else None
        if job is None:
            return
        os.environ.clear()
        os.environ.update(job.environ)
        entitle(("gatepost", *job.words))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        code = run(job.words)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Not through Python's own end, which takes everything loaded to pieces, and for that copies it first.
        os._exit(code)


def _job(birth: socket.socket) -> Job | None:
    """None: this worker is not wanted any more."""
    with birth:
        birth.sendall(b"%d" % os.getpid())
        first, files, _, _ = socket.recv_fds(birth, PIECE, 1)
        said = first + b"".join(iter(lambda: birth.recv(PIECE), b""))
    if not said:
        return None
    job = msgspec.json.decode(said, type=Job)
    if files:
        job.environ[LISTENER] = str(files[0])
    return job
