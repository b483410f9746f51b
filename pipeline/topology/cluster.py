"""A Redis Cluster that answers like one server: each command goes to the master of its slot.

Our own, and not the library's, for three reasons. That retries what may have happened. It refuses scripts in a pipeline. And it sends in
the costly way (quick.py). What is here is little: a map of the slots, which is asked for anew when a node is away or says that a
slot has moved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from redis.commands import AsyncCoreCommands
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is the library's
    MovedError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is the library's
)

from pipeline.topology.routing import SLOTS, key_of, slot_of

FOLLOWED: Final = 5
"""How often one command is sent on because its slot has moved."""
MAP_EVERY: Final = 0.2
"""Seconds between two looks at the map, however many commands fail meanwhile."""
MOST_NODES: Final = 1000
_LOST: Final = (ConnectionError, TimeoutError, ClusterDownError, OSError)

Place: TypeAlias = tuple[str, int]
Node: TypeAlias = Any
"""A `redis.asyncio.Redis`, of which the library leaves most untyped."""


class Cluster(AsyncCoreCommands):
    """The commands of a `redis.asyncio.Redis`, its `pipeline` and `pubsub`.

    A pipeline that is a transaction must be of one slot; any other is split by nodes. A command without a key is for any node, so what
    asks about the server itself goes to `masters()`.
    """

    spread: Final = True
    """Told from a client of one server by this; a test may have put something around it."""
    _event_dispatcher: Any = None  # the library's; used by its own connections only

    def __init__(self, seeds: Sequence[Place], connect: Callable[[str, int], Node]) -> None:
        self._seeds = tuple(seeds)
        self._connect = connect
        self._nodes: dict[Place, Node] = {}
        self._doubted: dict[Place, float] = {}
        """Who was away when it was spoken to last, and since when: others are asked for the map before."""
        self._slots: list[Place | None] = []
        self._stale = True
        self._looked = 0.0
        self._looking = asyncio.Lock()
        self.replicas = 0

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        key = key_of(words)
        for _ in range(FOLLOWED):
            node = await self.node_of(key)
            try:
                return await node.execute_command(*words, **options)
            except MovedError as error:
                self.moved(error)
            except AskError as error:
                return await self._asking(error, words, options)
            except _LOST:
                self.lost(node)
                raise
        raise ConnectionError("a slot keeps moving")

    def pipeline(self, transaction: bool = True) -> Pipeline:
        return Pipeline(self, transaction)

    def pubsub(self, **options: Any) -> Any:
        """Of any node: what is published at one is told at all."""
        places = [place for place in dict.fromkeys(self._slots) if place is not None] or list(self._seeds)
        return self._node(places[time.monotonic_ns() // 1000 % len(places)]).pubsub(**options)

    async def masters(self) -> list[Node]:
        """A client for each of them."""
        await self._know()
        return [self._node(place) for place in dict.fromkeys(self._slots) if place is not None]

    async def node_of(self, key: bytes | str | None) -> Node:
        """The client for the master of a key's slot. Raises ConnectionError when nobody has it."""
        await self._know()
        if key is None:
            return self._node(next(place for place in self._slots if place is not None))
        place = self._slots[slot_of(key)]
        if place is None:
            self._stale = True
            raise ConnectionError("no node of the Cluster has this slot")
        return self._node(place)

    def lost(self, node: Node) -> None:
        """A node is away: before the next command the map is looked at."""
        self._stale = True
        self._doubted |= {place: time.monotonic() for place, its in self._nodes.items() if its is node}

    async def aclose(self) -> None:
        nodes, self._nodes = self._nodes, {}
        self._stale = True
        for node in nodes.values():
            await node.aclose()

    def _node(self, place: Place) -> Node:
        node = self._nodes.get(place)
        if node is None:
            node = self._nodes[place] = self._connect(*place)
        return node

    def moved(self, error: MovedError) -> None:
        self._slots[error.slot_id] = (error.host, error.port)
        self._stale = True

    async def _asking(self, error: AskError, words: Sequence[Any], options: dict[str, Any]) -> Any:
        """A slot is on its way to another node, and this key is there already."""
        pipe = self._node((error.host, error.port)).pipeline(transaction=False)
        pipe.execute_command("ASKING")
        pipe.execute_command(*words, **options)
        return (await pipe.execute())[1]

    async def _know(self) -> None:
        """Look at the map when there is none, or when it may be wrong. Raises ConnectionError when no node answers."""
        if not self._stale and self._slots:
            return
        async with self._looking:
            if not self._stale or (self._slots and time.monotonic() < self._looked + MAP_EVERY):
                return
            self._looked = time.monotonic()
            said = []
            for place in self._whom_to_ask():
                try:
                    rows: Any = await self._node(place).execute_command(b"CLUSTER", "SLOTS")
                except (RedisError, OSError) as error:
                    self._doubted[place] = time.monotonic()
                    said.append(str(error))
                    continue
                self._doubted.pop(place, None)
                self._take(rows, place)
                await self._drop_others()
                return
            if not self._slots:
                raise ConnectionError("; ".join(dict.fromkeys(said))[:500])

    def _whom_to_ask(self) -> list[Place]:
        """Those that answered first: all wait meanwhile, and a node that hangs takes its time to be given up."""
        places = dict.fromkeys((*self._nodes, *self._seeds))
        return sorted(places, key=lambda place: self._doubted.get(place, 0.0))[:MOST_NODES]

    def _take(self, rows: Sequence[Any], asked: Place) -> None:
        slots: list[Place | None] = [None] * SLOTS
        for first, last, master, *_ in rows:
            # A node that does not know its own name leaves it out.
            host = master[0].decode() if master[0] not in (None, b"", b"?") else asked[0]
            slots[int(first) : int(last) + 1] = [(host, int(master[1]))] * (int(last) - int(first) + 1)
        self._slots = slots
        self._stale = not any(slots)
        if self._stale:
            raise ConnectionError("the Cluster has no slots")

    async def _drop_others(self) -> None:
        """Connections to nodes that are masters no more are let go; what is under way there ends by itself."""
        wanted = set(self._slots)
        for place in [place for place in self._nodes if place not in wanted]:
            self._doubted.pop(place, None)
            await self._nodes.pop(place).connection_pool.retire()


