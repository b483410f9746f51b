"""The benchmark of finding messages: all that it asks for is there."""

from __future__ import annotations

import re

from bench import trace


def test_messages_in_redis_and_in_the_archive_are_found(capsys):
    trace.main(["--messages", "300", "--archived", "300", "--per-day", "2000", "--domains", "20"])
    out = capsys.readouterr().out
    assert "octets per message" in out
    # Only a search's row ends in how many it found: the timeline's ends in a time.
    rows = re.findall(r"(?m)^(.{34}) +[\d.]+ ms +[\d.]+ ms +([\d.]+)$", out)
    found = {name.strip(): float(number) for name, number in rows}
    assert len(found) > 8
    assert found["Message-ID"] == 1
    assert found["nobody: the whole index in vain"] == 0
    assert all(number > 0.5 for name, number in found.items() if not name.startswith("nobody"))
    assert "timeline of one message" in out
