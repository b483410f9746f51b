"""Connections in quick succession, to find limits of rate and number. Each says QUIT when all have been greeted; none sends mail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pipeline.pause import end, pause
from pipeline.probing.model import QUICK_CONNECTIONS, Answer, Quick, Source, Step
from pipeline.route import Target
from workers.probing.dialogue import Dialogue
from workers.probing.patience import Patience, Share


class Volley:
    """`note` is told each connection's end. All are open at once; no other is begun after the first refusal."""

    def __init__(
        self,
        target: Target,
        source: Source,
        *,
        patience: Patience,
        note: Callable[[str], None],
        wanted: int = QUICK_CONNECTIONS,
    ) -> None:
        self._target = target
        self._source = source
        self._patience = patience
        self._note = note
        self._wanted = wanted
        self._open: list[Dialogue] = []
        self._greeted = 0
        self._refused: Answer | None = None
        self._stop = asyncio.Event()
        self._start = time.monotonic_ns()

    def quick(self) -> Quick:
        return Quick(
            wanted=self._wanted,
            opened=len(self._open),
            greeted=self._greeted,
            refused=self._refused,
            took=time.monotonic_ns() - self._start,
        )

    async def run(self, share: Share) -> Quick:
        """Raises TimeUp."""
        self._start = time.monotonic_ns()
        tasks: list[asyncio.Task[None]] = []
        try:
            for number in range(1, self._wanted + 1):
                dialogue = Dialogue(lambda _who, _text: None)
                self._open.append(dialogue)
                tasks.append(asyncio.create_task(self._one(number, dialogue, share.at_most(self._patience.greeting))))
                await pause(self._stop, share.at_most(self._patience.apart))
                if self._stop.is_set():
                    break
            await asyncio.gather(*tasks)
            found = self.quick()
            await asyncio.gather(*(one.ask(Step.QUIT, "QUIT", self._patience.quit) for one in self._open))
            return found
        finally:
            await end(tasks)
            for dialogue in self._open:
                dialogue.close()

    async def _one(self, number: int, dialogue: Dialogue, seconds: float) -> None:
        target = self._target
        start = time.monotonic()
        answer, _ = await dialogue.open(target.address, target.port, self._source, min(seconds, self._patience.connect))
        refused = bool(answer.text)
        if not refused:
            answer = await dialogue.hear_reply(Step.GREETING, max(seconds - (time.monotonic() - start), 0.001))
            refused = answer.code != 220 and not dialogue.late
        words = answer.text.partition("\n")[0]
        self._note(f"quick connection {number}, after {time.monotonic() - start:.2f} s: {words}")
        if answer.code == 220:
            self._greeted += 1
        elif refused:
            self._refused = self._refused or answer
            self._stop.set()
