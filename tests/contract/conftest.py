"""The same tests on fakeredis, on a real server and on a real Cluster: what passes here is what the log promises, not what one server does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import fakeredis
import pytest
from fakeredis import FakeAsyncRedis

from pipeline.log import Log
from pipeline.store import Store, open_client


@pytest.fixture(params=["fakeredis", "real", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fakeredis":
        redis = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
        yield Store(redis, "", 8)
        await redis.aclose()
    else:
        server = request.getfixturevalue("redis_server" if request.param == "real" else "redis_cluster")
        redis = open_client(server.url)
        yield Store(redis, server.url, 8)
        await redis.aclose()


@pytest.fixture
def log(store: Store) -> Log:
    return Log(store.redis)
