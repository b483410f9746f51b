"""`gatepost audit` on a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.events import Delivered
from tests.cli.conftest import DOMAIN, Shop


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """A shop with a history: two domains, mail in several stages."""
    shop.add("anna", "ben")
    shop.add("carl", domain="other.test")
    for number in range(4):
        shop.tried(shop.queued(subject=f"number {number}"), Delivered)
    shop.quarantined()
    shop.deferred(shop.queued())
    shop.receive("carl@other.test")
    return shop


def exported(shop: Shop, *words: str, name: str = "out.jsonl") -> Path:
    done = shop.run("audit", "export", "--output", name, *words)
    assert done.code == 0, done.err
    return Path(name)


def records(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_an_export_holds_every_event_of_the_domain_and_verifies(busy: Shop):
    file = exported(busy, "--domain", DOMAIN)
    rows = records(file)
    assert {row["domain"] for row in rows} == {DOMAIN}
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    assert file.stat().st_mode & 0o777 == 0o600
    assert sum(row["kind"] == "received" for row in rows) == 6
    assert sum(row["kind"] == "domain_set" for row in rows) == 1
    done = busy.run("audit", "verify", str(file))
    assert done.code == 0, done.out
    assert "whole and unchanged" in done.out
