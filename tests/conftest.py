"""Fixtures that tests of every folder use. Each needs nothing but the machine it runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import servers, topologies
from tests.support.servers import RedisServer, SmtpSink
from tests.support.topologies import RedisCluster, WatchedRedis

# Times on a busy machine say nothing about the code; a failing example is printed so that it can be run again. Each run
# tries other examples, so many runs of few find what one run of many does: GATEPOST_TEST_EXAMPLES=1000 is a long one.
EXAMPLES = int(os.environ.get("GATEPOST_TEST_EXAMPLES", "50"))
settings.register_profile("gatepost", deadline=None, print_blob=True, max_examples=EXAMPLES)
settings.load_profile("gatepost")


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with servers.redis() as server:
        yield server


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> RedisServer:
    """A real, empty Redis on a unix socket, with everything on disk before it answers. `.url` is for the client.

    One process per test worker, flushed before each test. A test that stops it, kills it or changes its configuration
    takes `own_redis`.
    """
    assert _shared_redis.command("FLUSHALL") == b"+OK\r\n"
    return _shared_redis


@pytest.fixture(scope="session")
def _shared_cluster() -> Iterator[RedisCluster]:
    with topologies.started(RedisCluster, guarded=True) as cluster:
        yield cluster
        assert cluster.refused() == {b"*0\r\n"}


@pytest.fixture
def redis_cluster(_shared_cluster: RedisCluster) -> RedisCluster:
    """A real, empty Cluster of three masters, with TLS and a user with a password; as with `redis_server`, one per test worker."""
    _shared_cluster.flush()
    return _shared_cluster


@pytest.fixture(scope="session")
def _shared_watched() -> Iterator[WatchedRedis]:
    with topologies.started(WatchedRedis, sentinels=1, guarded=True) as watched:
        yield watched
        assert watched.refused() == {b"*0\r\n"}


@pytest.fixture
def watched_redis(_shared_watched: WatchedRedis) -> WatchedRedis:
    """A real, empty master with two replicas, which a Sentinel names; all of it as the Cluster is."""
    _shared_watched.flush()
    return _shared_watched


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A real Redis of this test alone: `kill()`, `stop()` and `start()` (with its data) as it likes."""
    with servers.redis() as server:
        yield server


@pytest.fixture
def smtp_sink(tmp_path: Path) -> Iterator[SmtpSink]:
    """Postfix's smtp-sink, taking everything, as a customer's server. Others: `servers.smtp_sink(directory, *options)`."""
    with servers.smtp_sink(tmp_path / "sink") as sink:
        yield sink
