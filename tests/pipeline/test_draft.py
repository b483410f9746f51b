"""Drafts: a body comes out as it went in, however it was cut, and small ones cost no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.bodies.draft import HEAD, HOT_LIMIT, PIECE, Draft

BODY = os.urandom(HOT_LIMIT + 1)
CUTS = (1000, PIECE - 1, PIECE, PIECE + 1, HEAD, HOT_LIMIT)


def drafted(directory: Path, body: bytes, cut: int) -> Draft:
    draft = Draft(directory)
    for start in range(0, len(body), cut):
        draft.write(memoryview(body)[start : start + cut])
    return draft


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("size", [0, 1, PIECE, HEAD - 1, HEAD + 1, 100_000, HOT_LIMIT])
def test_a_small_body_stays_in_memory_and_is_the_same_however_it_was_cut(tmp_path, size, cut):
    body = BODY[:size]
    draft = drafted(tmp_path, body, cut)
    assert (draft.size, draft.head(), draft.hot) == (size, body[:HEAD], body)
    assert b"".join(draft.pieces) == body
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", CUTS)
def test_a_larger_one_is_in_a_file(tmp_path, cut):
    draft = drafted(tmp_path, BODY, cut)
    assert (draft.size, draft.head(), draft.hot, draft.pieces) == (len(BODY), BODY[:HEAD], None, None)
    assert Path(draft.sync()).read_bytes() == BODY
    draft.discard()
    assert list(tmp_path.iterdir()) == []


def test_however_little_comes_at_a_time_a_body_is_in_few_pieces(tmp_path):
    assert len(drafted(tmp_path, BODY[:PIECE], 1).pieces) == 1
    draft = Draft(tmp_path)
    for size in (PIECE, 1) * 20:
        draft.write(BODY[:size])
    assert len(draft.pieces) == 40
