"""Equal errors as one: how often, from when to when, for whom. Counted by the fold, so also beyond the errors that are kept.

Two errors are equal when they are of the same kind with the same end, by the same server at the same stage with the same code, and
their words differ in numbers and addresses only. Of each domain the groups that were met last are kept; the one not met for the
longest makes room for a new one, and begins anew should it come back. Fields of the hash `known` (`d` a domain):

    =<d>            the domain's groups by their digests, the one met last at the end (MessagePack)
    =<d> <digest>   Group (MessagePack)
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from pipeline.events import Attempt
from projections.base import Command, Word, bulk

ROWS: Final = "known"
RECIPIENTS_COUNTED: Final = 20
"""Distinct recipients named per group, the newest first."""
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    at: int
    kind: str
    """The event's tag: deferred, failed, undeliverable, route_deferred."""
    attempt: Attempt
    message: str = ""
    """The message's id; empty when no message was in it, because the server never got so far."""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    """The first hundred of them."""
    recipient_count: int = 0
    size: int = 0
    tries: int = 0
    next_try: int = 0
    """ns; 0: it is not tried again."""
    reason: str = ""
    bounce: str = ""
    unsent: str = ""
    domain: str = ""
    """Whose server it was, of our own mail; else empty, and it is the domain of the list."""

    @property
    def next(self) -> str:
        """What happened then: `retry` (at `next_try`), `returned` to the sender (`bounce`), `kept` for the postmaster because
        the sender is not to be told (`unsent`), or `gave up` without a word (`unsent`).
        """
        if self.kind == "undeliverable":
            return "kept"
        if self.kind != "failed":
            return "retry"
        return "returned" if self.bounce else "gave up"

    @property
    def possible_duplicate(self) -> bool:
        """The server had all of it and its last reply was lost: the recipient may have it, and may get it again."""
        return self.attempt.unknown


class Group(msgspec.Struct, array_like=True, frozen=True):
    count: int
    first: int
    last: int
    recipients: tuple[str, ...]
    newest: Failure


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Group).decode
_digests: Final = msgspec.msgpack.Decoder(list[str]).decode
decode_group: Final = _decode
decode_groups: Final = _digests


def groups_row(domain: str) -> str:
    return "=" + domain


def group_row(domain: str, digest: str) -> str:
    return f"={domain} {digest}"


def likeness(failure: Failure, domain: str) -> str:
    """The same for errors that are equal."""
    attempt = failure.attempt
    text = attempt.reply
    for address in (*failure.recipients, failure.sender):
        if address:
            text = text.replace(address, "@")
    said = (failure.kind, failure.next, domain, attempt.server, attempt.stage, str(attempt.code), without_numbers(text))
    return _digest(said)


@functools.lru_cache(1024)
def _digest(said: tuple[str, ...]) -> str:
    return hashlib.blake2b("\0".join(said).encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def without_numbers(text: str) -> str:
    """A reply without what a server puts into it to tell it from the next one: a queue id, a time, a counter."""
    return _HEX.sub(lambda found: found[0] if found[0].isalpha() else "#", text)


class Groups:
    """Those that a batch touches, as they were and as they are."""

    def __init__(self, rows: Mapping[str, bytes], most: int) -> None:
        self._stored = rows
        self._most = most
        self._orders: dict[str, dict[str, None]] = {}
        """Domain -> digests, the one met last at the end."""
        self._groups: dict[str, Group | None] = {}

    def add(self, account: str, domain: str, failure: Failure) -> None:
        """`account`: whose list it is in. `domain`: whose server it was."""
        if not self._most:
            return
        digest = likeness(failure, domain)
        order = self._order(account)
        name = group_row(account, digest)
        before = self._group(name) if digest in order else None
        order.pop(digest, None)
        order[digest] = None
        if len(order) > self._most:
            longest = next(iter(order))
            del order[longest]
            self._groups[group_row(account, longest)] = None
        self._groups[name] = _with(before, msgspec.structs.replace(failure, domain=domain if account != domain else ""))

    def _order(self, account: str) -> dict[str, None]:
        order = self._orders.get(account)
        if order is None:
            order = self._orders[account] = dict.fromkeys(_read_order(self._stored.get(groups_row(account))))
        return order

    def _group(self, name: str) -> Group | None:
        if name in self._groups:
            return self._groups[name]
        data = self._stored.get(name)
        try:
            return _decode(data) if data else None
        except msgspec.DecodeError:
            return None

    def writes(self) -> Iterator[Command]:
        rows: list[Word] = [
            word for account, order in self._orders.items() for word in (groups_row(account), _encode(list(order)))
        ]
        rows += [word for name, group in self._groups.items() if group is not None for word in (name, _encode(group))]
        yield from bulk("HSET", ROWS, rows)
        yield from bulk("HDEL", ROWS, [name for name, group in self._groups.items() if group is None])


def _read_order(data: bytes | None) -> list[str]:
    try:
        return _digests(data) if data else []
    except msgspec.DecodeError:
        return []


def _with(before: Group | None, failure: Failure) -> Group:
    recipients = tuple(dict.fromkeys((*failure.recipients, *(before.recipients if before else ()))))[
        :RECIPIENTS_COUNTED
    ]
    newest = msgspec.structs.replace(failure, recipients=failure.recipients[:RECIPIENTS_COUNTED])
    if before is None:
        return Group(1, failure.at, failure.at, recipients, newest)
    return Group(before.count + 1, min(before.first, failure.at), max(before.last, failure.at), recipients, newest)
