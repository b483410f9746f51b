"""The command: what it is given, and the order of things from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


async def demo(
    *,
    data: Annotated[Path, Parameter(help="Where the demo keeps its data; ./gatepost-demo unless said.")] = Path(
        "gatepost-demo"
    ),
    smtp: Annotated[str, Parameter(help="Where it accepts mail; 127.0.0.1:2525 unless said.")] = "127.0.0.1:2525",
    customer: Annotated[
        str, Parameter(help="Where the customer's server listens; 127.0.0.1:2526 unless said.")
    ] = "127.0.0.1:2526",
    once: Annotated[
        bool, Parameter(help="Stop by itself after the show; exit code 0 if all happened as told.")
    ] = False,
) -> int:
    """Start a gateway with a sample domain and send real mail through it.

    Starts the whole gateway and a small mail server that plays the customer's,
    sends a clean message, one with a test virus, one to an unknown address and one
    to a destination that is down, and shows what happens to each. Then it leaves
    the gateway running for you to try, until Ctrl-C.

    Unless you say otherwise, only this machine can reach it.

    For example:

      gatepost demo
      gatepost demo --smtp 127.0.0.1:3525 --customer 127.0.0.1:3526
      gatepost demo --once
    """
    from cli.demo.stage import Stage
    from cli.demo.story import epilogue, prologue, tell, watch

    # Into a pipe, too, each line goes when it is said.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stage = Stage(data, smtp, customer)
    stage.screen.say(("Starting the gateway ...", "dim"))
    async with stage.set_up(stop):
        if stop.is_set():
            return 0
        prologue(stage)
        show = asyncio.create_task(tell(stage))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({show, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not show.done():
            show.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await show
            return 0
        stopped.cancel()
        as_told = show.result()
        if once:
            return 0 if as_told else 1
        epilogue(stage)
        await watch(stage, stop)
    return 0
