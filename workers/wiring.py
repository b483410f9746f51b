"""The one place that builds clients: from settings to the parts that a worker or a command works with."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import secrets
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline import diagnosis, keys, objectstore
from pipeline.allowance import Allowance
from pipeline.archive import cloud, duck
from pipeline.archive.archive import SealedArchive
from pipeline.archive.objects import LocalObjects, Objects
from pipeline.bodies import Bodies, Cold, LocalCold
from pipeline.bodies.cloud import CloudCold
from pipeline.clock import Clock, put_right
from pipeline.directory import Directory
from pipeline.directory.policies import Policies
from pipeline.faults import ConfigurationError, GatepostError, StoreAwayError
from pipeline.history import History
from pipeline.intake import Intake
from pipeline.limits import Limiter
from pipeline.log import Log
from pipeline.outgoing import Forwarding
from pipeline.retry import RetryPolicy
from pipeline.schedule import Schedule
from pipeline.settings import Settings
from pipeline.store import Store, faults
from pipeline.topology.address import RedisAddress, of_settings
from pipeline.watching import Watchlist
from projections.readers.past import Past

if TYPE_CHECKING:
    from pipeline.authentication.seal import KeySealer

SOCKET_LIMIT: Final = 100
"""A unix socket's path has at most 107 octets."""


def socket_path(data: Path) -> Path:
    """Where the embedded Redis of a data directory listens: inside it, or in a directory of this user's when that path is
    too long. Raises ConfigurationError when somebody else has that directory.
    """
    path = data.resolve() / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_LIMIT:
        return path
    return private_directory() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def private_directory() -> Path:
    """One of this user's, with a short path. Raises ConfigurationError when somebody else has it."""
    directory = Path(tempfile.gettempdir()) / f"gatepost-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{directory} is not a private directory of this user",
            remedy="Choose a shorter --data, or remove that directory.",
        )
    return directory


def redis_url(settings: Settings) -> str:
    return settings.redis_url or f"unix://{socket_path(settings.data)}"


def redis_address(settings: Settings) -> RedisAddress:
    """Raises ConfigurationError."""
    return of_settings(settings, redis_url(settings))


def hostname(settings: Settings) -> str:
    return settings.hostname or socket.getfqdn()


def key_sealer(settings: Settings, authserv_id: str) -> KeySealer:
    """Who seals forwarded messages as the settings say. Raises ConfigurationError."""
    from pipeline.authentication.seal import KeySealer  # noqa: PLC0415 - loads cryptography, for the few who seal

    return KeySealer.from_file(settings.arc_domain, settings.arc_selector, authserv_id, Path(settings.arc_key))


def objects(settings: Settings) -> Objects:
    """Where the archive is kept. Raises ConfigurationError."""
    if objectstore.is_address(settings.archive_store):
        return cloud.CloudObjects(settings.archive_store, settings.data / "archive", int(settings.archive_cache))
    return LocalObjects(Path(settings.archive_store) if settings.archive_store else settings.data / "archive")


def _bodies(settings: Settings, store: Store) -> Bodies:
    """Raises ConfigurationError."""
    root = settings.data / "bodies"
    drafts, segments = root / "drafts", settings.data / "segments"
    try:
        for directory in (drafts, segments):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {root}: {error.strerror}",
            remedy="Choose another --data, or give this user the right to write there.",
        ) from None
    cold: Cold = LocalCold(root, drafts)
    if settings.bodies_store:
        owner = functools.partial(_owner_of_bodies, store)
        cold = CloudCold(settings.bodies_store, drafts, owner, settings.bodies_timeout.seconds)
    # A pointer means something only on the machine where it was made, which with the embedded Redis is the only one.
    appending = settings.hot_bodies == "files" or (settings.hot_bodies == "auto" and not settings.redis_url)
    return Bodies(store.redis, cold, drafts, segments=segments, appending=appending)


async def _owner_of_bodies(store: Store) -> str:
    """The name of this Redis where bodies are: no other one may sweep there."""
    with faults():
        await store.redis.hsetnx(keys.STORE, "bodies", secrets.token_hex(16))
        name: bytes = await store.redis.hget(keys.STORE, "bodies")
    return name.decode()


class Wiring:
    """What one process works with. `clock` gives ns since 1970, `steady` ns since some moment, however the clock is stepped."""

    clock: Callable[[], int] = staticmethod(time.time_ns)
    steady = staticmethod(time.monotonic_ns)

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.clock = self.right_clock = Clock(self.clock, self.steady)
        self.hostname = hostname(settings)
        self.authserv_id = settings.authserv_id or self.hostname
        self.log = Log(store.redis, beyond_memory=True)
        self.archive = SealedArchive(store.redis, objects(settings)) if duck.installed() else None
        self.history = History(self.log, self.archive)
        self.past = Past(store.redis, self.history, store.partitions)
        self.bodies = _bodies(settings, store)
        self.directory = Directory(store, self.log, clock=self.clock)
        self.policies = Policies(store, self.directory, settings)
        self.forwarding = Forwarding(
            hostname=self.hostname,
            authserv_id=self.authserv_id,
            sealer=key_sealer(settings, self.authserv_id) if settings.arc_domain else None,
            clock=self.clock,
        )
        self.allowance = Allowance(store.redis, settings)
        self.schedule = Schedule(store, settings, clock=self.right_clock, beyond_memory=True)
        self.watchlist = Watchlist(store)
        # A full Redis takes no new mail and goes on with what it has.
        self.intake_log = Log(store.redis)
        self.intake = Intake(
            self.intake_log,
            self.bodies,
            partitions=store.partitions,
            lifetime=lambda domain: self.retry_of(domain).lifetime,
            clock=self.clock,
        )
        self.limiter = Limiter(store.redis, settings, clock=self.right_clock)

    def retry_of(self, domain: str) -> RetryPolicy:
        """When mail for a domain is tried again, and when it is given up."""
        return RetryPolicy.of(self.settings, self.directory.home(domain))

    def retention_of(self, domain: str) -> int:
        """How long (ns) what comes into quarantine now is kept there."""
        home = self.directory.home(domain)
        return (home.quarantine_retention if home is not None else 0) or int(self.settings.quarantine_retention)

    @classmethod
    async def connect(cls, settings: Settings) -> Wiring:
        """Raises StoreAwayError, ConfigurationError (a store of a newer version)."""
        try:
            store = await Store.connect(redis_address(settings), settings.partitions)
        except StoreAwayError as fault:
            if settings.redis_url and not fault.remedy:
                fault.remedy = "See that it runs, and that redis_url is right."
            raise
        try:
            wiring = cls(settings, store)
        except GatepostError:
            await store.close()
            raise
        wiring.right_clock.compare(settings)
        return wiring

    async def put_clock_right(self) -> None:
        """Go by Redis's clock where this machine's is off: by it others judge what is written here. Raises StoreError."""
        if self.right_clock.compared:
            await put_right(self.right_clock, self.store.redis, self.settings)

    @functools.cached_property
    def table(self) -> diagnosis.Table:
        """What servers' replies mean. Read when it is first asked for: most processes never do. Raises ConfigurationError."""
        return diagnosis.in_force(self.settings.replies_table)

    async def close(self) -> None:
        while not (self.log.idle and self.intake_log.idle):
            await asyncio.sleep(0.01)
        await self.bodies.close()
        if self.archive is not None:
            await self.archive.close()
        await self.store.close()
