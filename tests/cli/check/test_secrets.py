"""What `gatepost check` says of files with secrets."""

from __future__ import annotations

import os

import pytest

from cli.check.secrets import about_secrets
from pipeline.configuration import load
from tests.support.servers import missing


@pytest.mark.parametrize(
    ("mode", "who"), [(0o600, ""), (0o400, ""), (0o640, "its group"), (0o644, "everybody"), (0o604, "everybody")]
)
def test_a_secret_that_others_may_read_is_warned_of(tmp_path, mode, who):
    file = tmp_path / "pass word"
    file.write_text("sesame")
    file.chmod(mode)
    for name in ("redis_password_file", "rspamd_password_file"):
        found = about_secrets(load(None, {}, {"redis_url": "redis://127.0.0.1/0", name: str(file)}))
        assert [(one.weight, who in one.found, name in one.found) for one in found] == [("warning", True, True)] * bool(
            who
        )
        assert all(f"chmod 600 '{file}'" in one.remedy and "sesame" not in one.found for one in found)


def test_a_secret_of_roots_that_is_given_to_its_reader_by_its_group_is_fine(tmp_path):
    if os.geteuid():
        missing("the right to give a file away (root)")
    file = tmp_path / "password"
    file.touch(0o640)
    os.chown(file, 0, 12345)
    assert about_secrets(load(None, {}, {"redis_url": "redis://127.0.0.1/0", "redis_password_file": str(file)})) == []


@pytest.mark.parametrize("file", ["", "/nonexistent", "a\0b"])
def test_what_cannot_be_looked_at_is_not_spoken_of_here(file):
    assert about_secrets(load(None, {}, {"redis_url": "redis://127.0.0.1/0", "redis_password_file": file})) == []
