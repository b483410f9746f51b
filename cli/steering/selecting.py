"""Which waiting messages are meant: those named, or all that filters select, however many; and acting on each.

Nothing of a large queue is kept in memory but numbers: messages are read page by page, once to count them for the question,
and once to act.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.events import Attempt
    from pipeline.state import Message

TOGETHER: Final = 64
"""Messages acted on at once: their steps share calls and fsyncs."""
NAMED: Final = 5
"""Messages and domains shown as examples."""
TOLD: Final = 100
"""Messages whose refusal is told one by one; more are counted."""


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    domain: Annotated[str, Parameter(help="Only mail for this domain.")] = ""
    older_than: Annotated[str, Parameter(help="Only what was received longer ago than this, such as 2d or 6h.")] = ""
    sender: Annotated[str, Parameter(help="Only from senders that contain this; <> for the null sender.")] = ""
    recipient: Annotated[str, Parameter(help="Only for recipients that contain this.")] = ""
    said: Annotated[str, Parameter(help="Only where the last answer contains this.")] = ""
    class_: Annotated[
        str, Parameter(name="--class", help="Only where the last answer is of this class, such as mailbox-full.")
    ] = ""

    @property
    def any(self) -> bool:
        return self != Filters()


NONE: Final = Filters()


class Tally(msgspec.Struct):
    """What came of acting on many. `already`: it was so before; `gone`: it left meanwhile."""

    done: int = 0
    already: int = 0
    gone: int = 0
    refused: int = 0
    told: list[tuple[str, str]] = []
    """The first refusals: id and reason."""


class Preview(msgspec.Struct):
    messages: int = 0
    recipients: int = 0
    bytes: int = 0
    oldest: int = 0
    without_sender: int = 0
    domains: Counter[str] = msgspec.field(default_factory=Counter)
    examples: list[Any] = []

    def add(self, message: Message) -> None:
        from pipeline.state import LEAVING

        self.messages += 1
        self.recipients += len(message.addresses(*LEAVING))
        self.bytes += message.size
        self.oldest = min(self.oldest or message.received_at, message.received_at)
        self.without_sender += not message.sender
        self.domains[message.domain] += 1
        if len(self.examples) < NAMED:
            self.examples.append(message)


class Selection:
    """`ids` or `filters`, not both and not neither. Raises ConfigurationError, NotFoundError (no message id)."""

    def __init__(self, ids: Sequence[str], filters: Filters, now: int) -> None:
        from cli.names import domain_of, message_id_of
        from cli.steering.asked import age_of
        from pipeline.faults import ConfigurationError

        if bool(ids) == filters.any:
            raise ConfigurationError(
                "name messages, or say which with filters" if not ids else "name messages or give filters, not both",
                remedy="Filters are --domain, --older-than, --sender, --recipient, --said and --class.",
            )
        self.ids = list(dict.fromkeys(message_id_of(text) for text in ids))
        self._domain = domain_of(filters.domain) if filters.domain else ""
        self._before = now - age_of(filters.older_than)
        self._sender = filters.sender.casefold()
        self._recipient = filters.recipient.casefold()
        self._said = filters.said.casefold()
        self._class = filters.class_
        if self._class:
            _known_class(self._class)
        self._routes: dict[str, tuple[Attempt, ...]] = {}
        """What the servers of a domain said when none could be used; each domain is asked for once."""

    async def messages(self, opened: Session) -> AsyncIterator[Message]:
        """Those that wait to leave. A message that is named and does not is left to whoever acts on it."""
        from cli.heads import LiveHeads
        from pipeline.ids import partition_for

        heads, partitions = LiveHeads(opened.wiring), opened.wiring.store.partitions
        if self.ids:
            for start in range(0, len(self.ids), TOGETHER):
                for message in await heads.read(self.ids[start : start + TOGETHER]):
                    yield message
            return
        for partition in [partition_for(self._domain, partitions)] if self._domain else range(partitions):
            async for message in heads.live(partition):
                if self._matches(message) and (
                    not (self._said or self._class) or await self._answered(opened, message)
                ):
                    yield message

    def _matches(self, message: Message) -> bool:
        from pipeline.state import LEAVING

        copies = message.addresses(*LEAVING)
        return (
            bool(copies)
            and (not self._domain or message.domain == self._domain)
            and message.received_at <= self._before
            and (not message.sender if self._sender == "<>" else self._sender in message.sender.casefold())
            and any(self._recipient in address.casefold() for address in copies)
        )

    async def _answered(self, opened: Session, message: Message) -> bool:
        from pipeline.diagnosis import diagnose
        from pipeline.state import LEAVING

        attempts = {one.last for one in message.recipients if one.stage in LEAVING and one.last is not None}
        if message.domain not in self._routes:
            from pipeline.ids import partition_of

            route = await opened.wiring.schedule.route(partition_of(message.id), message.domain)
            self._routes[message.domain] = route.attempts
        return any(
            self._said in attempt.reply.casefold()
            and (not self._class or diagnose(attempt, software=attempt.software).about == self._class)
            for attempt in attempts.union(self._routes[message.domain])
        )

    async def preview(self, opened: Session) -> Preview:
        found = Preview()
        async for message in self.messages(opened):
            found.add(message)
        return found


def _known_class(name: str) -> None:
    from pipeline.diagnosis import read
    from pipeline.faults import ConfigurationError

    classes = read().classes
    if name not in classes:
        raise ConfigurationError(f"no class {name!a}", remedy=f"One of {', '.join(sorted(classes))}.")


async def act_on(
    opened: Session,
    selection: Selection,
    act: Callable[[str], Awaitable[Any]],
    *,
    what: str,
    total: int | None,
    shown: bool,
) -> Tally:
    """Act on each; what came of it. `act` says whether something changed. `total`: None when nobody counted. Raises StoreError."""
    names = _names(opened, selection)
    return await act_on_each(names, act, named=bool(selection.ids), what=what, total=total, shown=shown)


async def act_on_each(
    names: AsyncIterator[str],
    act: Callable[[str], Awaitable[Any]],
    *,
    named: bool,
    what: str,
    total: int | None,
    shown: bool,
) -> Tally:
    """As `act_on`, for names from anywhere. `named`: somebody typed them, so that one that is gone is told."""
    from cli.progress import Progress

    tally = Tally()
    with Progress(what, total, shown=shown and (total is None or total > TOGETHER)) as progress:
        some: list[str] = []

        async def flush() -> None:
            results = await asyncio.gather(*(act(name) for name in some), return_exceptions=True)
            for name, result in zip(some, results, strict=True):
                _count(tally, name, result, named=named)
            progress.advance(len(some))
            some.clear()

        async for name in names:
            some.append(name)
            if len(some) == TOGETHER:
                await flush()
        await flush()
    return tally


async def _names(opened: Session, selection: Selection) -> AsyncIterator[str]:
    """Ids that were named are acted on as they are, so that each gets its answer."""
    if selection.ids:
        for name in selection.ids:
            yield name
    else:
        async for message in selection.messages(opened):
            yield message.id


def _count(tally: Tally, name: str, result: Any, *, named: bool) -> None:
    from pipeline.faults import ConflictError, CorruptError, NotFoundError, RefusedError

    if isinstance(result, NotFoundError) and not named:
        tally.gone += 1
    elif isinstance(result, NotFoundError | RefusedError | ConflictError | CorruptError):
        tally.refused += 1
        if len(tally.told) < TOLD:
            tally.told.append((name, _words(result)))
    elif isinstance(result, BaseException):
        raise result
    elif result:
        tally.done += 1
    else:
        tally.already += 1


def _words(fault: Exception) -> str:
    remedy = getattr(fault, "remedy", "")
    return f"{fault}. {remedy}" if remedy else str(fault)
