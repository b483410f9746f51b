"""DuckDB, which reads and writes the Parquet files: one connection per process, bounded, and never in the event loop's thread."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from pipeline.faults import ConfigurationError, CorruptError, StoreError, StoreFullError

if TYPE_CHECKING:
    import duckdb

MEMORY: Final = "512MB"
THREADS: Final = 2
"""Calls at once, each of which uses one thread of DuckDB's: files are read in order, and reports leave the machine to the mail."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


def installed() -> bool:
    return find_spec("duckdb") is not None


def missing() -> ConfigurationError:
    return ConfigurationError(
        "DuckDB is not installed, which the archive is written and read with",
        remedy="Install it: pip install 'gatepost[archive]'.",
    )


def plain(path: Path) -> str:
    """A path that is taken as it is, whatever is in it: DuckDB would look for several."""
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))


def _explained(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    try:
        return call(*args, **kwargs)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("duckdb", "_duckdb"):
            raise
        text = str(error).partition("\n")[0][:200]
        if "No space left" in text:
            raise StoreFullError(f"no space for the archive: {text}", remedy="Free disk space.") from error
        if type(error).__name__ == "OutOfMemoryException":
            raise StoreError(f"DuckDB has too little memory: {text}") from error
        raise CorruptError(f"the archive cannot be read: {text}") from error


class Duck:
    """`run` calls in a thread; `cursor` only from there."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="archive")
        self._used = 0.0

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Raises ConfigurationError when DuckDB is missing, CorruptError for a file that it cannot read, and what the call raises."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: _explained(call, *args, **kwargs)
        )

    def unused(self) -> float:
        """Seconds since it began to be used last; 0 when it never was, and takes no memory."""
        return time.monotonic() - self._used if self._connection is not None else 0.0

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """For one query at a time."""
        with self._lock:
            self._used = time.monotonic()
            if self._connection is None:
                self._connection = self._open()
            return self._connection.cursor()

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            import duckdb  # noqa: PLC0415 - an extra, and most processes never need it
        except ImportError:
            raise missing() from None
        settings: dict[str, Any] = {
            "threads": 1,
            "memory_limit": MEMORY,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "enable_object_cache": True,
        }
        return duckdb.connect(":memory:", config=settings)

    def close(self) -> None:
        """Waits for calls that are under way."""
        self._threads.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
