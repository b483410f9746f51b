"""Memory that the embedded Redis does not use any more goes back to the system."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pipeline.store import open_client
from tests.support import servers
from tests.support.servers import RedisServer
from workers.embedded import find_server
from workers.spare import WORTH, Spare, spare_of

BODY = b"x" * 12_000
COUNT = 4 * WORTH // len(BODY)


@pytest.fixture
def embedded() -> Iterator[RedisServer]:
    """The server that is installed with us."""
    with servers.redis(find_server("")) as server:
        yield server


async def test_what_bodies_took_is_given_back_when_it_lay_about_and_not_sooner_nor_again(embedded):
    client = open_client(embedded.url)
    spare = Spare(client)
    try:
        assert await spare.give_back() == 0
        for first in range(0, COUNT, 100):
            pipe = client.pipeline(transaction=False)
            for number in range(first, first + 100):
                pipe.set(f"body:{number}", BODY)
                pipe.set(f"head:{number}", b"y" * 300)
            await pipe.execute()
        for first in range(0, COUNT, 100):
            await client.unlink(*[f"body:{number}" for number in range(first, first + 100)])
        await look_until(client, lambda octets: octets > 7 * WORTH // 2)
        assert await spare.give_back() == 0  # it may be wanted at once
        assert await spare.give_back() == 1
        await look_until(client, lambda octets: octets < 3 * WORTH - WORTH // 2)
        assert [await spare.give_back() for _ in range(3)] == [0, 0, 0]
        assert await client.get("head:7") == b"y" * 300
    finally:
        await client.aclose()


async def look_until(client, enough) -> None:
    """The server looks at itself ten times a second."""
    async with asyncio.timeout(20):
        while not enough(spare_of(await client.info("memory"))):
            await asyncio.sleep(0.02)


def test_a_server_whose_allocator_gives_back_by_itself_is_left_alone():
    said = {"used_memory_rss": 200 << 20, "used_memory": 20 << 20}
    assert spare_of({**said, "mem_allocator": "libc"}) == 180 << 20
    assert spare_of({**said, "mem_allocator": "jemalloc-5.3.0"}) == 0
