"""The Redis that Gatepost runs on: connecting, the scripts, what its errors mean, and whether it would lose mail.

Every Redis error leaves this module as one of the faults: away (wait and try again), full (refuse new mail), unsafe.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final, TypeAlias

import msgspec
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is the library's
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is the library's
)

from pipeline import keys, metrics
from pipeline.connection import Client as Quick
from pipeline.connection import Pool, Sending
from pipeline.faults import ConfigurationError, StoreAwayError, StoreError, StoreFullError, UnsafeStoreError

FORMAT: Final = 1
"""Of everything in Redis and the data directory. A newer one is refused, an older one is converted at start."""

BLOCK_MS: Final = 2_000
"""How long a blocking read waits; well under the socket timeout, or the client takes the silence for a fault."""
SOCKET_TIMEOUT: Final = 10.0
CONNECTIONS: Final = 32
"""Of one client. Who needs one more waits for one: hundreds of tasks share a client, and each call is short."""

Client: TypeAlias = Any
"""A `redis.asyncio.Redis` that answers in bytes. The library types every reply as bytes or text or more, whichever way the
client was made, so replies are checked where they are decoded."""
_AWAY: Final = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, ClusterDownError, OSError)


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
        return StoreAwayError(f"Redis refuses us: {error}", remedy="Check user and password in redis_url.")
    text = str(error)
    if isinstance(error, OutOfMemoryError) or text.startswith(("OOM ", "MISCONF ")):
        return StoreFullError(f"Redis takes no more: {text}", remedy="Raise redis_memory or free disk space.")
    if isinstance(error, _AWAY) or text.startswith(("LOADING ", "MASTERDOWN ", "TRYAGAIN ", "NOREPLICAS ")):
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
    """A Lua script, sent once and then called by its hash. `name`: under which it is measured."""

    def __init__(self, source: str, name: str = "") -> None:
        self.source = source
        self.name = name
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def named(cls, name: str, *, beyond_memory: bool = False) -> Script:
        """A script of `pipeline/lua/`. `beyond_memory`: it runs when Redis has reached maxmemory as well.

        That is for whatever moves mail on: it is how memory becomes free again. Only taking new mail stops.
        """
        source = files("pipeline").joinpath("lua", f"{name}.lua").read_text("utf-8")
        return cls("#!lua flags=allow-oom\n" + source if beyond_memory else source, name)

    async def __call__(self, redis: Client, names: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run it. Raises what the client raises: the caller knows whether a lost reply matters."""
        began = time.monotonic()
        try:
            return await redis.execute_command("EVALSHA", self.sha, len(names), *names, *arguments)
        except NoScriptError:
            return await redis.execute_command("EVAL", self.source, len(names), *names, *arguments)
        finally:
            metrics.REDIS_SECONDS.observe(time.monotonic() - began, self.name or "unnamed")


def open_client(url: str, *, timeout: float = SOCKET_TIMEOUT) -> Client:
    """A client that never retries by itself: a write whose reply was lost may have happened, and only we know what to do."""
    try:
        pool: Any = Pool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,
            socket_timeout=timeout,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        pool.connection_class = type("Connection", (Sending, pool.connection_class), {})
        client = Quick.from_pool(pool)
    except (ValueError, RedisError):
        # What the library says may have a piece of the password in it.
        raise ConfigurationError(
            "redis_url is no address of a Redis",
            remedy="Write it as redis://host:6379/0 or unix:///path/to.sock; in a password write %2F for / and %40 for @.",
        ) from None
    return client


class Store:
    """One process's way to Redis: `redis` for commands, `blocking()` for a reader that waits."""

    def __init__(self, redis: Client, url: str, partitions: int) -> None:
        self.redis = redis
        self.url = url
        self.partitions = partitions

    @classmethod
    async def connect(cls, url: str, partitions: int) -> Store:
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
    """What about this Redis would lose mail: version, AOF, fsync, eviction."""
    with faults():
        info: dict[str, Any] = await redis.info("everything")
        try:
            fsync = (await redis.config_get("appendfsync")).get("appendfsync", "")
        except ResponseError:
            fsync = ""
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
    return found


async def refuse_unsafe(redis: Client) -> None:
    """Raises UnsafeStoreError naming all that would lose mail."""
    fatal = [danger for danger in await dangers(redis) if danger.fatal]
    if fatal:
        raise UnsafeStoreError(
            "; ".join(danger.found for danger in fatal), remedy=" ".join(danger.remedy for danger in fatal)
        )
