"""Reading the settings: one TOML file, the environment over it, the command line over both; and writing them down for people."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from pipeline.dnslist import DnsList
from pipeline.faults import ConfigurationError
from pipeline.settings import Settings
from pipeline.units import Duration, Endpoint, EngineAddress, Network, Size, SourceAddress


def _decode_special(kind: type, value: Any) -> Any:
    if kind in (Duration, Size, Endpoint, EngineAddress, SourceAddress, DnsList):
        return kind.parse(value)
    if kind is Path:
        return Path(str(value)).expanduser()
    if kind in (ipaddress.IPv4Network, ipaddress.IPv6Network) or kind == Network:
        return ipaddress.ip_network(str(value))
    raise TypeError(f"no way to read a {kind}")


@functools.cache
def _field_types() -> dict[str, Any]:
    """Found out once, before workers are forked: for each of them anew it would be 1 MiB."""
    return get_type_hints(Settings)


def _coerce(name: str, kind: Any, value: object, source: str) -> Any:
    if get_args(kind) and get_args(kind)[-1] is Ellipsis:
        # A source address may have a name behind it, and a DNS list has commas in it.
        between = {SourceAddress: r"\s*+,\s*+", DnsList: r"\s+"}.get(get_args(kind)[0], r"[,\s]+")
        items = re.split(between, value.strip()) if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ConfigurationError(f"{source}: {name}: expected a list")
        return tuple(_coerce(name, get_args(kind)[0], item, source) for item in items if item != "")
    try:
        if kind == Network:
            return ipaddress.ip_network(str(value))
        return msgspec.convert(value, kind, strict=False, dec_hook=_decode_special)
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{source}: {name} = {value!r}: {error}") from None


def _read_file(path: Path, types: Mapping[str, Any], *, required: bool) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigurationError(f"{path}: no such file", remedy="Give --config an existing file.") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path}: {error}", remedy="Mend the file, or see docs/settings.md.") from None
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in types:
            raise ConfigurationError(
                f"{path}: unknown key {name!r}{_nearest(name, types)}", remedy="See docs/settings.md for all keys."
            )
        values[name] = _coerce(name, types[name], value, str(path))
    return values


def load(
    file: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> Settings:
    """Read the settings. `file` None: `gatepost.toml` in the working directory if there is one, or `GATEPOST_CONFIG`.

    Raises ConfigurationError naming the file or variable, the key and what was expected.
    """
    environ = os.environ if environ is None else environ
    types = _field_types()
    named = file or (Path(environ["GATEPOST_CONFIG"]) if environ.get("GATEPOST_CONFIG") else None)
    values = _read_file(named or Path("gatepost.toml"), types, required=named is not None)
    for variable, text in environ.items():
        name = variable.removeprefix("GATEPOST_").lower()
        if variable.startswith("GATEPOST_") and name in types:
            values[name] = _coerce(name, types[name], text, variable)
    for name, value in (overrides or {}).items():
        if value is not None:
            values[name] = _coerce(name, types[name], value, f"--{name.replace('_', '-')}")
    try:
        return Settings(**values)
    except ValueError as error:
        raise ConfigurationError(f"settings: {error}", remedy="See docs/settings.md.") from None


def _nearest(name: str, known: Mapping[str, object]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def describe() -> list[tuple[str, str, str]]:
    """(key, default as it is written in TOML, description) of every setting, in order."""
    rows = []
    defaults = Settings()
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        rows.append((name, written(getattr(defaults, name)), str(hint.__metadata__[0].description)))
    return rows


def written(value: object) -> str:
    """A value as it is written in TOML."""
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and not isinstance(value, Duration | Size):
        return str(value)
    return f'"{value}"'


def sample() -> str:
    """A `gatepost.toml` with every key at its default, commented out."""
    lines = ["# Gatepost's settings. Every key is optional, and can be given as GATEPOST_<KEY> in the environment.\n"]
    lines += [f"# {text}\n# {name} = {default}\n" for name, default, text in describe()]
    return "\n".join(lines)
