"""What is kept of syncs in Redis: their definitions, the state of each, a run that waits, and who runs one just now."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from pipeline import keys
from pipeline.faults import CorruptError, NotFoundError, RefusedError, StoreError
from pipeline.pause import end
from pipeline.store import Store, faults
from pipeline.syncing.model import Staged, State, Sync, decode_staged, decode_state, decode_sync, encode

LEASE_MS: Final = 60_000
"""After which the run of a dead process is nobody's."""

_RENEW: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Memory:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def syncs(self) -> dict[str, Sync]:
        """All, by name. One that cannot be read is passed over: it must not keep the others from running."""
        with faults():
            rows: Any = await self._store.redis.hgetall(keys.SYNCS)
        found = {}
        for name, data in sorted(rows.items()):
            with contextlib.suppress(msgspec.DecodeError):
                found[name.decode()] = decode_sync(data)
        return found

    async def sync(self, name: str) -> Sync:
        """Raises NotFoundError, CorruptError."""
        with faults():
            data: Any = await self._store.redis.hget(keys.SYNCS, name)
        if data is None:
            raise NotFoundError(f"no sync {name}", remedy="See `gatepost sync list`.")
        try:
            return decode_sync(data)
        except msgspec.DecodeError as error:
            raise CorruptError(
                f"the sync {name} cannot be read: {error}", remedy="Remove it and add it again."
            ) from None

    async def state(self, name: str) -> State:
        """What cannot be read is nothing: then everything is read anew."""
        with faults():
            data: Any = await self._store.redis.get(keys.sync_state(name))
        with contextlib.suppress(msgspec.DecodeError):
            return decode_state(data) if data else State()
        return State()

    async def remember(self, name: str, state: State) -> None:
        with faults():
            await self._store.redis.set(keys.sync_state(name), encode(state))

    async def staged(self, name: str) -> Staged | None:
        with faults():
            data: Any = await self._store.redis.get(keys.sync_staged(name))
        with contextlib.suppress(msgspec.DecodeError):
            return decode_staged(data) if data else None
        return None

    async def stage(self, name: str, staged: Staged | None) -> None:
        """Keep a run that waits; None: there is none any more."""
        with faults():
            if staged is None:
                await self._store.redis.delete(keys.sync_staged(name))
            else:
                await self._store.redis.set(keys.sync_staged(name), encode(staged))

    async def forget(self, name: str) -> None:
        with faults():
            await self._store.redis.delete(keys.sync_state(name), keys.sync_staged(name))

    @contextlib.asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[None]:
        """Only one run of a sync at a time. Raises RefusedError while there is another."""
        token = secrets.token_hex(8)
        key = keys.sync_lock(name)
        with faults():
            taken = await self._store.redis.set(key, token, nx=True, px=LEASE_MS)
        if not taken:
            raise RefusedError(f"a run of {name} is under way already")
        renewal = asyncio.create_task(self._renew(key, token))
        try:
            yield
        finally:
            await end([renewal])
            with contextlib.suppress(StoreError), faults():
                await self._store.redis.eval(_RELEASE, 1, key, token)

    async def _renew(self, key: str, token: str) -> None:
        while True:
            await asyncio.sleep(LEASE_MS / 4000)
            with contextlib.suppress(StoreError), faults():
                await self._store.redis.eval(_RENEW, 1, key, token, LEASE_MS)
