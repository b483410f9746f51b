"""A Redis as the gateway may find it outside: one server, a Cluster, and a master with replicas that Sentinels watch.

The user in their URLs may do what docs/redis.md says that the gateway needs, and no more. `guard`: nobody gets in without TLS, a
certificate, and that user's password, which is in a file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from pipeline import configuration
from pipeline.store import Client
from pipeline.topology.address import RedisAddress, of_settings
from pipeline.topology.routing import SLOTS, slot_of
from pipeline.topology.spread import masters
from tests.support.nodes import OPERATOR, PASSWORD, WRITING, Guard, Node
from tests.support.servers import Process, wait_until

MASTER: Final = "gatepost"
"""What the Sentinels call it."""
DOWN_AFTER: Final = 1500
"""ms of silence after which a server counts as lost. A Sentinel waits a second between two attempts to connect, and with less it gives up
a new master that it has not come to yet."""
_REPLICATING: Final = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}


async def all_keys(redis: Client, pattern: str) -> list[bytes]:
    """Of all masters."""
    return [key for master in await masters(redis) async for key in master.scan_iter(match=pattern, count=1000)]


class Outside:
    """What they have in common: nodes, and how the gateway is led to them."""

    nodes: Sequence[Node]
    guard: Guard | None

    def _url(self, kind: str, places: Sequence[Node], path: str = "") -> str:
        hosts = ",".join(node.address for node in places)
        if self.guard:
            return f"rediss{kind}://{hosts}{path}"
        return f"redis{kind}://gatepost:{quote(PASSWORD, safe='')}@{hosts}{path}"

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, object]:
        """Of a gateway that uses it."""
        return {"redis_url": self.url, **(self.guard.settings if self.guard else {})}

    @property
    def address(self) -> RedisAddress:
        """For a client."""
        environ = {f"GATEPOST_{name.upper()}": str(value) for name, value in self.settings.items()}
        return of_settings(configuration.load(environ=environ))

    def refused(self) -> set[bytes]:
        """What the gateway tried and may not do: nothing, when it is `*0` alone."""
        return {node.refused() for node in self.nodes if node.running()}

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


class RedisAlone(Outside):
    """One server."""

    def __init__(self, directory: Path, *, guard: Guard | None = None) -> None:
        self.guard = guard
        self.nodes = [Node(directory / "0", WRITING, guard)]

    @property
    def url(self) -> str:
        return self._url("", self.nodes, "/0")

    def start(self) -> None:
        self.nodes[0].start()


class RedisCluster(Outside):
    """Masters that share the slots, and replicas where asked for. It is formed when it starts: each node knows the others from a file."""

    def __init__(self, directory: Path, *, masters: int = 3, replicas: int = 0, guard: Guard | None = None) -> None:
        self.guard = guard
        options = {**WRITING, **_REPLICATING, "cluster-enabled": "yes", "cluster-node-timeout": "1000"}
        # One that is lost stops its own part only.
        options |= {"cluster-require-full-coverage": "no"}
        options |= {"tls-cluster": "yes"} if guard else {}
        self.nodes = [Node(directory / str(number), options, guard) for number in range(masters * (1 + replicas))]
        self.masters = masters
        for number, node in enumerate(self.nodes):
            (node.directory / "nodes.conf").write_text(self._known_to(number))

    @property
    def url(self) -> str:
        return self._url("+cluster", self.nodes)

    def _known_to(self, own: int) -> str:
        lines = []
        for number, node in enumerate(self.nodes):
            shard = number % self.masters
            first, last = SLOTS * shard // self.masters, SLOTS * (shard + 1) // self.masters - 1
            flags = ("myself," if number == own else "") + ("master" if number < self.masters else "slave")
            of = "-" if number < self.masters else f"{shard:040x}"
            slots = f" {first}-{last}" if number < self.masters else ""
            place = f"127.0.0.1:{node.port}@{node.port + 10000}"
            # Ours wants to be told of shards; Debian's, which has TLS, is older.
            place += "" if self.guard else f",,tls-port=0,shard-id={shard + 100:040x}"
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

    def flush(self) -> None:
        for node in self.nodes[: self.masters]:
            assert node.command("FLUSHALL") == b"+OK\r\n"


class WatchedRedis(Outside):
    """A master, its replicas, and Sentinels that watch it."""

    def __init__(self, directory: Path, *, replicas: int = 2, sentinels: int = 3, guard: Guard | None = None) -> None:
        self.guard = guard
        options = {**WRITING, **_REPLICATING}
        self.nodes = [Node(directory / "0", options, guard)]
        first = self.nodes[0].port
        for number in range(1, replicas + 1):
            self.nodes.append(Node(directory / str(number), {**options, "replicaof": f"127.0.0.1 {first}"}, guard))
        self.sentinels = [Sentinel(directory / f"sentinel{number}", guard) for number in range(sentinels)]

    @property
    def url(self) -> str:
        return self._url("+sentinel", self.sentinels, f"/{MASTER}")

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

    def flush(self) -> None:
        assert self.master().command("FLUSHALL") == b"+OK\r\n"

    def stop(self) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.kill()


class Sentinel(Node):
    def __init__(self, directory: Path, guard: Guard | None = None) -> None:
        super().__init__(directory, {}, guard)

    def configure(self, port: int, quorum: int) -> None:
        lines = [
            f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", f"sentinel monitor {MASTER} 127.0.0.1 {port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}", f"sentinel failover-timeout {MASTER} 3000",
            f"sentinel parallel-syncs {MASTER} 2",
        ]  # fmt: skip
        if self.guard:
            lines += [f"{name} {value}" for name, value in self.guard.options(self.port).items()]
            lines += [
                "user default off", f"user {OPERATOR} on >{OPERATOR} ~* &* +@all",
                f"user gatepost on >{PASSWORD} -@all +@connection +sentinel|get-master-addr-by-name +sentinel|master",
                f"sentinel sentinel-user {OPERATOR}", f"sentinel sentinel-pass {OPERATOR}",
                f"sentinel auth-user {MASTER} {OPERATOR}", f"sentinel auth-pass {MASTER} {OPERATOR}",
            ]  # fmt: skip
        (self.directory / "sentinel.conf").write_text("\n".join((*lines, "")))

    def spawn(self) -> None:
        self.process = Process(
            [self.binary, self.directory / "sentinel.conf", "--sentinel"], self.directory / "log", cwd=self.directory
        )


class _Startable(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


T = TypeVar("T", bound=_Startable)


@contextlib.contextmanager
def started(make: Callable[..., T], *, guarded: bool = False, **options: Any) -> Iterator[T]:
    """One of the above while the block runs. `guarded`: nobody gets in without TLS, certificate and password."""
    with tempfile.TemporaryDirectory(prefix="gp-") as name:
        directory = Path(name)
        redis = make(directory, guard=Guard(directory / "guard") if guarded else None, **options)
        try:
            redis.start()
            yield redis
        finally:
            redis.stop()
