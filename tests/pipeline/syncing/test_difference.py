"""What a listing would change: whose addresses are touched, what goes, and what somebody has to look at first."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.address import local_key
from pipeline.directory import Address, Kind
from pipeline.sources.definitions import CsvSource
from pipeline.sources.model import Entry
from pipeline.syncing.difference import Difference, compare
from pipeline.syncing.model import Sync
from pipeline.units import SECOND

NOW = 1_795_000_000 * SECOND
DAY = 86400 * SECOND
HOMES = {"a.test": "a.test", "alias.test": "a.test", "b.test": "b.test"}
SYNC = Sync(name="office", source=CsvSource(path="/x"), grace=7 * DAY)


def entry(address: str, kind: str = "mailbox", *targets: str) -> Entry:
    local, _, domain = address.rpartition("@")
    return Entry(local=local, domain=domain, kind=kind, targets=targets)


def mine(local: str, **fields: object) -> Address:
    return Address(local=local, source="office", **fields)


def difference(listed, rows=(), domain="a.test", **changes) -> Difference:
    sync = msgspec.structs.replace(SYNC, **changes)
    return compare(sync, listed, {domain: {local_key(row.local): row for row in rows}} if rows else {}, HOMES, NOW)


def summary(found: Difference) -> dict[str, dict[str, list[str]]]:
    return {
        domain: {
            "added": [one.local for one in part.added],
            "changed": [after.local for _, after in part.changed],
            "leaving": [one.local for one in part.leaving],
            "ended": [one.local for one in part.ended],
        }
        for domain, part in found
    }


def test_what_is_listed_and_not_there_is_added_as_the_sync_s_own():
    found = difference([entry("Anna@a.test", "alias", "x@a.test"), entry("ben@b.test")])
    assert found.parts["a.test"].added == [mine("Anna", kind=Kind.ALIAS, targets=("x@a.test",))]
    assert found.parts["b.test"].added == [mine("ben")]
    assert (found.added, found.changed, found.removed, found.found) == (2, 0, 0, 2)


def test_an_address_at_an_alias_of_a_domain_is_one_of_the_domain_s_mailboxes():
    found = difference([entry("anna@alias.test"), entry("ANNA@a.test")])
    assert [one.local for one in found.parts["a.test"].added] == ["anna"]


def test_what_was_entered_by_hand_or_brought_by_another_sync_stays_as_it_is():
    rows = [Address(local="anna", kind=Kind.GROUP), Address(local="ben", source="other"), Address(local="cleo")]
    found = difference([entry("anna@a.test"), entry("ben@a.test")], rows)
    assert found.empty
    assert found.parts["a.test"].kept == 2


def test_what_differs_is_changed_and_what_is_listed_again_is_in_force_again():
    rows = [mine("anna"), mine("ben", gone=NOW + DAY), mine("cleo")]
    found = difference([entry("anna@a.test", "group"), entry("ben@a.test"), entry("cleo@a.test")], rows)
    assert found.parts["a.test"].changed == [(rows[0], mine("anna", kind=Kind.GROUP)), (rows[1], mine("ben"))]


@pytest.mark.parametrize(
    ("row", "grace", "leaving", "ended"),
    [
        (mine("ben"), 7 * DAY, [mine("ben", gone=NOW + 7 * DAY)], []),
        (mine("ben"), 0, [], [mine("ben")]),
        (mine("ben", gone=NOW + 1), 7 * DAY, [], []),
        (mine("ben", gone=NOW), 7 * DAY, [], [mine("ben", gone=NOW)]),
        (Address(local="ben"), 7 * DAY, [], []),
    ],
)
def test_what_is_not_listed_any_more_is_accepted_for_the_grace_and_then_goes(row, grace, leaving, ended):
    part = difference([entry("anna@a.test")], [mine("anna"), row], grace=grace).parts["a.test"]
    assert (part.leaving, part.ended) == (leaving, ended)


def test_addresses_of_domains_that_are_not_here_or_not_meant_are_passed_over_and_counted():
    listed = [entry("anna@a.test"), entry("ben@b.test"), entry("x@nowhere.test"), entry("y@nowhere.test")]
    assert difference(listed).foreign == {"nowhere.test": 2}
    only = difference(listed, domains=("alias.test",))
    assert summary(only) == {"a.test": {"added": ["anna"], "changed": [], "leaving": [], "ended": []}}
    assert only.foreign == {"nowhere.test": 2, "b.test": 1}


def rows(count: int) -> list[Address]:
    return [mine(f"u{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("had", "left", "limit", "asks"),
    [
        (100, 90, 10, False),
        (100, 89, 10, True),
        (9, 9, 0, False),
        (10, 9, 0, True),
        (1, 0, 100, False),
        (5, 0, 10, True),
        (0, 0, 10, False),
    ],
)
def test_more_than_the_limit_is_somebody_s_to_look_at(had, left, limit, asks):
    found = difference([entry(f"u{number}@a.test") for number in range(left)], rows(had))
    assert bool(found.too_much(limit)) is asks


def test_a_whole_domain_that_would_go_is_asked_about_also_when_it_is_a_small_part_of_all():
    homes = {"a.test": "a.test", "b.test": "b.test"}
    there = {
        "a.test": {f"u{number}": mine(f"u{number}") for number in range(1000)},
        "b.test": {"anna": mine("anna"), "ben": mine("ben")},
    }
    found = compare(SYNC, [entry(f"u{number}@a.test") for number in range(1000)], there, homes, NOW)
    assert found.too_much(10) == "it would take away every address of b.test (2)"
    assert found.too_much(100) == ""


def test_addresses_that_are_on_their_way_out_already_do_not_count_again():
    there = [*rows(90), *(mine(f"g{number}", gone=NOW + DAY) for number in range(50))]
    assert difference([entry(f"u{number}@a.test") for number in range(90)], there).too_much(0) == ""


LOCALS = st.sampled_from(["anna", "Anna", "ben", "cleo", "d\u00f6rte"])
ROWS = st.dictionaries(
    LOCALS.map(local_key), st.builds(
        Address, local=LOCALS, source=st.sampled_from(["", "office", "other"]), gone=st.sampled_from([0, NOW - 1, NOW + 1]),
        kind=st.sampled_from(list(Kind)),
    )
)  # fmt: skip
LISTED = st.lists(
    st.builds(Entry, local=LOCALS, domain=st.sampled_from([*HOMES, "other.test"]), kind=st.sampled_from(list(Kind)))
)


@given(listed=LISTED, rows=ROWS, grace=st.sampled_from([0, DAY]))
def test_after_a_run_the_sync_s_addresses_in_force_are_those_listed_and_everybody_else_s_are_untouched(
    listed, rows, grace
):
    there = {key: msgspec.structs.replace(row, local=key) for key, row in rows.items()}
    sync = msgspec.structs.replace(SYNC, grace=grace)
    found = compare(sync, listed, {"a.test": there}, HOMES, NOW)
    part = found.parts["a.test"]
    after = dict(there)
    for address in [*part.added, *(new for _, new in part.changed), *part.leaving]:
        after[local_key(address.local)] = address
    for address in part.ended:
        del after[local_key(address.local)]
    wanted = {local_key(one.local) for one in listed if HOMES.get(one.domain) == "a.test"}
    others = {key for key, row in there.items() if row.source != "office"}
    assert {key: after[key] for key in others} == {key: there[key] for key in others}
    assert {key for key, row in after.items() if row.source == "office" and not row.gone} == wanted - others
    assert compare(sync, listed, {"a.test": after}, HOMES, NOW).parts["a.test"].empty
    assert part.owns == any(row.source == "office" for row in after.values())
