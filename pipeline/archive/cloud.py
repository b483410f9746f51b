"""Segments in an object store: S3 and what speaks its language, Google Cloud Storage, Azure.

Objects are put whole or not at all, and only where there is nothing yet: who is second with the same name finds that it is
there, compares, and replaces what is not the same. Those that are read are kept in a bounded directory of this machine, each
under the hash that it should have.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline import objectstore
from pipeline.archive.cache import Cache
from pipeline.archive.objects import LARGEST, SMALL, WORK, disk, too_large
from pipeline.faults import ConfigurationError, CorruptError, GatepostError, StoreAwayError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

TIMEOUT: Final = timedelta(seconds=30)
DELETED_TOGETHER: Final = 500


@contextlib.contextmanager
def _asked(place: str) -> Iterator[None]:
    """Turns errors of the store into faults."""
    try:
        yield
    except (GatepostError, FileNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - the library's own, which is not loaded before it is needed
        text = objectstore.words(error)
        if objectstore.is_denied(error):
            raise ConfigurationError(
                f"the archive in {place} cannot be used: {text}", remedy=objectstore.remedy(error)
            ) from None
        raise StoreAwayError(f"the archive in {place} cannot be reached: {text}") from None


class CloudObjects:
    """`objects.Objects` in an object store."""

    def __init__(self, address: str, directory: Path, cache: int) -> None:
        """`directory`: of this machine, for files that are being made and copies of what was read, up to `cache` octets.

        Raises ConfigurationError.
        """
        self._address = objectstore.checked(address, "archive_store")
        self._directory = directory
        self._cache = Cache(directory / "cache", cache)
        self._opened: ObjectStore | None = None

    @property
    def place(self) -> str:
        return self._address

    @property
    def work(self) -> Path:
        path = self._directory / WORK
        with disk(str(self._directory)):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    @property
    def _store(self) -> Any:
        """Connected to when it is first asked for: most processes never are."""
        if self._opened is None:
            with _asked(self._address):
                self._opened = objectstore.opened(self._address, TIMEOUT)
        return self._opened

    def put(self, name: str, source: Path) -> None:
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415

        with _asked(self._address):
            try:
                obstore.put(self._store, name, source, mode="create", use_multipart=False)
            except AlreadyExistsError:
                if not self._has(name, source):
                    obstore.put(self._store, name, source, mode="overwrite", use_multipart=False)

    def _has(self, name: str, source: Path) -> bool:
        """Whether an object has just these octets."""
        import obstore  # noqa: PLC0415

        try:
            found = obstore.get(self._store, name)
            return bool(found.meta["size"] == source.stat().st_size and bytes(found.bytes()) == source.read_bytes())
        except FileNotFoundError:
            return False

    def get(self, name: str) -> bytes | None:
        import obstore  # noqa: PLC0415

        with _asked(self._address):
            try:
                found = obstore.get(self._store, name)
            except FileNotFoundError:
                return None
            if found.meta["size"] > SMALL:
                raise too_large(name)
            return bytes(found.bytes())

    def fetch(self, name: str, sha256: str, most: int = LARGEST) -> Path | None:
        import obstore  # noqa: PLC0415

        if (kept := self._cache.find(sha256)) is not None:
            return kept
        with _asked(self._address), self._cache.adding() as path:
            try:
                found = obstore.get(self._store, name)
                if found.meta["size"] > most:
                    raise too_large(name)
                with path.open("wb") as file:
                    for chunk in found.stream(min_chunk_size=1 << 20):
                        file.write(chunk)
            except FileNotFoundError:
                return None
            kept = self._cache.keep(path)
            if sha256 and kept.name != sha256:
                raise CorruptError(f"{name} was changed: its hash is not that of its seal")
            return kept

    def names(self, folder: str) -> list[str]:
        import obstore  # noqa: PLC0415

        with _asked(self._address):
            found = obstore.list_with_delimiter(self._store, folder or None)
            paths = [*found["common_prefixes"], *(str(one["path"]) for one in found["objects"])]
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in paths)

    def delete(self, names: Sequence[str]) -> None:
        import obstore  # noqa: PLC0415

        for start in range(0, len(names), DELETED_TOGETHER):
            with _asked(self._address), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, list(names[start : start + DELETED_TOGETHER]))
