"""`up` and `worker` as commands with help; `cli.main` starts their plain forms without coming here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Data = Annotated[Path | None, Parameter(help="The data directory; or GATEPOST_DATA.")]
Config = Annotated[Path | None, Parameter(help="The settings file; or GATEPOST_CONFIG.")]


def up(
    *,
    data: Data = None,
    smtp: Annotated[str, Parameter(help="HOST:PORT to accept mail on.")] = "",
    config: Config = None,
) -> int:
    """Start the whole gateway on this machine.

    Starts the embedded Redis (unless redis_url is set) and every role, restarts
    what dies, and prints one line when it is ready to accept mail. SIGTERM or
    Ctrl-C stops it in order, SIGHUP reads settings and certificates again.

    For example:

      gatepost up --data /var/lib/gatepost --smtp 0.0.0.0:25
      GATEPOST_RETRY_INTERVAL=5m gatepost up --data ./try --smtp 127.0.0.1:2525
    """
    from cli import processes
    from cli.main import main

    return processes.up(main, str(data or ""), smtp, str(config or ""))


def worker(
    role: Annotated[
        str,
        Parameter(
            help="receiver, scanner, deliverer, projector, janitor, syncer, watcher or archiver; or background: "
            "projector, janitor, watcher and archiver in one process."
        ),
    ],
    /,
    *,
    data: Data = None,
    config: Config = None,
    metrics: Annotated[
        str, Parameter(help="Where it answers /metrics, /healthz and /readyz: HOST:PORT or unix:/PATH.")
    ] = "",
) -> int:
    """Run one role, or all of the background, as one process.

    Any number of times, on any machine that reaches the same Redis: see
    docs/many-machines.md. With bodies_store the data directory holds only what
    is under way here. SIGTERM stops it when it has finished what it holds.

    For example:

      export GATEPOST_REDIS_URL=redis://redis.internal:6379/0
      gatepost worker deliverer --data /var/lib/gatepost
      gatepost worker scanner --metrics 0.0.0.0:9125
    """
    from cli import processes

    return processes.worker(role, str(data or ""), str(config or ""), metrics)
