"""The embedded Redis is waited for while it reads its file, and not a moment without a sign of life."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.configuration import load
from pipeline.faults import StoreAwayError
from pipeline.store import open_client
from workers import embedded
from workers.embedded import AWAY, READY, EmbeddedRedis, find_server

KEYS = 8_000
SLOW = ("--key-load-delay", "80")
"""Microseconds for each key; a server looks at its socket after a thousand of them."""


def program(directory: Path, *words: str) -> str:
    script = directory / "server"
    script.write_text(f"#!/bin/sh\nexec {' '.join(words)}\n")
    script.chmod(0o700)
    return str(script)


async def test_a_server_that_reads_a_long_file_is_waited_for_beyond_the_time_for_a_sign_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.5)
    server = program(tmp_path, find_server(""), '"$@"', *SLOW)
    redis = EmbeddedRedis(load(None, {}, {"data": tmp_path, "redis_binary": server}))
    await redis.start()
    try:
        client = open_client(redis.url)
        pipe = client.pipeline(transaction=False)
        for number in range(KEYS):
            pipe.set(f"key{number}", "x")
        await pipe.execute()
        await client.aclose()
        redis.kill()
        assert await redis.state() == AWAY
        await redis.start()
        assert await redis.state() == READY
    finally:
        await redis.stop()


async def test_a_server_without_a_sign_of_life_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.2)
    redis = EmbeddedRedis(load(None, {}, {"data": tmp_path, "redis_binary": program(tmp_path, "sleep", "60")}))
    with pytest.raises(StoreAwayError, match="does not answer"):
        await redis.start()
    assert redis.process is not None
    assert redis.process.poll() is not None
