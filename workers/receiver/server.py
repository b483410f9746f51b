"""Listening, and ending well.

Several processes listen on one port (SO_REUSEPORT) and know nothing of each other. Ending: no new connections, 421 to
those that are between transactions; transactions under way may finish within the grace; then 421 to those that wait for
their client, and no word to those whose message is with the intake: it may be kept, and only 250 could say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from pipeline.address import AddressError, domain_name
from pipeline.faults import ConfigurationError
from pipeline.limits import Limiter
from pipeline.settings import Settings
from workers.receiver.common import Common, Drafts, Record
from workers.receiver.handler import Handler, Intake, Loops, Pressure
from workers.receiver.protocol import ReceiverProtocol
from workers.receiver.recipients import Directory, Greylist, Recipients
from workers.receiver.tls import Certificates

BACKLOG: Final = 1024
"""Connections that may wait for a busy process."""
LAST_WAIT: Final = 1.0
"""Seconds for the last words to leave."""

log = structlog.get_logger()


class Server:
    """A receiver that listens. Made by `serve`."""

    def __init__(self, listener: asyncio.Server, common: Common) -> None:
        self._listener = listener
        self._common = common
        self.port: int = listener.sockets[0].getsockname()[1]

    @property
    def sessions(self) -> int:
        return len(self._common.connections)

    def reload(self) -> None:
        """Read the certificate again; a bad one is reported, and the old one stays."""
        try:
            self._common.certificates.reload()
        except ConfigurationError as error:
            log.error(  # noqa: TRY400 - the operator's mistake, not a traceback's
                "certificate_not_reloaded", reason=str(error), remedy=error.remedy
            )

    async def close(self, grace: float) -> None:
        """Take no more mail; give transactions under way `grace` seconds."""
        common = self._common
        common.closing = True
        self._listener.close()
        for connection in tuple(common.connections):
            connection.wind_down()
        if common.tasks:
            await asyncio.wait(common.tasks, timeout=grace)
        for connection in tuple(common.connections):
            connection.cut_short()
        if common.tasks:
            await asyncio.wait(common.tasks, timeout=LAST_WAIT)
        for connection in tuple(common.connections):
            connection.cut()
        for task in tuple(common.tasks):
            task.cancel()
        if common.tasks:
            await asyncio.wait(common.tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WAIT):
                # What was cut off is told so in the next round of the loop, and gives back what it held.
                while common.connections:
                    await asyncio.sleep(0)
        await self._listener.wait_closed()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a receiver works with."""

    directory: Directory
    intake: Intake
    bodies: Drafts
    pressure: Pressure
    limiter: Limiter
    refusals: Record
    greylist: Greylist
    loops: Loops
    clock: Callable[[], int]
    """ns since 1970."""


async def serve(
    settings: Settings,
    parts: Parts,
    *,
    port: int | None = None,
    sock: socket.socket | None = None,
) -> Server:
    """Listen where `settings.smtp` says, on another `port`, or on `sock`, and accept mail from now on.

    Raises ConfigurationError: a host name that is none, an address or port that cannot be had, a certificate that cannot be used.
    """
    hostname = _hostname(settings)
    handler = Handler(
        Recipients(parts.directory, parts.greylist, settings.max_recipients),
        parts.intake,
        parts.pressure,
        parts.loops,
        hostname=hostname,
        max_size=int(settings.max_message_size),
        max_received=settings.max_received,
    )
    common = Common(
        handler,
        parts.bodies,
        Certificates(settings, hostname, parts.clock()),
        parts.limiter,
        parts.refusals,
        settings,
        hostname=hostname,
        clock=parts.clock,
    )
    return Server(await _listen(settings, common, port, sock), common)


def _hostname(settings: Settings) -> str:
    name = settings.hostname or socket.getfqdn()
    try:
        return domain_name(name)
    except AddressError as error:
        raise ConfigurationError(
            f"hostname {name!r}: {error}", remedy="Set hostname to the name of this machine in DNS."
        ) from None


async def _listen(settings: Settings, common: Common, port: int | None, sock: socket.socket | None) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    kind: type[ReceiverProtocol] = type(ReceiverProtocol.__name__, (ReceiverProtocol,), common.prototype)

    def session() -> ReceiverProtocol:
        return kind(common)

    if sock is not None:
        return await loop.create_server(session, sock=sock, backlog=BACKLOG)
    host, port = settings.smtp.host, settings.smtp.port if port is None else port
    try:
        return await loop.create_server(session, host or None, port, reuse_port=True, backlog=BACKLOG)
    except OSError as error:
        remedies = {
            errno.EADDRINUSE: "Stop the program that has it (`ss -ltnp` shows it), or set another smtp.",
            errno.EACCES: "Ports below 1024 need the right CAP_NET_BIND_SERVICE; or set another smtp.",
        }
        code = error.errno or 0
        raise ConfigurationError(
            f"cannot listen on {host or '*'}:{port}: {errno.errorcode.get(code, 'error')}",
            remedy=remedies.get(code, "Set smtp to an address of this machine."),
        ) from None
