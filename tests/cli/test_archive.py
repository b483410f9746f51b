"""`gatepost archive` on a real store."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from pipeline import keys
from pipeline.archive import duck
from pipeline.archive.seal import day_of
from pipeline.ids import is_id, partition_for
from pipeline.places import DAY_MS, HOUR_MS
from tests.cli.conftest import Shop
from tests.projections.test_search import varied
from tests.support import histories
from tests.support.histories import DOMAINS
from tests.support.memoryarchive import stretched, write_entries

P = partition_for(DOMAINS[0], 8)
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


def test_nothing_is_dropped_while_the_archiver_is_at_work(old: Shop):
    old.run("archive", "run")
    day = day_of(TODAY - 5 * DAY_MS)
    old.do(lambda wiring: wiring.store.redis.set(keys.archive_lease(3), "another", px=60_000))
    done = old.run("archive", "drop", "--before", day, "--yes")
    assert done.code == 4
    assert "busy with partition 3" in done.err
    old.do(lambda wiring: wiring.store.redis.delete(keys.archive_lease(3)))
    assert old.run("archive", "drop", "--before", day, "--yes").code == 0


def test_without_duckdb_it_is_said_what_is_missing(old: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duck, "installed", lambda: False)
    done = old.run("archive")
    assert done.code == 2
    assert "pip install 'gatepost[archive]'" in done.err
    assert "DuckDB is not installed: events stay in Redis" in old.run("check").out


WORDS = (
    ("trace", "@x.test", "--days", "1", "--limit", "1000"),
    ("trace", "--client", "192.0.2.1", "--full", "--limit", "1000"),
    ("trace", "--subject", "invoice", "--limit", "1000"),
    ("report", "outbound", "--domain", DOMAINS[0], "--days", "2"),
)


def told(shop: Shop, *words: str) -> dict[str, Any]:
    """An answer without the moment of asking."""
    done = shop.run(*words, "--json")
    assert done.code == 0
    return {name: value for name, value in done.json.items() if name not in ("at", "report")}


def test_whoever_asks_sees_nothing_of_a_log_that_was_trimmed_within_an_hour(shop: Shop, monkeypatch):
    now = time.time_ns()
    monkeypatch.setattr(histories, "AT", now - 45 * 60 * 1_000_000_000)
    rng = random.Random(11)
    made, _ = histories.legal(rng, messages=200, steps=1500, partition=P)
    events = [varied(rng, one) for one in stretched([one for one in made if one.event.domain == DOMAINS[0]], 1, now)]
    (longest, _), *_ = Counter(one.subject for one in events if is_id(one.subject)).most_common(1)

    async def write(wiring):
        await write_entries(wiring.store.redis, events)

    async def begins(wiring):
        return (await wiring.archive.chain.head(P)).floor

    shop.do(write)
    shop.fold()
    words = (*WORDS, ("trace", longest))
    before = [told(shop, *asked) for asked in words]
    assert all(before)
    audited = shop.run("audit", "verify", "--live", "--json").json["named"]
    monkeypatch.setenv("GATEPOST_LOG_MEMORY", "64KiB")
    done = shop.run("archive", "run", "--json").json
    assert done["faults"] == []
    assert len(events) // 4 < done["trimmed"] < len(events)
    assert shop.do(begins) % HOUR_MS
    assert [told(shop, *asked) for asked in words] == before
    assert shop.run("audit", "verify", "--live", "--json").json["named"] == audited
    for view in ("trace", "outbound", "queue", "books"):
        assert shop.run("replay", view).code == 0
