"""What the classifier knows: how often each token was in spam and in other mail, for each domain and ("") for all.

A view like the others: what was learnt is in the events, and these counts come out the same when they are folded anew. They are
bounded without ever forgetting: a table has as many places as BITS say, tokens that meet in one are counted together, and with
a million places even a large vocabulary rarely meets. Keys of the view (`d` a domain):

    w:<d>   hash    place (three octets) -> spam * 2^24 + ham: messages with a token of that place
    d:<d>   hash    spam, ham: messages that were learnt
    l:<d>   hash    the last lesson: at, by, how
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pipeline.events import Event, Learned, Recorded
from pipeline.scanning.bayes.tokens import unpacked
from projections.base import NO_ROWS, Writes, bulk

NAME: Final = "classifier"
BITS: Final = 20
"""At most a million places, some 60 MB; a domain's own table rarely has more than a tenth of them."""
SPAM: Final = 1 << 24
"""Beside which the messages that are none are counted, in one number."""
MAX_TOKENS: Final = 4000
_HIGH: Final = [bytes([octet & ((1 << BITS - 16) - 1)]) for octet in range(256)]
"""What is left of a token's third octet; the last two count in full."""


def places(tokens: Iterable[bytes]) -> list[bytes]:
    """Where tokens are counted, without repetition."""
    return list(dict.fromkeys([_HIGH[token[2]] + token[3:] for token in tokens]))


def split(count: int) -> tuple[float, float]:
    """(spam, ham) of a number in the table; nothing is below zero, whatever happened to it."""
    return (count >> 24, count & (SPAM - 1)) if count > 0 else (0, 0)


class _Table(msgspec.Struct):
    places: dict[bytes, int]
    last: Learned
    spam: int = 0
    ham: int = 0


class Classifier:
    name = NAME
    version = "2"
    hot = False
    rows = ""
    row_events = NO_ROWS
    kinds: frozenset[type[Event]] = frozenset({Learned})

    def fold(self, batch: Sequence[Recorded], rows: object = None) -> Writes:  # noqa: ARG002 - it has no rows
        tables: dict[str, _Table] = {}
        for recorded in batch:
            event = recorded.event
            if type(event) is Learned:
                table = tables.get(event.domain)
                if table is None:
                    table = tables[event.domain] = _Table({}, event)
                _count(table, event)
        writes: Writes = []
        for domain, table in tables.items():
            words: list[str | bytes] = []
            for place, amount in table.places.items():
                if amount:
                    words += (place, str(amount))
            writes += bulk("ADD", "w:" + domain, words)
            counted = [word for name in ("spam", "ham") if (many := getattr(table, name)) for word in (name, str(many))]
            writes += bulk("ADD", "d:" + domain, counted)
            last = table.last
            writes.append(("HSET", "l:" + domain, "at", str(last.at), "by", last.by, "how", last.how))
        return writes


def _count(table: _Table, event: Learned) -> None:
    sign = -1 if event.undone else 1
    amount = sign * (SPAM if event.spam else 1)
    counts = table.places
    for place in places(unpacked(event.tokens)[:MAX_TOKENS]):
        counts[place] = counts.get(place, 0) + amount
    if event.spam:
        table.spam += sign
    else:
        table.ham += sign
    table.last = event
