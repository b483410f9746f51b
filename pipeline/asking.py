"""Questions of many messages to Redis in one round trip.

Nearly each message asks for fields of some hash: whether somebody has its sender's name, what lists say of its sender, what was learnt
of its words. Many are looked at at once, and a command by itself costs ten times as much as one among others. So what is asked
while earlier answers are on their way goes together in the next call. In a Cluster each asks for itself: a node that is away then
holds up nobody who asks another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from redis.exceptions import RedisError

from pipeline.faults import StoreAwayError
from pipeline.store import Client, explain, faults
from pipeline.topology.spread import is_spread

MOST: Final = 128
"""Messages whose questions go together: some milliseconds of the server's time."""

Question: TypeAlias = tuple[str, list[str] | list[bytes]]
"""A hash's key, and names of fields of it."""
Answer: TypeAlias = list[bytes | None]


class _Waiting(NamedTuple):
    questions: Sequence[Question]
    done: asyncio.Future[list[Answer]]


class Asking:
    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._waiting: list[_Waiting] = []
        self._flushing: asyncio.Task[None] | None = None

    async def fields(self, *questions: Question) -> list[Answer]:
        """Of each question the values, None where there is none. Raises StoreError."""
        if is_spread(self._redis):
            with faults():
                return _judged(await self._ask(questions))
        done: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(questions, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="asking")
        return await done

    async def _ask(self, questions: Sequence[Question]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for key, names in questions:
            pipe.hmget(key, names)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                try:
                    _answer(batch, await self._ask([question for one in batch for question in one.questions]))
                except BaseException as error:
                    fault = explain(error) if isinstance(error, RedisError | OSError) else StoreAwayError(str(error))
                    for one in batch:
                        if not one.done.done():
                            one.done.set_exception(fault)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._flushing = None


def _answer(batch: Sequence[_Waiting], answers: Sequence[Any]) -> None:
    at = 0
    for one in batch:
        until = at + len(one.questions)
        if not one.done.done():  # whoever lost patience
            try:
                one.done.set_result(_judged(answers[at:until]))
            except RedisError as error:
                one.done.set_exception(explain(error))
        at = until


def _judged(answers: Sequence[Any]) -> list[Answer]:
    """Raises the first of them that is an error: it concerns who asked, and nobody else."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return list(answers)
