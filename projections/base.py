"""What a projection is, and how its result reaches Redis exactly once.

A projection is a pure function from events to writes of its own keys. What it knows of a message that is still under way it
keeps as a *row*, a field of one hash, and gets the rows of a batch's messages back with the batch. Invariants:

- The fold is exact: one batch of a thousand events and a thousand batches of one leave the same keys. So counters that
  reach zero vanish (`ADD`), and a row is written as it is after the batch, never step by step: fast mail, which comes and
  goes within a batch, costs a view next to nothing.
- The fold is total: whatever the history holds, it counts what it cannot explain (`odd`) and goes on.
- Writes and checkpoint are one script call that compares the checkpoint first: a batch folded twice, or by two
  projectors at once, counts once.
- What cannot be read is counted, by a rule that asks for nothing but the entry itself: each view counts those of a kind it folds,
  and those of which nobody can tell the kind.
- Keys are relative to the view's prefix and therefore in the partition's slot. Every view has, besides its own:
      checkpoint  string  the last entry of the log that is in the view
      keys        set     all other keys of the view, so that it can be dropped and compared without a SCAN
      meta        hash    damaged: log entries that could not be read; broken: writes that Redis refused
      damaged     list    the newest of those entries with the reason (MessagePack)
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias, TypeVar, runtime_checkable

import msgspec

from pipeline import keys
from pipeline.events import MESSAGE_EVENTS, Event, Learned, Postponed, Queued, Recorded, Warned
from pipeline.log import Damaged, Edge, Page
from pipeline.store import Client, Script, faults
from pipeline.topology.spread import is_spread

T = TypeVar("T")
Word: TypeAlias = str | bytes
Command: TypeAlias = tuple[Word, ...]
Writes: TypeAlias = list[Command]
"""Redis commands whose second word is a key relative to the view, and `ADD key field amount ...`: HINCRBY that deletes at zero."""

START: Final = "0"
"""The checkpoint of a view that has seen nothing."""
MAX_WORDS: Final = 1000
"""In one command: Lua unpacks them on its stack, which holds 8,000."""
MAX_WEIGHT: Final = 1000
"""Events in one call of the script, about: 5 ms of the server's time, so nobody else waits longer than that."""
OWN: Final = "*"
"""Where views that keep something per domain for ever put what is about our own mail to domains that are not ours: bounces,
reports, alerts and redirected copies go to any domain in the world, and each would stay in the view. A domain is ours from the
first message on that came in for it by SMTP, which is a fact of its partition's log."""
OURS: Final = "@"
YES: Final = b"1"
LESSONS: Final = 50
"""Lessons of the classifier in one call, some 10 ms: each changes a hundred counters."""
DAMAGED_KEPT: Final = 1000
MAX_COUNT: Final = 1 << 53
"""What an event may add to a counter: far above any size, far below where Redis's integers end."""
ROW_EVENTS: Final[frozenset[type[Event]]] = frozenset(MESSAGE_EVENTS) - {Postponed, Queued, Warned}
"""Events of a message for which a row of mail under way may be needed."""
NO_ROWS: Final[frozenset[type[Event]]] = frozenset()

_fold = Script(files("projections").joinpath("fold.lua").read_text("utf-8"), "fold")


