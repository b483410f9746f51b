"""Engines: what looks at a message, all of them at once, each within its time.

An engine reports findings and decides nothing. One that is late or fails costs its findings and never the message: in their
place stands ENGINE_TIMEOUT or ENGINE_ERROR with its name and no score, and what that means is policy. Of the built-in engine it is
the same for each of its tests.

There are two kinds. An `Engine` waits for something (a socket, DNS) and runs as a task with a deadline. A `LocalEngine` only
computes; it is bounded in work rather than in time, so it has no deadline, and on a small message it costs neither a task nor a
timer. On a large one it runs in a thread, because the event loop has other messages to serve.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

import msgspec
import structlog

from pipeline.authentication.together import Authentication
from pipeline.directory.model import Domain
from pipeline.events import Finding
from pipeline.faults import StoreAwayError
from pipeline.lazy import lazy
from pipeline.mime import Buffer, Flaw, Header, Part, Structure, walk
from pipeline.scanning.faults import EngineFault, EngineSkipped
from pipeline.scanning.reading import Reading, read
from pipeline.state import Message
from pipeline.units import SECOND, Duration

LARGE: Final = 256 << 10
"""Octets above which computing over a message may take more than some milliseconds."""
MAX_FINDINGS: Final = 100
"""Kept of one engine: findings are stored with the message and shown to people."""

ENGINE_ERROR: Final = "ENGINE_ERROR"

NOTHING_KNOWN: Final = Authentication()

_log = structlog.get_logger(__name__)


class Mail:
    """A message with its octets, and what is known of them: read once, when first asked for, and shared by all engines."""

    def __init__(
        self,
        message: Message,
        content: Buffer,
        authentication: Authentication = NOTHING_KNOWN,
        domain: Domain | None = None,
        *,
        header: Header | None = None,
    ) -> None:
        """`authentication`: what is known of who sent it. `domain`: whom it is for, with what it takes from its parents.

        `header`: where the caller has read it.
        """
        self.message = message
        self.content = content
        self.authentication = authentication
        self.domain = domain
        if header is not None:
            self.header = header

    @lazy
    def header(self) -> Header:
        return Header(self.content)

    @lazy
    def structure(self) -> Structure:
        return walk(self.content, self.header)

    @lazy
    def reading(self) -> Reading:
        """The text, the links, the forms."""
        return read(self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.structure.parts

    @property
    def flaws(self) -> frozenset[Flaw]:
        return self.structure.flaws


class Engine(Protocol):
    """One that waits for others. It may be cancelled at any await and must not hold the event loop for long.

    It may have an `at_once(mail)` as well: what it finds without waiting for anybody, and None when it has to be asked. A task, a timer
    and a wait cost more than most of what is found out in them.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def deadline(self) -> Duration: ...
    async def scan(self, mail: Mail) -> Sequence[Finding]: ...


class LocalEngine(Protocol):
    """One that only computes, in time linear in the size of the message. May be called in a thread; changes nothing but `mail`."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def look(self, mail: Mail) -> Sequence[Finding]: ...


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the engines found."""

    findings: tuple[Finding, ...] = ()
    engines: tuple[str, ...] = ()
    """`name/version` of those that answered."""
    took: int = 0
    """ns"""
    missing: tuple[str, ...] = ()
    """Programs beside us that should have looked and did not, each with why: `clamav (cannot be reached)`."""


class _Answer(NamedTuple):
    findings: tuple[Finding, ...]
    complete: bool
    why: str = ""
    """What kept it from looking."""


def _begin(
    engines: Sequence[Engine | LocalEngine], mail: Mail, budget: Duration
) -> tuple[dict[int, LocalEngine], dict[int, _Answer], dict[int, asyncio.Future[_Answer]]]:
    """Those that compute, what is known at once, and those that wait: they begin first, so that their answers travel meanwhile."""
    local: dict[int, LocalEngine] = {}
    answers: dict[int, _Answer] = {}
    tasks: dict[int, asyncio.Future[_Answer]] = {}
    for index, engine in enumerate(engines):
        if hasattr(engine, "look"):
            local[index] = cast(LocalEngine, engine)
        elif (answer := _at_once(engine, mail)) is not None:
            answers[index] = answer
        else:
            tasks[index] = asyncio.ensure_future(_ask(engine, mail, min(engine.deadline, budget)))
    return local, answers, tasks


