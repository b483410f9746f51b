"""The clock of real processes, put forward and back while they run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import need


class SteppedClock:
    """Of every process that is started with `environ`, and of theirs, which see each step at once, as those of a machine do; the test's own, and
    what never is stepped, go on as they are.
    """

    def __init__(self, directory: Path) -> None:
        need("faketime")
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self._file = directory / "clock"
        self.step(0)
        self.environ = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1", "NO_FAKE_STAT": "1", "FAKETIME_DISABLE_SHM": "1",
        }  # fmt: skip

    def step(self, seconds: int) -> None:
        """It is so far ahead of the right time from now on; negative: behind."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)

    @contextlib.contextmanager
    def inherited(self) -> Iterator[None]:
        """Whatever the test starts meanwhile goes by it."""
        before = {name: os.environ.get(name) for name in self.environ}
        os.environ.update(self.environ)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
