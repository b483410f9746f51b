"""The benchmark of scanning scans what it says, and all of it."""

from __future__ import annotations

import pytest

from bench.scanning import TOTAL, contents, run, table
from pipeline.mime import Header, walk


async def test_each_step_of_each_message_is_measured():
    given = contents()
    figures = await run(given, 1, 4, 0.0005)
    assert len(figures) == 6
    assert all(row.keys() == given.keys() and all(spent > 0 for (spent,) in row.values()) for row in figures.values())
    shown = table(figures).splitlines()
    assert shown[1].startswith(TOTAL)
    assert all(len(line) == len(shown[0]) for line in shown)


@pytest.mark.parametrize(("name", "content"), contents().items())
def test_messages_are_what_their_names_say(name, content):
    size = int(name.split()[0]) << 10
    assert 0.9 * size < len(content) < 1.3 * size
    kinds = [part.content_type for part in walk(content, Header(content)).parts]
    assert ("text/html" in kinds) == name.endswith(("HTML", "newsletter"))
    assert ("application/pdf" in kinds) == ("attachment" in name)
