"""Segments in an object store: S3 and what speaks its language, Google Cloud Storage, Azure.

Objects are put whole or not at all, and only where there is nothing yet: who is second with the same name finds that it is
there, compares, and replaces what is not the same. Those that are read are kept in a bounded directory of this machine, each
under the hash that it should have. Credentials come from the environment or the files that each provider's own tools read;
none is in our settings, and none is in what we say.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.archive.cache import Cache
from pipeline.archive.objects import WORK, disk
from pipeline.faults import ConfigurationError, StoreAwayError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES: Final = ("s3://", "gs://", "az://")
TIMEOUT: Final = timedelta(seconds=30)
RETRIES: Final = 3
DELETED_TOGETHER: Final = 500
_SECRET: Final = re.compile(r"(?i)(signature|credential|token|key|secret)[^,;\s]*")


def missing() -> ConfigurationError:
    return ConfigurationError(
        "obstore is not installed, which object stores are reached with",
        remedy="Install it: pip install 'gatepost[cloud]'.",
    )


def is_address(text: str) -> bool:
    return text.startswith(SCHEMES)


@contextlib.contextmanager
def _asked(place: str) -> Iterator[None]:
    """Turns errors of the store into faults. What the library says may hold an address that was signed: the first line, without that."""
    try:
        yield
    except (StoreError, FileNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - the library's own, which is not loaded before it is needed
        kind = type(error).__name__
        text = _SECRET.sub("...", str(error).partition("\n")[0])[:200]
        if kind in ("PermissionDeniedError", "UnauthenticatedError", "ConfigurationError"):
            raise ConfigurationError(
                f"the archive in {place} cannot be used: {text}",
                remedy="Check the credentials in the environment, and that they may list, read, write and delete there.",
            ) from None
        raise StoreAwayError(f"the archive in {place} cannot be reached: {text}") from None


class CloudObjects:
    """`objects.Objects` in an object store."""

    def __init__(self, address: str, directory: Path, cache: int) -> None:
        """`directory`: of this machine, for files that are being made and copies of what was read, up to `cache` octets.

        Raises ConfigurationError.
        """
        if not find_spec("obstore"):
            raise missing()
        if re.fullmatch(r"(s3|gs|az)://[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]*)?", address) is None:
            raise ConfigurationError(
                f"archive_store is {address!a}",
                remedy="Write it as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.",
            )
        self._address = address.rstrip("/")
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
            from obstore.store import from_url  # noqa: PLC0415 - an extra, and it takes a moment to load

            with _asked(self._address):
                self._opened = from_url(
                    self._address,
                    client_options={"timeout": TIMEOUT, "allow_http": True},
                    retry_config={"max_retries": RETRIES, "retry_timeout": TIMEOUT},
                )
        return self._opened

    def put(self, name: str, source: Path) -> None:
        import obstore  # noqa: PLC0415
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415

        with _asked(self._address):
            try:
                obstore.put(self._store, name, source, mode="create", use_multipart=False)
            except AlreadyExistsError:
                if self.get(name) != source.read_bytes():
                    obstore.put(self._store, name, source, mode="overwrite", use_multipart=False)

    def get(self, name: str) -> bytes | None:
        import obstore  # noqa: PLC0415

        with _asked(self._address):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def fetch(self, name: str, sha256: str) -> Path | None:
        import obstore  # noqa: PLC0415

        if (kept := self._cache.find(sha256)) is not None:
            return kept
        with _asked(self._address), self._cache.adding() as path:
            try:
                with path.open("wb") as file:
                    for chunk in obstore.get(self._store, name).stream(min_chunk_size=1 << 20):
                        file.write(chunk)
            except FileNotFoundError:
                return None
            return self._cache.keep(path)

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
