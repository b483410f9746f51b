"""What follows when somebody says that a message is spam, or is not: pure decisions and their step.

A message counts once: said again, nothing happens; said otherwise, what was learnt before is forgotten in the same step. The
head of what was said is kept for some months; who says it again after that is heard again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline import keys
from pipeline.events import Learned, encode
from pipeline.ids import new_id, partition_for
from pipeline.steps import MS, Effect, Step
from pipeline.units import SECOND

MEMORY: Final = 180 * 86400 * SECOND
"""How long it is known of a message what was said of it (ns)."""


class Lesson(msgspec.Struct, frozen=True, array_like=True):
    """What was last said of a message; its head."""

    subject: str
    """Of its events."""
    spam: bool
    at: int
    """When: its event is found in the log around this moment."""
    version: int = 0


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of a message. `spam` None: nothing any more."""

    domain: str
    digest: str
    spam: bool | None
    by: str
    how: str
    message: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Lesson).decode


def decode_lesson(data: bytes) -> Lesson:
    """Raises `msgspec.DecodeError`."""
    return _decode(data)


def changes(known: Lesson | None, said: Said) -> bool:
    """Whether it is news."""
    return (known.spam if known is not None else None) is not said.spam


def lesson_step(
    said: Said, known: Lesson | None, *, tokens: bytes, before: bytes, now: int, partitions: int, subject: str = ""
) -> Step:
    """The step that makes it so. `before`: the tokens that were learnt then, where something was. `subject`: for tests."""
    partition = partition_for(said.domain, partitions)
    about = known.subject if known is not None else subject or new_id(now, partition)
    common = {"at": now, "domain": said.domain, "by": said.by, "how": said.how, "message": said.message}
    events: list[Learned] = []
    if known is not None:
        events.append(Learned(**common, spam=known.spam, tokens=before, undone=True))  # type: ignore[arg-type]
    if said.spam is not None:
        events.append(Learned(**common, spam=said.spam, tokens=tokens))  # type: ignore[arg-type]
    version = known.version if known is not None else 0
    head = keys.learned(partition, said.domain, said.digest)
    state = b""
    effects: tuple[Effect, ...] = ()
    if said.spam is not None:
        state = _encode(Lesson(about, said.spam, now, version + len(events)))
        effects = (("PEXPIRE", head, MEMORY // MS),)
    return Step(
        head=head,
        log=keys.log(partition),
        subject=about,
        expected=version,
        events=tuple([encode(event) for event in events]),
        state=state,
        effects=effects,
    )
