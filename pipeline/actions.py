"""What was decided for one recipient's copy: the vocabulary between policy, which decides, and the state machine, which records it."""

from __future__ import annotations

import msgspec

from pipeline.directory.policy import CLEAN, Act


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one recipient's copy."""

    recipient: str
    action: str = Act.DELIVER
    """deliver, tag, quarantine, discard."""
    reason: str = ""
    """Why it is kept back or discarded, in one line."""
    tag: str = ""
    """What the copy says of our verdict, as `tagged` writes it; with `tag`."""
    verdict: str = CLEAN
    """What the message is by this recipient's settings."""
    why: tuple[str, ...] = ()
    """What led to it, in words, in the order in which it was decided."""


def tagged(verdict: str, score: float, prefix: str) -> str:
    """What a copy says of our verdict: the value of X-Gatepost-Verdict, and below it what is put before the subject."""
    value = f"{verdict}; score={score:g}"
    return f"{value}\n{prefix}" if prefix else value


def tag_parts(tag: str) -> tuple[str, str]:
    """(value of the field, prefix of the subject)."""
    value, _, prefix = tag.partition("\n")
    return value, prefix
