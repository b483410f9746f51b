"""What keeps an engine from looking at a message."""

from __future__ import annotations

from typing import Final

from pipeline.text import printable

MAX_DETAIL: Final = 200


class EngineFault(Exception):
    """An engine did not look. `said` is in our words and may be read by anybody; `detail` is for the operator alone."""

    def __init__(self, said: str, detail: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.detail = printable(" ".join(detail.split()))[:MAX_DETAIL]

    @property
    def whole(self) -> str:
        return f"{self.said}: {self.detail}" if self.detail else self.said


class EngineSkipped(EngineFault):
    """It was not asked: it failed several times in a row, and is left alone for a while."""


class NotUnderstood(EngineFault):
    """What came is no answer of the protocol."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("gave an answer that is none", detail)


class Broken(EngineFault):
    """The connection ended before the answer did."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("broke off the connection", detail)


class Unable(EngineFault):
    """It is there, and answered that it cannot look at this message."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("could not look at it", detail)
