"""The log of record: the one place that appends, and reading what was appended.

`Log.submit` is the only door. Steps that arrive while a call to Redis is under way are collected and sent together in the
next one (group commit): one round trip and one fsync for many messages. Measured with fsync always: 2.5 ms of CPU for the
three steps of a message in single calls, 0.35 ms with twenty steps per call.

A call whose reply was lost may have happened. The log itself knows: its tail is searched for the step's own events, and only
a step that is not there is sent again. So a step happens at most once whatever the connection does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import RedisError

from pipeline import keys, metrics
from pipeline.events import Event, MessageEvent, Recorded, Refused, decode
from pipeline.faults import ConflictError, LeaseLostError, StoreAwayError, StoreError
from pipeline.group_commit import GroupCommit
from pipeline.ids import born, partition_of
from pipeline.kinds import kind_of
from pipeline.places import place_of
from pipeline.state import IllegalStep, Message, evolve
from pipeline.steps import Step
from pipeline.store import Client, Script, explain, faults
from pipeline.topology.replicas import still_there
from pipeline.topology.spread import is_spread, replicas_of, time_ms

MAX_STEPS: Final = 128
"""Steps in one call: about 10 ms of the server's time, so nobody else waits longer than that."""
MAX_WEIGHT: Final = 2 << 20
"""Octets in one call: eight of the largest hot bodies."""
SKEW_MS: Final = 60_000
"""How far the clock behind an id and that of Redis may be apart."""
CLOCKS_MS: Final = 5_000
"""How far the clocks of a master and of the replica that takes its place may be apart."""
XRANGE: Final = b"XRANGE"
XREAD: Final = b"XREAD"
"""Named in octets, so that the client leaves the answer as it comes: it would make a dictionary of each entry, which is half of what
reading costs.
"""
_EDGE: Final = ["floor", "last"]
RECONNECT: Final = 0.1
"""Seconds between two looks whether Redis is back."""


class Damaged(msgspec.Struct, frozen=True):
    """An entry of the log that cannot be read: counted and shown by whoever meets it, never a reason to stop."""

    partition: int
    entry: str
    subject: str
    reason: str
    kind: type[Event] | None = None
    """What it would be, as far as that can be told (see kinds.py)."""


class Page(msgspec.Struct, frozen=True):
    """Some entries that follow each other, of which only those that somebody wants are here."""

    entries: list[Recorded | Damaged]
    """Events of the kinds that were asked for, and entries that are none that can be read: of these kinds, or of a kind that cannot be
    told.
    """
    count: int
    """How many entries there were, wanted or not."""
    reached: str
    """The last of them; where reading began when there was none."""


class Edge(msgspec.Struct, frozen=True):
    """Where the part of a log that is in Redis begins."""

    floor: int = 0
    """From which millisecond on it is whole; 0 while nothing was taken out."""
    sealed: str = "0"
    """The last entry that is archived: nothing behind it was ever taken out, so who has seen that misses nothing."""

    def hides(self, after: str) -> bool:
        """Whether some of what came behind an entry may be in the archive only."""
        return place_of(after)[0] < self.floor and place_of(after) < place_of(self.sealed)

    def took(self, entry: str) -> bool:
        """Whether an entry was taken out, or is just about to be."""
        return place_of(entry)[0] < self.floor and place_of(entry) <= place_of(self.sealed)


class _Waiting(NamedTuple):
    step: Step
    done: asyncio.Future[bool]
    until: float
    """Monotonic time until which an unreachable Redis is waited for; infinite for a worker."""

    @property
    def weight(self) -> int:
        return self.step.weight


