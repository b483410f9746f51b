"""What the documentation says that follows from the code is what the code says."""

from __future__ import annotations

import ast
import re

import pytest

from docs.generate import DOCS, GENERATED, anchor_of, explained, updated
from tests.support.servers import ROOT

MADE_UP = re.compile(
    r"SAYS_\w+|\w+_LIKE_(BRAND|OURS)|DMARC_\w+|(CLIENT|DOMAIN)_(LISTED|ALLOWED)|(RSPAMD|SPAMASSASSIN)_SCORE"
)
"""Names that are put together."""


@pytest.mark.parametrize("page", sorted(GENERATED))
def test_generated_parts_are_up_to_date(page):
    assert (DOCS / page).read_text("utf-8") == updated(page), "run `python -m docs.generate`"


def capitals_in_the_code() -> set[str]:
    """Every text in capitals of what looks at messages: the names of findings are among them."""
    files = [*(ROOT / "pipeline" / "scanning").rglob("*.py"), ROOT / "workers" / "scanning.py"]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*", text)}


def test_every_finding_is_explained_on_a_page():
    named = {text for text in capitals_in_the_code() if "_" in text}
    assert len(named) > 120
    assert named - set(explained()) == set()


def test_every_finding_that_a_page_explains_is_one():
    told = {name for name in explained() if MADE_UP.fullmatch(name) is None}
    assert told - capitals_in_the_code() == set()


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_page_is_reached_from_the_readme_and_leads_nowhere_in_vain(page):
    text = (DOCS / page).read_text("utf-8")
    assert f"docs/{page}" in (ROOT / "README.md").read_text("utf-8")
    for target, anchor in re.findall(r"\]\(([\w./-]*\.md)?(?:#([^)]+))?\)", text):
        other = DOCS / target if target else DOCS / page
        assert other.exists(), target
        headings = re.findall(r"^#+ (.*)$", other.read_text("utf-8"), re.MULTILINE)
        assert not anchor or anchor in {anchor_of(heading) for heading in headings}, f"{target}#{anchor}"
