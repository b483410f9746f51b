"""The options that every command has, and the settings that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

if TYPE_CHECKING:
    from pipeline.settings import Settings

SHARED = Group("Options of every command", sort_key=100)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    data: Annotated[
        Path | None,
        Parameter(group=SHARED, help="The data directory; or GATEPOST_DATA. Otherwise what the settings say."),
    ] = None
    config: Annotated[
        Path | None,
        Parameter(group=SHARED, help="The settings file; or GATEPOST_CONFIG. Otherwise gatepost.toml, if it is here."),
    ] = None
    json: Annotated[bool, Parameter(group=SHARED, help="Print one JSON document; times are UTC (RFC 3339).")] = False

    def settings(self) -> Settings:
        """Raises ConfigurationError."""
        from pipeline.configuration import load

        return load(self.config, overrides={"data": str(self.data) if self.data is not None else None})


DEFAULT = Common()


def at_least_one(limit: int) -> None:
    """Of --limit. Raises ConfigurationError."""
    from pipeline.faults import ConfigurationError

    if limit < 1:
        raise ConfigurationError(f"--limit is {limit}", remedy="Give 1 or more.")


def noun(name: str, text: str) -> App:
    """A command that has commands."""
    return App(name=name, help=text, help_format="plaintext", group_commands=Group("Commands", sort_key=0))
