"""Making happen what a postmaster decides about waiting mail: the decisions are in `pipeline/steering.py`.

A message in a deliverer's hands is left to it: it is waited for, a bounded time, and then said to be on its way. So what is
recorded here never contradicts what a server is being told at the same moment. Two people at once, and one person twice, end
as one step and nothing, or as one step and the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from pipeline import keys, steering
from pipeline.events import MessageEvent, Received, Redirected, Retried, encode
from pipeline.faults import ConflictError, CorruptError, NotFoundError, RefusedError, StoreAwayError
from pipeline.ids import partition_for, partition_of
from pipeline.rerouting import forgiven
from pipeline.state import Message, Stage
from pipeline.steps import Effect, decode_route, message_step, retried_step
from pipeline.store import faults
from workers.wiring import Wiring

TRIES: Final = 5
PATIENCE: Final = 10.0
"""Seconds for a store that is away, and for a deliverer to be done with a message; a person waits no longer."""
LOOK: Final = 0.1
"""Seconds between two looks whether a deliverer is done."""
PAGE: Final = 500

Decided = Callable[[Message, int], Sequence[MessageEvent]]


async def live_or_refuse(wiring: Wiring, message_id: str) -> Message:
    """A live message. Raises NotFoundError, and RefusedError when it has met its end."""
    partition = partition_of(message_id)
    if partition < wiring.store.partitions:
        (message,) = await wiring.schedule.heads(partition, [message_id])
        if message is not None:
            return message
        if await wiring.past.holds(message_id):
            raise RefusedError(f"{message_id} is finished", remedy=f"See `gatepost trace {message_id}`.")
    raise NotFoundError(
        f"no message {message_id}", remedy="The id is in the reply to the sender, and in `gatepost queue list`."
    )


class Steering:
    """`by`: who decides, as it is recorded. All calls say whether something changed: asked for twice, it is so already.

    They raise NotFoundError, RefusedError (also for what is in a deliverer's hands for longer than `patience`),
    ConflictError when others were faster each time, and StoreAwayError.
    """

    def __init__(self, wiring: Wiring, *, by: str, patience: float = PATIENCE) -> None:
        self._wiring = wiring
        self._by = by
        self._patience = patience

    async def hold(self, message_id: str, *, reason: str, until: int = 0) -> bool:
        return await self._decide(
            message_id, lambda message, now: steering.held(message, by=self._by, reason=reason, now=now, until=until)
        )

    async def resume(self, message_id: str, *, reason: str = "") -> bool:
        return await self._decide(
            message_id, lambda message, now: steering.resumed(message, by=self._by, reason=reason, now=now)
        )

    async def plan(self, message_id: str, *, then: str, reason: str, until: int, action: str) -> bool:
        """Its end at `until`, which the janitor sees to."""
        return await self._decide(
            message_id,
            lambda message, now: steering.planned(
                message, then=then, by=self._by, reason=reason, now=now, until=max(now, until), action=action
            ),
        )

    async def undo(self, message_id: str, *, action: str = "") -> bool:
        return await self._decide(
            message_id, lambda message, now: steering.undone(message, by=self._by, now=now, action=action)
        )

    async def redirect(self, message_id: str, *, to: str, reason: str) -> str:
        """To somebody else; the id of the message that goes there."""
        made = ""

        async def act(message: Message, now: int) -> bool:
            nonlocal made
            made = await self._redirect(message, to, reason, now)
            return True

        await self._at_rest(message_id, lambda message, _: bool(steering.leaving(message)), act)
        return made

    async def _decide(self, message_id: str, decided: Decided) -> bool:
        async def act(message: Message, now: int) -> bool:
            events = decided(message, now)
            if events:
                await commit_decided(self._wiring, message, events, now)
            return bool(events)

        return await self._at_rest(message_id, lambda message, now: bool(decided(message, now)), act)

    async def _at_rest(
        self,
        message_id: str,
        wanted: Callable[[Message, int], bool],
        act: Callable[[Message, int], Any],
    ) -> bool:
        """Act on a message that no deliverer has in hand; again from the start when somebody was faster."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        conflicts = 0
        while True:
            message = await live_or_refuse(self._wiring, message_id)
            now = self._wiring.clock()
            if not wanted(message, now):
                return False
            if not await self._free(message, now):
                if loop.time() > deadline:
                    raise RefusedError(
                        f"{message_id} is being delivered just now",
                        remedy=f"See what comes of it: gatepost trace {message_id}.",
                    )
                await asyncio.sleep(LOOK)
                continue
            try:
                return bool(await act(message, now))
            except ConflictError:
                conflicts += 1
                if conflicts == TRIES:
                    raise

    async def _free(self, message: Message, now: int) -> bool:
        """Whether it is out of the deliverers' reach now: what is not queued always is."""
        if not message.addresses(Stage.QUEUED):
            return True
        return await self._wiring.schedule.take(message, partition_of(message.id), now)

    async def _redirect(self, message: Message, to: str, reason: str, now: int) -> str:
        wiring = self._wiring
        event, received = steering.redirected(
            message, to=to, by=self._by, reason=reason, now=now, lifetime=wiring.retry_of(to.rpartition("@")[2]).lifetime,
            partition=partition_for(to.rpartition("@")[2], wiring.store.partitions),
        )  # fmt: skip
        return await hand_over(wiring, message, event, received)


async def commit_decided(
    wiring: Wiring, message: Message, events: Sequence[MessageEvent], now: int, also: Sequence[Effect] = ()
) -> None:
    """Make it so, and drop the body of what has met its end. Raises ConflictError when somebody was faster."""
    step, after = message_step(message, events, now=now, also=also)
    body_is_cold = await wiring.log.commit(step, patience=PATIENCE)
    if body_is_cold and not after.live:
        await wiring.bodies.drop_cold(message.id)


async def hand_over(wiring: Wiring, message: Message, event: Redirected, received: Received) -> str:
    """Copies of a message go on as another one, whose id is given back. Raises ConflictError when somebody was faster.

    The new message waits in the outbox, as a bounce does, until it is one: it may belong to another partition. A body on disk gets
    its second name before the step, and loses it when the step did not happen.
    """
    partition, new = partition_of(message.id), event.message
    hot = await wiring.bodies.in_motion(message.id)
    words: tuple[bytes | str, ...] = ("b", hot) if hot is not None else ("b", b"", "c", b"1")
    entry: Effect = ("XADD", keys.outbox(partition), "*", "id", new, "m", message.id, "e", encode(received), *words)
    effects = [entry]
    if hot is None:
        effects.append(("SADD", keys.promised(partition), new))
        await _share(wiring, message, new)
    try:
        await commit_decided(wiring, message, (event,), event.at, effects)
    except ConflictError:
        if hot is None and not await _made(wiring, partition, new):
            with contextlib.suppress(StoreAwayError):  # then it is swept up
                await wiring.bodies.cold.drop_many([new])
        raise
    return new


async def _made(wiring: Wiring, partition: int, new: str) -> bool:
    """Whether somebody else, at the same moment, had it sent on to the same address: the id is the same, and so is the body."""
    with faults():
        pipe = wiring.store.redis.pipeline(transaction=False)
        pipe.sismember(keys.promised(partition), new)
        pipe.exists(keys.head(partition_of(new), new))
        return any(await pipe.execute())


async def _share(wiring: Wiring, message: Message, new: str) -> None:
    """Raises CorruptError when there is no body, ConflictError when that is because the message has left."""
    try:
        await wiring.bodies.cold.share(message.id, new)
    except CorruptError as error:
        (there,) = await wiring.schedule.heads(partition_of(message.id), [message.id])
        if there is None or there.version != message.version:
            raise ConflictError(f"{message.id} has moved on") from error
        raise


async def domains_behind(wiring: Wiring, server: str) -> list[str]:
    """The domains with waiting mail whose route has a server (HOST:PORT), or who met it when they were tried last."""
    await wiring.directory.refresh()
    found: dict[str, None] = {}
    for partition in range(wiring.store.partitions):
        cursor = 0
        while True:
            with faults():
                page: Any = await wiring.store.redis.zscan(keys.due(partition), cursor, count=PAGE)
                cursor, rows = page
                some = [name.decode() for name, _ in rows]
                pipe = wiring.store.redis.pipeline(transaction=False)
                for domain in some:
                    pipe.hget(keys.route(partition, domain), "m")
                states = [decode_route(data) for data in await pipe.execute()]
            for domain, state in zip(some, states, strict=True):
                home = wiring.directory.home(domain)
                if server in forgiven(home.route if home is not None else (), state):
                    found[domain] = None
            if not cursor:
                break
    return sorted(found)


async def retry_domain(wiring: Wiring, domain: str, *, by: str = "") -> int:
    """Make a domain due at once, its servers forgiven; how many messages wait for it.

    `by`: who wanted it, which is recorded first; empty where it follows from something that is.
    """
    partition = partition_for(domain, wiring.store.partitions)
    if by:
        await _note_retry(wiring, partition, domain, by)
    known = await wiring.directory.find_home(domain)
    state = await wiring.schedule.route(partition, domain)
    servers = forgiven(known.route if known else (), state)
    return await wiring.schedule.retry_now(partition, domain, wiring.clock(), servers)


async def _note_retry(wiring: Wiring, partition: int, domain: str, by: str) -> None:
    with faults():
        waiting = int(await wiring.store.redis.zcard(keys.queue(partition, domain)))
    if not waiting:
        return
    for last in (*[False] * (TRIES - 1), True):
        route = await wiring.schedule.route(partition, domain)
        event = Retried(at=wiring.clock(), domain=domain, by=by, waiting=waiting)
        try:
            await wiring.log.commit(retried_step(partition, route, event), patience=PATIENCE)
        except ConflictError:
            if last:
                raise
        else:
            return


async def retry_server(wiring: Wiring, server: str) -> dict[str, int]:
    """As `retry_domain` for each domain with waiting mail that uses a server."""
    return {domain: await retry_domain(wiring, domain) for domain in await domains_behind(wiring, server)}


async def planned_messages(wiring: Wiring) -> AsyncIterator[Message]:
    """Those whose end is planned, the next ones of each partition first."""
    for partition in range(wiring.store.partitions):
        start = 0
        while True:
            with faults():
                rows: Any = await wiring.store.redis.zrange(keys.ends(partition), start, start + PAGE - 1)
            names = [name.decode() for name in rows]
            for message in await wiring.schedule.heads(partition, names):
                if message is not None and message.hold is not None and message.hold.then:
                    yield message
            if len(rows) < PAGE:
                break
            start += PAGE
