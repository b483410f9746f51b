"""The benchmark of folding makes mail that could have been, and folds all of it."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.folding import bench
from bench.traffic import Traffic
from pipeline.events import MESSAGE_EVENTS, Received
from pipeline.state import Message, evolve
from tests.support.servers import RedisServer


def test_what_its_messages_go_through_is_what_the_state_machine_allows():
    messages: dict[str, Message] = {}
    versions: Counter[str] = Counter()
    for subject, version, event in Traffic(3).events(500):
        versions[subject] += 1
        if isinstance(event, MESSAGE_EVENTS):
            assert version == versions[subject]
            messages[subject] = evolve(messages.get(subject), event, subject)
    assert len(messages) > 300
    waiting = sum(message.live for message in messages.values())
    assert 0 < waiting < len(messages) / 2


def test_the_same_traffic_is_made_again():
    first, second = (list(Traffic(1).events(50)) for _ in range(2))
    assert first == second
    assert any(isinstance(event, Received) for _, _, event in first)


async def test_every_view_is_measured(redis_server: RedisServer, capsys: pytest.CaptureFixture[str]):
    await bench(redis_server.url, 200, 1)
    out = capsys.readouterr().out
    for name in ("queue", "failures", "books", "quarantine", "projector"):
        assert name in out
