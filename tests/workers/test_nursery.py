"""Workers that are forked from one process: what each has for itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.support.servers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are programs of their own")

COUNT = 50


@pytest.fixture(scope="module")
def born() -> list[dict[str, Any]]:
    """What processes say of themselves that were forked from one nursery at once."""
    command = [sys.executable, "-m", "tests.support.newborn", str(COUNT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


def test_each_does_what_it_was_asked_for_in_an_environment_of_its_own_and_one_that_is_not_wanted_does_nothing(born):
    assert sorted(int(one["words"][1]) for one in born) == list(range(COUNT))
    assert all(one["environ"] == {"NUMBER": one["words"][1]} for one in born)
    assert all(one["counted"] == 0 for one in born)


def test_no_two_draw_the_same_ids_or_the_same_chance(born):
    ids = [name for one in born for name in one["ids"]]
    assert len(set(ids)) == len(ids) == 20 * COUNT
    assert len({tuple(one["chance"]) for one in born}) == len({one["chance"][0] for one in born}) == COUNT


def test_each_has_no_file_but_the_usual_three_one_thread_and_the_supervisor_as_parent(born):
    assert {tuple(one["files"]) for one in born} == {()}
    assert {one["stdin"] for one in born} == {"/dev/null"}
    assert {one["threads"] for one in born} == {1}
    assert len({one["parent"] for one in born}) == 1
    assert all(one["interrupt"] for one in born)


def test_each_has_loaded_what_they_share_and_not_what_few_need(born):
    assert {tuple(one["loaded"]) for one in born} == {("workers.janitor", "workers.scanner")}


def test_ps_shows_what_each_does(born):
    assert all(one["shown"][:3] == ["gatepost", *one["words"]] for one in born)
