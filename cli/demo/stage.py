"""What the demo plays on: the customer's server in this process, the gateway as a process of its own, two sample domains.

The gateway runs as `gatepost up` does for anybody, on a settings file in the data directory; the environment's GATEPOST_
variables and a gatepost.toml that happens to be here have no part in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

from cli.demo.customer import CustomerServer
from cli.render import Screen
from cli.session import actor
from pipeline import configuration
from pipeline.directory import Address, Domain
from pipeline.faults import ConfigurationError, GatepostError
from pipeline.ids import partition_for
from pipeline.units import Endpoint
from workers.children import end_with_parent
from workers.supervisor import reserve
from workers.wiring import Wiring

DOMAIN: Final = "example.test"
PEOPLE: Final = ("anna", "ben")
AWAY: Final = "away.example.test"
AWAY_PEOPLE: Final = ("carla",)
HOSTNAME: Final = "gateway.example.test"
READY: Final = "gatepost is ready"
START: Final = 60.0
STOP: Final = 40.0
"""Seconds: `gatepost up` takes 30 at most."""


class Stage:
    def __init__(self, data: Path, smtp: str, customer: str) -> None:
        self.data = data
        self.smtp = _endpoint("--smtp", smtp)
        self.customer = CustomerServer(_endpoint("--customer", customer))
        self.config = data / "gatepost.toml"
        self.log = data / "gatepost.log"
        self.screen = Screen()
        self.wiring: Wiring
        self.away: str
        """HOST:PORT where nobody listens."""
        self.ids: dict[str, str] = {}
        """Messages of the show, by the name of their scene."""
        """What each scene ends with -> the message of that scene."""

    @contextlib.asynccontextmanager
    async def set_up(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Everything is there inside; everything is stopped in order behind. Raises ConfigurationError for a port in use."""
        self._look_at_ports()
        self._write_settings()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.customer.running())
            self.away = stack.enter_context(_nobody_listens())
            process = self._spawn()
            stack.push_async_callback(self._stop, process)
            await self._until_ready(process, stop)
            if not stop.is_set():
                settings = configuration.load(self.config, environ={})
                self.wiring = await Wiring.connect(settings)
                stack.push_async_callback(self.wiring.close)
                await self._add_domains()
            yield

    def _look_at_ports(self) -> None:
        for option, endpoint in (("--smtp", self.smtp), ("--customer", self.customer.endpoint)):
            try:
                holder, free = reserve(endpoint)
            except ConfigurationError as fault:
                raise ConfigurationError(
                    str(fault),
                    remedy=f"Name another one, such as {option} {endpoint.host}:{endpoint.port + 1000}, or stop what uses it.",
                ) from None
            holder.close()
            if endpoint.port == 0:
                # A free one was asked for: from here on it is this one.
                if option == "--smtp":
                    self.smtp = free
                else:
                    self.customer.endpoint = free

    def _write_settings(self) -> None:
        values = {"data": str(self.data.resolve()), "smtp": str(self.smtp), "hostname": HOSTNAME}
        lines = [f'{name} = "{value}"' for name, value in values.items()]
        lines += ['allow_networks = ["127.0.0.0/8"]', "receivers = 1"]
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.config.write_text("# Written by `gatepost demo`.\n" + "\n".join(lines) + "\n", "utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {self.data}: {error.strerror}", remedy="Choose another directory with --data."
            ) from None

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEPOST_")}
        environment["PYTHONUNBUFFERED"] = "1"
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-m", "cli.main", "up", "--config", str(self.config.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                # Ctrl-C is ours to answer, and the gateway stops in order when we are killed.
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread only
            )

    async def _until_ready(self, process: subprocess.Popen[bytes], stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START
        while READY not in self._said() and not stop.is_set():
            if process.poll() is not None or loop.time() > deadline:
                words = [line for line in self._said().splitlines() if line.strip()]
                reason = next((line for line in reversed(words) if line.startswith("gatepost: ")), "") or "\n".join(
                    words[-3:]
                )
                raise ConfigurationError(
                    f"the gateway did not start: {reason.removeprefix('gatepost: ')}", remedy=f"Its log is {self.log}."
                )
            await asyncio.sleep(0.05)

    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    async def _stop(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            self.screen.say()
            self.screen.say(("Stopping: no new mail, what is under way is finished.", "dim"))
            process.send_signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP
        while process.poll() is None and loop.time() < deadline:
            await asyncio.sleep(0.02)
        if process.poll() is None:
            process.kill()
            raise GatepostError(f"the gateway did not stop within {STOP:.0f} s", remedy=f"Its log is {self.log}.")

    async def _add_domains(self) -> None:
        await self._add(DOMAIN, self.customer.endpoint, PEOPLE)
        await self._add(AWAY, self.away, AWAY_PEOPLE)

    async def _add(self, name: str, route: str, people: Sequence[str]) -> None:
        directory, now = self.wiring.directory, self.wiring.clock()
        await directory.set_domain(Domain(name=name, route=(str(route),), created_at=now), by=actor(), now=now)
        await directory.set_addresses({name: [Address(local=local) for local in people]}, by=actor(), now=now)

    async def is_backing_off(self, domain: str) -> bool:
        """Whether an earlier run of the demo has found the domain's server down already."""
        partition = partition_for(domain, self.wiring.store.partitions)
        return (await self.wiring.schedule.route(partition, domain)).since > 0

    async def retry(self, domain: str, server: str) -> None:
        partition = partition_for(domain, self.wiring.store.partitions)
        await self.wiring.schedule.retry_now(partition, domain, self.wiring.clock(), [server])


def _endpoint(option: str, text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}: {error}") from None


@contextlib.contextmanager
def _nobody_listens() -> Iterator[str]:
    """A port that is taken, so that nobody else takes it, and where every connection is refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"
