"""The Redis that Gatepost runs on: connecting, the scripts, what its errors mean, and whether it would lose mail.

Every Redis error leaves this module as one of the faults: away (wait and try again), full (refuse new mail), unsafe.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final

import msgspec
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is the library's
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is the library's
    TryAgainError,
)

from pipeline import keys, metrics
from pipeline.faults import ClockError, ConfigurationError, StoreAwayError, StoreError, StoreFullError, UnsafeStoreError
from pipeline.topology.address import RedisAddress
from pipeline.topology.connections import Client, open_client
from pipeline.topology.replicas import TooFewReplicasError, written
from pipeline.topology.spread import is_spread, masters, replicas_of

__all__ = (
    "BLOCK_MS", "FORMAT", "Client", "Danger", "Script", "Store", "dangers", "explain", "faults", "open_client", "refuse_unsafe",
)  # fmt: skip

FORMAT: Final = 1
"""Of everything in Redis and the data directory. A newer one is refused, an older one is converted at start."""

BLOCK_MS: Final = 2_000
"""How long a blocking read waits; well under connections.SOCKET_TIMEOUT, or the client takes the silence for a fault."""

_AWAY: Final = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    ClusterDownError,
    MasterDownError,
    OSError,
)


def explain(error: BaseException) -> StoreError:
    """The fault behind a Redis error."""
    if isinstance(error, StoreError):
        return error
    fault = _fault(error)
    kinds = {StoreAwayError: "away", StoreFullError: "full"}
    metrics.REDIS_FAILURES.add(kinds.get(type(fault), "other"))
    return fault


def _fault(error: BaseException) -> StoreError:
    if isinstance(error, AuthenticationError):
        return StoreAwayError(
            f"Redis refuses us: {error}",
            remedy="Check user and password: redis_url, or redis_user and redis_password_file.",
        )
    text = str(error)
    if isinstance(error, NoPermissionError):
        return StoreError(f"Redis: {text}", remedy="Allow the user what docs/redis.md names.")
    if isinstance(error, TooFewReplicasError):
        return StoreAwayError(
            f"Redis has too few replicas: {text}", remedy="See why they are away, or set redis_replicas to less."
        )
    if isinstance(error, OutOfMemoryError) or text.startswith(("OOM ", "MISCONF ")):
        return StoreFullError(f"Redis takes no more: {text}", remedy="Raise redis_memory or free disk space.")
    if text.startswith("CLOCK "):  # our scripts say so
        return ClockError(int(text.removeprefix("CLOCK ")) / 1000)
    if isinstance(error, TryAgainError):
        return StoreAwayError(f"a slot of the Cluster is on its way to another node: {text}")
    if isinstance(error, _AWAY) or text.startswith(("NOREPLICAS ", "UNBLOCKED ")):
        return StoreAwayError(f"Redis cannot be reached: {text}")
    return StoreError(f"Redis: {text}")


@contextmanager
def faults() -> Iterator[None]:
    """Turns Redis errors inside the block into faults."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise explain(error) from error