class Pipeline(AsyncCoreCommands):
    """Commands that are sent together. Their answers come in the order in which they were given."""

    _event_dispatcher: Any = None  # as above

    def __init__(self, cluster: Cluster, transaction: bool) -> None:
        self._cluster = cluster
        self._transaction = transaction
        self._commands: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._commands)

    def __bool__(self) -> bool:
        return True

    def execute_command(self, *words: Any, **options: Any) -> Any:
        self._commands.append((words, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, self._commands = self._commands, []
        if not commands:
            return []
        named = [key_of(words) for words, _ in commands]
        if self._transaction:
            return await self._as_one(commands, named, raise_on_error)
        groups: dict[Node, list[int]] = {}
        for at, key in enumerate(named):
            groups.setdefault(await self._cluster.node_of(key), []).append(at)
        answers: list[Any] = [None] * len(commands)
        done = await asyncio.gather(
            *(self._at_node(node, commands, group, answers) for node, group in groups.items()), return_exceptions=True
        )
        failed = [one for one in done if one is not None]
        if not failed and raise_on_error:
            failed = [one for one in answers if isinstance(one, Exception)]
        if failed:
            raise failed[0]
        return answers

    async def _at_node(
        self, node: Node, commands: Sequence[tuple[Any, Any]], group: Sequence[int], answers: list[Any]
    ) -> None:
        pipe = node.pipeline(transaction=False)
        for at in group:
            pipe.execute_command(*commands[at][0], **commands[at][1])
        try:
            found = await pipe.execute(raise_on_error=False)
        except _LOST:
            self._cluster.lost(node)
            raise
        for at, answer in zip(group, found, strict=True):
            if isinstance(answer, AskError):  # which a MovedError is; it was not done there
                words, options = commands[at]
                try:
                    answers[at] = await self._cluster.execute_command(*words, **options)
                except ResponseError as error:
                    answers[at] = error
            else:
                answers[at] = answer

    async def _as_one(
        self, commands: Sequence[tuple[Any, Any]], named: Sequence[bytes | str | None], raise_on_error: bool
    ) -> list[Any]:
        slots = {slot_of(key) for key in named if key is not None}
        if len(slots) != 1:
            raise ResponseError("CROSSSLOT a transaction has keys of several slots")
        key = next(key for key in named if key is not None)
        for _ in range(FOLLOWED):
            node = await self._cluster.node_of(key)
            pipe = node.pipeline(transaction=True)
            for words, options in commands:
                pipe.execute_command(*words, **options)
            try:
                answers: list[Any] = await pipe.execute(raise_on_error)
            except MovedError as error:
                self._cluster.moved(error)
            except AskError as error:
                raise ConnectionError("a slot is on its way to another node") from error
            except _LOST:
                self._cluster.lost(node)
                raise
            else:
                return answers
        raise ConnectionError("a slot keeps moving")
