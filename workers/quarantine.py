"""What people do with what is kept: find it, look at it, let it go. For the command line and the console alike.

Every look is recorded before its answer is given, and every action is one step of the message: asked for twice, it happens once.
Who is bound to some recipients (a person, with the addresses that they look after) sees and moves their copies only; a message
that has none for them is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from pipeline import decide, steering
from pipeline.address import mailbox_key
from pipeline.bodies import Buffer
from pipeline.events import Discarded, Looked, MessageEvent, Received, Redirected, Released, Scanned
from pipeline.faults import ConflictError, CorruptError, NotFoundError, RefusedError
from pipeline.ids import partition_for
from pipeline.preview import Preview, preview
from pipeline.scanning.engine import LARGE, Mail
from pipeline.state import LOOKS, Look, Message, Stage
from projections.readers.quarantine import Page, Query, Stats, read_kept, read_stats
from workers.releasing import AS_IT_IS, Done, Following, Release, author_of
from workers.steering import commit_decided, hand_over, live_or_refuse
from workers.wiring import Wiring

TRIES: Final = 20
"""When many people act on one message at once, each step has one winner; the others look again."""
SHOW: Final = "show"
PREVIEW: Final = "preview"
DOWNLOAD: Final = "download"

NAMED: Final = 5

T = TypeVar("T")
E = TypeVar("E", Released, Redirected, Discarded)
Decided = Callable[[Message, int], Sequence[MessageEvent]]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    message: Message
    """With the looks at it, this one too."""
    recipients: tuple[str, ...]
    """Whose copies are kept, of those that may be seen."""
    scanned: Scanned | None
    """None where the history does not have it any more."""


class Quarantine:
    """`by`: who looks and acts, as it is recorded. `recipients`: whose copies they may see; None: all.

    Calls raise NotFoundError, RefusedError (it is not kept, or may not leave so), ConflictError when others were faster each time, and
    StoreError.
    """

    def __init__(self, wiring: Wiring, *, by: str, recipients: frozenset[str] | None = None) -> None:
        self._wiring = wiring
        self._by = by
        self._recipients = recipients
        self._seen = None if recipients is None else frozenset(map(mailbox_key, recipients))
        self._following = Following(wiring, by=by)

    # Finding

    async def search(self, query: Query, *, limit: int = 50, after: str = "", budget: int = 0) -> Page:
        """The newest first; see `read_kept`. Not recorded. Raises ValueError for an `after` that no page said."""
        if self._recipients is not None:
            query = msgspec.structs.replace(query, recipients=self._recipients)
        store = self._wiring.store
        return await read_kept(store.redis, store.partitions, query, limit=limit, after=after, budget=budget)

    async def stats(self, domain: str | None = None) -> tuple[Stats, ...]:
        """Of a domain, or of all. Whoever is bound to recipients has no business with it."""
        if self._recipients is not None:
            raise RefusedError("the figures of a domain are for its postmasters")
        return await read_stats(self._wiring.store.redis, self._wiring.store.partitions, domain)

    # Looking

    async def show(self, message_id: str) -> Shown:
        message = await self._look(message_id, SHOW)
        scanned, looks = await self._history_of(message)
        if self._seen is not None:
            message = msgspec.structs.replace(message, looks=looks)
        return Shown(message=message, recipients=self._copies(message), scanned=scanned)

    async def preview(self, message_id: str) -> tuple[Message, Preview]:
        message = await self._look(message_id, PREVIEW)
        mail = Mail(message, await self._wiring.bodies.get(message_id))
        if len(mail.content) > LARGE:
            return message, await asyncio.to_thread(preview, mail)
        return message, preview(mail)

    async def download(self, message_id: str) -> tuple[Message, Buffer]:
        """Its octets, as they came."""
        message = await self._look(message_id, DOWNLOAD)
        return message, await self._wiring.bodies.get(message_id)

    async def _look(self, message_id: str, how: str) -> Message:
        """The message, with a look at it recorded: before anybody sees it, or somebody could see it and nobody would know."""

        def decided(message: Message, now: int) -> Sequence[MessageEvent]:
            copies = self._copies(message)
            if not copies:
                raise decide.not_kept(message)
            return decide.looked(message, by=self._by, how=how, now=now, recipients=copies)

        await self._decide(message_id, decided)
        return self._for_their_eyes(await self._live(message_id))

    def _for_their_eyes(self, message: Message) -> Message:
        """Without the other recipients, of whom nobody may learn who got a blind copy."""
        if self._seen is None:
            return message
        own = tuple([one for one in message.recipients if self._mine(one.address)])
        return msgspec.structs.replace(message, recipients=own, looks=())

    async def _history_of(self, message: Message) -> tuple[Scanned | None, tuple[Look, ...]]:
        """How it was judged, and who looked, as far as it is about copies that may be seen."""
        scanned: Scanned | None = None
        looks: list[Look] = []
        async for entry in self._wiring.past.message(message.id, message.version):
            event = entry.event
            if entry.subject != message.id:
                continue
            if isinstance(event, Scanned):
                decisions = [
                    msgspec.structs.replace(one, recipients=own)
                    for one in event.decisions
                    if (own := tuple(filter(self._mine, one.recipients)))
                ]
                scanned = msgspec.structs.replace(event, decisions=tuple(decisions))
                if self._seen is None:
                    break
            elif isinstance(event, Looked) and any(map(self._mine, event.recipients)):
                looks.append(Look(event.at, event.by, event.how))
        return scanned, tuple(looks[-LOOKS:])

    def _mine(self, address: str) -> bool:
        return self._seen is None or mailbox_key(address) in self._seen

    # Acting

    async def release(self, message_id: str, how: Release = AS_IT_IS) -> Done:
        """Straight to the recipients, without another scan; once, however often it is asked for."""
        self._may(how)

        def decided(message: Message, now: int) -> Sequence[MessageEvent]:
            lifetime = self._wiring.retry_of(message.domain).lifetime
            return decide.released(
                message, by=self._by, now=now, lifetime=lifetime, recipients=self._named(message, how.recipients),
                virus=how.virus,
            )  # fmt: skip

        return await self._with_more(message_id, how, self._release(message_id, decided, how.recipients))

    async def release_to(self, message_id: str, to: str, how: Release = AS_IT_IS, *, reason: str) -> Done:
        """To somebody else, as a message of its own that is not scanned again. `to`: an address that mail may go to."""
        self._may(how)
        return await self._with_more(message_id, how, self._release_to(message_id, to, how, reason))

    async def _release_to(self, message_id: str, to: str, how: Release, reason: str) -> Done:
        async def act(message: Message, now: int) -> str:
            domain = to.rpartition("@")[2]
            event, received = steering.released_to(
                message, to=to, by=self._by, reason=reason, now=now, lifetime=self._wiring.retry_of(domain).lifetime,
                partition=partition_for(domain, self._wiring.store.partitions),
                recipients=self._named(message, how.recipients), virus=how.virus,
            )  # fmt: skip
            return await hand_over(self._wiring, message, event, received)

        try:
            new = await self._try(message_id, act)
        except RefusedError:
            before = await self._before(message_id, how.recipients, lambda event: event.to == to, Redirected)
            if before is None:
                raise
            return Done(changed=False, words=f"was released to {to} before", message=before.message)
        return Done(changed=True, words=f"released to {to}, on its way", message=new)

    async def _with_more(self, message_id: str, how: Release, release: Coroutine[Any, Any, Done]) -> Done:
        """A release, and then what else was asked for; what that needs is taken before the message may be gone."""
        try:
            message = await self._kept(message_id) if how.learn or how.allow_sender else None
            content = await self._body(message) if message is not None else None
            if how.allow_sender and message is not None and content is not None:
                author_of(message, content)
        except BaseException:
            release.close()
            raise
        done = await release
        if done.changed and message is not None and content is not None:
            return await self._following.follow(done, message, content, how)
        return done

    async def delete(self, message_id: str, recipients: Sequence[str] = ()) -> Done:
        """Discarded for good."""

        def decided(message: Message, now: int) -> Sequence[MessageEvent]:
            return decide.deleted(message, by=self._by, now=now, recipients=self._named(message, recipients))

        try:
            await self._decide(message_id, decided)
        except RefusedError:
            if await self._before(message_id, recipients, lambda event: event.reason == "deleted", Discarded):
                return Done(changed=False, words="was deleted before")
            raise
        return Done(changed=True, words="deleted")

    # How

    def _may(self, how: Release) -> None:
        if how.virus and self._recipients is not None:
            raise RefusedError("a virus is released by a postmaster, and by nobody else")

    def _copies(self, message: Message) -> tuple[str, ...]:
        """Whose copies are kept, of those that may be seen."""
        kept = message.addresses(Stage.QUARANTINED)
        return tuple(filter(self._mine, kept))

    def _named(self, message: Message, recipients: Sequence[str]) -> Collection[str]:
        """Those of the message's recipients that are meant. Raises NotFoundError for one that is not among them."""
        there = {one.address.casefold(): one.address for one in message.recipients if self._mine(one.address)}
        strangers = [one for one in recipients if one.casefold() not in there]
        if strangers:
            raise NotFoundError(f"{message.id} is not for {', '.join(strangers[:NAMED])}")
        if not recipients and self._recipients is None:
            return ()
        return [there[one.casefold()] for one in recipients] or list(there.values())

    async def _live(self, message_id: str) -> Message:
        """Raises NotFoundError, also for what is for others than who asks, and RefusedError."""
        try:
            message = await live_or_refuse(self._wiring, message_id)
        except RefusedError:
            if self._seen is None or await self._was_for_them(message_id):
                raise
            raise NotFoundError(f"no message {message_id}") from None
        if not any(self._mine(one.address) for one in message.recipients):
            raise NotFoundError(f"no message {message_id}")
        return message

    async def _was_for_them(self, message_id: str) -> bool:
        async for entry in self._wiring.past.message(message_id, version=1):
            if isinstance(entry.event, Received):
                return any(self._mine(one.address) for one in entry.event.recipients)
        return False

    async def _kept(self, message_id: str, meant: Collection[str] = ()) -> Message | None:
        """The message while a copy that is meant (any when empty) is kept."""
        try:
            message = await self._live(message_id)
        except RefusedError:
            return None
        return message if any(not meant or one.casefold() in meant for one in self._copies(message)) else None

    async def _body(self, message: Message) -> Buffer | None:
        """None when the message has left a moment ago, and its body with it."""
        try:
            return await self._wiring.bodies.get(message.id)
        except CorruptError:
            if await self._kept(message.id) is None:
                return None
            raise

    async def _decide(self, message_id: str, decided: Decided) -> bool:
        """Make it so; False when nothing was left to do."""

        async def act(message: Message, now: int) -> bool:
            events = decided(message, now)
            if events:
                await commit_decided(self._wiring, message, events, now)
            return bool(events)

        return await self._try(message_id, act)

    async def _try(self, message_id: str, act: Callable[[Message, int], Awaitable[T]]) -> T:
        """Act on the message as it is; again from the start when somebody was faster."""
        for last in (*[False] * (TRIES - 1), True):
            message = await self._live(message_id)
            try:
                return await act(message, self._wiring.clock())
            except ConflictError:
                if last:
                    raise
        raise AssertionError

    async def _release(self, message_id: str, decided: Decided, recipients: Sequence[str]) -> Done:
        try:
            if await self._decide(message_id, decided):
                return Done(changed=True, words="released, on its way")
        except RefusedError:
            if await self._before(message_id, recipients, lambda _: True, Released):
                return Done(changed=False, words="was released before, and has left since")
            raise
        if await self._before(message_id, recipients, lambda _: True, Released):
            return Done(changed=False, words="was released before, and waits to leave")
        raise RefusedError(f"{message_id} was never in quarantine", remedy=f"See `gatepost trace {message_id}`.")

    async def _before(
        self, message_id: str, recipients: Sequence[str], wanted: Callable[[E], bool], kind: type[E]
    ) -> E | None:
        """What was done before to the copies that are meant; None while one of them is kept, for then it was not done."""
        meant = {one.casefold() for one in recipients or self._recipients or ()}
        if await self._kept(message_id, meant) is not None:
            return None
        async for entry in self._wiring.past.message(message_id):
            event = entry.event
            if entry.subject == message_id and isinstance(event, kind) and wanted(event):
                named = {one.casefold() for one in event.recipients}
                if not meant or not meant.isdisjoint(named):
                    return event
        return None
