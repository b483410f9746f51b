"""`gatepost archive` on a real store."""

from __future__ import annotations

import time

import pytest

from pipeline import keys
from pipeline.archive import duck
from pipeline.archive.seal import day_of
from pipeline.places import DAY_MS
from tests.cli.conftest import Shop

TODAY = int(time.time() * 1000) // DAY_MS * DAY_MS


@pytest.fixture
def old(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop with ten entries of each of the last ten days, in partition 3."""
    monkeypatch.setenv("GATEPOST_HOT_PERIOD", "24h")

    async def append(wiring):
        for day in range(-10, 0):
            for number in range(10):
                fields = {"s": f"x\x1b{number}", "v": 1, "e": "?"}
                await wiring.store.redis.xadd(keys.log(3), fields, id=f"{TODAY + day * DAY_MS + number}-0")

    shop.do(append)
    shop.fold()
    return shop


def test_what_is_archived_is_shown_run_and_verified(old: Shop):
    before = old.run("archive", "--json").json["partitions"][3]
    assert (before["segments"], before["in_redis"], before["not_sealed"]) == (0, 100, 100)
    done = old.run("archive", "run", "--json")
    assert (done.code, done.json["sealed"], done.json["faults"]) == (0, 10, [])
    assert done.json["trimmed"] >= 90
    after = old.run("archive", "--json").json["partitions"][3]
    assert (after["segments"], after["events"], after["not_sealed"]) == (10, 100, 0)
    assert after["in_redis"] == 100 - done.json["trimmed"]
    assert old.run("archive", "run").out.startswith("0 segments sealed")
    shown = old.run("archive").out
    assert "directory" in shown
    assert str(old.data / "archive") in shown.replace("\n", "")
    verified = old.run("archive", "verify")
    assert (verified.code, verified.out.count("whole")) == (0, 9)
    assert old.run("archive", "verify", "--partition", "3", "--json").json["partitions"][0]["events"] == 100
    assert old.run("archive", "verify", "--partition", "99").code == 3


def test_a_changed_file_is_named_with_its_place(old: Shop):
    old.run("archive", "run")
    path = sorted((old.data / "archive").rglob("*.parquet"))[4]
    path.write_bytes(path.read_bytes()[:-1])
    done = old.run("archive", "verify")
    assert done.code == 1
    assert f"first at {path.parent.parent.name}/p3/{path.stem}: the file with its entries was changed" in done.out
    document = old.run("archive", "verify", "--json").json
    assert document["whole"] is False
    assert document["partitions"][4]["faults"] == [
        {"where": f"{path.parent.parent.name}/p3/{path.stem}", "what": "the file with its entries was changed"}
    ]


def test_days_are_dropped_by_hand_after_a_question(old: Shop):
    old.run("archive", "run")
    day = day_of(TODAY - 5 * DAY_MS)
    assert "There is no terminal to ask on" in old.run("archive", "drop", "--before", day).err
    done = old.run("archive", "drop", "--before", day, "--yes", "--json")
    (dropped,) = done.json["dropped"]
    assert (dropped["partition"], dropped["segments"], dropped["events"]) == (3, 5, 50)
    assert old.run("archive", "verify").code == 0
    assert "nothing before" in old.run("archive", "drop", "--before", day).out
    assert old.run("archive", "drop", "--before", "soon").code == 2
    assert old.run("archive", "drop", "--before", "2999-01-01", "--yes").code == 4


def test_without_duckdb_it_is_said_what_is_missing(old: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duck, "installed", lambda: False)
    done = old.run("archive")
    assert done.code == 2
    assert "pip install 'gatepost[archive]'" in done.err
    assert "DuckDB is not installed: events stay in Redis" in old.run("check").out