class Log:
    """One per process. `commit` from any number of tasks; reading is stateless."""

    def __init__(self, redis: Client, *, beyond_memory: bool = False, single: bool = False) -> None:
        """`beyond_memory`: steps are taken when Redis is full as well; for those that move mail on, not for new mail. `single`: all
        steps are of one partition.
        """
        self._redis = redis
        self._beyond_memory = beyond_memory
        self._append = Script.named("append", beyond_memory=beyond_memory, replicated=True)
        self._lanes: dict[str, Log] | None = {} if is_spread(redis) and not single else None
        """In a Cluster each log has a committer of its own: one call is of one slot, and a node that is away holds up no other."""
        self._group = GroupCommit(self._send, most=MAX_STEPS, weight=MAX_WEIGHT, name="committer", failed=_told)
        self._server_ms = 0
        """Redis's clock at the last answer: where a search for steps of unknown fate begins."""

    def submit(self, step: Step, *, patience: float | None = None) -> asyncio.Future[bool]:
        """Make the step happen; the future's result means that it is on disk. True: the body was not hot, so it has to be
        dropped from the cold store.

        `patience`: seconds to wait for a Redis that cannot be reached; None: for ever.
        Raises ConflictError (the subject has moved on), LeaseLostError, StoreFullError, StoreAwayError (after `patience`;
        the step may have happened).
        """
        if self._lanes is not None:
            return self._lane(step.log).submit(step, patience=patience)
        until = float("inf") if patience is None else time.monotonic() + patience
        waiting = _Waiting(step, asyncio.get_running_loop().create_future(), until)
        self._group.add(waiting)
        return waiting.done

    async def commit(self, step: Step, *, patience: float | None = None) -> bool:
        """As `submit`, waited for."""
        return await self.submit(step, patience=patience)

    @property
    def idle(self) -> bool:
        return self._group.idle and all(lane.idle for lane in (self._lanes or {}).values())

    def _lane(self, log: str) -> Log:
        assert self._lanes is not None
        lane = self._lanes.get(log)
        if lane is None:
            lane = self._lanes[log] = Log(self._redis, beyond_memory=self._beyond_memory, single=True)
        return lane

    async def _send(self, batch: Sequence[_Waiting]) -> None:
        try:
            if not self._server_ms:
                self._server_ms = await time_ms(self._redis, batch[0].step.log)
            metrics.COMMIT_STEPS.add(by=len(batch))
            metrics.COMMIT_BATCH.observe(len(batch))
            began = time.monotonic()
            answer = await self._append(
                self._redis, [batch[0].step.log], arguments([waiting.step for waiting in batch])
            )
            metrics.COMMIT_SECONDS.observe(time.monotonic() - began)
        except (RedisError, OSError) as error:
            fault = explain(error)
            if not isinstance(fault, StoreAwayError):
                raise fault from error
            await self._settle(list(batch), fault)
            return
        self._server_ms = answer[0]
        for waiting, result in zip(batch, answer[1:], strict=True):
            _resolve(waiting, result)

    async def _settle(self, batch: list[_Waiting], fault: StoreAwayError) -> None:
        """The reply was lost: wait for Redis, find in the log what happened, and send the rest again."""
        while batch:
            await asyncio.sleep(RECONNECT)
            now = time.monotonic()
            for waiting in [waiting for waiting in batch if now > waiting.until or waiting.done.done()]:
                batch.remove(waiting)
                if not waiting.done.done():
                    waiting.done.set_exception(fault)
            try:
                happened = await self._find([waiting.step for waiting in batch])
            except (RedisError, OSError) as error:
                found = explain(error)
                fault = found if isinstance(found, StoreAwayError) else fault
                continue
            for waiting in batch:
                if not waiting.done.done() and waiting.step.head in happened:
                    waiting.done.set_result(not waiting.step.state)
            self._group.put_back([waiting for waiting in batch if not waiting.done.done()])
            return

    async def _find(self, steps: Sequence[Step]) -> set[str]:
        """Heads of those steps whose events stand at the end of their log, and at so many replicas as is asked for."""
        wanted: dict[str, dict[tuple[bytes, bytes], str]] = {}
        for step in steps:
            if step.events:
                wanted.setdefault(step.log, {})[step.subject.encode(), step.events[0]] = step.head
        happened = set()
        for log, sought in wanted.items():
            start = self._server_ms - CLOCKS_MS if self._server_ms else await time_ms(self._redis, log) - SKEW_MS
            last = b""
            async for entry, fields in _entries(self._redis, log, str(max(0, start)), "+"):
                head = sought.get((fields.get(b"s", b""), fields.get(b"e", b"")))
                if head:
                    happened.add(head)
                    last = entry
            if last and replicas_of(self._redis):
                await still_there(self._redis, log, last, replicas_of(self._redis))
        return happened

    async def read(self, partition: int, after: str, count: int, until: str | None = None) -> list[Recorded | Damaged]:
        """Up to `count` entries of a partition behind `after` ("0": from the first), in order, none behind `until`."""
        with faults():
            rows = await self._redis.xrange(
                keys.log(partition), min="(" + after if after != "0" else "-", max=until or "+", count=count
            )
        return [decode_entry(partition, entry, fields) for entry, fields in rows]

    async def page(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> Page:
        """As `read`, without what nobody wants to see: an event of another kind is not decoded, and told only by the page's `count`."""
        return (await self.page_above(partition, after, count, until, kinds))[0]

    async def page_above(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> tuple[Page, Edge]:
        """As `page`, and where the log began at that moment: what is before that may be trimmed."""
        with faults():
            pipe = self._redis.pipeline(transaction=True)
            pipe.execute_command(
                XRANGE, keys.log(partition), "(" + after if after != "0" else "-", until or "+", "COUNT", count
            )
            pipe.hmget(keys.archive(partition), _EDGE)
            rows, edge = await pipe.execute()
        return page_of(partition, rows, after, kinds), _edge(*edge)

    async def edge(self, partition: int) -> Edge:
        """Where the log begins in Redis."""
        with faults():
            floor, sealed = await self._redis.hmget(keys.archive(partition), _EDGE)
        return _edge(floor, sealed)

    async def last_entry(self, partition: int) -> str:
        """The last that was appended, whether it is in Redis or, where nothing came for long, in the archive only."""
        with faults():
            pipe = self._redis.pipeline(transaction=True)
            pipe.xrevrange(keys.log(partition), count=1)
            pipe.hget(keys.archive(partition), "last")
            rows, sealed = await pipe.execute()
        return (rows[0][0] if rows else sealed or b"0").decode()

    async def history(self, message_id: str, version: int | None = None) -> AsyncIterator[Recorded]:
        """What happened to one message, and to its route meanwhile, from the moment in its id.

        Ends at its last outcome, or at `version` for a live one: the log behind that is not read.
        """
        partition = partition_of(message_id)
        message: Message | None = None
        start = str(max(0, born(message_id) - SKEW_MS))
        with faults():
            async for entry, fields in _entries(self._redis, keys.log(partition), start, "+"):
                subject = fields.get(b"s", b"").decode("utf-8", "replace")
                if subject != message_id and (message is None or subject != "@" + message.domain):
                    continue
                recorded = decode_entry(partition, entry, fields)
                if isinstance(recorded, Damaged):
                    continue
                yield recorded
                if isinstance(recorded.event, Refused):
                    return
                if subject != message_id or not isinstance(recorded.event, MessageEvent):
                    continue
                # Old history is read as it is: a step that should not have been possible is shown, not judged.
                with contextlib.suppress(IllegalStep):
                    message = evolve(message, recorded.event, message_id)
                finished = message is not None and not message.live
                if finished or (version is not None and recorded.version >= version):
                    return


def _told(error: BaseException) -> StoreError:
    """What those are told whose call failed."""
    return error if isinstance(error, StoreError) else StoreAwayError(str(error))


def _edge(floor: bytes | None, sealed: bytes | None) -> Edge:
    return Edge(int(floor or 0), (sealed or b"0").decode())


async def _entries(redis: Client, log: str, start: str, end: str) -> AsyncIterator[tuple[bytes, dict[bytes, bytes]]]:
    while True:
        rows = await redis.xrange(log, min=start, max=end, count=1000)
        for entry, fields in rows:
            yield entry, fields
        if len(rows) < 1000:
            return
        start = "(" + rows[-1][0].decode()


async def read_pages(
    redis: Client, after: Mapping[int, str], count: int, kinds: Container[type[Event]] | None = None
) -> dict[int, Page]:
    """Of each partition whose log goes on behind an entry, up to `count` of what follows."""
    logs = [keys.log(partition) for partition in after]
    with faults():
        if is_spread(redis):
            return await _read_each(redis, after, count, kinds)
        answer: Any = await redis.execute_command(XREAD, "COUNT", count, "STREAMS", *logs, *after.values())
    # Of two versions of the protocol, one answers with pairs and the other with a map.
    rows = dict(answer or ())
    found = {partition: rows.get(log.encode()) for partition, log in zip(after, logs, strict=True)}
    return {
        partition: page_of(partition, entries, after[partition], kinds)
        for partition, entries in found.items()
        if entries
    }


async def _read_each(
    redis: Client, after: Mapping[int, str], count: int, kinds: Container[type[Event]] | None
) -> dict[int, Page]:
    """The same in a Cluster, where one read is of one slot."""
    pipe = redis.pipeline(transaction=False)
    for partition, entry in after.items():
        pipe.execute_command(XRANGE, keys.log(partition), "(" + entry if entry != "0" else "-", "+", "COUNT", count)
    rows: Any = await pipe.execute()
    return {
        partition: page_of(partition, entries, after[partition], kinds)
        for partition, entries in zip(after, rows, strict=True)
        if entries
    }


def page_of(
    partition: int,
    rows: Sequence[tuple[bytes, Sequence[bytes]]],
    after: str,
    kinds: Container[type[Event]] | None = None,
) -> Page:
    """A page out of the entries of a stream, each with its fields and their values in turn. `kinds` None: all events are wanted."""
    entries: list[Recorded | Damaged] = []
    for entry, fields in rows:
        try:
            # As append.lua writes them; any other order is found below.
            first, subject, second, version, third, data = fields
            plain = first == b"s" and second == b"v" and third == b"e"
        except ValueError:
            plain = False
        if not plain:
            named = dict(zip(fields[::2], fields[1::2], strict=True))
            subject, version, data = named.get(b"s", b""), named.get(b"v", b""), named.get(b"e", b"")
        if kinds is not None:
            kind = kind_of(data)
            if kind is not None and kind not in kinds:
                continue
        entries.append(_decoded(partition, entry, subject, version, data))
    return Page(entries, len(rows), rows[-1][0].decode() if rows else after)


def decode_entry(partition: int, entry: bytes, fields: dict[bytes, bytes]) -> Recorded | Damaged:
    return _decoded(partition, entry, fields.get(b"s", b""), fields.get(b"v", b""), fields.get(b"e", b""))


def _decoded(partition: int, entry: bytes, subject: bytes, version: bytes, data: bytes) -> Recorded | Damaged:
    name = subject.decode("utf-8", "replace")
    try:
        return Recorded(partition, entry.decode(), name, int(version), decode(data))
    except (ValueError, msgspec.DecodeError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        return Damaged(partition, entry.decode(), name, reason, kind_of(data))


def arguments(steps: Sequence[Step]) -> list[bytes | str | int]:
    """ARGV of append.lua."""
    words: list[bytes | str | int] = []
    for step in steps:
        words += (
            step.head,
            step.log,
            step.subject,
            step.expected,
            step.state,
            step.fence,
            step.token,
            step.body,
            len(step.events),
        )
        words += step.events
        words.append(len(step.effects))
        for effect in step.effects:
            words.append(len(effect))
            words += effect
    return words


def _resolve(waiting: _Waiting, result: int) -> None:
    if waiting.done.done():
        return
    if result > 0:
        waiting.done.set_result(result == 2)
    elif result == 0:
        waiting.done.set_exception(ConflictError(f"{waiting.step.subject} has moved on"))
    else:
        waiting.done.set_exception(LeaseLostError(f"{waiting.step.subject}: the lease was lost"))
