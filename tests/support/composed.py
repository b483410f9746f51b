"""compose.yaml as `docker compose` reads it: variables put in from .env and the environment, `$$` a dollar, ports and lists as they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from tests.support.servers import ROOT

_VARIABLE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<wrong>.?))"
)


def variables() -> dict[str, str]:
    """What .env says."""
    lines = [line for line in (ROOT / ".env").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def interpolated(text: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        assert found["wrong"] is None, f"neither $$ nor a variable: {found[0]}"
        if found["dollar"]:
            return "$"
        assert found["default"] is not None or found["name"] in known, (
            f"{found['name']} has neither a value nor a default"
        )
        return known.get(found["name"], "") or found["default"] or ""

    return _VARIABLE.sub(value, text)


def compose(known: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`known`: in place of .env."""
    values = variables() if known is None else known

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: walk(value) for key, value in part.items()}
        if isinstance(part, list):
            return [walk(value) for value in part]
        return interpolated(part, values) if isinstance(part, str) else part

    read = walk(yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8")))
    assert isinstance(read, dict)
    return read


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def is_ours(service: Mapping[str, Any]) -> bool:
    return "build" in service