class Projection(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Another version is another view: it is built anew from the first event."""

    @property
    def rows(self) -> str:
        """The hash (message id -> row) whose fields `fold` wants to see; empty for none."""

    @property
    def kinds(self) -> frozenset[type[Event]]:
        """The events that `fold` looks at. It is also given others, when they are read for another view; but not one more of them
        needs to be read for it. What the log holds of these and cannot be read is counted as damage to the view.
        """

    @property
    def hot(self) -> bool:
        """It holds what is in Redis, not what is archived: it begins at the first entry there, and is cut when the log is."""

    @property
    def row_events(self) -> frozenset[type[Event]]:
        """Events of a message for which it wants to see its row."""

    def fold(self, batch: Sequence[Recorded], rows: Mapping[str, bytes]) -> Writes:
        """The writes that bring the view from before `batch` to after it. `rows`: those that exist for its messages.

        Pure, total and exact, as said above.
        """


@runtime_checkable
class Asking(Protocol):
    """A projection that wants to see more fields of its hash of rows than those of its messages."""

    def asks(self, batch: Sequence[Recorded]) -> Iterable[str]:
        """Names of rows; they are given to `fold` with the others. Pure."""


class History(Protocol):
    """The log as views are made of it: a `Log`, or a `pipeline.history.History`, which knows what is archived as well."""

    async def page(
        self,
        partition: int,
        after: str,
        count: int,
        until: str | None = None,
        kinds: Container[type[Event]] | None = None,
    ) -> Page: ...

    async def edge(self, partition: int) -> Edge: ...


class View(msgspec.Struct, frozen=True):
    """One projection of one partition, in one set of keys."""

    partition: int
    projection: Projection
    build: int

    @property
    def prefix(self) -> str:
        return keys.view(self.partition, self.projection.name, self.build)


class Portion(msgspec.Struct, frozen=True):
    """Entries of one partition's log, and the views that have seen all before them."""

    views: Sequence[View]
    expected: str
    """The checkpoint of the views."""
    entries: Sequence[Recorded | Damaged]
    """Those that any of the views wants to see."""
    until: str = ""
    """The last entry that was looked at; empty: the last of `entries`, of which there is at least one then."""

    @property
    def reached(self) -> str:
        return self.until or self.entries[-1].entry


class DamagedEntry(msgspec.Struct, frozen=True, array_like=True):
    entry: str
    subject: str
    reason: str


class Counters:
    """What a batch adds to the counters of each domain, the hashes `d:<domain>`; what cancels out is not written."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._domains: dict[str, list[int]] = {}

    def of(self, domain: str) -> list[int]:
        """One number per field, in their order, to be added to in place."""
        counts = self._domains.get(domain)
        if counts is None:
            counts = self._domains[domain] = [0] * len(self._fields)
        return counts

    def writes(self) -> Iterator[Command]:
        for domain, counts in self._domains.items():
            words = [
                word
                for field, amount in zip(self._fields, counts, strict=True)
                if amount
                for word in (field, str(amount))
            ]
            yield from bulk("ADD", "d:" + domain, words)


def bulk(verb: str, key: str, words: Sequence[Word]) -> Iterator[Command]:
    """One command with many words, in pieces that a script can unpack; none when there are no words."""
    for start in range(0, len(words), MAX_WORDS):
        yield (verb, key, *words[start : start + MAX_WORDS])


def ours(domain: str) -> str:
    """The row that says that a domain is ours."""
    return OURS + domain


def row_of(decode: Callable[[bytes], T], data: bytes | None) -> T | None:
    """A row as it is stored. One that cannot be read is none: its message's next events will be odd, and counted."""
    if data is None:
        return None
    try:
        return decode(data)
    except msgspec.DecodeError:
        return None


def bounded(amount: int) -> int:
    """A size out of history, within what counters can hold."""
    return min(max(amount, 0), MAX_COUNT)


def damaged_writes(damaged: Sequence[Damaged]) -> Writes:
    """The record of entries that could not be read: counted, kept with the reason, in no fold's way."""
    if not damaged:
        return []
    kept = [msgspec.msgpack.encode(DamagedEntry(one.entry, one.subject, one.reason)) for one in damaged[-DAMAGED_KEPT:]]
    return [
        ("ADD", "meta", "damaged", str(len(damaged))),
        *bulk("LPUSH", "damaged", kept),
        ("LTRIM", "damaged", "0", str(DAMAGED_KEPT - 1)),
    ]


def first_of(views: Sequence[View], expected: str, page: Page) -> tuple[Portion, Page | None]:
    """The beginning of a page that can be stored without holding others up for long, and what is left of it, if anything is."""
    chosen = light(page.entries)
    if len(chosen) == len(page.entries):
        return Portion(views, expected, chosen, page.reached), None
    left = page.entries[len(chosen) :]
    return Portion(views, expected, chosen), Page(left, len(left), page.reached)


def light(entries: Sequence[Recorded | Damaged]) -> Sequence[Recorded | Damaged]:
    """The beginning of them that can be stored without holding others up for long."""
    lessons = 0
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, Recorded) and type(entry.event) is Learned:
            lessons += 1
            if lessons == LESSONS:
                return entries[:number]
    return entries


async def position(redis: Client, view: View) -> str:
    """The checkpoint of a view."""
    with faults():
        stored: Any = await redis.get(view.prefix + "checkpoint")
    return stored.decode() if stored else START


async def advance(redis: Client, portions: Sequence[Portion]) -> list[bool]:
    """Fold each portion into its views; per portion whether all of them were where it says.

    A view that was not stays as it is: somebody else was first. Raises StoreAwayError, after which it may have happened,
    and StoreFullError, after which it has not.
    """
    batches = [[entry for entry in portion.entries if isinstance(entry, Recorded)] for portion in portions]
    rows = iter(await _rows(redis, portions, batches))
    results: list[bool] = []
    words: list[Word | int] = []
    weight = 0
    for portion, batch in zip(portions, batches, strict=True):
        damaged = [entry for entry in portion.entries if isinstance(entry, Damaged)]
        for view in portion.views:
            mine = [one for one in damaged if one.kind is None or one.kind in view.projection.kinds]
            writes = view.projection.fold(batch, next(rows)) + damaged_writes(mine)
            words += _change(view, portion.expected, portion.reached, writes)
        weight += len(batch)
        if weight >= MAX_WEIGHT or portion is portions[-1] or is_spread(redis):
            with faults():
                results += await _fold(redis, [portion.views[0].prefix + "checkpoint"], words)
            words = []
            weight = 0
    stored = iter(results)
    return [all(list(islice(stored, len(portion.views)))) for portion in portions]


async def _rows(
    redis: Client, portions: Sequence[Portion], batches: Sequence[Sequence[Recorded]]
) -> list[Mapping[str, bytes]]:
    """For each view of each portion the rows of its batch's messages.

    What is read here is true when it is stored: a row changes only together with the checkpoint that is compared then.
    """
    pipe = redis.pipeline(transaction=False)
    asked: list[list[str]] = []
    for portion, batch in zip(portions, batches, strict=True):
        found: dict[frozenset[type[Event]], list[str]] = {NO_ROWS: []}
        for view in portion.views:
            kinds = view.projection.row_events
            if kinds not in found:
                found[kinds] = list({recorded.subject: None for recorded in batch if type(recorded.event) in kinds})
            more = view.projection.asks(batch) if isinstance(view.projection, Asking) else ()
            asked.append([*found[kinds], *more] if more else found[kinds])
            if asked[-1]:
                pipe.hmget(view.prefix + view.projection.rows, asked[-1])
    with faults():
        answers: Any = iter(await pipe.execute())
    return [
        {name: row for name, row in zip(ids, next(answers), strict=True) if row is not None} if ids else {}
        for ids in asked
    ]


def _change(view: View, expected: str, reached: str, writes: Writes) -> list[Word | int]:
    words: list[Word | int] = [view.prefix, expected, reached, len(writes)]
    for command in writes:
        words.append(len(command))
        words += command
    return words
