"""Group commit: what comes while one write is under way goes together in the next one.

So one round trip, or one fsync, serves as many as wait for it, and who comes alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar


class Item(Protocol):
    """What is written: so heavy it is, and `done` says what became of it."""

    @property
    def weight(self) -> int: ...
    @property
    def done(self) -> asyncio.Future[Any]: ...


ItemT = TypeVar("ItemT", bound=Item)


class GroupCommit(Generic[ItemT]):
    """Writes items in the order in which they came, one group after the other."""

    def __init__(
        self,
        write: Callable[[list[ItemT]], Awaitable[None]],
        *,
        most: int,
        weight: int,
        name: str,
        failed: Callable[[BaseException], BaseException],
    ) -> None:
        """`write` says of each item what became of it, or puts it back, or raises. `failed`: what the others of its group are told when it
        raises. A group has `most` items and `weight` in all, or a single item that is heavier.
        """
        self._write = write
        self._most = most
        self._weight = weight
        self._name = name
        self._failed = failed
        self._waiting: list[ItemT] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        return self._task is None

    def add(self, item: ItemT) -> None:
        self._waiting.append(item)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)

    def put_back(self, items: Sequence[ItemT]) -> None:
        """By `write`: these come first in the next group."""
        self._waiting[:0] = items

    def _take(self) -> list[ItemT]:
        weight = count = 0
        for item in self._waiting:
            weight += item.weight
            if count == self._most or (count and weight > self._weight):
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _run(self) -> None:
        try:
            while self._waiting:
                group = self._take()
                try:
                    await self._write(group)
                except BaseException as error:
                    fault = self._failed(error)
                    for item in group:
                        if not item.done.done():
                            item.done.set_exception(fault)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._task = None
