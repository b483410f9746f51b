"""Claims on the retry schedule (`claim.lua`): those that are made at the same time go to Redis together.

Where many domains become due at once each of them has few messages, and a call of its own would cost more than all that is done in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from redis.exceptions import RedisError, ResponseError

from pipeline import keys
from pipeline.clock import Clock
from pipeline.faults import CorruptError, StoreAwayError, StoreError
from pipeline.group_commit import GroupCommit
from pipeline.state import Message, decode_head
from pipeline.store import Client, Script, explain
from pipeline.topology.spread import is_spread

BATCH: Final = 10
"""Messages per claim: few enough that slots share a backlog evenly, enough to make the call cheap per message."""
BATCH_OCTETS: Final = 512 << 10
MOST: Final = 64
"""Claims in one call: about 3 ms of the server's time."""
MOST_OCTETS: Final = 4 << 20
"""Octets of bodies in one call, from which on each claim has a single message."""


class Work(msgspec.Struct):
    """A waiting message in a worker's hands. `hot`: its body, when Redis had it."""

    id: str
    message: Message | CorruptError
    hot: bytes | None


class Claim(msgspec.Struct):
    """What a claim came to. `word`: early, full, lost, empty or work, as in claim.lua; `next`: ms, 0 for never.

    `good`: ms, when the domain's server last took a message, as far as it was noted (see steps.noted_good); 0 for never.
    """

    word: str
    open: bool
    next: int
    good: int
    work: list[Work]


Words: TypeAlias = tuple[str | int, ...]


class _Waiting(NamedTuple):
    key: str
    words: Words
    done: asyncio.Future[Claim]
    weight: int = 0


class Claims:
    def __init__(self, redis: Client, clock: Clock, *, beyond_memory: bool = False) -> None:
        self._redis = redis
        self._clock = clock
        self._script = Script.named("claim", beyond_memory=beyond_memory, replicated=True)
        self._groups: dict[int, GroupCommit[_Waiting]] = {}
        """In a Cluster one for each partition: a call is of one slot, and a node that is away holds up no other."""

    async def claim(self, partition: int, domain: str, words: Words) -> Claim:
        """`words`: as in claim.lua, from the domain's name on. Raises StoreError, and of that ClockError, of the claim whose time it is."""
        due = keys.due(partition)
        names = (due, keys.queue(partition, domain), keys.slots(partition, domain), keys.route(partition, domain))
        done: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(due, (*names, f"gp:{{{partition}}}:", domain, *words), done)
        self._group(partition if is_spread(self._redis) else 0).add(waiting)
        return await done

    def _group(self, lane: int) -> GroupCommit[_Waiting]:
        group = self._groups.get(lane)
        if group is None:
            group = self._groups[lane] = GroupCommit(self._send, most=MOST, weight=0, name="claims", failed=_told)
        return group

    async def _send(self, group: Sequence[_Waiting]) -> None:
        # Nobody is there any more who would give back what a cancelled one claims.
        wanted = [waiting for waiting in group if not waiting.done.cancelled()]
        if not wanted:
            return
        words = [word for waiting in wanted for word in waiting.words]
        answers = await self._script(
            self._redis, [wanted[0].key], [BATCH, BATCH_OCTETS, MOST_OCTETS, self._clock.tolerance, *words]
        )
        for waiting, answer in zip(wanted, answers, strict=True):
            if waiting.done.done():
                continue
            if answer[0] == b"broken":
                waiting.done.set_exception(explain(ResponseError(answer[1].decode("utf-8", "replace"))))
            else:
                waiting.done.set_result(_claim(answer))


def _told(error: BaseException) -> BaseException:
    """What those are told whose call failed."""
    if isinstance(error, RedisError | OSError):
        return explain(error)
    return error if isinstance(error, StoreError) else StoreAwayError(str(error))


def _claim(answer: Sequence[Any]) -> Claim:
    rows = zip(answer[4::3], answer[5::3], answer[6::3], strict=True)
    return Claim(
        answer[0].decode(),
        bool(answer[1]),
        int(float(answer[2] or 0)),
        int(answer[3]),
        [_work(*row) for row in rows],
    )


def _work(message_id: bytes, head: bytes, body: bytes) -> Work:
    name = message_id.decode()
    try:
        message: Message | CorruptError = decode_head(head)
    except msgspec.DecodeError as error:
        message = CorruptError(f"the head of {name} cannot be read: {error}")
    return Work(name, message, body or None)
