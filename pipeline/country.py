"""In which country an address is at home, by a table in the MaxMind DB format; and what countries are called.

The table that comes with Gatepost (see data/README.md) says where the network is registered that announces an address. That is a
hint and no proof: it is recorded and shown, and counts only where somebody made a rule of it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import maxminddb

from pipeline.faults import ConfigurationError

_CODE: Final = re.compile(r"[A-Z]{2}")
_REMEDY: Final = "Name a MaxMind DB of countries in country_table, or nothing for the one that comes with Gatepost."


class Country(NamedTuple):
    code: str
    english: str
    german: str


class Countries:
    """A table, open and mapped into memory: a lookup takes some microseconds, and only what is looked at is read."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError for what is no such table."""
        try:
            self._reader = maxminddb.open_database(path, maxminddb.MODE_MMAP_EXT)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            said = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else "not a table in the MaxMind DB format"
            )
            raise ConfigurationError(f"country_table: {path}: {said}", remedy=_REMEDY) from None
        self.built: int = self._reader.metadata().build_epoch
        """When the table was made, in seconds since 1970."""
        self._lookup = functools.lru_cache(4096)(self._look_up)

    def of(self, address: str) -> str:
        """The code of its country; empty for what is nowhere: a private address, one that is in no table, no address."""
        return self._lookup(address)

    def _look_up(self, address: str) -> str:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
            found = getattr(found, "ipv4_mapped", None) or found
            return _code(self._reader.get(found))
        except (ValueError, maxminddb.InvalidDatabaseError):
            return ""


def _code(record: object) -> str:
    if not isinstance(record, Mapping):
        return ""
    code = record.get("country_code")
    for name in ("country", "registered_country"):
        if not code and isinstance(record.get(name), Mapping):
            code = record[name].get("iso_code")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


@functools.cache
def in_force(path: str) -> Countries:
    """The table that the setting `country_table` names, opened once in a process; ours where it is empty. Raises ConfigurationError."""
    return Countries(Path(path).expanduser() if path else shipped())


def shipped() -> Path:
    return Path(str(resources.files("pipeline"))) / "data" / "country.mmdb"


@functools.cache
def names() -> Mapping[str, Country]:
    """All countries by code."""
    lines = (shipped().parent / "countries.tsv").read_text("utf-8").splitlines()
    return {country.code: country for country in (Country(*line.split("\t")) for line in lines)}


def name_of(code: str, language: str = "en") -> str:
    """What a country is called in `en` or `de`; a code that nobody knows is its own name."""
    country = names().get(code)
    if country is None:
        return code
    return country.german if language == "de" else country.english
