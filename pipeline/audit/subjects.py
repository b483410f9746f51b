"""Whether the events of each subject follow from one another: versions without gap or repeat, and steps that the state machine has.

Sees the entries of a log in order. What is remembered of a message goes with its last outcome, so memory grows with the messages that
live at one time and not with the log; of those that are gone a filter remembers that they were there, in a fixed number of octets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pipeline.audit.entries import Entry
from pipeline.events import MESSAGE_EVENTS, Event, Learned, Postponed, Received, Scanned
from pipeline.ids import born, is_id
from pipeline.log import SKEW_MS
from pipeline.state import NEXT, TERMINAL, Stage

FILTER_BITS: Final = 1 << 27
"""16 MiB: of three million messages that are gone one in some ten thousand that are new is taken for one of them, and looked up."""
ANEW: Final = "!"
"""How a subject begins whose head is forgotten after a long time, and which then has a version 1 again: an alert."""
_HASHES: Final = 4
_STAGES: Final = tuple(Stage)
_RANK: Final = {stage: rank for rank, stage in enumerate(_STAGES)}
_LIVE: Final = frozenset(rank for stage, rank in _RANK.items() if stage not in TERMINAL)
_NEXT: Final[Mapping[tuple[int, type[Event]], int]] = {
    (_RANK[stage], kind): _RANK[after] for (stage, kind), after in NEXT.items() if stage is not None
}
_GOING_ON: Final[frozenset[type[Event]]] = frozenset({Learned})
"""Kinds that have an id of their own as subject, and follow one another."""
_MESSAGES: Final = frozenset(MESSAGE_EVENTS)


class Filter:
    """Remembers that something was there in a few bits (Bloom): never forgets, and sometimes remembers what was not."""

    def __init__(self, bits: int = FILTER_BITS) -> None:
        self._bits = bytearray(bits // 8)
        self._mask = bits - 1

    def add(self, name: str) -> bool:
        """Whether it may have been there already."""
        value = hash(name)
        step = value >> 32 | 1
        known = True
        for turn in range(_HASHES):
            place = (value + turn * step) & self._mask
            octet, bit = place >> 3, 1 << (place & 7)
            if not self._bits[octet] & bit:
                known = False
                self._bits[octet] |= bit
        return known


class State(msgspec.Struct, array_like=True):
    """Of one subject. `names`: hashes of the recipients' addresses; `stages`: parallel; both empty where the beginning was not seen."""

    version: int
    names: tuple[int, ...] = ()
    stages: bytes = b""


class Subjects:
    def __init__(self, gone: Filter, begin: int = 0, *, gaps: bool = False) -> None:
        """`gone`: of those that were there; it may be common to several logs. `begin`: before this (ms) the log was not looked at, and a
        subject that is older may be in the middle of its history; 0: it is looked at from its first entry on. `gaps`: some events of a
        subject are left out on purpose.
        """
        self._begin = begin
        self._gaps = gaps
        self._live: dict[str, State] = {}
        self._gone = gone
        self.suspect = False
        """The last entry begins a subject that may have been there before: the filter cannot tell for sure."""
        self.seen = 0
        """Subjects whose beginning was seen."""

    @property
    def live(self) -> Mapping[str, State]:
        """Those that may go on."""
        return self._live

    def see(self, entry: Entry) -> str:
        """What is wrong with an entry, in words; empty when nothing is."""
        self.suspect = False
        state = self._live.get(entry.subject)
        wrong = self._version(state, entry)
        if type(entry.event) not in _MESSAGES:
            self._other(state, entry)
            return wrong
        if wrong and state is not None:
            # Behind a gap nothing is known of the message but its version, so that one fault is not told twice.
            self._live[entry.subject] = State(entry.version)
            return wrong
        return self._message(state, entry) or wrong

    def _other(self, state: State | None, entry: Entry) -> None:
        """What is no message. A report, a refusal, an export is the only event of its subject; others go on."""
        only = is_id(entry.subject) and entry.version == 1 and type(entry.event) not in _GOING_ON
        if state is None and is_id(entry.subject):
            self._begins(entry)
        if not only or entry.event is None:
            self._live[entry.subject] = State(entry.version)

    def _version(self, state: State | None, entry: Entry) -> str:
        if entry.version < 1:
            return f"its version is {entry.version}"
        if state is not None:
            if entry.version == state.version + 1 or (self._gaps and entry.version > state.version):
                return ""
            if entry.version == 1 and entry.subject.startswith(ANEW):
                return ""
            if entry.version <= state.version:
                return f"version {entry.version} of {entry.subject} comes a second time, behind version {state.version}"
            missing = _numbers(state.version + 1, entry.version - 1)
            return f"version {entry.version} of {entry.subject} follows version {state.version}: {missing} missing"
        if entry.version == 1 or self._older(entry.subject):
            return ""
        return f"{entry.subject} begins with version {entry.version}: {_numbers(1, entry.version - 1)} missing"

    def _older(self, subject: str) -> bool:
        """Whether a subject may have begun before what is looked at."""
        if not self._begin:
            return False
        return not is_id(subject) or born(subject) <= self._begin + SKEW_MS

    def _begins(self, entry: Entry) -> None:
        if entry.version == 1:
            self.seen += 1
            self.suspect = self._gone.add(entry.subject)

    def _message(self, state: State | None, entry: Entry) -> str:
        event: Any = entry.event
        if isinstance(event, Received):
            if state is not None:
                self._live[entry.subject] = State(entry.version)
                return f"{entry.subject} was received already"
            self._begins(entry)
            names = tuple([hash(spec.address) for spec in event.recipients])
            self._live[entry.subject] = State(entry.version, names, bytes([_RANK[Stage.RECEIVED]]) * len(names))
            if not names:
                return f"{entry.subject} is received for nobody"
            return "" if entry.version == 1 else f"{entry.subject} is received as version {entry.version}"
        if state is None or not state.names:
            self._live[entry.subject] = State(entry.version)
            if state is None and not self._older(entry.subject):
                return f"{entry.subject} begins with {entry.kind}"
            return ""
        wrong, stages = _moved(state, event, entry)
        if wrong:
            self._live[entry.subject] = State(entry.version)
            return wrong
        if _LIVE.isdisjoint(stages):
            del self._live[entry.subject]
        else:
            state.version, state.stages = entry.version, stages
        return ""


def _moved(state: State, event: Any, entry: Entry) -> tuple[str, bytes]:
    """The recipients' stages after an event, or why it cannot be. As `state.evolve`, by the same table."""
    kind = type(event)
    if kind is Scanned or kind is Postponed:
        named = range(len(state.names))
    else:
        places = {name: place for place, name in enumerate(state.names)}
        found = [places.get(hash(address)) for address in event.recipients]
        if not found or None in found:
            return f"{entry.kind} names somebody who is no recipient of {entry.subject}", b""
        named = found  # type: ignore[assignment]  # None was looked for
    stages = bytearray(state.stages)
    for place in named:
        after = _NEXT.get((stages[place], kind))
        if after is None:
            return f"{entry.kind} cannot follow {_STAGES[stages[place]]}, of {entry.subject}", b""
        stages[place] = after
    return "", bytes(stages)


def _numbers(first: int, last: int) -> str:
    return f"version {first} is" if first == last else f"versions {first} to {last} are"
