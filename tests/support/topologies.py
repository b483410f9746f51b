"""A Redis that is several processes: a Cluster, and a master with replicas that Sentinels watch. All of the one packaged program.

The user in their URLs may do what docs/redis.md says that the gateway needs, and no more.
"""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.store import Client
from pipeline.topology.routing import SLOTS, slot_of
from pipeline.topology.spread import masters
from tests.support.servers import ROOT, Process, free_port, missing, redis_binaries, wait_until

MASTER: Final = "gatepost"
"""What the Sentinels call it."""
PASSWORD: Final = "sesame"
DOWN_AFTER: Final = 500
"""ms of silence after which a server counts as lost."""
WRITING: Final = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}
_REPLICATING: Final = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}


async def all_keys(redis: Client, pattern: str) -> list[bytes]:
    """Of all masters."""
    return [key for master in await masters(redis) async for key in master.scan_iter(match=pattern, count=1000)]


def documented_user(password: str) -> str:
    """The line of an ACL file that the page has."""
    found = re.search(r"^user gatepost .*$", (ROOT / "docs" / "redis.md").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[0].replace(">PASSWORD", f">{password}")


def packaged() -> str:
    """The server program that the gateway uses itself."""
    binaries = redis_binaries()
    return binaries[0] if binaries else missing("redis-server")


class Node:
    """One server process on a port of this machine, with a directory of its own."""

    def __init__(self, directory: Path, options: dict[str, str], *, port: int = 0, binary: str = "") -> None:
        self.port = port or free_port()
        self.binary = binary or packaged()
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(directory),
            "daemonize": "no",
            **options,
        }
        self.process: Process | None = None

    def restrict(self) -> None:
        """Besides the default user, who may do everything, there is the gateway's."""
        users = self.directory / "users.acl"
        users.write_text(f"user default on nopass ~* &* +@all\n{documented_user(PASSWORD)}\n")
        self.options["aclfile"] = str(users)

    def refused(self) -> bytes:
        """What the gateway tried and may not do: nothing, when it is `*0`."""
        return self.command("ACL", "LOG")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def spawn(self) -> None:
        words = [word for name, value in self.options.items() for word in (f"--{name}", *value.split(" "))]
        self.process = Process([self.binary, *words], self.directory / "log")

    def start(self) -> None:
        self.spawn()
        self.wait()

    def wait(self) -> None:
        assert self.process
        self.process.wait_ready(lambda: self.command("PING").startswith((b"+PONG", b"-NOAUTH")))

    def command(self, *words: str) -> bytes:
        """The first 64 KiB of the reply, as it came; nothing when the server is away."""
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w.encode()), w.encode()) for w in words)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(request)
            return client.recv(65536)
        return b""

    def running(self) -> bool:
        return self.process is not None and self.process.running()

    def kill(self) -> None:
        """As when its machine loses power."""
        if self.process:
            self.process.kill()

    def stop(self) -> None:
        if self.process:
            self.process.stop()


class RedisCluster:
    """Masters that share the slots, and replicas where asked for. It is formed when it starts: each node knows the others from a file."""

    def __init__(self, directory: Path, *, masters: int = 3, replicas: int = 0) -> None:
        options = {**WRITING, **_REPLICATING, "cluster-enabled": "yes", "cluster-node-timeout": "1000"}
        # One that is lost stops its own part only.
        options |= {"cluster-require-full-coverage": "no"}
        self.nodes = [Node(directory / str(number), options) for number in range(masters * (1 + replicas))]
        self.masters = masters
        for number, node in enumerate(self.nodes):
            node.restrict()
            (node.directory / "nodes.conf").write_text(self._known_to(number))

    @property
    def url(self) -> str:
        return f"redis+cluster://gatepost:{PASSWORD}@" + ",".join(node.address for node in self.nodes)

    def _known_to(self, own: int) -> str:
        lines = []
        for number, node in enumerate(self.nodes):
            shard = number % self.masters
            first, last = SLOTS * shard // self.masters, SLOTS * (shard + 1) // self.masters - 1
            flags = ("myself," if number == own else "") + ("master" if number < self.masters else "slave")
            of = "-" if number < self.masters else f"{shard:040x}"
            slots = f" {first}-{last}" if number < self.masters else ""
            place = f"127.0.0.1:{node.port}@{node.port + 10000},,tls-port=0,shard-id={shard + 100:040x}"
            lines.append(f"{number:040x} {place} {flags} {of} 0 0 {shard + 1} connected{slots}")
        return "\n".join((*lines, f"vars currentEpoch {self.masters} lastVoteEpoch 0", ""))

    def start(self) -> None:
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait()
        wait_until(self.ready, what="all nodes of the Cluster together")

    def master_of(self, key: str) -> Node:
        """As the slots were shared out at the start."""
        return next(
            self.nodes[shard] for shard in range(self.masters) if slot_of(key) < SLOTS * (shard + 1) // self.masters
        )

    def ready(self) -> bool:
        """Whether each of them says that all is well."""
        return all(b"cluster_state:ok" in node.command("CLUSTER", "INFO") for node in self.nodes)

    def refused(self) -> set[bytes]:
        return {node.refused() for node in self.nodes if node.running()}

    def flush(self) -> None:
        for node in self.nodes[: self.masters]:
            assert node.command("FLUSHALL") == b"+OK\r\n"

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


