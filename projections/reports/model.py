"""What a report is of, and one row of it."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from pipeline.diagnosis import Table, diagnose
from pipeline.events import Attempt, Deferred, Delivered, Event, Failed, Recorded, RouteDeferred, Undeliverable
from pipeline.faults import ConfigurationError
from pipeline.ids import born, is_id

DELIVERED: Final = "delivered"
DEFERRED: Final = "deferred"
FAILED: Final = "failed"
UNDELIVERABLE: Final = "undeliverable"
NO_SERVER: Final = "no_server"
"""No server of the domain could be used: all of its mail waits, and no message of it was tried."""
STATUSES: Final = (DELIVERED, DEFERRED, NO_SERVER, FAILED, UNDELIVERABLE)
MS: Final = 1_000_000
REMEMBERED: Final = 1024
"""Replies whose class is kept at hand: most are alike. At most 5 MiB."""

Classes: TypeAlias = Callable[[Attempt], str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One try at one server, for the recipients of one message that had the same answer."""

    at: int
    domain: str
    status: str
    message: str = ""
    """Its id; empty where all mail of the domain waited."""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    size: int = 0
    tries: int = 0
    server: str = ""
    address: str = ""
    tls: str = ""
    stage: str = ""
    code: int = 0
    enhanced: str = ""
    reply: str = ""
    """Verbatim, in all its lines; what happened instead where code is 0."""
    about: str = ""
    """The class of the reply (see `gatepost replies`); empty for what was delivered."""
    reason: str = ""
    """Of what is not tried again: refused, expired, returned."""
    waited: int = 0
    """ns in the queue until then; of a route, since it stopped working."""
    duplicate: bool = False
    """The server had all of it and its last reply was lost: it may have been delivered, and may come twice."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are in a report; what is empty leaves all."""

    statuses: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    sender: str = ""
    """Part of the sender's address, in lower case; `<>`: the null sender."""
    recipient: str = ""
    """Part of a recipient's address, in lower case."""

    def __call__(self, row: Row) -> bool:
        if (self.statuses and row.status not in self.statuses) or (self.classes and row.about not in self.classes):
            return False
        if self.sender and not (self.sender in row.sender.lower() or (self.sender == "<>" and _null(row))):
            return False
        return not self.recipient or any(self.recipient in address.lower() for address in row.recipients)

    @property
    def kinds(self) -> frozenset[type[Event]]:
        """The events that have such rows."""
        return frozenset(kind for kind, status in _STATUS.items() if not self.statuses or status in self.statuses)

    def words(self) -> list[tuple[str, str]]:
        """What was asked for, as an option each."""
        options = [("status", "|".join(sorted(self.statuses))), ("class", "|".join(sorted(self.classes)))]
        return [
            (name, text) for name, text in [*options, ("sender", self.sender), ("recipient", self.recipient)] if text
        ]


ALL: Final = Wanted()


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is of."""

    domains: tuple[str, ...]
    start: int
    """The first ns that is in it, and ..."""
    end: int
    """... the first behind it."""
    zone: dt.tzinfo
    made: int
    wanted: Wanted = ALL
    every: bool = False
    """All domains were asked for."""
    language: str = "en"
    titles: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What each class of answers is called."""


def titles(table: Table, language: str) -> dict[str, str]:
    return {name: known.title.get(language, known.en) for name, known in table.classes.items()}


def statuses_of(names: Iterable[str]) -> frozenset[str]:
    """Raises ConfigurationError for one that there is not."""
    found = frozenset(name.strip().lower() for name in names)
    unknown = found.difference(STATUSES)
    if unknown:
        raise ConfigurationError(f"no status {min(unknown)!a}", remedy=f"One of {', '.join(STATUSES)}.")
    return found


def classes(table: Table) -> Classes:
    """What a reply is about, by the table in force."""

    @functools.lru_cache(REMEMBERED)
    def about(stage: str, code: int, enhanced: str, reply: str, software: str) -> str:
        attempt = Attempt(server="", stage=stage, code=code, enhanced=enhanced, reply=reply, software=software)
        return diagnose(attempt, table=table).about

    return lambda attempt: about(attempt.stage, attempt.code, attempt.enhanced, attempt.reply, attempt.software)


def rows_of(recorded: Recorded, about: Classes) -> Iterator[Row]:
    """The rows of an event: none where it is no attempt."""
    event = recorded.event
    if isinstance(event, RouteDeferred):
        for attempt in event.attempts:
            yield _tried(
                attempt, about, at=event.at, domain=event.domain, status=NO_SERVER, tries=event.tries,
                waited=max(0, event.at - event.since),
            )  # fmt: skip
    elif isinstance(event, Delivered | Deferred | Failed | Undeliverable):
        waited = event.waited if isinstance(event, Delivered) else _age(recorded.subject, event.at)
        yield _tried(
            event.attempt,
            None if isinstance(event, Delivered) else about,
            at=event.at,
            domain=event.domain,
            status=_STATUS[type(event)],
            message=recorded.subject,
            sender=event.sender,
            recipients=event.recipients,
            size=event.size,
            tries=event.tries,
            reason=event.reason if isinstance(event, Failed | Undeliverable) else "",
            waited=waited,
        )


def _tried(attempt: Attempt | None, about: Classes | None, **fields: object) -> Row:
    if attempt is None:
        return Row(**fields)  # type: ignore[arg-type]
    return Row(
        **fields,  # type: ignore[arg-type]
        server=attempt.server,
        address=attempt.address,
        tls=attempt.tls,
        stage=attempt.stage,
        code=attempt.code,
        enhanced=attempt.enhanced,
        reply=attempt.reply,
        about=about(attempt) if about is not None and attempt.stage else "",
        duplicate=attempt.unknown,
    )


def _age(message_id: str, at: int) -> int:
    """An id holds the moment of its birth."""
    return max(0, at - born(message_id) * MS) if is_id(message_id) else 0


def _null(row: Row) -> bool:
    return not row.sender and bool(row.message)


_STATUS: Final[Mapping[type[Event], str]] = {
    Delivered: DELIVERED, Deferred: DEFERRED, Failed: FAILED, Undeliverable: UNDELIVERABLE, RouteDeferred: NO_SERVER,
}  # fmt: skip
