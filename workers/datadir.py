"""The data directory: whose it is just now, and which format it has."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.store import FORMAT


class DataDirectory:
    """Made when it is not there. Raises ConfigurationError when it cannot be written, or was written by a newer version."""

    def __init__(self, settings: Settings) -> None:
        self.path: Path = settings.data.resolve()
        self._lock: int | None = None
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_format()
        except OSError as error:
            raise ConfigurationError(
                f"cannot use the data directory {self.path}: {error.strerror}",
                remedy="Choose another with --data, or give this user the right to write there.",
            ) from None

    def _check_format(self) -> None:
        file = self.path / "format"
        try:
            found = int(file.read_text("ascii"))
        except FileNotFoundError:
            file.write_text(f"{FORMAT}\n", "ascii")
            return
        except ValueError:
            raise ConfigurationError(
                f"{file} holds no number", remedy="Restore the data directory from a backup."
            ) from None
        if found > FORMAT:
            raise ConfigurationError(
                f"the data directory {self.path} was written by a newer Gatepost (format {found}, this one knows {FORMAT})",
                remedy="Install the newer version again; nothing was changed.",
            )

    def lock(self) -> None:
        """Make it ours until `unlock` or the end of the process. Raises ConfigurationError when another process has it."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            os.close(handle)
            raise ConfigurationError(
                f"another gatepost (process {owner or 'unknown'}) runs on {self.path}",
                remedy="Stop it first, or choose another directory with --data.",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._lock = handle

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