class WatchedRedis:
    """A master, its replicas, and Sentinels that watch it."""

    def __init__(self, directory: Path, *, replicas: int = 2, sentinels: int = 3) -> None:
        self.directory = directory
        options = {**WRITING, **_REPLICATING}
        self.nodes = [Node(directory / "0", options)]
        first = self.nodes[0].port
        for number in range(1, replicas + 1):
            self.nodes.append(Node(directory / str(number), {**options, "replicaof": f"127.0.0.1 {first}"}))
        for node in self.nodes:
            node.restrict()
        self.sentinels = [Sentinel(directory / f"sentinel{number}") for number in range(sentinels)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://gatepost:{PASSWORD}@{','.join(node.address for node in self.sentinels)}/{MASTER}"

    def start(self) -> None:
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait()
        wait_until(lambda: self.replicas_of(self.nodes[0]) == len(self.nodes) - 1, what="replicas of the master")
        for sentinel in self.sentinels:
            sentinel.configure(self.nodes[0].port, len(self.sentinels) // 2 + 1)
            sentinel.spawn()
        for sentinel in self.sentinels:
            sentinel.wait()
        wait_until(self.ready, what="Sentinels that know all")

    def ready(self) -> bool:
        """Whether each Sentinel knows the replicas and the other Sentinels."""
        wanted = (("num-slaves", len(self.nodes) - 1), ("num-other-sentinels", len(self.sentinels) - 1))
        parts = [b"$%d\r\n%s\r\n$1\r\n%d\r\n" % (len(name), name.encode(), count) for name, count in wanted]
        said = [sentinel.command("SENTINEL", "MASTER", MASTER) for sentinel in self.sentinels]
        return all(part in one for part in parts for one in said)

    @staticmethod
    def replicas_of(node: Node) -> int:
        return node.command("INFO", "replication").count(b"state=online")

    def master(self) -> Node:
        """Who is it, as the first Sentinel that answers says."""
        for sentinel in self.sentinels:
            said = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            for node in self.nodes:
                if str(node.port).encode() in said:
                    return node
        raise AssertionError("no Sentinel knows a master")

    def refused(self) -> set[bytes]:
        return {node.refused() for node in self.nodes if node.running()}

    def flush(self) -> None:
        assert self.master().command("FLUSHALL") == b"+OK\r\n"

    def stop(self) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.kill()


class Sentinel(Node):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {})

    def configure(self, port: int, quorum: int) -> None:
        lines = [
            f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", f"sentinel monitor {MASTER} 127.0.0.1 {port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}", f"sentinel failover-timeout {MASTER} 3000",
            f"sentinel parallel-syncs {MASTER} 2",
        ]  # fmt: skip
        (self.directory / "sentinel.conf").write_text("\n".join((*lines, "")))

    def spawn(self) -> None:
        self.process = Process(
            [self.binary, self.directory / "sentinel.conf", "--sentinel"], self.directory / "log", cwd=self.directory
        )


@contextlib.contextmanager
def redis_cluster(*, masters: int = 3, replicas: int = 0) -> Iterator[RedisCluster]:
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        cluster = RedisCluster(Path(directory), masters=masters, replicas=replicas)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@contextlib.contextmanager
def watched_redis(*, replicas: int = 2, sentinels: int = 3) -> Iterator[WatchedRedis]:
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        watched = WatchedRedis(Path(directory), replicas=replicas, sentinels=sentinels)
        try:
            watched.start()
            yield watched
        finally:
            watched.stop()
