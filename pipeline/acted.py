"""Writing down that somebody did something of which no other event speaks."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline import keys
from pipeline.events import Acted, Exported, encode
from pipeline.ids import new_id, partition_for
from pipeline.steps import Effect, Step


def home(domain: str, partitions: int) -> int:
    """The partition in whose log it stands; the first, for what concerns all domains."""
    return partition_for(domain, partitions) if domain else 0


def recorded_step(event: Acted | Exported, partition: int, effects: Iterable[Effect] = ()) -> Step:
    """Under an id of its own: it is the only event of its subject, so there is no head to check a version of.

    `effects`: what was done, where it is done in the same step.
    """
    subject = new_id(event.at, partition)
    return Step(
        head=keys.head(partition, subject), log=keys.log(partition), subject=subject, expected=0,
        events=(encode(event),), state=b"", effects=tuple(effects),
    )  # fmt: skip
