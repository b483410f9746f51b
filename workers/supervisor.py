"""`gatepost up`: the embedded Redis and every role in processes of one parent, which restarts what dies.

start    lock the data directory, reserve the port, start Redis, have a process look whether it is safe, start the roles,
         say "ready" when all of them said so; the syncer is started when another role has seen a sync, as most gateways have
         none and it loads what no other role needs
a death  is logged, and answered by a new process: at once, and while it keeps dying at start after a pause that doubles from 0.2 to 30 s
SIGHUP   settings and certificates are read again; each worker is replaced by a new one, the old one finishing its work
SIGTERM  no new mail; all roles finish what they hold, at most 30 s; Redis last
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from pipeline import diagnosis, metrics
from pipeline.country import Countries
from pipeline.egress import check_bindable
from pipeline.faults import ConfigurationError, GatepostError, StoreError
from pipeline.pause import end, pause
from pipeline.scanning.builtin.tables import brands
from pipeline.settings import Settings
from pipeline.units import Endpoint
from workers import logs
from workers.children import Deaths, Process
from workers.datadir import DataDirectory
from workers.embedded import EmbeddedRedis
from workers.examiner import EXAMINER, LOOKED
from workers.listeners import Listeners
from workers.notify import READY, SYNCS, Notifications, notify
from workers.nursery import Run
from workers.receiver import tls
from workers.renewal import RENEW
from workers.roles import BACKGROUND
from workers.starting import Starter
from workers.wiring import Wiring, hostname

if TYPE_CHECKING:
    from workers.monitoring.front import Front

log = structlog.get_logger()

STOP_TIMEOUT: Final = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
WATCH: Final = 0.05
"""Seconds between two looks whether a process still runs."""
REDIS_PAUSE: Final = 2.0
"""The longest pause before Redis is started again: without it nothing moves."""
STEADY: Final = 2.0
"""A process that lived for so many seconds did not die of starting, and is replaced at once."""
READY_TIMEOUT: Final = 60.0
RECEIVER: Final = "receiver"
ON_DEMAND: Final = "syncer"
"""The role that has nothing to do while there is no sync."""


def plan(settings: Settings) -> list[str]:
    """The processes to run, by what `gatepost worker` calls them."""
    receivers = settings.receivers or usual_receivers(os.cpu_count() or 1)
    return [
        *[RECEIVER] * receivers,
        *["scanner"] * settings.scanners,
        *["deliverer"] * settings.deliverers,
        BACKGROUND,
        ON_DEMAND,
    ]


def usual_receivers(processors: int) -> int:
    """On one processor or two a second receiver is 19 MiB more, and no quicker: scanner and deliverer have work as well."""
    return 1 if processors < 3 else min(8, processors)


def places(settings: Settings) -> list[Worker]:
    """One for each process, named: receiver-1, receiver-2, ..."""
    roles = plan(settings)
    return [Worker(role, f"{role}-{roles[:at].count(role) + 1}") for at, role in enumerate(roles)]


def reserve(endpoint: Endpoint) -> tuple[socket.socket, Endpoint]:
    """Make sure that the port is free and keep it ours: bound, never listening, so connections go to the receivers.

    Port 0 becomes a free one. Raises ConfigurationError.
    """
    host = endpoint.host or "0.0.0.0"  # noqa: S104 - a mail server listens to the world
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, endpoint.port))
            probe.listen()
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, endpoint.port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {endpoint}: {error.strerror}",
            remedy="Choose another address with --smtp HOST:PORT, or stop the program that uses it"
            + (" (ports below 1024 need root or CAP_NET_BIND_SERVICE)." if endpoint.port < 1024 else "."),
        ) from None
    written = f"[{host}]" if family == socket.AF_INET6 else host
    return holder, Endpoint(f"{written}:{holder.getsockname()[1]}")


def _refuse_wrong_table(settings: Settings) -> None:
    """Raises ConfigurationError. Read anew each time: a reload is there because something was changed."""
    if settings.replies_table:
        diagnosis.load(Path(settings.replies_table).expanduser())
    if settings.brands:
        brands(settings.brands)
    if settings.country_table:
        Countries(Path(settings.country_table).expanduser())


class Worker:
    """One place to be filled by a process of one role."""

    def __init__(self, role: str, name: str = "") -> None:
        self.role = role
        self.name = name or role
        self.socket = ""
        """Where its process is looked at; empty: nowhere."""
        self.process: Process | None = None
        self.ready = asyncio.Event()
        self.replaced = False
        self.started = 0.0
        self.pause = FIRST_PAUSE

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def idle(self) -> bool:
        """No process is to run, as there is nothing to do for it."""
        return self.role == ON_DEMAND and self.process is None


class Supervisor:
    """`starter`: None for one that starts nothing."""

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings],
        announce: Callable[[str], None],
        starter: Starter | None = None,
    ) -> None:
        self._settings = settings
        self._reload = reload
        self._announce = announce
        self._starter = starter
        self._redis_keeper: asyncio.Task[None] | None = None
        self._running: set[Process] = set()
        self._deaths: Deaths | None = None
        self._redis = EmbeddedRedis(settings)
        self._listeners: Listeners | None = None
        self._workers: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wiring: Wiring | None = None
        """For who looks at us; nobody else needs one here."""
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._syncs = asyncio.Event()
        self._notifications: Notifications | None = None
        self._front: Front | None = None
        self._shown: list[Worker] = []
        """Those that are looked at: after a reload the new ones, once they are ready."""

    async def run(self) -> int:
        """The exit code. Raises GatepostError."""
        _refuse_wrong_table(self._settings)
        data = DataDirectory(self._settings)
        data.lock()
        check_bindable(self._settings.source_addresses)
        holder, smtp = reserve(self._settings.smtp)
        self._settings = msgspec.structs.replace(self._settings, smtp=smtp)
        self._listeners = Listeners(holder)
        self._notifications = Notifications(self._hear)
        self._deaths = Deaths(self._known)
        try:
            await self._start_front()
            if code := await self._start_store():
                return code
            self._workers = self._shown = places(self._settings)
            self._watch_signals()
            for worker in self._workers:
                self._task(self._keep(worker))
            if not self._settings.redis_url:
                self._redis_keeper = asyncio.create_task(self._keep_redis())
            if await self._until_ready():
                self._announce(f"gatepost is ready: mail on {smtp}, data in {data.path}")
                notify(READY)
                await self._until_stopped()
            return 0
        finally:
            await self._shut_down()
            if self._front is not None:
                await self._front.close()
            self._deaths.close()
            self._notifications.close()
            holder.close()
            data.unlock()

    # Starting

    async def _start_store(self) -> int:
        """0, or the exit code of who looked at it, and has said why it cannot be used. Raises GatepostError."""
        if not self._settings.redis_url:
            await self._redis.take_over()
            await self._redis.start()
        assert self._starter is not None
        assert self._deaths is not None
        looking = await self._starter.start(["worker", EXAMINER], self._environment(), wanted=lambda: True)
        assert looking is not None
        self._running.add(looking)
        code = await self._deaths.of(looking)
        self._running.discard(looking)
        if code <= 0:
            raise StoreError(
                f"the look whether the store is safe was broken off ({_how(code)})",
                remedy="Nothing was started. Start again; if it happens again, the kernel's log says whether memory is short.",
            )
        if code != LOOKED:
            return code
        if self._front is not None:
            self._wiring = await Wiring.connect(self._settings)
            self._front.attach(self._wiring)
        return 0

    async def _start_front(self) -> None:
        """Raises ConfigurationError."""
        if self._settings.metrics:
            from workers.monitoring.front import Front  # noqa: PLC0415 - for those who are looked at

            self._front = Front(self._settings.metrics, self._settings.data, lambda: self._shown)
            await self._front.start()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_ready(self) -> bool:
        """Whether all are ready, before somebody asked us to stop."""
        stopped = asyncio.create_task(self._stop.wait())
        everyone = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait({stopped, everyone}, timeout=READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if not everyone.done() and not stopped.done():
                late = ", ".join(sorted({worker.role for worker in self._workers if not worker.ready.is_set()}))
                raise GatepostError(f"not ready after {READY_TIMEOUT:.0f} s: {late}", remedy="See the log above.")
            return everyone.done() and not stopped.done()
        finally:
            stopped.cancel()
            everyone.cancel()

    async def _all_ready(self) -> None:
        for worker in self._workers:
            if worker.role != ON_DEMAND:
                await worker.ready.wait()

    def _hear(self, pid: int, said: str) -> None:
        if said == SYNCS:
            self._syncs.set()
        for worker in self._workers:
            if said == READY and worker.process is not None and worker.process.pid == pid:
                worker.ready.set()

    # Running

    def _known(self) -> list[Process]:
        assert self._starter is not None
        redis = [self._redis.process] if self._redis.process is not None else []
        return [*self._running, *self._starter.processes, *redis]

    async def _start(self, worker: Worker) -> Process | None:
        """None: no process is wanted in this place any more."""
        assert self._starter is not None
        worker.socket = self._front.socket_for(worker) if self._front is not None else ""
        looked_at = ["--metrics", f"unix:{worker.socket}"] if worker.socket else []
        worker.ready.clear()
        worker.started = time.monotonic()
        worker.process = await self._starter.start(
            ["worker", worker.role, *looked_at],
            self._environment(),
            wanted=lambda: not (self._stop.is_set() or worker.replaced),
            listener=self._listeners.of(worker.name) if worker.role == RECEIVER and self._listeners else None,
        )
        return worker.process

    def _environment(self) -> dict[str, str]:
        assert self._notifications is not None
        handed_down = {f"GATEPOST_{name.upper()}": value for name, value in self._handed_down().items()}
        return {**os.environ, **handed_down, "NOTIFY_SOCKET": self._notifications.path}

    def _handed_down(self) -> dict[str, str]:
        """Settings that came from the command line reach the workers through the environment."""
        return {"data": str(self._settings.data.resolve()), "smtp": str(self._settings.smtp)}

    async def _keep(self, worker: Worker) -> None:
        """Keep one place filled until we stop."""
        assert self._deaths is not None
        while await self._until_wanted(worker):
            process = await self._start(worker)
            if process is None:
                return
            self._running.add(process)
            code = await self._deaths.of(process)
            self._running.discard(process)
            if self._stop.is_set() or worker.replaced:
                return
            if time.monotonic() - worker.started > STEADY:
                worker.pause = 0.0  # a port with one receiver refuses everybody until there is another
            if code == RENEW:
                continue
            metrics.RESTARTS.add(worker.role)
            log.error("worker died", role=worker.role, how=_how(code), restart_in=f"{worker.pause:g}s")
            await pause(self._stop, worker.pause)
            worker.pause = min(max(FIRST_PAUSE, worker.pause * 2), LONGEST_PAUSE)

    async def _until_wanted(self, worker: Worker) -> bool:
        """Wait until there is work for a process in this place; False when none is to be started any more."""
        if worker.role == ON_DEMAND and not self._stop.is_set():
            await self._syncs.wait()
        return not (self._stop.is_set() or worker.replaced)

    async def _keep_redis(self) -> None:
        assert self._deaths is not None
        wait = FIRST_PAUSE
        started = time.monotonic()
        while not self._stop.is_set():
            process = self._redis.process
            assert process is not None
            code = await self._deaths.of(process)
            wait = FIRST_PAUSE if time.monotonic() - started > STEADY else min(wait * 2, REDIS_PAUSE)
            log.error("the embedded Redis died", how=_how(code), restart_in=f"{wait:g}s")
            await pause(self._stop, wait)
            started = time.monotonic()
            try:
                await self._redis.start()
            except GatepostError as error:
                log.error("the embedded Redis does not start", reason=str(error), remedy=error.remedy)  # noqa: TRY400 - the fault says all

    async def _until_stopped(self) -> None:
        while not self._stop.is_set():
            waits = [asyncio.create_task(self._stop.wait()), asyncio.create_task(self._hangup.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._hangup.is_set() and not self._stop.is_set():
                self._hangup.clear()
                await self._replace_all()

    # SIGHUP

    async def _replace_all(self) -> None:
        """New settings, new workers: each new one is ready before its predecessor is told to finish."""
        try:
            settings = self._reload()
            _refuse_wrong_table(settings)
        except GatepostError as error:
            log.error("settings not reloaded, the old ones stay in force", reason=str(error), remedy=error.remedy)  # noqa: TRY400 - the fault says all
            return
        redis = (name for name in Settings.__struct_fields__ if name.startswith("redis_"))
        fixed = ("data", "metrics", *redis, "partitions")
        changed = [name for name in fixed if getattr(settings, name) != getattr(self._settings, name)]
        if changed:
            log.warning("needs a restart, not a reload", settings=", ".join(changed))
        kept = {name: getattr(self._settings, name) for name in ("smtp", "data", "metrics")}
        self._settings = msgspec.structs.replace(settings, **kept)
        old = self._workers
        assert self._starter is not None
        self._starter.renew()
        self._workers = places(self._settings)
        for worker in self._workers:
            self._task(self._keep(worker))
        try:
            if not await self._until_ready():
                return
        except GatepostError as error:
            log.error("new workers did not start, the old ones stay", reason=str(error), remedy=error.remedy)  # noqa: TRY400 - the fault says all
            old, self._workers = self._workers, old
        self._listen_for(self._workers)
        self._shown = self._workers
        for worker in old:
            worker.replaced = True
            self._task(self._retire(worker))
        log.info("reloaded", workers=len(self._workers))

    def _listen_for(self, workers: Iterable[Worker]) -> None:
        """On no socket any more but theirs."""
        if self._listeners is not None:
            self._listeners.keep(worker.name for worker in workers)

    async def _retire(self, worker: Worker) -> None:
        """A replaced worker finishes what it holds, and gets no longer for it than one that is stopped."""
        self._signal(worker, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while worker.alive and time.monotonic() < deadline:
            await asyncio.sleep(WATCH)
        self._kill(worker)

    # Stopping

    def _signal(self, worker: Worker, number: int) -> None:
        if worker.alive and worker.process is not None:
            worker.process.send_signal(number)

    def _kill(self, worker: Worker) -> None:
        if worker.alive:
            log.warning("did not stop in time", role=worker.role)
            self._signal(worker, signal.SIGKILL)

    async def _shut_down(self) -> None:
        self._stop.set()
        self._syncs.set()  # nobody waits for one any more
        self._listen_for(())
        if self._workers:
            log.info("stopping", finishing=f"what is under way, {STOP_TIMEOUT:.0f} s at most")
        deadline = time.monotonic() + STOP_TIMEOUT
        # Views last: they should have seen everything the others did.
        for last in (False, True):
            group = [worker for worker in self._workers if (worker.role == BACKGROUND) is last]
            for worker in group:
                self._signal(worker, signal.SIGTERM)
            while any(worker.alive for worker in group) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        for worker in self._workers:
            self._kill(worker)
        if self._redis_keeper is not None:
            await end([self._redis_keeper])
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._starter is not None:
            self._starter.close()
        if self._wiring is not None:
            await self._wiring.close()
        await self._redis.stop()
        if self._workers:
            log.info("stopped")


def _how(returncode: int) -> str:
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"


def up(settings: Settings, reload: Callable[[], Settings], announce: Callable[[str], None], run: Run) -> int:
    """Run everything until SIGTERM or SIGINT. `announce` gets one line when mail is accepted; `run` is the command that workers
    are started with. Raises GatepostError.
    """
    logs.configure(settings.log_format, "supervisor")
    DataDirectory(settings)  # ours alone to look into, before something is put there
    tls.prepare(settings, hostname(settings), time.time_ns())
    starter = Starter(run)
    return asyncio.run(Supervisor(settings, reload, announce, starter).run())
