"""Why a source gave no list, named after who has to act.

    SourceError
    ├── UnreachableError   the network: no answer from any server's address
    ├── ForbiddenError     the operator: the server is in a network that may not be dialled
    ├── UntrustedError     whoever keeps the server's certificate, or ours of its authority
    ├── DeniedError        the name and secret that we were given, or their rights
    ├── MissingError       the definition: there is no such base, page or file
    ├── LimitedError       the server's limit, or ours, ended the list before its end
    ├── SlowError          the server took too long
    ├── BusyError          the server says that it cannot just now
    ├── GarbledError       the server: what came is no answer
    └── ImplausibleError   whoever makes the list: it is empty, or mostly nonsense

A run that raises one of these changed nothing and found out nothing: there is no half list. `temporary` says whether the
same run may simply succeed later. The text is one line for a postmaster, and every word of the server's in it was neutralised
and bounded; no secret is ever in it.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pipeline.faults import GatepostError
from pipeline.text import printable

MAX_WORDS: Final = 300
"""Characters of what a server said that are shown."""


class SourceError(GatepostError):
    temporary: ClassVar[bool] = False


class UnreachableError(SourceError):
    temporary = True


class ForbiddenError(SourceError):
    pass


class UntrustedError(SourceError):
    pass


class DeniedError(SourceError):
    pass


class MissingError(SourceError):
    pass


class LimitedError(SourceError):
    pass


class SlowError(SourceError):
    temporary = True


class BusyError(SourceError):
    temporary = True


class GarbledError(SourceError):
    pass


class ImplausibleError(SourceError):
    pass


def shown(text: str | bytes, most: int = MAX_WORDS) -> str:
    """Words from outside on one line: visible characters only, and not too many of them."""
    if isinstance(text, bytes):
        text = text[: 4 * most].decode("utf-8", "backslashreplace")
    words = " ".join(text[: 2 * most].split())
    safe = printable(words)
    return safe if len(safe) <= most else safe[: most - 3] + "..."
