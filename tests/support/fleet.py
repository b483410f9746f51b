"""What compose.yaml describes, without containers: each service a process on a host of its own, with the commands, settings and
configurations of that file. Names of hosts become addresses; what notices a loss does so sooner.

    redis-1, -2, -3 and their Sentinels, an object store (moto's), HAProxy, two receivers
    work       hosts for the workers that a test starts
    senders    hosts that send mail; customers' servers are the tests' own
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import smtplib
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.composed import compose, environment
from tests.support.customer import Customer
from tests.support.dns import names_in_a_thread
from tests.support.gateway import Gateway
from tests.support.network import Host, Network, network
from tests.support.servers import ROOT, Process, asked, missing, need, redis_binaries, wait_until

NETWORK: Final = "10.86.0"
PLACES: Final = {
    **{f"redis-{number}": f"{NETWORK}.{1 + number}" for number in (1, 2, 3)},
    **{f"sentinel-{number}": f"{NETWORK}.{4 + number}" for number in (1, 2, 3)},
    "objects": f"{NETWORK}.8",
}
_NAMES: Final = re.compile(r"\b(" + "|".join(PLACES) + r")\b")
LEASE: Final = "3s"
MAIL: Final = 2525
SOONER: Final = {
    "inter 2s": "inter 200ms", "connect 3s": "connect 500ms", "check 5s": "check 500ms",
    "down-after-milliseconds gatepost 5000": "down-after-milliseconds gatepost 1000",
}  # fmt: skip


def placed(text: str) -> str:
    """With addresses in place of names."""
    return _NAMES.sub(lambda found: PLACES[found[0]], text)


class Node:
    """A Redis, or a Sentinel. `.socket`: where the test asks it, which is on no host."""

    def __init__(self, name: str, host: Host, directory: Path) -> None:
        self.name = name
        self.host = host
        self.directory = directory / name
        self.directory.mkdir()
        self.socket = self.directory / "sock"

    def start(self, service: dict[str, Any], configuration: str, programs: Path) -> None:
        text = placed((ROOT / configuration).read_text("utf-8"))
        for known, sooner in SOONER.items():
            text = text.replace(known, sooner)
        file = self.directory / "given.conf"
        file.write_text(text.replace("/data", str(self.directory)) + f"unixsocket {self.socket}\n")
        shell, option, script = service["command"]
        script = re.sub(r"/etc/valkey/\S+\.conf", str(file), placed(script)).replace("/data", str(self.directory))
        environ = {"PATH": f"{programs}:/usr/bin:/bin"}
        process = self.host.start([need(shell), option, script], self.directory / "log", environ)
        process.wait_ready(lambda: self.command("PING") == b"+PONG\r\n")

    def command(self, *words: str) -> bytes:
        return asked(self.socket, *words)


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
        self.services: dict[str, dict[str, Any]] = compose()["services"]
        self.configurations: dict[str, dict[str, str]] = compose()["configs"]
        self.names = lan.host(f"{NETWORK}.9")
        self.balancer = lan.host(self.services["balancer"]["networks"]["mail"]["ipv4_address"])
        self.mx = [lan.host(f"{NETWORK}.{number}") for number in (11, 12)]
        self.work = [lan.host(f"{NETWORK}.{number}") for number in (21, 22)]
        self.senders = [lan.host(f"{NETWORK}.{number}") for number in (40, 41)]
        self.objects = lan.host(PLACES["objects"])
        self.nodes = {
            name: Node(name, lan.host(PLACES[name]), directory)
            for name in PLACES
            if name.startswith(("redis", "sentinel"))
        }
        self.greeted: Counter[str] = Counter()
        """Sessions by the name in the greeting."""
        self.workers: list[Worker] = []
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(directory / "ready"))
        self._ready.settimeout(30)
        self._said: set[int] = set()

    # What workers need

    def start_redis(self) -> None:
        """Redis and Sentinels; returns when these know each other and all replicas."""
        programs = self.directory / "bin"
        programs.mkdir()
        binaries = redis_binaries()
        for name in ("valkey-server", "valkey-sentinel"):
            (programs / name).symlink_to(binaries[0] if binaries else missing("valkey-server"))
        for name, node in self.nodes.items():
            kind = name.partition("-")[0]
            node.start(self.services[name], self.configurations[kind]["file"], programs)
        wait_until(self._watched, within=30, what="Sentinels that know all")

    def _watched(self) -> bool:
        said = [
            node.command("SENTINEL", "MASTER", "gatepost") for name, node in self.nodes.items() if "sentinel" in name
        ]
        return all(b"num-slaves\r\n$1\r\n2" in one and b"num-other-sentinels\r\n$1\r\n2" in one for one in said)

    @property
    def master(self) -> Node:
        """Among those that are not cut off."""
        for name, node in self.nodes.items():
            if name.startswith("redis") and node.host.plugged and b"role:master" in node.command("INFO", "replication"):
                return node
        raise AssertionError("there is no master")

    @property
    def asked(self) -> Gateway:
        """For the test's own questions, over the master's unix socket."""
        return Gateway(self.directory / "asked", redis_url=f"unix://{self.master.socket}", lease=LEASE)

    def start_objects(self) -> None:
        program = Path(sys.executable).with_name("moto_server")
        place = self.objects.address
        process = self.objects.start([program, "-H", place, "-p", "7070"], self.directory / "objects.log")
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request"}

        def make_bucket() -> bool:
            with (
                contextlib.suppress(OSError),
                contextlib.closing(http.client.HTTPConnection(place, 7070, timeout=10)) as client,
            ):
                client.request("PUT", "/gatepost", headers=signed)
                return client.getresponse().status == 200
            return False

        process.wait_ready(lambda: self.objects.call(make_bucket), timeout=60)

    def balance(self) -> None:
        service = self.services["balancer"]
        text = (ROOT / self.configurations["haproxy"]["file"]).read_text("utf-8")
        for known, sooner in SOONER.items():
            text = text.replace(known, sooner)
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(text, "utf-8")
        environ = environment(service) | {"DNS": f"{self.names.address}:53"}
        command = [need("haproxy"), "-db", "-f", configuration]
        process = self.balancer.start(command, self.directory / "haproxy.log", environ)
        process.wait_ready(self._greets)

    def _greets(self) -> bool:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            self.connect().close()
            return True
        return False

    # Workers

    def start(self, host: Host, role: str, **settings: object) -> Worker:
        """Returns when it says that it is ready. All are told the same, unless `settings` say more."""
        service = self.services[role]
        asked = {
            "data": self.directory / host.namespace,
            "smtp": f"0.0.0.0:{MAIL}",
            "hostname": f"mx{host.address.rpartition('.')[2]}.gateway.test",
            "resolver": f"{self.names.address}:53",
            "allow_networks": f"{NETWORK}.0/24",
            "lease": LEASE,
            "retry_interval": "1s",
            "keep_connection": "500ms",
            "client_connections": 6,
            "connections_per_server": 3,
            "messages_per_minute": 1200,
        } | settings
        environ = {name: placed(value) for name, value in environment(service).items()}
        environ |= {f"GATEPOST_{name.upper()}": str(value) for name, value in asked.items()}
        environ["NOTIFY_SOCKET"] = str(self.directory / "ready")
        log = self.directory / f"{role}-{host.address}.log"
        command = [sys.executable, "-m", "cli.main", *service["command"][:2]]
        worker = Worker(host, role, host.start(command, log, environ))
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

    # Mail

    def connect(self, sender: int = 0, to: Host | None = None) -> smtplib.SMTP:
        """A session of a sender's with the balancer, after its EHLO; or with a host."""
        there = ((to or self.balancer).address, MAIL)
        client = self.senders[sender].call(lambda: smtplib.SMTP(*there, timeout=30, local_hostname="sender.test"))
        client.ehlo()
        self.greeted[(client.ehlo_resp or b"").split()[0].decode()] += 1
        return client


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    """Everything but workers, of which two receivers run; the others are the tests' own."""
    with tempfile.TemporaryDirectory(prefix="gp-") as directory, network() as lan:
        ships = Fleet(lan, Path(directory))
        try:
            ships.start_redis()
            ships.start_objects()
            records = {("receiver", "A"): [host.address for host in ships.mx]}
            with names_in_a_thread(records, ships.names):
                for host in ships.mx:
                    ships.start(host, "receiver")
                ships.balance()
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
