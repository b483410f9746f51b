"""Gatepost on many hosts: each worker a process of its own on a host of its own, as an operator runs them, with HAProxy in front.

store 10.86.0.2     Redis, and the DNS of all of them
balancer .10        HAProxy
mx .11, .12         receivers
work .21, .22       scanners, deliverers, a projector, a janitor
customer .30 ...    customers' servers
sender .40, .41     who sends mail to it
"""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.customer import Customer
from tests.support.dns import names_in_a_thread
from tests.support.gateway import Gateway
from tests.support.network import Host, Network, network
from tests.support.servers import ROOT, Process, RedisServer, need

NETWORK: Final = "10.86.0"
LEASE: Final = "3s"
MAIL: Final = 2525


class Redis(RedisServer):
    """On a host of its own: workers reach it over the network, the test through its unix socket."""

    def __init__(self, host: Host, directory: Path) -> None:
        super().__init__(directory)
        self.host = host

    def start(self) -> None:
        options = {"bind": self.host.address, "port": "6379", "protected-mode": "no", "unixsocket": str(self.socket)}
        options |= {"dir": str(self.directory), "appendonly": "yes", "appendfsync": "always", "save": ""}
        options |= {"maxmemory": "1gb", "maxmemory-policy": "noeviction"}
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        self.process = self.host.start([self.binary, *words], self.directory / "redis.log")
        self.process.wait_ready(lambda: self.command("PING") == b"+PONG\r\n")


class Worker:
    def __init__(self, host: Host, role: str, process: Process) -> None:
        self.host = host
        self.role = role
        self.process = process


class Fleet:
    """`workers`: what was started here and not stopped."""

    def __init__(self, lan: Network, directory: Path) -> None:
        self.directory = directory
        self.lan = lan
        self.store = lan.host(f"{NETWORK}.2")
        self.balancer = lan.host(f"{NETWORK}.10")
        self.mx = [lan.host(f"{NETWORK}.{number}") for number in (11, 12)]
        self.work = [lan.host(f"{NETWORK}.{number}") for number in (21, 22)]
        self.senders = [lan.host(f"{NETWORK}.{number}") for number in (40, 41)]
        self.redis = Redis(self.store, directory)
        self.asked = Gateway(directory / "asked", redis_url=self.redis.url, lease=LEASE)
        """For the test's own questions, over the unix socket."""
        self.workers: list[Worker] = []
        self.greeted: Counter[str] = Counter()
        """Sessions by the name in the greeting."""
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(directory / "ready"))
        self._ready.settimeout(30)
        self._said: set[int] = set()

    # Processes

    def start(self, host: Host, role: str, **settings: object) -> Worker:
        """Returns when it says that it is ready. What all have in common is all that it is told, unless `settings` say more."""
        asked = {
            "redis_url": f"redis://{self.store.address}:6379/0",
            "resolver": f"{self.store.address}:53",
            "data": self.directory / host.namespace,
            "smtp": f"{host.address}:{MAIL}",
            "hostname": f"mx{host.address.rpartition('.')[2]}.gateway.test",
            "authserv_id": "gateway.test",
            "allow_networks": f"{NETWORK}.0/24",
            "proxy_networks": f"{self.balancer.address}/32",
            "lease": LEASE,
            "retry_interval": "1s",
            "keep_connection": "500ms",
            "client_connections": 6,
            "connections_per_server": 3,
            "messages_per_minute": 1200,
        } | settings
        environ = {f"GATEPOST_{name.upper()}": str(value) for name, value in asked.items()}
        environ["NOTIFY_SOCKET"] = str(self.directory / "ready")
        log = self.directory / f"{role}-{host.address}.log"
        worker = Worker(host, role, host.start([sys.executable, "-m", "cli.main", "worker", role], log, environ))
        self.workers.append(worker)
        self._wait_ready(worker)
        return worker

    def _wait_ready(self, worker: Worker) -> None:
        while worker.process.pid not in self._said:
            assert worker.process.running(), worker.process.output()[-3000:]
            said = self._ready.recv(4096).decode()
            if "READY=1" in said:
                self._said.add(int(said.rpartition("X_PID=")[2]))

    def stop(self, worker: Worker) -> None:
        assert worker.process.stop() == 0
        self.workers.remove(worker)

    def kill(self, worker: Worker) -> None:
        worker.process.kill()
        self.workers.remove(worker)

    def close(self) -> None:
        """All are told to stop; whoever has not when the network goes is killed."""
        for worker in self.workers:
            worker.process.popen.terminate()
        self._ready.close()

    def of(self, role: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.role == role]

    def balance(self) -> None:
        """HAProxy with the configuration of docs/examples, but quicker in noticing."""
        quick = (ROOT / "docs/examples/haproxy.cfg").read_text("utf-8")
        quick = (
            quick.replace("inter 2s", "inter 200ms")
            .replace("connect 3s", "connect 500ms")
            .replace("check 5s", "check 500ms")
        )
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(quick, "utf-8")
        environ = {
            "LISTEN": f"{self.balancer.address}:25",
            "RECEIVERS": f"receiver.test:{MAIL}",
            "DNS": f"{self.store.address}:53",
        }
        command = [need("haproxy"), "-db", "-f", configuration]
        process = self.balancer.start(command, self.directory / "haproxy.log", environ)
        process.wait_ready(self._greets)

    def _greets(self) -> bool:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self.connect().close()
            return True
        return False

    # Mail

    def connect(self, sender: int = 0, to: Host | None = None) -> smtplib.SMTP:
        """A session of a sender's with the balancer, after its EHLO; or with a host."""
        there = (self.balancer.address, 25) if to is None else (to.address, MAIL)
        client = self.senders[sender].call(lambda: smtplib.SMTP(*there, timeout=30, local_hostname="sender.test"))
        client.ehlo()
        self.greeted[(client.ehlo_resp or b"").split()[0].decode()] += 1
        return client


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    """Redis, DNS, HAProxy and two receivers run; other workers are the tests' own."""
    with network() as lan, tempfile.TemporaryDirectory(prefix="gp-") as directory:
        ships = Fleet(lan, Path(directory))
        ships.redis.start()
        records = {("receiver.test", "A"): [host.address for host in ships.mx]}
        with names_in_a_thread(records, ships.store):
            for host in ships.mx:
                ships.start(host, "receiver")
            ships.balance()
            try:
                yield ships
            finally:
                ships.close()


class _Session(SMTP):
    """Tells its server how many there are."""

    shop: Shop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.shop.open += 1
        self.shop.most = max(self.shop.most, self.shop.open)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.shop.open -= 1


class Shop(Customer):
    """A customer's server on a host of its own, which sees who comes, and lets recipients wait."""

    def __init__(self, host: Host) -> None:
        super().__init__(25, host.address, host.enter)
        self.open = self.most = 0
        """Connections now, and how many there were at once."""
        self.came: Counter[str] = Counter()
        """Messages that were taken, by the host that brought them."""
        self.stalled: set[str] = set()
        """Recipients whose RCPT gets no answer for the time being."""
        self.waiting: set[str] = set()
        """Hosts that wait for such an answer."""

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        peer = session.peer[0]
        while address in self.stalled:
            self.waiting.add(peer)
            await asyncio.sleep(0.01)
        self.waiting.discard(peer)
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = await super().handle_DATA(server, session, envelope)
        self.came[session.peer[0]] += reply.startswith("250")
        return reply

    def _session(self, loop: asyncio.AbstractEventLoop) -> SMTP:
        session = _Session(self, loop=loop, hostname="customer.test", enable_SMTPUTF8=True)
        session.shop = self
        return session
