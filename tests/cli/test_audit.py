"""`gatepost audit` on a real store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import keys
from pipeline.events import Delivered, Discarded, decode, encode
from pipeline.ids import partition_for
from projections.builds import live_prefixes
from tests.cli.conftest import ANNA, DOMAIN, Shop
from tests.support.servers import ROOT


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


def test_a_parquet_export_says_the_same_and_verifies(busy: Shop, tmp_path: Path):
    odd = tmp_path / "a [1] 'x'*"
    odd.mkdir()
    plain, packed = exported(busy), odd / "out?.parquet"
    exported(busy, "--format", "parquet", "--to", "2026-01-01", name="none.parquet")
    assert busy.run("audit", "verify", "none.parquet").code == 0
    exported(busy, "--format", "parquet", name=str(packed))
    assert packed.stat().st_mode & 0o777 == 0o600
    done = busy.run("audit", "verify", str(packed), "--json")
    assert (done.code, done.json["problems"]) == (0, 0), done.out
    # One more: the export before it.
    assert done.json["records"] == len(records(plain)) + 2
    assert sorted(path.name for path in odd.iterdir()) == ["out?.parquet", "out?.parquet.manifest.json"]


def test_the_store_is_whole_while_it_is_as_the_workers_left_it(busy: Shop):
    busy.fold()
    done = busy.run("audit", "verify", "--live")
    assert done.code == 0, done.out
    assert "whole" in done.out


def test_an_export_agrees_with_the_store_it_is_of(busy: Shop):
    for words in ([], ["--domain", DOMAIN]):
        file = exported(busy, *words, name=f"{len(words)}.jsonl")
        done = busy.run("audit", "verify", str(file), "--against-store")
        assert done.code == 0, done.out


# The log of actions


def logged(shop: Shop, *words: str) -> list[tuple[str, str]]:
    done = shop.run("audit", "log", "--json", *words)
    assert done.code == 0, done.err
    return [(one["kind"], one["by"]) for one in done.json["actions"]]


def test_the_log_of_actions_merges_directory_and_mail_newest_first(busy: Shop):
    message_id = busy.queued()
    busy.run("queue", "hold", message_id, "--reason", "x")
    busy.fold()
    busy.run("domain", "set", DOMAIN, "--language", "de")
    exported(busy)
    me = busy.run("audit", "log", "--json").json["actions"][0]["by"]
    assert logged(busy)[:3] == [("exported", me), ("domain_set", me), ("held", me)]
    assert logged(busy, "--by", "test", "--kind", "domain_set") == [("domain_set", "test")] * 2
    assert logged(busy, "--domain", "other.test") == [("addresses_set", "test"), ("domain_set", "test")]
    assert logged(busy, "--to", "2026-01-01") == []
    table = busy.run("audit", "log").out
    assert "events of all domains" in table
    assert "held" in table


@pytest.mark.parametrize("folded", [True, False])
def test_pages_of_the_log_of_actions_follow_one_another_without_gap_or_repeat(busy: Shop, folded: bool):
    for _ in range(5):
        busy.run("queue", "hold", busy.queued(), "--reason", "x")
    if folded:
        busy.fold()
    whole = busy.run("audit", "log", "--json", "--limit", "500").json["actions"]
    after, paged = "", []
    while True:
        page = busy.run("audit", "log", "--json", "--limit", "2", *(["--after", after] if after else [])).json
        paged += page["actions"]
        after = page["following"]
        if not after:
            break
    assert [one["entry"] for one in paged] == [one["entry"] for one in whole]
    assert len(whole) >= 9


def test_the_same_done_to_many_messages_is_one_line(busy: Shop):
    waiting = [busy.queued() for _ in range(3)]
    busy.fold()
    assert busy.run("queue", "hold", *waiting, "--reason", "x").code == 0
    busy.fold()
    assert "3 times" in busy.run("audit", "log", "--kind", "held").out


@pytest.mark.parametrize("words", [["--kind", "nonsense"], ["--after", "x"], ["--limit", "0"]])
def test_what_makes_no_question_is_refused(shop: Shop, words: list[str]):
    assert shop.run("audit", "log", *words).code == 2


# Keys, names, refusals


def test_a_signed_export_verifies_with_its_key_and_with_no_other(busy: Shop):
    assert busy.run("audit", "key", "a.pem").code == 0
    assert busy.run("audit", "key", "b.pem").code == 0
    assert Path("a.pem").stat().st_mode & 0o777 == 0o600
    file = exported(busy, "--key", "a.pem")
    assert "signed with" in busy.run("audit", "verify", str(file)).out
    assert busy.run("audit", "verify", str(file), "--key", "a.pem.pub").code == 0
    other = busy.run("audit", "verify", str(file), "--key", "b.pem.pub")
    assert (other.code, "another key" in other.out) == (1, True)
    plain = exported(busy, name="plain.jsonl")
    unsigned = busy.run("audit", "verify", str(plain), "--key", "a.pem.pub")
    assert (unsigned.code, "not signed" in unsigned.out) == (1, True)
    assert busy.run("audit", "key", "a.pem").code == 4
    Path("a.pem").chmod(0o644)
    assert "read by others" in busy.run("audit", "export", "--key", "a.pem", "--output", "x.jsonl").err


def test_nothing_is_overwritten_unasked_and_nothing_half_written_stays(busy: Shop):
    file = exported(busy)
    again = busy.run("audit", "export", "--output", str(file))
    assert (again.code, "--force" in again.err) == (4, True)
    assert exported(busy, "--force") == file
    assert busy.run("audit", "export", "--output", "missing/x.jsonl").code == 2
    assert sorted(path.name for path in Path().iterdir() if "jsonl" in path.name or path.name.startswith(".")) == [
        "out.jsonl",
        "out.jsonl.manifest.json",
    ]


def test_a_key_is_made_whole_or_not_at_all(shop: Shop, tmp_path: Path):
    file = tmp_path / "key"
    (tmp_path / "key.pub").write_text("something of mine")
    assert shop.run("audit", "key", str(file)).code == 4
    assert not file.exists()
    (tmp_path / "key.pub").unlink()
    assert shop.run("audit", "key", str(file)).code == 0
    assert [path.stat().st_mode & 0o777 for path in (file, tmp_path / "key.pub")] == [0o600, 0o644]


@pytest.mark.parametrize("file", ["", ".", "..", "/", "/dev/null", "missing", "\x1b[31m"])
def test_what_is_no_export_is_said_to_be_none(shop: Shop, file: str):
    done = shop.run("audit", "verify", file)
    assert done.code == 2
    assert "not foreseen" not in done.err
    assert "\x1b" not in done.err


def test_without_a_name_the_file_is_named_after_domain_and_days(busy: Shop):
    assert busy.run("audit", "export", "--domain", DOMAIN, "--from", "2026-11-01", "--to", "2026-11-22").code == 0
    assert Path(f"gatepost-audit-{DOMAIN}-20261101-20261122.jsonl").exists()


def test_an_export_of_a_domain_is_a_plain_filter_of_all_events(busy: Shop):
    everything = records(exported(busy, name="all.jsonl"))
    own = records(exported(busy, "--domain", DOMAIN, name="own.jsonl"))
    key = lambda row: (row["partition"], row["entry"])  # noqa: E731
    # The export of all domains is an event as well, and concerns none.
    assert [key(row) for row in own] == [key(row) for row in everything if row["domain"] == DOMAIN]


def test_days_are_those_of_the_zone_that_is_named(busy: Shop):
    words = ["--from", "2026-10-25", "--to", "2026-10-25", "--tz", "Europe/Berlin", "--json"]
    asked = busy.run("audit", "export", *words).json["manifest"]["asked"]
    assert (asked["from"], asked["to"]) == ("2026-10-24T22:00:00.000Z", "2026-10-25T22:59:59.999Z")


# Against the store, and the store itself


def redis(shop: Shop, *words: object) -> object:
    async def work(wiring) -> object:
        return await wiring.store.redis.execute_command(*words)

    return shop.do(work)


def partition(shop: Shop) -> int:
    async def work(wiring) -> int:
        return partition_for(DOMAIN, wiring.store.partitions)

    return int(shop.do(work))


def entries(shop: Shop) -> list[tuple[str, dict[bytes, bytes]]]:
    async def work(wiring) -> list:
        number = partition_for(DOMAIN, wiring.store.partitions)
        return [(entry.decode(), fields) for entry, fields in await wiring.store.redis.xrange(keys.log(number))]

    return shop.do(work)


def rewritten(shop: Shop, log: str, alter: Callable[[list], list]) -> None:
    """The stream with other entries in it, under the ids that they had."""

    async def work(wiring) -> None:
        rows = await wiring.store.redis.xrange(log)
        await wiring.store.redis.delete(log)
        for entry, fields in alter(rows):
            await wiring.store.redis.xadd(log, fields, id=entry)

    shop.do(work)


def live(shop: Shop, *words: str) -> list[str]:
    done = shop.run("audit", "verify", "--live", "--json", *words)
    named = [problem["text"] for problem in done.json["named"]]
    assert done.code == int(bool(named))
    return named


def test_each_entry_that_is_deleted_from_the_log_is_missed(busy: Shop):
    log = keys.log(partition(busy))
    for entry, fields in entries(busy):
        redis(busy, "XDEL", log, entry)
        named = live(busy)
        assert "entries were taken out of the log: 1" in named
        assert len(named) >= 2, "by its subject as well"
        busy.do(lambda wiring, rows=(entry, fields): _restore(wiring, log, rows))
        assert live(busy) == []


async def _restore(wiring, log: str, lost: tuple[str, dict[bytes, bytes]]) -> None:
    rows = dict(await wiring.store.redis.xrange(log))
    rows[lost[0].encode()] = lost[1]
    await wiring.store.redis.delete(log)
    for entry, fields in sorted(rows.items(), key=lambda row: tuple(map(int, row[0].split(b"-")))):
        await wiring.store.redis.xadd(log, fields, id=entry)


def test_an_event_that_somebody_put_into_the_log_is_found(busy: Shop):
    log = keys.log(partition(busy))
    for _, fields in entries(busy):
        added = redis(busy, "XADD", log, "*", *[word for pair in fields.items() for word in pair])
        assert any("a second time" in text or "already" in text or "begins" in text for text in live(busy)), fields
        rewritten(busy, log, lambda rows, added=added: [row for row in rows if row[0] != added])


def test_an_entry_that_was_rewritten_is_found_by_what_can_follow(busy: Shop):
    log = keys.log(partition(busy))
    forged = encode(Discarded(at=1, domain=DOMAIN, recipients=(ANNA,), reason="policy", size=1))

    def alter(rows: list) -> list:
        (entry, fields), *rest = rows[::-1]
        assert decode(fields[b"e"]).__struct_config__.tag == "deferred"
        return [*rest[::-1], (entry, {**fields, b"e": forged})]

    rewritten(busy, log, alter)
    (text,) = live(busy)
    assert "and the log says that it is finished" in text


def test_an_entry_that_cannot_be_read_is_named(busy: Shop):
    log = keys.log(partition(busy))
    rewritten(busy, log, lambda rows: [(entry, {**fields, b"e": b"\xc1"}) for entry, fields in rows[:1]] + rows[1:])
    named = live(busy)
    assert any("cannot be read" in text for text in named)


@pytest.mark.parametrize("by", [1, -1])
def test_a_head_that_is_ahead_of_the_log_or_behind_it_is_found(busy: Shop, by: int):
    message_id = busy.queued()
    redis(busy, "HINCRBY", keys.head(partition(busy), message_id), "v", by)
    (text,) = live(busy)
    assert text == f"the head of {message_id} is at version {3 + by}, and the log is at version 3"


def test_a_head_that_is_gone_and_one_too_many_are_found(busy: Shop):
    gone, number = busy.queued(), partition(busy)
    redis(busy, "COPY", keys.head(number, gone), keys.head(number, "0" * 20 + gone[-2:]))
    redis(busy, "DEL", keys.head(number, gone))
    named = live(busy)
    assert any(f"{gone} has no head" in text for text in named)
    assert any("was never there" in text for text in named)


def test_a_directory_that_was_changed_past_its_log_is_found(busy: Shop):
    assert live(busy) == []
    redis(busy, "HDEL", keys.addresses(DOMAIN), "ben")
    assert live(busy) == [f"ben in {keys.addresses(DOMAIN)} is gone, and the log says that it is there"]


def test_a_change_of_the_directory_that_was_left_out_is_found_by_the_next_one(busy: Shop):
    busy.run("domain", "set", DOMAIN, "--language", "de")
    busy.run("domain", "set", DOMAIN, "--language", "en")

    def alter(rows: list) -> list:
        """The numbers are made to fit."""
        kept = [*rows[:-2], rows[-1]]
        return [(entry, {**fields, b"v": b"%d" % number}) for number, (entry, fields) in enumerate(kept, 1)]

    rewritten(busy, keys.DIRECTORY_LOG, alter)
    redis(busy, "HINCRBY", keys.DIRECTORY_HEAD, "v", -1)
    (text,) = live(busy)
    assert "is not what the one before it left" in text


def test_a_view_that_is_ahead_of_the_log_is_found(busy: Shop):
    busy.fold()
    number = partition(busy)
    prefix = busy.do(lambda wiring: live_prefixes(wiring.store.redis, [number], "books"))[number]
    redis(busy, "SET", prefix + "checkpoint", "99999999999999-0")
    (text,) = live(busy)
    assert "the view books has seen entry 99999999999999-0" in text


def test_a_store_that_says_something_else_than_an_export_is_found(busy: Shop):
    file, log = exported(busy, "--domain", DOMAIN), keys.log(partition(busy))
    (entry, fields), *_ = entries(busy)
    redis(busy, "XDEL", log, entry)
    done = busy.run("audit", "verify", str(file), "--against-store", "--json")
    assert (done.code, [one["text"] for one in done.json["named"]]) == (1, ["the store has no such entry any more"])
    assert done.json["named"][0]["entry"] == entry
    busy.do(lambda wiring: _restore(wiring, log, (entry, {**fields, b"e": b"\xc1"})))
    done = busy.run("audit", "verify", str(file), "--against-store", "--json")
    assert done.code == 1


def test_an_export_that_the_store_knows_nothing_of_is_found(busy: Shop):
    file = exported(busy, "--domain", DOMAIN)
    log = keys.log(partition(busy))
    rewritten(busy, log, lambda rows: rows[:-1])
    done = busy.run("audit", "verify", str(file), "--against-store")
    assert "no event in the log says that this file was exported" in done.out


# The page


@pytest.fixture
def script(tmp_path: Path) -> Path:
    page = (ROOT / "docs" / "audit.md").read_text("utf-8")
    text = page.partition("<!-- begin script -->\n```python\n")[2].partition("```\n<!-- end script -->")[0]
    assert len([line for line in text.splitlines() if line]) <= 30
    file = tmp_path / "check.py"
    file.write_text(text)
    return file


def test_the_script_of_the_page_says_the_same_as_we_do(busy: Shop, script: Path):
    busy.run("audit", "key", "a.pem")
    file = exported(busy, "--key", "a.pem")

    def said(*words: str) -> tuple[int, str]:
        command = [sys.executable, str(script), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout or done.stderr.splitlines()[-1]

    number = len(records(file))
    assert said(str(file), "a.pem.pub") == (0, f"{number} records, whole and unchanged, and signed\n")
    rows = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(rows[:4] + rows[5:]))
    assert said(str(file))[1] == "line 5 was changed, or one before it is gone"
    file.write_bytes(b"".join(rows[:-1]))
    assert said(str(file))[1] == "the end is missing"
    file.write_bytes(b"".join(rows))
    manifest = Path(f"{file}.manifest.json")
    manifest.write_text(manifest.read_text().replace('"by": "', '"by": "x'))
    assert said(str(file))[1] == "the manifest was changed"
