"""The long-running commands: `up` and `worker`. Nothing is loaded here that they do not need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.configuration import load
from pipeline.settings import Settings


def _settings(data: str, smtp: str, config: str) -> Settings:
    if config:
        # The workers are processes of their own, and read the same file.
        os.environ["GATEPOST_CONFIG"] = str(Path(config).absolute())
    return load(overrides={"data": data or None, "smtp": smtp or None})


def up(run: Callable[[Sequence[str]], int], data: str = "", smtp: str = "", config: str = "") -> int:
    """Run everything until SIGTERM. `run`: the command line, of which workers are a part. Raises GatepostError."""
    from workers.supervisor import up as run_all

    settings = _settings(data, smtp, config)
    return run_all(settings, lambda: _settings(data, smtp, config), _announce, run)


def worker(role: str, data: str = "", config: str = "", metrics: str = "") -> int:
    """Run one role until SIGTERM. Raises GatepostError."""
    from workers.roles import run_worker

    return run_worker(role, _settings(data, "", config), metrics)


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
