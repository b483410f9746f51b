"""How kept mail is released, and what may follow from it: its sender is allowed, and the classifier learns that it is good."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from pipeline.bodies import Buffer
from pipeline.directory.lists.entries import ALLOW, parse
from pipeline.faults import ConfigurationError, GatepostError, RefusedError, StoreError
from pipeline.mime import Header
from pipeline.state import Message
from workers.learning import Learning
from workers.wiring import Wiring


class Done(msgspec.Struct, frozen=True, kw_only=True):
    changed: bool
    """False: it was so before."""
    words: str
    message: str = ""
    """Id of the message that goes on, where that is another one."""
    allowed: str = ""
    """Whose mail is allowed from now on."""
    learned: bool = False


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """How a message is released."""

    recipients: tuple[str, ...] = ()
    """Only their copies; all when empty."""
    virus: bool = False
    """Though it carries a virus."""
    allow_sender: bool = False
    learn: bool = False
    """Its domain's classifier learns that it is good."""


AS_IT_IS: Final = Release()


class Following:
    """What else is asked for with a release that happened. One at a time: a directory is changed by one at a time, too."""

    def __init__(self, wiring: Wiring, *, by: str) -> None:
        self._wiring = wiring
        self._by = by
        self._turn = asyncio.Lock()
        self._allowed: set[tuple[str, str]] = set()

    async def follow(self, done: Done, message: Message, content: Buffer, how: Release) -> Done:
        """Raises RefusedError where it cannot be done, though the release was, and StoreError."""
        sender = author_of(message, content) if how.allow_sender else ""
        try:
            async with self._turn:
                if sender:
                    await self._allow(message, sender)
            if how.learn:
                learning = Learning(self._wiring, by=self._by)
                await learning.learn(
                    message.domain, content, spam=False, client=message.client, message_id=message.id, how="released"
                )
        except GatepostError as error:
            # Also when the store is full or away: that it was released must not go unsaid.
            fault = type(error) if isinstance(error, StoreError) else RefusedError
            raise fault(f"{message.id} {done.words}, but: {error}", remedy=error.remedy) from error
        return msgspec.structs.replace(done, allowed=sender, learned=how.learn)

    async def _allow(self, message: Message, sender: str) -> None:
        if (message.domain, sender) not in self._allowed:
            rule = parse(sender, ALLOW, note=f"released {message.id}")
            await self._wiring.directory.set_rules(message.domain, [rule], by=self._by, now=self._wiring.clock())
            self._allowed.add((message.domain, sender))


def author_of(message: Message, content: Buffer) -> str:
    """Whom a reader takes to be the sender, and of whom an entry in a list therefore speaks. Raises RefusedError for nobody."""
    named = [author.address for author in Header(content).authors if "@" in author.address]
    sender = named[0] if named else message.sender
    if not sender:
        raise RefusedError(f"{message.id} names no sender that could be allowed")
    try:
        return parse(sender, ALLOW).entry
    except ConfigurationError as error:
        raise RefusedError(f"its sender cannot be allowed: {error}") from None