class Script:
    """A Lua script, sent once and then called by its hash. `name`: under which it is measured.

    `replicated`: it counts when so many replicas have what it wrote as the client asks for. For what must outlive a failover.
    """

    def __init__(self, source: str, name: str = "", *, replicated: bool = False) -> None:
        self.name = name
        self.replicated = replicated
        self._as_it_is = _with_hash(source)
        # Without such a first line a Cluster lets a script reach into other slots, as long as these are on the same node by chance.
        self._in_cluster = self._as_it_is if source.startswith("#!") else _with_hash("#!lua\n" + source)

    @classmethod
    def named(cls, name: str, *, beyond_memory: bool = False, replicated: bool = False) -> Script:
        """A script of `pipeline/lua/`. `beyond_memory`: it runs when Redis has reached maxmemory as well.

        That is for whatever moves mail on: it is how memory becomes free again. Only taking new mail stops.
        """
        source = files("pipeline").joinpath("lua", f"{name}.lua").read_text("utf-8")
        return cls("#!lua flags=allow-oom\n" + source if beyond_memory else source, name, replicated=replicated)

    async def __call__(self, redis: Client, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run it. Raises what the client raises: the caller knows whether a lost reply matters."""
        began = time.monotonic()
        source, sha = self._as_it_is
        if is_spread(redis):
            source, sha = self._in_cluster
            # Our scripts find keys by themselves. While a slot is moved key by key some are here and some there, and half of a step could be
            # done. Of a script that names several keys, one of which is not there, the server says then that it is to be tried later.
            names = (*names, keys.absent(names[0]))
        try:
            if self.replicated and replicas_of(redis):
                return await self._written(redis, source, sha, names, arguments)
            return await redis.execute_command("EVALSHA", sha, len(names), *names, *arguments)
        except NoScriptError:
            return await redis.execute_command("EVAL", source, len(names), *names, *arguments)
        finally:
            metrics.REDIS_SECONDS.observe(time.monotonic() - began, self.name or "unnamed")

    @staticmethod
    async def _written(redis: Client, source: str, sha: str, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        words = (len(names), *names, *arguments)
        try:
            return await written(redis, ("EVALSHA", sha, *words), redis.replicas)
        except NoScriptError:
            return await written(redis, ("EVAL", source, *words), redis.replicas)


def _with_hash(source: str) -> tuple[str, str]:
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Store:
    """One process's way to Redis: `redis` for commands, `blocking()` for a reader that waits."""

    def __init__(self, redis: Client, url: str | RedisAddress, partitions: int) -> None:
        self.redis = redis
        self.url = url
        self.partitions = partitions

    @classmethod
    async def connect(cls, url: str | RedisAddress, partitions: int) -> Store:
        """Open the store, and create it when it is new. The number of partitions is the store's own once it exists."""
        redis = open_client(url)
        try:
            with faults():
                await redis.hsetnx(keys.STORE, "partitions", str(partitions))
                await redis.hsetnx(keys.STORE, "format", str(FORMAT))
                found, version = await redis.hmget(keys.STORE, ["partitions", "format"])
        except StoreError:
            await redis.aclose()
            raise
        if int(version) > FORMAT:
            await redis.aclose()
            raise ConfigurationError(
                f"the store was written by a newer Gatepost (format {int(version)}, this one knows {FORMAT})",
                remedy="Install the newer version again; nothing was changed.",
            )
        return cls(redis, url, int(found))

    def blocking(self) -> Client:
        return open_client(self.url)

    async def close(self) -> None:
        await self.redis.aclose()


class Danger(msgspec.Struct, frozen=True):
    """One thing about a Redis that would lose mail, and what to set."""

    found: str
    remedy: str
    fatal: bool = True


async def dangers(redis: Client) -> list[Danger]:
    """What about this Redis would lose mail: version, AOF, fsync, eviction, replicas that do not count. Of each server that takes writes."""
    with faults():
        found = [danger for master in await masters(redis) for danger in await _dangers(master)]
    replicas = replicas_of(redis)
    return [one for one in dict.fromkeys(found) if not (replicas and one == FAILOVER)]


FAILOVER: Final = Danger(
    "a failover to a replica may lose the last of what was accepted (redis_replicas is 0)",
    "Set redis_replicas to 1 or more, and `min-replicas-to-write 1` in Redis.",
    fatal=False,
)


async def _dangers(redis: Client) -> list[Danger]:
    info: dict[str, Any] = await redis.info("everything")
    fsync = await _setting(redis, "appendfsync")
    found = []
    version = str(info.get("redis_version", "0"))
    if int(version.partition(".")[0]) < 7:
        found.append(Danger(f"Redis is version {version}", "Run Redis or Valkey 7 or later."))
    if not int(info.get("aof_enabled", 0)):
        found.append(Danger("Redis keeps no append-only file", "Set `appendonly yes`."))
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found.append(
            Danger(
                f"Redis deletes keys when memory is short (maxmemory-policy {policy})",
                "Set `maxmemory-policy noeviction`.",
            )
        )
    if fsync == "no":
        found.append(Danger("Redis never forces its file to disk (appendfsync no)", "Set `appendfsync always`."))
    elif fsync == "everysec":
        found.append(
            Danger(
                "appendfsync everysec: up to a second of accepted mail is lost when the machine dies",
                "Set `appendfsync always`, unless that is your choice.",
                fatal=False,
            )
        )
    elif not fsync:
        found.append(
            Danger("cannot see appendfsync (CONFIG is not allowed)", "Make sure that it is `always`.", fatal=False)
        )
    if not int(info.get("maxmemory", 0)):
        found.append(
            Danger(
                "Redis has no maxmemory: a flood of mail could take all memory of its machine",
                "Set `maxmemory`.",
                fatal=False,
            )
        )
    if int(info.get("connected_slaves", 0)):
        found.append(FAILOVER)
    return found + await _forgetting(redis)


async def _forgetting(redis: Client) -> list[Danger]:
    """A server reads its append-only file as its user `default`, and many releases ask what that one may do: of scripts and transactions
    they leave out what it may not, without a word. All of our steps are scripts.
    """
    try:
        said: Any = await redis.acl_dryrun("default", "XADD", keys.log(0), "*", "s", "x")
    except ResponseError:
        found = "cannot see what Redis's user `default` may do (ACL DRYRUN is not allowed)"
        return [Danger(found, f"Make sure of `{DEFAULT}`, and allow ours `+acl|dryrun`.", fatal=False)]
    if said in (b"OK", "OK"):
        return []
    found = "Redis would start without what scripts have written: its user `default`, who reads it back, may not write"
    return [Danger(found, f"Give it these rights, with which it still lets nobody in: `{DEFAULT}`.")]


DEFAULT: Final = "user default off ~* &* +@all"


async def _setting(redis: Client, name: str) -> str:
    """Empty when we may not ask."""
    try:
        return str((await redis.config_get(name)).get(name, ""))
    except ResponseError:
        return ""


async def refuse_unsafe(redis: Client) -> None:
    """Raises UnsafeStoreError naming all that would lose mail."""
    fatal = [danger for danger in await dangers(redis) if danger.fatal]
    if fatal:
        raise UnsafeStoreError(
            "; ".join(danger.found for danger in fatal), remedy=" ".join(danger.remedy for danger in fatal)
        )
