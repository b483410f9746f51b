"""What one client may do in a time, counted over all receivers through Redis.

A client's limits (`clients.py`) are buckets of N tokens that fill up again within a period, and N connections at once. The
buckets are in Redis and only `lua/limit.lua` takes from them, so whatever receivers do at the same time, no more is ever
given out than a bucket held and has got since.

A message costs no call. Who asks gets more than it needs, a share of what is left, and spends it here; what is not used goes
back within seconds. When little is left the share is nothing, and then every token is one call: small limits are exact. All
that is wanted while a call is under way goes together in the next one, whichever clients it is for.

Connections at once are leases: each receiver says how many it holds, again and again, and those of one that died lapse. Its
word replaces its last one, so nothing has to be repeated or undone when a reply is lost.

While Redis is away there are no limits: no mail can be taken then either, and everybody would be refused for our fault.
"""

from __future__ import annotations

import asyncio
import functools
import math
import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog

from pipeline import keys
from pipeline.clients import BUCKETS, Account, Bucket, Limit, belongs, client_of
from pipeline.clock import Clock, judged
from pipeline.faults import StoreError
from pipeline.settings import Settings
from pipeline.store import Client, Script
from pipeline.topology.spread import is_spread
from pipeline.units import SECOND

SHARE: Final = 16
"""Part of what is left that one receiver may have in advance: with eight receivers half of a limit is in their hands."""
KEEP: Final = 4
"""Part of the connections left that those which ended may leave open for the next ones, for LIFE; none when few are left."""
LIFE: Final = SECOND
"""How long what was given out in advance, and what was learned about a client, is good for (ns)."""
FULL: Final = SECOND // 50
"""How long a client that has all its connections is not asked about again (ns); it costs a flood that much of our time."""
BATCH: Final = 128
"""Clients in one call: about 2 ms of the server's time."""
CLIENTS: Final = 20_000
"""Clients that a receiver remembers, about 20 MB: those that are connected, and those of the last few seconds. The next one
has to wait outside."""
PATIENCE: Final = 2.0
"""Seconds for an answer. A client waits for its greeting meanwhile."""
RECHECK: Final = SECOND
"""How long Redis is left alone after it did not answer (ns)."""
SLACK: Final = 60_000
"""How much longer than it takes to fill it up a bucket is kept (ms): clocks of receivers are not the same."""
MEMORY: Final = 7 * 86400 * 1000
"""How long a client is known for good mail (ms)."""
REMIND: Final = 6 * 86400 * 1000
"""What is left of MEMORY when the next good mail renews it (ms): one call a day."""
MINUTE, HOUR = 60_000_000, 3_600_000_000
"""us."""

log = structlog.get_logger()


class _Request(msgspec.Struct, frozen=True):
    """What one account says in a call, and who waits for the answer."""

    account: Account
    words: Sequence[str | int]
    waiting: Sequence[tuple[Limit, asyncio.Future[Limit | None]]]
    debts: Sequence[int]


