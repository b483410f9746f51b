"""Clients and how they send. None retries by itself: a write whose reply was lost may have happened, and only we know what to do."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeAlias

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from pipeline.faults import ConfigurationError
from pipeline.sources.secrets import Secret
from pipeline.topology.address import CLUSTER, ONE, SENTINEL, RedisAddress, Tls, how, parse
from pipeline.topology.cluster import Cluster
from pipeline.topology.quick import Client as Quick
from pipeline.topology.quick import Pool, Sending
from pipeline.topology.sentinel import Masters, ToMaster
from pipeline.topology.tls import Contexts, Encrypted

SOCKET_TIMEOUT: Final = 10.0
CONNECTIONS: Final = 32
"""Of one client. Who needs one more waits for one: hundreds of tasks share a client, and each call is short."""
ASKING_TIMEOUT: Final = 2.0
"""Seconds that a Sentinel may take; then the next one is asked."""

Client: TypeAlias = Any
"""A `redis.asyncio.Redis` that answers in bytes. The library types every reply as bytes or text or more, whichever way the
client was made, so replies are checked where they are decoded."""


class _Credentials(CredentialProvider):
    """User and password as they are now; those that were there last while their file cannot be read."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._last = address.credentials()

    def get_credentials(self) -> Any:
        try:
            self._last = self._address.credentials()
        except ConfigurationError:
            return self._last
        return self._last

    async def get_credentials_async(self) -> Any:
        return self.get_credentials()


def open_client(where: str | RedisAddress, *, timeout: float = SOCKET_TIMEOUT) -> Client:
    """A client for a URL, or an address. Raises ConfigurationError."""
    address = parse(where) if isinstance(where, str) else where
    contexts = Contexts(address.tls) if address.encrypted else None
    if address.kind == CLUSTER:
        client: Client = Cluster(address.hosts, partial(_of_node, address, timeout, contexts))
    elif address.kind == SENTINEL:
        client = _of_master(address, timeout, contexts)
    else:
        client = _of_one(address, timeout, contexts)
    client.replicas = address.replicas
    return client


def _options(timeout: float) -> dict[str, Any]:
    return {
        "max_connections": CONNECTIONS,
        "socket_timeout": timeout,
        "socket_connect_timeout": min(5.0, timeout),
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # To say who we are the library reads its own package's description, for each connection anew: some milliseconds, and 2 MiB of
        # each process.
        "driver_info": None,
    }


def _of_one(address: RedisAddress, timeout: float, contexts: Contexts | None) -> Client:
    try:
        pool: Any = Pool.from_url(address.url, **_options(timeout))
        kind: tuple[type, ...] = (Sending, pool.connection_class)
        if address.user or address.password_file:
            known = pool.connection_kwargs
            user, password = known.pop("username", ""), known.pop("password", "")
            known["credential_provider"] = _Credentials(_with_user(address, user, password))
        # What the URL itself says of TLS is between whoever wrote it and the library.
        if contexts and (address.tls != Tls() or not any(name.startswith("ssl_") for name in pool.connection_kwargs)):
            kind = (Sending, Encrypted, pool.connection_class)
            pool.connection_kwargs["contexts"] = contexts
        pool.connection_class = type("Connection", kind, {})
    except (ValueError, RedisError):
        # What the library says may have a piece of the password in it.
        raise ConfigurationError("redis_url is no address of a Redis", remedy=how(ONE)) from None
    return Quick.from_pool(pool)


def _with_user(address: RedisAddress, user: str, password: str) -> RedisAddress:
    if password and address.password_file:
        raise ConfigurationError(
            "there is a password in redis_url and one in redis_password_file", remedy="Take the one in redis_url away."
        )
    secret = Secret(password) if password else None
    return RedisAddress(ONE, user=address.user or user, secret=secret, password_file=address.password_file)


def _pool(
    address: RedisAddress,
    contexts: Contexts | None,
    kind: tuple[type, ...],
    options: dict[str, Any],
    *,
    login: bool = True,
) -> Any:
    if login and (address.user or address.secret or address.password_file):
        options["credential_provider"] = _Credentials(address)
    base: tuple[type, ...] = (Connection,)
    if contexts:
        base = (Encrypted, SSLConnection)
        options["contexts"] = contexts
    return Quick.from_pool(Pool(connection_class=type("Connection", (*kind, *base), {}), **options))


def _of_node(address: RedisAddress, timeout: float, contexts: Contexts | None, host: str, port: int) -> Client:
    return _pool(address, contexts, (Sending,), {**_options(timeout), "host": host, "port": port})


def _of_master(address: RedisAddress, timeout: float, contexts: Contexts | None) -> Client:
    def ask(host: tuple[str, int], login: bool) -> Client:
        options = {**_options(min(timeout, ASKING_TIMEOUT)), "host": host[0], "port": host[1]}
        return _pool(address, contexts, (Sending,), options, login=login)

    masters = Masters(address.hosts, address.service, ask)
    options = {**_options(timeout), "db": address.database, "masters": masters}
    return _pool(address, contexts, (ToMaster, Sending), options)
