"""The deliverer's loop: looks which domains are due, opens slots for them, keeps their leases alive.

Hints (publish) make it quick, the sorted sets make it right: a lost hint costs at most POLL seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from pipeline import keys, metrics
from pipeline.egress import check_bindable
from pipeline.faults import ClockError, StoreError
from pipeline.pause import end, pause
from pipeline.route import Resolver
from pipeline.store import explain
from pipeline.topology.spread import is_spread
from workers.deliverer.connections import WAITING, Connections
from workers.deliverer.crowds import Crowds
from workers.deliverer.slot import Slot
from workers.deliverer.steady import Steady
from workers.deliverer.watch import Watch
from workers.notify import notify
from workers.wiring import Wiring

log = structlog.get_logger()

POLL: Final = 1.0
"""Seconds between two looks at the schedule without any hint."""
MAX_SLOTS: Final = 200
"""Slots that talk to a server, in one process; the domains that wait longest come first."""
MAX_DIALLING: Final = 800
"""Slots that wait for a connection, besides: servers that are away, or full, take nobody's turn. Of a domain that is not open each holds one message."""
DUE_AT_ONCE: Final = 100
PATIENCE: Final = 0.2
"""Seconds that a look waits for all nodes of a Cluster; an answer that comes later counts all the same."""
AT_MOST_EVERY: Final = 0.05
"""Seconds between two looks at the whole schedule, however many hints come: these are for single domains."""


