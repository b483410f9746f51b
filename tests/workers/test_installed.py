"""Whether what is loaded is what is installed: by that a reload knows whether there was an upgrade."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from workers.installed import Installed

NAME = "gatepost_test_of_an_upgrade"


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / f"{NAME}.py"
    file.write_text("VERSION = 1\n")
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None
    monkeypatch.setitem(sys.modules, NAME, importlib.util.module_from_spec(spec))
    return file


def test_without_an_upgrade_all_is_as_it_was(loaded):
    assert Installed().same()


def test_a_file_that_was_replaced_is_an_upgrade_though_its_size_and_time_are_the_same(loaded, tmp_path):
    installed = Installed()
    was = loaded.stat()
    new = tmp_path / "new"
    new.write_text("VERSION = 2\n")
    os.utime(new, ns=(was.st_atime_ns, was.st_mtime_ns))
    new.rename(loaded)
    assert not installed.same()
    assert Installed().same()


def test_a_file_that_was_changed_or_taken_away_is_one_too(loaded):
    installed = Installed()
    loaded.write_text("VERSION = 10\n")
    assert not installed.same()
    installed = Installed()
    loaded.unlink()
    assert not installed.same()
