"""Where the embedded Redis listens: never where another user could wait for us."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from pipeline import keys
from pipeline.bodies.segments import WORTH
from pipeline.faults import ConfigurationError
from tests.workers.conftest import PARTITION
from workers.wiring import SOCKET_LIMIT, socket_path


def test_the_socket_is_in_the_data_directory_where_its_path_is_short_enough():
    with tempfile.TemporaryDirectory(prefix="gp-") as name:
        assert socket_path(Path(name)) == Path(name).resolve() / "redis.sock"


def test_a_long_path_gives_a_short_one_in_a_private_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    long = tmp_path / ("x" * SOCKET_LIMIT)
    found = socket_path(long)
    assert len(str(found)) <= SOCKET_LIMIT
    assert found == socket_path(long)
    assert found != socket_path(tmp_path / ("y" * SOCKET_LIMIT))
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700


def test_a_directory_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="gp-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        directory = socket_path(tmp_path / ("x" * SOCKET_LIMIT)).parent
        directory.chmod(0o777)
        with pytest.raises(ConfigurationError, match="not a private directory"):
            socket_path(tmp_path / ("x" * SOCKET_LIMIT))


@pytest.mark.parametrize(
    ("settings", "pointers"),
    [
        ({}, True),
        ({"redis_url": "redis://elsewhere.test"}, False),
        ({"redis_url": "redis://elsewhere.test", "hot_bodies": "files"}, True),
        ({"hot_bodies": "redis"}, False),
    ],
)
async def test_a_pointer_is_made_only_where_all_workers_are_on_one_machine(parts, settings, pointers):
    wiring = await parts(**settings)
    content = b"Subject: x\r\n\r\n" + b"x" * WORTH
    message_id = await wiring.accept(content)
    found = await wiring.store.redis.get(keys.body(PARTITION, message_id))
    assert found.startswith(b"\0") is pointers
    assert await wiring.bodies.get(message_id) == content
