from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.store import open_client
from tests.support.archives import Ground
from tests.support.servers import RedisServer


@pytest.fixture
async def ground(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Ground]:
    """A partition's log in a real Redis, and an archive in a directory."""
    redis = open_client(redis_server.url)
    made = Ground(redis, tmp_path / "archive")
    yield made
    await made.close()
    await redis.aclose()