class Limiter:
    """One per process. `tend` has to run beside it, and `close` gives everything back."""

    def __init__(self, redis: Client, settings: Settings, *, clock: Clock, clients: int = CLIENTS) -> None:
        self._redis = redis
        self._settings = settings
        self._script = Script.named("limit")
        self._clock = clock
        self._receiver = secrets.token_hex(8)
        self._lease = int(settings.lease)
        self._networks = settings.unlimited_networks
        self._allowed = settings.client_connections
        self._remember = MEMORY if settings.greeting_delay else 0
        self._buckets = (
            Bucket.of(settings.client_connection_rate, MINUTE),
            Bucket.of(settings.client_message_rate, MINUTE),
            Bucket.of(settings.client_recipient_rate, MINUTE),
            Bucket.of(settings.client_wasted_rate, HOUR),
            Bucket.of(settings.client_unknown_rate, HOUR),
        )
        self._most = max(clients, 2 * settings.max_sessions)
        self._empty = [0 if bucket.size else math.inf for bucket in self._buckets]
        self._accounts: dict[str, Account] = {}
        self._wanting: list[Account] = []
        self._asking: asyncio.Task[None] | None = None
        self._away_until = 0
        self._away = False
        self._swept = 0
        # Where a connection comes from is looked at several times, and few come once only.
        self.client = functools.lru_cache(4096)(self._client)

    def _client(self, address: str) -> str | None:
        """The client behind an address; None for one that has no limits."""
        return None if belongs(address, self._networks) else client_of(address)

    @property
    def clients(self) -> int:
        """How many are remembered."""
        return len(self._accounts)

    # What a connection asks

    async def enter(self, client: str) -> Account | Limit:
        """One more connection of a client: its account, to be given to `leave`; or the limit that keeps it out."""
        account = self._accounts.get(client)
        if account is None:
            if len(self._accounts) >= self._most:
                return Limit.CLIENTS
            account = Account(client, self._empty, 0 if self._allowed else math.inf)
            self._accounts[client] = account
        now = self._clock()
        if now < account.fresh:
            refusal = account.admit(now)
            if refusal is None:
                return account
            if now < account.closed[refusal]:
                return refusal
        if now < self._away_until:
            account.sessions += 1
            return account
        refusal = await self._wait(account, Limit.CONNECTIONS)
        return account if refusal is None else refusal

    def leave(self, account: Account) -> None:
        """A connection has ended. Its slot goes back, unless there are so many that the next one may have it."""
        account.sessions -= 1
        account.closed[Limit.CONNECTIONS] = 0
        if account.leased and account.slots > account.sessions + account.reserve:
            account.slots = account.sessions + account.reserve
            self._ask(account)

    async def take(self, account: Account, limit: Limit) -> bool:
        """One of a bucket's tokens; False when the client has used them up."""
        if account.spend(limit):
            return True
        now = self._clock()
        if now < account.closed[limit]:
            return False
        if now < self._away_until:
            return True
        return await self._wait(account, limit) is None

    def charge(self, account: Account, limit: Limit, count: int) -> None:
        """Take `count` tokens of what has happened already, as far as there are any."""
        if count and self._buckets[limit].size:
            account.debts[limit] += count
            self._ask(account)

    def delivered(self, account: Account) -> None:
        """The client has delivered good mail."""
        if self._remember:
            now = self._clock()
            account.good = True
            if now >= account.remind:
                account.remind = now + (MEMORY - REMIND) * 1_000_000
                account.mark = True
                self._ask(account)

    # Housekeeping

    def sweep(self) -> None:
        """Give back what was not used, renew what is held, forget who is gone."""
        now = self._clock()
        turned_back, self._swept = now < self._swept, now
        if turned_back:
            self._away_until = 0
        for account in list(self._accounts.values()):
            if turned_back:
                account.forget_times()
            wants = False
            for bucket in BUCKETS:
                if 0 < account.tokens[bucket] < math.inf and now >= account.until[bucket]:
                    account.back[bucket] += int(account.tokens[bucket])
                    account.tokens[bucket] = 0
                    wants = True
            if account.slots < math.inf and account.slots != account.sessions and now >= account.fresh:
                account.reserve = 0
                wants = True
            elif account.leased and now >= account.renew:
                wants = True
            if wants:
                self._ask(account)
            elif account.idle and now >= max(account.fresh, *account.closed):
                del self._accounts[account.name]

    async def tend(self) -> None:
        """Sweep until cancelled."""
        while True:
            self.sweep()
            await asyncio.sleep(LIFE / SECOND)

    async def close(self) -> None:
        """Give everything back; nobody is connected any more."""
        if self._asking is not None:
            # What a call under way brings is to be given back too.
            await asyncio.wait([self._asking])
        for account in self._accounts.values():
            account.sessions = 0
            account.forget_times()
        self.sweep()
        if self._asking is not None:
            await asyncio.wait([self._asking])

    # Asking Redis

    async def _wait(self, account: Account, limit: Limit) -> Limit | None:
        """None when it was given, else what kept it from us."""
        future: asyncio.Future[Limit | None] = asyncio.get_running_loop().create_future()
        account.waiting.append((limit, future))
        self._ask(account)
        try:
            return await future
        except asyncio.CancelledError:
            if limit is Limit.CONNECTIONS and future.done() and not future.cancelled() and future.result() is None:
                self.leave(account)
            raise

    def _ask(self, account: Account) -> None:
        if not account.asked:
            account.asked = True
            self._wanting.append(account)
        if self._asking is None:
            self._asking = asyncio.create_task(self._call(), name="limits")

    async def _call(self) -> None:
        try:
            while self._wanting:
                batch, self._wanting = self._wanting[:BATCH], self._wanting[BATCH:]
                now = self._clock()
                requests = [self._request(account) for account in batch]
                rows: list[Sequence[int] | None] = [None] * len(requests)
                try:
                    if now >= self._away_until:
                        rows = await self._send(requests, now)
                finally:
                    # Whatever happened, nobody waits for ever.
                    self._settle(requests, rows, now)
        finally:
            self._asking = None

    def _request(self, account: Account) -> _Request:
        """What the account wants, and what it has to say, as words of limit.lua."""
        account.asked, account.calling = False, True
        waiting, account.waiting = account.waiting, []
        debts, account.debts = account.debts, [0] * len(BUCKETS)
        back, account.back = account.back, [0] * len(BUCKETS)
        needs = [0] * len(Limit)
        for limit, _ in waiting:
            needs[limit] += 1
        coming = needs[Limit.CONNECTIONS]
        needs[Limit.CONNECTION_RATE] += coming
        wanted = [max(0, needs[bucket] + debts[bucket] - _finite(account.tokens[bucket])) for bucket in BUCKETS]
        held = more = 0
        if account.slots < math.inf:
            spare = max(0, int(account.slots) - account.sessions)
            kept = min(spare, max(account.reserve, coming))
            held, more = account.sessions + kept, coming - min(kept, coming)
            account.slots = held
        mark, account.mark = account.mark, False
        words: list[str | int] = [keys.client(account.name), held, more, int(coming > 0), int(mark), *back, *wanted]
        return _Request(account, words, waiting, debts)

    async def _send(self, requests: Sequence[_Request], now: int) -> list[Sequence[int] | None]:
        """An answer for each; None when Redis is away, or the node of a Cluster that has it."""
        arguments: list[Any] = [
            now // 1000, self._clock.tolerance, self._lease // 1_000_000, self._receiver, SHARE, self._allowed, self._remember, SLACK,
            len(self._buckets),
            *(number for bucket in self._buckets for number in (bucket.size, bucket.cost)),
        ]  # fmt: skip
        # In a Cluster each client is in a slot of its own.
        calls = [[request] for request in requests] if is_spread(self._redis) else [requests]
        answers = await asyncio.gather(*(self._ask_for(call, arguments) for call in calls))
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if len(failed) == len(answers):
            self._away_until = self._clock() + RECHECK
        if bool(failed) != self._away:
            self._away = bool(failed)
            if failed:
                log.warning("limits_not_in_force", reason=str(failed[0]) or type(failed[0]).__name__)
            else:
                log.info("limits_in_force_again")
        rows: list[Sequence[int] | None] = []
        width = 2 * len(self._buckets) + 3
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                rows += [None] * len(call)
            else:
                rows += [answer[start : start + width] for start in range(0, len(answer), width)]
        return rows

    async def _ask_for(self, requests: Sequence[_Request], arguments: Sequence[Any]) -> Sequence[int] | Exception:
        words = [word for request in requests for word in request.words]
        first = keys.client(requests[0].account.name) + "tokens"
        try:
            async with asyncio.timeout(PATIENCE), judged(self._clock, self._redis, self._settings):
                answer: Sequence[int] = await self._script(self._redis, [first], [*arguments, *words])
        except (StoreError, TimeoutError) as error:
            return error
        return answer

    def _settle(self, requests: Sequence[_Request], rows: Sequence[Sequence[int] | None], now: int) -> None:
        for request, row in zip(requests, rows, strict=True):
            account = request.account
            account.calling = False
            if row is None:
                account.remind = 0
            else:
                self._learn(account, row, request.debts, now)
            for limit, future in request.waiting:
                if future.done():
                    continue
                if row is None:
                    account.sessions += limit is Limit.CONNECTIONS
                    refusal = None
                elif limit is Limit.CONNECTIONS:
                    refusal = account.admit(now)
                else:
                    refusal = None if account.spend(limit) else limit
                if refusal is None or now < account.closed[refusal]:
                    future.set_result(refusal)
                else:
                    # Somebody who came during the call was quicker, and there is more to be had.
                    account.waiting.append((limit, future))
                    self._ask(account)

    def _learn(self, account: Account, row: Sequence[int], debts: Sequence[int], now: int) -> None:
        account.fresh = now + LIFE
        for bucket in BUCKETS:
            given, wait = row[bucket], row[len(BUCKETS) + bucket]
            if given:
                account.tokens[bucket] += given
                account.until[bucket] = account.fresh
            if debts[bucket]:
                account.tokens[bucket] -= min(debts[bucket], account.tokens[bucket])
            account.closed[bucket] = now + min(wait * 1000, LIFE) if wait else 0
        given, left, good = row[2 * len(BUCKETS) :]
        if account.slots < math.inf:
            account.slots += given
            account.reserve = left // KEEP if left >= SHARE else 0
            account.renew = now + self._lease // 3
            # When it has more to say, e.g. that a connection has ended meanwhile, that is not the last word.
            account.closed[Limit.CONNECTIONS] = 0 if left or account.asked else now + FULL
        if good:
            account.good = True
            account.remind = max(account.remind, now + (good - REMIND) * 1_000_000)


def _finite(tokens: float) -> int:
    return int(tokens) if tokens < math.inf else 0
