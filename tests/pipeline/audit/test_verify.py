"""Whatever is done to an export is found, and the first place of it is named."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit import chain
from pipeline.audit.manifest import parsed
from pipeline.audit.verify import FOLLOWED, Checker, Problems
from tests.support.exports import checked, resealed, sample

DOMAIN = "example.test"
FORMS = ["", DOMAIN]


def first(tmp_path, rows: list[bytes], manifest: bytes) -> tuple[int, str]:
    problems = checked(tmp_path, b"".join(rows), manifest)
    assert problems.count
    return problems.named[0].line, problems.named[0].text


@pytest.fixture(scope="module", params=FORMS, ids=["all", "domain"])
def export(request) -> tuple[list[bytes], bytes]:
    data, manifest = sample(request.param)
    return data.splitlines(keepends=True), manifest


def test_an_export_that_nobody_touched_is_whole(tmp_path, export):
    rows, manifest = export
    problems = checked(tmp_path, b"".join(rows), manifest)
    assert (problems.named, problems.count) == ([], 0)
    assert len(rows) > 15


def test_each_record_that_is_taken_away_is_missed_at_its_place(tmp_path, export):
    rows, manifest = export
    for place in range(len(rows) - 1):
        line, text = first(tmp_path, rows[:place] + rows[place + 1 :], manifest)
        assert (line, text) == (place + 1, f"record {place + 1} is missing: record {place + 2} stands here")


def test_the_last_record_is_missed_as_well(tmp_path, export):
    rows, manifest = export
    line, text = first(tmp_path, rows[:-1], manifest)
    assert (line, text) == (0, f"the manifest says {len(rows)} records, and there are {len(rows) - 1}")


def test_each_record_that_is_doubled_is_found_at_its_second_place(tmp_path, export):
    rows, manifest = export
    for place in range(len(rows)):
        line, text = first(tmp_path, rows[: place + 1] + rows[place:], manifest)
        assert line == place + 2
        assert "doubled, or was moved" in text


def test_neighbours_that_change_places_are_found(tmp_path, export):
    rows, manifest = export
    for place in range(len(rows) - 1):
        swapped = [*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]]
        line, text = first(tmp_path, swapped, manifest)
        assert (line, text) == (place + 1, f"record {place + 1} is missing: record {place + 2} stands here")


def test_a_record_that_is_put_in_is_found_with_whatever_number(tmp_path, export):
    rows, manifest = export
    for place in range(0, len(rows), 7):
        forged = json.loads(rows[place])
        for number in (place, place + 1, place + 2):
            forged["n"] = number
            content = json.dumps({name: forged[name] for name in forged if name != "hash"}, separators=(",", ":"))[
                1:
            ].encode()
            previous = json.loads(rows[place - 1])["hash"] if place else chain.START
            row = chain.line(chain.link(previous, content), content) + b"\n"
            line, _ = first(tmp_path, [*rows[:place], row, *rows[place:]], manifest)
            assert line in (place + 1, place + 2)


def test_a_file_that_was_cut_off_is_found_wherever_it_was(tmp_path, export):
    rows, manifest = export
    whole = b"".join(rows)
    for size in {0, 1, len(rows[0]), len(rows[0]) + 1, len(whole) // 2, len(whole) - len(rows[-1]), len(whole) - 1}:
        assert checked(tmp_path, whole[:size], manifest).count, size


@settings(max_examples=300)
@given(data=st.data(), form=st.sampled_from(FORMS))
def test_a_change_of_any_octet_of_a_line_is_found_at_that_line(tmp_path_factory, data, form):
    whole, manifest = sample(form)
    rows = whole.splitlines(keepends=True)
    place = data.draw(st.integers(0, len(rows) - 1))
    octet = data.draw(st.integers(0, len(rows[place]) - 2))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != rows[place][octet]))
    changed = bytearray(rows[place])
    changed[octet] = other
    line, _ = first(tmp_path_factory.mktemp("x"), [*rows[:place], bytes(changed), *rows[place + 1 :]], manifest)
    assert line == place + 1


@settings(max_examples=300)
@given(data=st.data())
def test_a_change_of_any_octet_of_the_manifest_is_found(tmp_path_factory, data):
    whole, manifest = sample()
    place = data.draw(st.integers(0, len(manifest) - 1))
    changed = bytearray(manifest)
    changed[place] = data.draw(st.integers(0, 255).filter(lambda value: value != manifest[place]))
    assert checked(tmp_path_factory.mktemp("x"), whole, bytes(changed)).count


def test_an_event_left_out_by_one_who_makes_all_hashes_anew_is_missed_by_its_subjects_versions(tmp_path):
    data, manifest = sample()
    rows = data.splitlines(keepends=True)
    said = [json.loads(row) for row in rows]
    last = {(row["partition"], row["subject"]): row["version"] for row in said}
    for place, row in enumerate(said):
        if row["version"] == last[row["partition"], row["subject"]]:
            continue
        forged, sealed_anew = resealed(rows[:place] + rows[place + 1 :], manifest)
        line, text = first(tmp_path, forged, sealed_anew)
        assert line > place
        assert "missing" in text or "begins with" in text


def test_records_in_another_order_than_their_logs_are_found_though_all_hashes_are_right(tmp_path):
    data, manifest = sample()
    rows = data.splitlines(keepends=True)
    for place in range(5, len(rows) - 1, 5):
        forged, sealed_anew = resealed([*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]], manifest)
        line, text = first(tmp_path, forged, sealed_anew)
        assert line in (place + 1, place + 2)
        assert "behind" in text or "version" in text or "begins with" in text


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"format":"x"}', b"\xff"])
def test_what_is_no_manifest_is_said_to_be_none(manifest):
    content, wrong = parsed(manifest, None)
    assert content is None
    assert "the manifest is none" in wrong[0]


def test_a_record_costs_the_same_whatever_was_done_to_those_before_it():
    whole, manifest = sample()
    content, _ = parsed(manifest, None)
    problems = Problems()
    checker = Checker(content, problems)
    for row in whole.splitlines() * 3:
        checker.take(row.replace(b'"version":', b'"version":1'))
        assert len(checker._previous) <= FOLLOWED
    assert problems.count


@pytest.mark.parametrize(
    "number", ["9" * 20, "9" * 4000, "9" * 10_000, "-7", "1e400", "1.5", '"1"', "[" * 100_000, "null"]
)
def test_numbers_that_no_record_and_no_manifest_has_are_told(tmp_path, number):
    whole, manifest = sample()
    for name in (b"n", b"partition", b"version"):
        changed = re.sub(b'"%s":-?[0-9]+' % name, b'"%s":%s' % (name, number.encode()), whole, count=1)
        assert checked(tmp_path, changed, manifest).count
    for name in (b"records", b"octets", b"partitions"):
        changed = re.sub(b'"%s": -?[0-9]+' % name, b'"%s": %s' % (name, number.encode()), manifest, count=1)
        assert changed != manifest
        assert checked(tmp_path, whole, changed).count


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("first", "x"), ("first", "1-" + "9" * 30), ("last", ""), ("number", 10**30), ("number", 0), ("partition", 10**9),
        ("date", "../../.."), ("sha256", "../x"), ("previous", "x"), ("count", -1),
    ],
)  # fmt: skip
def test_a_manifest_with_seals_that_are_none_is_none(name, value):
    _, manifest = sample()
    content = json.loads(manifest)
    seal = {
        "partition": 0, "number": 1, "date": "2026-11-20", "first": "1-0", "last": "2-0", "count": 2, "octets": 100,
        "sha256": "0" * 64, "index": "0" * 64, "contents": "0" * 64, "previous": "", "seal": "0" * 64,
    }  # fmt: skip
    content["seals"] = [seal]
    assert parsed(json.dumps(content).encode(), None)[0] is not None
    content["seals"] = [{**seal, name: value}]
    found, wrong = parsed(json.dumps(content).encode(), None)
    assert found is None
    assert "the manifest is none" in wrong[0]
