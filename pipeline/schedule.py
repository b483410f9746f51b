"""The retry schedule: which domain may be tried when, by whom, and with how many connections at once.

A deliverer claims a *connection slot* of a due domain, and some of the domain's waiting messages with it. The slot's token is
the fence: a step that carries a token nobody holds any more is refused by the log. The next attempt is written in the same
step as the claim, before anything is dialled, so a crash loop cannot hammer a customer's server. All leases use one clock per
call, the caller's, as long as that is together with Redis's; they end only when nobody renewed them in time. What judges or writes
leases raises ClockError otherwise: then nothing was changed, the clock has been put right, and it is for the caller to ask anew.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.asking import Asking
from pipeline.claims import Claim, Claims
from pipeline.clock import PART, Clock, judged, put_right
from pipeline.faults import ClockError
from pipeline.settings import Settings
from pipeline.state import Message, decode_head
from pipeline.steps import MS, Route, decode_route
from pipeline.store import Script, Store, faults

PORTION: Final = 1000
"""Messages that are made free in one call: a millisecond of the server's time."""


class ServerSlot(msgspec.Struct, frozen=True):
    """taken, full, or down until a time (ms) for a reason."""

    word: str
    until: int
    why: str
    width: int
    """How many connections may be open at once just now."""


def new_token() -> str:
    return secrets.token_hex(8)


