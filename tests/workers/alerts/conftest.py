"""Watchers and tellers on a real Redis, with a webhook that is a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.webhook import Webhook, webhook

SECRET = b"0123456789abcdef"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as started:
        yield started


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return str(path)
