"""Keys as they are pressed, without Enter, and the terminal as it was afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

QUIT: Final = frozenset(b"qQ")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Asked:
    """What the person wants: `over` is set by q, Ctrl-C, a signal, or a terminal that is gone; `look` when the window has another size."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.look = asyncio.Event()
        self.number = 0
        """The signal that ended it; 0: none did."""

    def ended_by(self, number: int) -> None:
        self.number = self.number or number
        self.over.set()
        self.look.set()

    def quit(self) -> None:
        self.over.set()
        self.look.set()

    async def wait(self, seconds: float) -> None:
        """Until it is over, the window changed, or the time is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.look.wait(), seconds)
        if not self.over.is_set():
            self.look.clear()


@contextlib.contextmanager
def listening() -> Iterator[Asked]:
    """Signals always; keys and the size of the window when there is a terminal."""
    loop = asyncio.get_running_loop()
    asked = Asked()
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.ended_by, number)
    loop.add_signal_handler(signal.SIGWINCH, asked.look.set)
    try:
        with _keys(asked):
            yield asked
    finally:
        for number in (*_SIGNALS, signal.SIGWINCH):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def _keys(asked: Asked) -> Iterator[None]:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()
    try:
        tty.setcbreak(descriptor)  # Ctrl-C goes on to be a signal
        loop.add_reader(descriptor, _reader(descriptor, asked))
        yield
    finally:
        loop.remove_reader(descriptor)
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _reader(descriptor: int, asked: Asked) -> Callable[[], None]:
    def read() -> None:
        try:
            pressed = os.read(descriptor, 1024)
        except OSError:
            pressed = b""
        if not pressed or QUIT.intersection(pressed):
            asked.quit()

    return read
