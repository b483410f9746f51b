"""The benchmark of finding messages: all that it asks for is there."""

from __future__ import annotations

from bench import trace


def test_messages_in_redis_and_in_the_archive_are_found(capsys):
    trace.main(["--messages", "300", "--archived", "300", "--per-day", "2000", "--domains", "20"])
    out = capsys.readouterr().out
    assert "octets per message" in out
    found = {line[:34].strip(): float(line.split()[-1]) for line in out.splitlines() if " ms   " in line}
    assert found["Message-ID"] == 1
    assert found["nobody: the whole index in vain"] == 0
    assert all(number > 0.5 for name, number in found.items() if not name.startswith("nobody"))
    assert "timeline of one message" in out