class Schedule:
    def __init__(
        self, store: Store, settings: Settings, *, clock: Clock | None = None, beyond_memory: bool = False
    ) -> None:
        """`clock`: the one that callers read, and that is put right. Without it times are taken as they are."""
        self._store = store
        self._settings = settings
        self._clock = clock or Clock(time.time_ns)
        self._asking = Asking(store.redis)
        self._claims = Claims(store.redis, self._clock, beyond_memory=beyond_memory)
        self._hold = Script.named("hold", beyond_memory=beyond_memory)
        self._server = Script.named("server", beyond_memory=beyond_memory)
        self._hasten = Script.named("hasten", beyond_memory=beyond_memory)
        self._lease = int(settings.lease) // MS
        self._limit = settings.connections_per_server

    def _judged(self) -> AbstractAsyncContextManager[None]:
        return judged(self._clock, self._store.redis, self._settings)

    async def due(self, partition: int, now: int, count: int) -> tuple[list[str], int]:
        """Domains that are due, the longest waiting first; and when (ms) the next one is, 0 when nothing waits."""
        return (await self.due_in([partition], now, count))[0]

    async def due_in(self, partitions: Sequence[int], now: int, count: int) -> list[tuple[list[str], int]]:
        """As `due`, of each of these in one round trip."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for partition in partitions:
                pipe.zrangebyscore(keys.due(partition), "-inf", now // MS, start=0, num=count)
                pipe.zrangebyscore(keys.due(partition), f"({now // MS}", "+inf", start=0, num=1, withscores=True)
            rows = await pipe.execute()
        return [
            ([name.decode() for name in ready], int(later[0][1]) if later else 0)
            for ready, later in zip(rows[::2], rows[1::2], strict=True)
        ]

    async def claim(
        self,
        partition: int,
        domain: str,
        token: str,
        *,
        now: int,
        retry_at: int,
        more: bool,
        was_open: bool = False,
        limit: int = 0,
    ) -> Claim:
        """`limit`: slots that an open domain may have; 0: as many as connections to one server.

        `was_open`: the domain was, when this slot claimed last. When it no longer is, another slot has backed it off, and there is
        no more of its mail before the interval is over.
        """
        verb = ("flow" if was_open else "more") if more else "new"
        ends = now // MS + self._lease
        words = (now // MS, ends, retry_at // MS, limit or self._limit, token, verb)
        async with self._judged():
            return await self._claims.claim(partition, domain, words)

    async def renew(self, partition: int, domain: str, token: str, held: Sequence[str], now: int) -> bool:
        """Keep a slot and its messages for another lease; False when they were given to somebody else."""
        return await self._hold_call("renew", partition, domain, token, held, now, now // MS + self._lease)

    async def release(
        self,
        partition: int,
        domain: str,
        token: str,
        held: Sequence[str],
        now: int,
        *,
        at: int = 0,
        untried: bool = False,
    ) -> None:
        """Give a slot back, its untouched messages to be tried from `at` (ns; now when 0).

        `untried`: no server was dialled, so the next attempt that the claim wrote down need not be waited for.
        """
        verb = "untried" if untried else "release"
        delay = max(0, at - now)
        try:
            await self._hold_call(verb, partition, domain, token, held, now, (now + delay) // MS)
        except ClockError:
            now = self._clock()
            await self._hold_call(verb, partition, domain, token, held, now, (now + delay) // MS)

    async def take(self, message: Message, partition: int, now: int) -> bool:
        """Put one message out of the deliverers' reach for a lease; False when one of them has it in hand."""
        words = [message.id, str(message.next_try // MS)]
        return await self._hold_call("take", partition, message.domain, "", words, now, now // MS + self._lease)

    async def _hold_call(
        self, verb: str, partition: int, domain: str, token: str, held: Sequence[str], now: int, at: int
    ) -> bool:
        names = [
            keys.due(partition), keys.queue(partition, domain), keys.slots(partition, domain), keys.route(partition, domain),
        ]  # fmt: skip
        arguments = [verb, domain, now // MS, at, token, keys.hint(partition), self._clock.tolerance, *held]
        async with self._judged():
            return bool(await self._hold(self._store.redis, names, arguments))

    async def route(self, partition: int, domain: str) -> Route:
        """What is known about reaching a domain."""
        ((data,),) = await self._asking.fields((keys.route(partition, domain), ["m"]))
        return decode_route(data)

    async def put_off(self, partition: int, domain: str, until: int) -> None:
        """Nobody looks at a domain before `until` (ns), whatever comes in for it."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=True)
            pipe.hset(keys.route(partition, domain), "until", until // MS)
            pipe.zadd(keys.due(partition), {domain: until // MS}, xx=True)
            await pipe.execute()

    async def retry_now(self, partition: int, domain: str, now: int, servers: Sequence[str]) -> int:
        """Make a domain due at once, its servers forgiven, every waiting message of it included; how many wait."""
        now = await self._right(now)
        queue = keys.queue(partition, domain)
        with faults():
            # A message in a worker's hands keeps its lease: only scores behind every possible lease are pulled forward.
            words = [now // MS + self._lease, now // MS, PORTION]
            while await self._hasten(self._store.redis, [queue], words) == PORTION:
                pass
            pipe = self._store.redis.pipeline(transaction=False)
            for server in servers:
                pipe.delete(keys.server(server))
            pipe.hdel(keys.route(partition, domain), "until")
            pipe.zcard(queue)
            waiting = int((await pipe.execute())[-1])
            if waiting:
                await self._store.redis.zadd(keys.due(partition), {domain: now // MS})
                await self._store.redis.publish(keys.hint(partition), domain)
        return waiting

    async def _right(self, now: int) -> int:
        """The time, by Redis's clock where `now` is not together with that."""
        if self._clock.compared:
            await put_right(self._clock, self._store.redis, self._settings)
            right = self._clock()
            if abs(right - now) > int(self._settings.lease) // PART:
                return right
        return now

    async def reopen(self, partition: int, domain: str, now: int, server: str) -> None:
        """Make a domain due at once whose server is back. Messages that wait by themselves go on waiting."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.delete(keys.server(server))
            pipe.hdel(keys.route(partition, domain), "until")
            pipe.zadd(keys.due(partition), {domain: now // MS}, xx=True)
            pipe.publish(keys.hint(partition), domain)
            await pipe.execute()

    async def take_server(self, server: str, token: str, now: int, limit: int) -> ServerSlot:
        """A connection slot at one server; limits hold over all workers and all domains that share it."""
        word, until, why, width = await self._server_call("take", server, token, now, limit)
        return ServerSlot(word.decode(), int(float(until)), why.decode("utf-8", "replace"), width)

    async def server_good(self, server: str, now: int, limit: int) -> int:
        """A server took a message: how many connections to it may be open now."""
        return int(await self._server_call("good", server, "", now, limit))

    async def server_limited(self, server: str, token: str, now: int, limit: int, memory: int) -> int:
        """A server says that we are too many, or too fast, which is remembered for `memory` (ns); how many other connections are open."""
        return int(await self._server_call("limited", server, token, now, limit, memory // MS))

    async def server_admit(self, server: str, now: int, rate: int) -> int:
        """Time (ns) until the next message may go to a server, at `rate` a minute; negative: so long that no turn was reserved."""
        return int(await self._server_call("admit", server, "", now, 1, rate)) * MS

    async def _server_call(self, verb: str, server: str, token: str, now: int, limit: int, number: int = 0) -> Any:
        names = [keys.server(server), keys.server_slots(server), keys.server_pace(server)]
        arguments = [verb, now // MS, now // MS + self._lease, token, limit, number, self._clock.tolerance]
        async with self._judged():
            return await self._server(self._store.redis, names, arguments)

    async def renew_server(self, server: str, token: str, now: int) -> None:
        await self._server_call("renew", server, token, now, 0)

    async def release_server(self, server: str, token: str) -> None:
        with faults():
            await self._store.redis.zrem(keys.server_slots(server), token)

    async def server_down(self, server: str, now: int, until: int, why: str) -> None:
        """Nobody dials it before `until` (ns), whichever domain asks."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            pipe.hset(keys.server(server), mapping={"until": until // MS, "why": why})
            pipe.pexpire(keys.server(server), max(1, (until - now) // MS))
            # When it is back one connection opens it anew.
            pipe.hdel(keys.server_pace(server), "width")
            await pipe.execute()

    async def heads(self, partition: int, message_ids: Sequence[str]) -> list[Message | None]:
        """The live messages among `message_ids`; None for what is finished or cannot be read."""
        with faults():
            pipe = self._store.redis.pipeline(transaction=False)
            for message_id in message_ids:
                pipe.hget(keys.head(partition, message_id), "m")
            rows = await pipe.execute()
        found: list[Message | None] = []
        for data in rows:
            try:
                found.append(decode_head(data) if data else None)
            except msgspec.DecodeError:
                found.append(None)
        return found
