"""Engines side by side: late ones, broken ones, stubborn ones; the message always goes on."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog

from pipeline.events import Finding
from pipeline.scanning.engine import MAX_FINDINGS, Mail, run
from pipeline.scanning.faults import EngineFault, EngineSkipped
from pipeline.units import SECOND, Duration
from tests.support.mail import HEAD, message

BUDGET = Duration(2 * SECOND)
SHORT = Duration(SECOND // 50)
HIT = Finding(name="HIT", score=1.0)


class Waiting:
    """An engine that waits for something. `answer` is a list, an exception, or None for never."""

    version = "7"

    def __init__(self, name, answer=(), deadline=BUDGET):
        self.name, self.answer, self.deadline = name, answer, deadline
        self.cancelled = False

    async def scan(self, mail):
        try:
            await asyncio.sleep(0)
            if self.answer is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Stubborn(Waiting):
    """Ignores that it is cancelled, as broken code does."""

    async def scan(self, mail):
        end = asyncio.get_running_loop().time() + 5
        while asyncio.get_running_loop().time() < end:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.cancelled:
                    return ()
                self.cancelled = True
        return ()


class Local:
    version = "1"

    def __init__(self, name, answer=()):
        self.name, self.answer = name, answer

    def look(self, mail):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def mail(content=HEAD + b"\r\nsecret words\r\n"):
    return Mail(message(), content)


def names(report):
    return [finding.name for finding in report.findings]


async def test_findings_come_in_the_order_of_the_engines_whoever_is_first():
    engines = [Waiting("a", [Finding(name="A")]), Local("b", [Finding(name="B")]), Waiting("c", [Finding(name="C")])]
    report = await run(engines, mail(), BUDGET)
    assert names(report) == ["A", "B", "C"]
    assert report.engines == ("a/7", "b/1", "c/7")
    assert 0 < report.took < BUDGET


async def test_engines_that_wait_do_so_together():
    meeting = asyncio.Barrier(3)

    class Meeting(Waiting):
        async def scan(self, mail):
            await meeting.wait()
            return [HIT]

    report = await run([Meeting("a"), Meeting("b"), Meeting("c")], mail(), BUDGET)
    assert names(report) == ["HIT"] * 3


async def test_a_late_engine_is_dropped_with_a_finding_that_says_so():
    late = Waiting("slow", None, SHORT)
    report = await run([late, Local("b", [HIT])], mail(), BUDGET)
    assert names(report) == ["ENGINE_TIMEOUT", "HIT"]
    assert report.findings[0] == Finding(name="ENGINE_TIMEOUT", text="slow did not answer within 0.02 s")
    assert report.engines == ("b/1",)
    assert late.cancelled


async def test_the_budget_is_shorter_than_a_long_deadline():
    report = await run([Waiting("slow", None, Duration(3600 * SECOND))], mail(), SHORT)
    assert report.findings[0].text == "slow did not answer within 0.02 s"


async def test_an_engine_that_ignores_its_end_does_not_hold_the_message():
    started = time.monotonic()
    stubborn = Stubborn("stubborn", deadline=SHORT)
    report = await run([stubborn, Waiting("a", [HIT])], mail(), SHORT)
    assert names(report) == ["ENGINE_TIMEOUT", "HIT"]
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("kind", [Waiting, Local])
@pytest.mark.parametrize(
    "error", [ValueError("secret words"), TimeoutError("secret words"), RecursionError(), MemoryError()]
)
async def test_a_failing_engine_is_dropped_and_logged_without_content(kind, error):
    with structlog.testing.capture_logs() as logs:
        report = await run([kind("broken", error), Local("b", [HIT])], mail(), BUDGET)
    assert names(report) == ["ENGINE_ERROR", "HIT"]
    assert report.findings[0] == Finding(name="ENGINE_ERROR", text=f"broken failed ({type(error).__name__})")
    assert report.engines == ("b/1",)
    (entry,) = logs
    assert entry["message"] == mail().message.id
    assert (entry["engine"], entry["error"]) == ("broken", type(error).__name__)
    assert entry["where"].startswith("test_engine.py:")
    assert "secret" not in str(entry)


@pytest.mark.parametrize(
    ("answer", "finding", "why"),
    [
        (EngineFault("cannot be reached", "10.0.0.7:3310"), "ENGINE_ERROR", "cannot be reached"),
        (EngineSkipped("is not asked for a while"), "ENGINE_SKIPPED", "is not asked for a while"),
        (None, "ENGINE_TIMEOUT", "did not answer within 0.02 s"),
        (ValueError("secret words"), "ENGINE_ERROR", "failed (ValueError)"),
    ],
)
async def test_an_engine_outside_that_did_not_look_is_named_with_why(answer, finding, why):
    engine = Waiting("clamav", answer, SHORT)
    engine.outside = True
    report = await run([engine, Waiting("other", answer, SHORT), Local("b", [HIT])], mail(), BUDGET)
    assert report.missing == (f"clamav ({why})",)
    assert (report.findings[0].name, report.findings[0].text) == (finding, f"clamav {why}")
    assert report.engines == ("b/1",)


async def test_cancelling_the_scan_cancels_its_engines():
    engine = Waiting("a", None)
    scan = asyncio.ensure_future(run([engine], mail(), BUDGET))
    for _ in range(5):
        await asyncio.sleep(0)
    scan.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scan
    await asyncio.sleep(0)
    assert engine.cancelled


def test_local_engines_need_no_task_no_timer_and_not_even_a_loop():
    scan = run([Local("a", [HIT]), Local("b", [HIT])], mail(), BUDGET)
    with pytest.raises(StopIteration) as done:
        scan.send(None)
    assert names(done.value.value) == ["HIT", "HIT"]


async def test_no_engines_find_nothing():
    report = await run([], mail(), BUDGET)
    assert (report.findings, report.engines) == ((), ())


async def test_the_findings_of_one_engine_are_bounded():
    report = await run([Local("a", [HIT] * 10_000)], mail(), BUDGET)
    assert len(report.findings) == MAX_FINDINGS


def test_a_message_is_read_once_for_all_engines():
    shared = mail()
    assert shared.header is shared.header
    assert shared.parts is shared.parts


class Ready(Waiting):
    """Knows some answers without waiting: a list, an exception, or None."""

    def __init__(self, name, at_once, answer=()):
        super().__init__(name, answer)
        self.known = at_once

    def at_once(self, mail):
        if isinstance(self.known, Exception):
            raise self.known
        return self.known


async def test_an_engine_that_knows_its_answer_is_not_waited_for_and_one_that_does_not_is_asked():
    knows = Ready("knows", [Finding(name="KNOWN")], RuntimeError("asked"))
    asks = Ready("asks", None, [Finding(name="ASKED")])
    report = await run([knows, asks, Local("c", [Finding(name="C")])], mail(), BUDGET)
    assert names(report) == ["KNOWN", "ASKED", "C"]
    assert report.engines == ("knows/7", "asks/7", "c/1")


async def test_one_that_breaks_while_it_looks_whether_it_knows_is_told_as_any_other():
    report = await run([Ready("bad", RuntimeError("x")), Local("c", [Finding(name="C")])], mail(), BUDGET)
    assert names(report) == ["ENGINE_ERROR", "C"]
    assert report.engines == ("c/1",)