async def run(engines: Sequence[Engine | LocalEngine], mail: Mail, budget: Duration) -> Report:
    """What all engines found, in their order; those that wait for others get `budget` at most. Raises nothing of theirs.

    Raises StoreAwayError: our own store is no engine. A message is not judged without what is in there, but once it is back.
    """
    started = time.monotonic_ns()
    local, answers, tasks = _begin(engines, mail, budget)
    try:
        for index, one in local.items():
            answers[index] = await _compute(one, mail)
        if tasks:
            left = budget - (time.monotonic_ns() - started)
            await asyncio.wait(tasks.values(), timeout=max(left, 0) / SECOND)
    finally:
        for task in tasks.values():
            task.cancel()
    ours = [task.exception() for task in tasks.values() if task.done() and not task.cancelled()]
    if away := next(filter(None, ours), None):
        raise away
    findings: list[Finding] = []
    names: list[str] = []
    missing: list[str] = []
    for index, engine in enumerate(engines):
        if index in answers:
            answer = answers[index]
        else:
            task = tasks[index]
            # One that ignores its cancellation is left to itself: the budget is the message's, not the engine's.
            answer = task.result() if task.done() and not task.cancelled() else _late(engine.name, budget)
        findings += answer.findings
        if answer.complete:
            names.append(f"{engine.name}/{engine.version}")
        elif getattr(engine, "outside", False):
            missing.append(f"{engine.name} ({answer.why})")
    took = time.monotonic_ns() - started
    return Report(findings=tuple(findings), engines=tuple(names), took=took, missing=tuple(missing))


def _at_once(engine: Engine, mail: Mail) -> _Answer | None:
    ask = getattr(engine, "at_once", None)
    if ask is None:
        return None
    try:
        found = ask(mail)
    except Exception as error:  # noqa: BLE001 - as below
        return _failed(engine.name, mail, error)
    return None if found is None else _Answer(tuple(found[:MAX_FINDINGS]), complete=True)


async def _compute(engine: LocalEngine, mail: Mail) -> _Answer:
    try:
        if len(mail.content) <= LARGE:
            found = engine.look(mail)
        else:
            found = await asyncio.to_thread(engine.look, mail)
        return _Answer(tuple(found[:MAX_FINDINGS]), complete=True)
    except Exception as error:  # noqa: BLE001 - whatever an engine does, the message goes on
        return _failed(engine.name, mail, error)


async def _ask(engine: Engine, mail: Mail, limit: Duration | int) -> _Answer:
    timer = asyncio.timeout(limit / SECOND)
    try:
        async with timer:
            found = await engine.scan(mail)
            return _Answer(tuple(found[:MAX_FINDINGS]), complete=True)
    except EngineFault as fault:
        return _did_not(engine.name, fault)
    except StoreAwayError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever an engine does, the message goes on
        return _late(engine.name, limit) if timer.expired() else _failed(engine.name, mail, error)


def _late(name: str, limit: int) -> _Answer:
    why = f"did not answer within {limit / SECOND:g} s"
    return _Answer((Finding(name="ENGINE_TIMEOUT", text=f"{name} {why}"),), complete=False, why=why)


def _did_not(name: str, fault: EngineFault) -> _Answer:
    """It says itself why. Its health tells the operator more."""
    kind = "ENGINE_SKIPPED" if isinstance(fault, EngineSkipped) else ENGINE_ERROR
    return _Answer((Finding(name=kind, text=f"{name} {fault.said}"),), complete=False, why=fault.said)


def _failed(name: str, mail: Mail, error: Exception) -> _Answer:
    return _Answer((broken(name, mail, error),), complete=False, why=_why(error))


def broken(name: str, mail: Mail, error: Exception) -> Finding:
    """Logged, and said in place of what an engine or one of its tests would have found.

    Where it failed and with what kind of error; an exception's text may hold what a stranger wrote.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    _log.error("engine failed", engine=name, message=mail.message.id, error=type(error).__name__, where=where)
    return Finding(name=ENGINE_ERROR, text=f"{name} {_why(error)}")


def _why(error: Exception) -> str:
    return f"failed ({type(error).__name__})"
