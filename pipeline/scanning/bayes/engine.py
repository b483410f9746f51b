"""The classifier as an engine: it waits for the counts of a message's words, and says what they are like."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from pipeline.events import Finding
from pipeline.scanning.bayes.evidence import Counted, finding
from pipeline.scanning.bayes.tokens import Tokeniser
from pipeline.scanning.bayes.words import words
from pipeline.scanning.engine import LARGE, Mail
from pipeline.units import SECOND, Duration


class Counts(Protocol):
    """What was learnt."""

    def untrained(self, domain: str) -> bool:
        """Whether it is remembered that not enough was learnt; False also when somebody has to be asked."""

    async def trained(self, domain: str) -> bool:
        """Whether enough was learnt to say anything of a domain's mail. Remembered for some seconds, so it costs nothing."""

    async def key(self) -> bytes:
        """Of the tokens."""

    async def of(self, domain: str, tokens: Sequence[bytes]) -> Counted: ...


class Classifier:
    """An Engine. Without training it costs nothing and says nothing."""

    name: Final = "classifier"
    version: Final = "1"
    deadline: Final = Duration(SECOND)

    def __init__(self, counts: Counts, threshold: float) -> None:
        """`threshold`: the score from which a message is spam."""
        self._counts = counts
        self._threshold = threshold
        self._tokeniser: Tokeniser | None = None

    def at_once(self, mail: Mail) -> Sequence[Finding] | None:
        return () if self._counts.untrained(mail.message.domain) else None

    async def scan(self, mail: Mail) -> Sequence[Finding]:
        domain = mail.message.domain
        if not await self._counts.trained(domain):
            return ()
        if self._tokeniser is None:
            self._tokeniser = Tokeniser(await self._counts.key())
        if len(mail.content) <= LARGE:
            tokens = self._tokeniser.tokens(words(mail))
        else:
            tokens = self._tokeniser.tokens(await asyncio.to_thread(words, mail))
        found = finding(await self._counts.of(domain, tokens), self._threshold)
        return () if found is None else (found,)
