"""A slot of a Cluster on its way from one node to another, key by key: what `redis-cli --cluster reshard` does, at the test's own pace."""

from __future__ import annotations

from typing import Any, Self

import redis
from redis.exceptions import MovedError

from pipeline.topology.routing import slot_of
from tests.support.topologies import RedisCluster


class Move:
    def __init__(self, cluster: RedisCluster, key: str) -> None:
        """`key`: one of the slot's, which is where it was when the Cluster was formed."""
        self._key = key
        self.slot = slot_of(key)
        source = cluster.nodes.index(cluster.master_of(key))
        target = (source + 1) % cluster.masters
        self._ids = [f"{number:040x}" for number in (source, target)]
        self._port = cluster.nodes[target].port
        self.source, self.target = (redis.Redis(port=cluster.nodes[number].port) for number in (source, target))

    def begin(self) -> None:
        source, target = self._ids
        self.target.execute_command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", source)
        self.source.execute_command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", target)

    def left(self) -> list[bytes]:
        """Keys that are still where they were, at most a hundred."""
        found: Any = self.source.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, 100)
        return list(found)

    def carry(self, *keys: bytes | str) -> None:
        if keys:
            self.source.execute_command("MIGRATE", "127.0.0.1", self._port, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        """All that is left, and then the slot itself."""
        while found := self.left():
            self.carry(*found)
        for node in (self.target, self.source):
            node.execute_command("CLUSTER", "SETSLOT", self.slot, "NODE", self._ids[1])

    def at_once(self) -> None:
        """The slot as a whole, as Valkey 9 can; this returns when it has begun."""
        words = ("SLOTSRANGE", self.slot, self.slot, "NODE", self._ids[1])
        self.source.execute_command("CLUSTER", "MIGRATESLOTS", *words)

    def arrived(self) -> bool:
        try:
            self.target.exists(self._key)
        except MovedError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.source.close()
        self.target.close()
