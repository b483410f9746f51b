"""Where credentials for an object store come from, and what is said of its errors."""

from __future__ import annotations

import pytest

from pipeline import objectstore
from pipeline.faults import ConfigurationError

FILE = """\
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = s3cr3t%100

[mail]
aws_access_key_id = AKIAMAIL
aws_secret_access_key = other
aws_session_token = session
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / ".aws" / "credentials"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def test_credentials_come_from_the_file_of_awss_tools(file, tmp_path):
    default = {"access_key_id": "AKIADEFAULT", "secret_access_key": "s3cr3t%100"}
    assert objectstore.shared_credentials({"HOME": str(tmp_path)}) == default
    assert objectstore.shared_credentials({"AWS_SHARED_CREDENTIALS_FILE": str(file)}) == default
    found = objectstore.shared_credentials({"HOME": str(tmp_path), "AWS_PROFILE": "mail"})
    assert found == {"access_key_id": "AKIAMAIL", "secret_access_key": "other", "session_token": "session"}


def test_the_environment_comes_first_and_no_file_is_no_fault(file, tmp_path):
    assert objectstore.shared_credentials({"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "x"}) == {}
    assert objectstore.shared_credentials({"HOME": str(tmp_path / "nobody")}) == {}
    assert objectstore.shared_credentials({"HOME": str(tmp_path), "AWS_PROFILE": "none"}) == {}
    assert objectstore.shared_credentials({}) == {}


@pytest.mark.parametrize("content", [None, b"s3cr3t", b"[default]\ns3cr3t\n", b"\xff\xfe"])
def test_a_file_that_was_named_and_cannot_be_read_is_said_without_what_it_has(tmp_path, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="cannot be read") as fault:
        objectstore.shared_credentials({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
    assert "s3cr3t" not in str(fault.value)


def test_what_a_store_answers_is_repeated_in_part_and_without_what_was_signed():
    said = objectstore.words(
        RuntimeError("no \x1b[31m ?X-Amz-Signature=abc&X-Amz-Credential=AKIA, " + "x" * 500 + "\nmore")
    )
    assert "abc" not in said
    assert "AKIA" not in said
    assert said.isprintable()
    assert len(said) <= objectstore.TEXT


def test_who_has_no_credentials_at_all_is_told_so():
    error = RuntimeError("Error performing PUT http://169.254.169.254/latest/api/token")
    assert "No credentials" in objectstore.remedy(error)
