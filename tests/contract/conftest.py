"""The same tests on fakeredis, on a real server, behind a real Sentinel and on a real Cluster: what passes here is what the log promises,
not what one server does. Sentinel and Cluster let nobody in without TLS and a password.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import fakeredis
import pytest
from fakeredis import FakeAsyncRedis

from pipeline.log import Log
from pipeline.store import Store, open_client

OUTSIDE = {"sentinel": "watched_redis", "cluster": "redis_cluster"}


@pytest.fixture(params=["fakeredis", "real", *OUTSIDE])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fakeredis":
        redis = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
        yield Store(redis, "", 8)
        await redis.aclose()
    else:
        where = OUTSIDE.get(request.param)
        url = request.getfixturevalue(where).address if where else request.getfixturevalue("redis_server").url
        redis = open_client(url)
        yield Store(redis, url, 8)
        await redis.aclose()


@pytest.fixture
def log(store: Store) -> Log:
    return Log(store.redis)
