"""Engines of ours that wait for the store or the DNS are measured as those outside are, and are always asked."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.scanning.engine import Mail, run
from pipeline.scanning.engines.guard import LATE, Awaited
from pipeline.scanning.engines.health import AFTER, together
from pipeline.units import SECOND, Duration
from tests.support.mail import HEAD, message


class Ours:
    name, version, deadline = "people", "1", Duration(SECOND // 100)

    def __init__(self, fault: Exception | None = None, *, hangs: bool = False) -> None:
        self._fault = fault
        self._hangs = hangs
        self.asked = 0

    async def scan(self, mail):
        self.asked += 1
        if self._hangs:
            await asyncio.Event().wait()
        if self._fault is not None:
            raise self._fault
        return ()


@pytest.mark.parametrize(
    ("ours", "errors", "said"),
    [
        (Ours(), 0, ""),
        (Ours(ValueError("x" * 100)), AFTER + 1, "failed: ValueError"),
        (Ours(hangs=True), AFTER + 1, LATE),
    ],
)
async def test_what_it_did_and_what_went_wrong_is_counted_and_it_is_asked_all_the_same(ours, errors, said):
    engine = Awaited(ours, lambda: 1)
    for _ in range(AFTER + 1):
        await run([engine], Mail(message(), HEAD + b"\r\nhello\r\n"), Duration(SECOND))
    (row,) = together([[engine.health()]], ())
    assert (ours.asked, row.messages, row.errors, row.last_error) == (AFTER + 1, AFTER + 1, errors, said)
    assert row.state == "ok"
