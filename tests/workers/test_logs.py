"""Nothing that a stranger wrote does anything to the terminal or the file that the logs go to."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.servers import ROOT

PROGRAM = """
import sys, structlog
from workers.logs import configure

configure(sys.argv[1], "test")
text = "\\x1b[2J\\x9b31m\\u202e\\r\\nforged: line"
log = structlog.get_logger()
try:
    raise ValueError(text)
except ValueError as error:
    log.exception(text, value=text, several=[text], named={text: text}, error=error)
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_text_of_a_stranger_does_anything_in_a_log(form: str):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, form], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "ValueError" in done.stderr
    for harmful in ("\x1b", "\x9b", "\u202e", "\r"):
        assert harmful not in done.stderr
    if form == "json":
        assert json.loads(done.stderr)["process"] == "test"
