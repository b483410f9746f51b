"""What the documentation says that follows from the code is what the code says."""

from __future__ import annotations

import pytest

from docs.generate import DOCS, GENERATED, updated


@pytest.mark.parametrize("page", sorted(GENERATED))
def test_generated_parts_are_up_to_date(page):
    assert (DOCS / page).read_text("utf-8") == updated(page), "run `python -m docs.generate`"