class Deliverer:
    def __init__(self, wiring: Wiring, resolver: Resolver, stop: asyncio.Event) -> None:
        self.wiring = wiring
        self.connections = Connections(wiring, resolver)
        self.steady = Steady(wiring.clock, wiring.steady, int(wiring.settings.lease))
        self._stop = stop
        self._slots: dict[str, set[Slot]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: dict[int, asyncio.Task[None]] = {}
        """In a Cluster, looks at the schedule of single partitions that are under way."""
        self._wake = asyncio.Event()
        self._dialling = 0
        self._crowds = Crowds((1 + WAITING) * wiring.settings.connections_per_server)
        self._hinted: set[tuple[int, str]] = set()
        self._next = 0
        self._look_again = 0.0

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def look_at(self, partition: int, domain: str) -> None:
        """A domain may have become due, or may need another slot."""
        self._hinted.add((partition, domain))
        self._wake.set()

    def later(self, at: int) -> None:
        """Something becomes due at `at` (ms)."""
        if not self._next or at < self._next:
            self._next = at
            self._wake.set()

    def dials(self, more: int) -> None:
        """So many more slots (or fewer) wait for a connection now."""
        self._dialling += more

    async def run(self) -> None:
        helpers = [
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._renew()),
            asyncio.create_task(Watch(self.wiring).run(self._stop)),
            asyncio.create_task(self._wake_to_stop()),
        ]
        away = False
        metrics.DELIVERY_SLOTS.watch(lambda: len(self._tasks))
        metrics.DELIVERY_DIALLING.watch(lambda: self._dialling)
        pulse = metrics.PULSES.of("deliver", metrics.TURN)
        try:
            while not self.stopping:
                pulse.beat()
                try:
                    await self._look()
                    away = False
                except StoreError as fault:
                    if not away:
                        log.warning("store trouble, waiting", role="deliverer", reason=str(fault))
                    away = True
                    await asyncio.sleep(0.5)
                await self._pause()
        finally:
            await end([*helpers, *self._looks.values()])
            await self._finish()

    async def _wake_to_stop(self) -> None:
        await self._stop.wait()
        self._wake.set()

    async def _pause(self) -> None:
        wait = POLL
        if self._next:
            wait = min(wait, max(AT_MOST_EVERY, self._next / 1000 - self.wiring.clock() / 1e9))
        await pause(self._wake, wait)
        self._wake.clear()

    def _open_hinted(self) -> None:
        hinted, self._hinted = self._hinted, set()
        for partition, domain in hinted:
            self._open(partition, domain)

    async def _look(self) -> None:
        self._open_hinted()
        if time.monotonic() < self._look_again:
            return
        self._look_again = time.monotonic() + AT_MOST_EVERY
        now = self.wiring.clock()
        self._next = 0
        everything = range(self.wiring.store.partitions)
        if is_spread(self.wiring.store.redis):
            await self._look_at_each(everything, now)
        else:
            await self._look_in(everything, now)
        self._open_hinted()

    async def _look_in(self, partitions: Sequence[int], now: int) -> None:
        asked = time.monotonic()
        found = await self.wiring.schedule.due_in(partitions, now, DUE_AT_ONCE)
        for partition, (domains, following) in zip(partitions, found, strict=True):
            for domain in domains:
                if not self._being_claimed(domain, asked):
                    self.look_at(partition, domain)
            if following:
                self.later(following)

    async def _look_at_each(self, partitions: Sequence[int], now: int) -> None:
        """In a Cluster nobody waits for a node that is away, or hangs, but its own partitions."""
        for partition in partitions:
            if partition not in self._looks:
                self._looks[partition] = asyncio.create_task(self._look_in([partition], now))
        await asyncio.wait(self._looks.values(), timeout=PATIENCE)
        over = [self._looks.pop(partition) for partition in partitions if self._looks[partition].done()]
        for fault in [fault for look in over if (fault := look.exception()) is not None]:
            raise fault

    def _being_claimed(self, domain: str, asked: float) -> bool:
        """Whether a claim that was not answered at that time says more of a domain than that it was due then."""
        return any(slot.answered > asked for slot in self._slots.get(domain, ()))

    def _open(self, partition: int, domain: str) -> None:
        if self._dialling >= MAX_DIALLING or len(self._tasks) - self._dialling >= MAX_SLOTS or self.stopping:
            return
        server = self.connections.only_server(domain)
        if not self._crowds.enter(server, (partition, domain)):
            return
        slot = Slot(self, self.wiring, partition, domain)
        self._slots.setdefault(domain, set()).add(slot)
        task = slot.task = asyncio.create_task(self._run_slot(slot, server), name=f"slot {domain}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_slot(self, slot: Slot, server: str) -> None:
        try:
            await slot.run()
        except StoreError as fault:
            log.warning("store trouble", role="deliverer", domain=slot.domain, reason=str(fault))
            await asyncio.sleep(0.5)
        except (RedisError, OSError) as error:
            log.warning("store trouble", role="deliverer", domain=slot.domain, reason=str(explain(error)))
        except Exception:
            log.exception("slot failed", domain=slot.domain)
        finally:
            slots = self._slots[slot.domain]
            slots.discard(slot)
            if not slots:
                del self._slots[slot.domain]
            if following := self._crowds.leave(server):
                self.look_at(*following)

    async def _listen(self) -> None:
        """Turn published hints into looks."""
        names = [keys.hint(partition) for partition in range(self.wiring.store.partitions)]
        partitions = {name.encode(): partition for partition, name in enumerate(names)}
        while True:
            client = self.wiring.store.blocking()
            pubsub = client.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(*names)
                while True:
                    message: Any = await pubsub.get_message(timeout=5.0)
                    if message is not None:
                        for domain in message["data"].decode().split():
                            self.look_at(partitions[message["channel"]], domain)
            except (RedisError, OSError):
                await asyncio.sleep(0.5)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()
                    await client.aclose()

    async def _renew(self) -> None:
        """Every lease is renewed while its slot works: a server may think for ten minutes after the dot (RFC 5321 4.5.3.2.6)."""
        while True:
            await asyncio.sleep(self.wiring.settings.lease.seconds / 4)
            await self.renew()

    async def renew(self) -> None:
        """Keep all leases for another time."""
        claimed = [slot for slots in self._slots.values() for slot in slots if slot.claimed]
        # All at once: on a busy machine, or while a node of a Cluster hangs, a lease may be over while the others are still being
        # renewed one by one.
        await asyncio.gather(
            *(self._renewed(partial(self._renew_slot, slot)) for slot in claimed),
            *(self._renewed(partial(self._renew_server, server, token)) for server, token in self.connections.held()),
        )

    async def _renewed(self, renew: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(StoreError):
            try:
                await renew()
            except ClockError:  # it is right now
                await renew()

    async def _renew_server(self, server: str, token: str) -> None:
        await self.wiring.schedule.renew_server(server, token, self.wiring.clock())

    async def _renew_slot(self, slot: Slot) -> None:
        asked, apart = time.monotonic(), self.steady.apart()
        held = [work.id for work in slot.held]
        if await self.wiring.schedule.renew(slot.partition, slot.domain, slot.token, held, self.wiring.clock()):
            slot.renewed(asked, apart)
        else:
            slot.lost()

    async def _finish(self) -> None:
        """Stopping: what is in hand is finished; slots that wait for a server let go."""
        for slot in [slot for slots in self._slots.values() for slot in slots]:
            if slot.dialling and slot.task is not None:
                slot.task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=25)
        await end(self._tasks)
        await self.connections.close()


async def run_role(wiring: Wiring, stop: asyncio.Event) -> None:
    _ = wiring.table  # a wrong one is refused now, not at the first reply
    settings = wiring.settings
    check_bindable(settings.source_addresses)
    deliverer = Deliverer(wiring, Resolver(settings.resolver, authenticated=settings.trust_resolver_ad), stop)
    notify("READY=1")
    await deliverer.run()
