"""The version of what is installed."""

from __future__ import annotations

import sys


def installed() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("gatepost")
    except PackageNotFoundError:
        return "unknown: run from a directory in which it was not installed"


def version() -> int:
    """Print the version."""
    sys.stdout.write(f"gatepost {installed()}\n")
    return 0
