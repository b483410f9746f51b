"""A customer's mail server: aiosmtpd in a thread, which takes mail, refuses it by script, goes down and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.servers import free_port, listens, wait_until


class Arrived(msgspec.Struct, frozen=True):
    """One transaction that ended with a 250. `content` as it came over the wire, dots undone, CRLF."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float

    @property
    def id(self) -> str:
        """The id under which the gateway forwarded it, from the Received line on top."""
        found = re.search(rb"\bid ([0-9a-z]{22})\b", self.content[:2000])
        return found[1].decode() if found else ""

    @property
    def original(self) -> bytes:
        """The message without the fields that the gateway put on top: Received, X-Gatepost-Not-Scanned-By, Authentication-Results."""
        fields = (rb"Received", rb"X-Gatepost-Not-Scanned-By", rb"Authentication-Results")
        ours = b"".join(rb"(?:" + name + rb": [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)?" for name in fields)
        return re.sub(rb"\A" + ours, b"", self.content, count=1)


class _Server(SMTP):
    line_length_limit = 1 << 20  # real mail has lines longer than 1,000 octets


class Customer:
    """`refuse`: recipient -> reply, given at RCPT. `after_data`: recipient -> reply, given to the dot."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1", enter: Callable[[], None] | None = None) -> None:
        """`enter`: called in its thread before it listens, which may be on another host (tests/support/network.py)."""
        self.port = port or free_port()
        self.host = host
        self.enter = enter
        self.route = f"{host}:{self.port}"
        self.refuse: dict[str, str] = {}
        self.after_data: dict[str, str] = {}
        self.arrived: list[Arrived] = []
        self.connections = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # The handler hooks of aiosmtpd

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        for recipient in envelope.rcpt_tos:
            if recipient in self.after_data:
                return self.after_data[recipient]
        sender = envelope.mail_from if envelope.mail_from != "<>" else ""
        self.arrived.append(
            Arrived(sender or "", tuple(envelope.rcpt_tos), bytes(envelope.original_content or b""), time.time())
        )
        return "250 2.0.0 taken"

    # Up and down

    def start(self) -> None:
        started = threading.Event()

        def serve() -> None:
            if self.enter is not None:
                self.enter()
            loop = self._loop = asyncio.new_event_loop()
            controller = UnthreadedController(
                self, hostname=self.host, port=self.port, loop=loop, decode_data=False, enable_SMTPUTF8=True,
                data_size_limit=64 << 20,
            )  # fmt: skip
            controller.factory = lambda: self._session(loop)  # type: ignore[method-assign]
            server = loop.run_until_complete(loop.create_server(controller.factory, self.host, self.port))
            started.set()
            loop.run_forever()
            server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(server.wait_closed())
            loop.close()

        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()
        assert started.wait(10)
        if self.enter is None:
            wait_until(lambda: listens(self.port))
            self.connections = 0

    def _session(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        self.connections += 1
        return _Server(self, loop=loop, hostname="customer.test", enable_SMTPUTF8=True, data_size_limit=64 << 20)

    def stop(self) -> None:
        if self._thread and self._loop:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._thread = None

    def wait(self, count: int, *, within: float = 20) -> list[Arrived]:
        wait_until(lambda: len(self.arrived) >= count, within=within, what=f"{count} messages at the customer")
        return self.arrived


@contextlib.contextmanager
def customer(port: int = 0) -> Iterator[Customer]:
    server = Customer(port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
