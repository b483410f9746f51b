"""Views on fakeredis and on a real server: the scripts have to mean the same on both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import fakeredis
import pytest
from fakeredis import FakeAsyncRedis

from pipeline.log import Log
from pipeline.store import Client, open_client


@pytest.fixture(params=["fakeredis", "real"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "fakeredis":
        client: Client = FakeAsyncRedis(server=fakeredis.FakeServer(), version=(7,))
    else:
        client = open_client(request.getfixturevalue("redis_server").url)
    yield client
    await client.aclose()


@pytest.fixture
def log(redis: Client) -> Log:
    return Log(redis)
