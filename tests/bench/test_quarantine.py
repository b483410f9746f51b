"""The benchmark of the quarantine keeps what it says, and its questions are answered."""

from __future__ import annotations

import asyncio

import pytest

from bench.quarantine import PAGE, PARTITIONS, RARE, Mail, ask, fill, questions, server
from pipeline.store import open_client
from projections.readers.quarantine import Query, read_stats


@pytest.mark.parametrize("count", [RARE + 10])
def test_every_question_is_answered_from_what_was_kept(tmp_path, count):
    async def work(url: str) -> None:
        redis = open_client(url)
        mail = Mail(domains=20)
        assert await fill(redis, mail, count) > 0
        stats = await read_stats(redis, PARTITIONS)
        assert sum(one.messages for one in stats) == count
        assert sum(one.odd for one in stats) == 0
        found = {name: await ask(redis, query, 1) for name, query in questions(mail).items()}
        assert found["everything"][2] == PAGE
        assert found["a rare class"][2] == found["a rare test"][2] == found["a rare word"][2] == 2
        assert found["part of a sender, nobody has it (one call)"][2] == 0
        assert (await ask(redis, Query(domain="elsewhere.example"), 1))[2:] == (0, 0)
        await redis.aclose()

    with server(tmp_path) as url:
        asyncio.run(work(url))
