"""Whole messages, written by hand: those that deceive are found for what they are, and honest ones are left alone."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.support.deceiving import BRANDS, Case, cases, found

PHISHING = cases("phishing")
HONEST = cases("honest")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Our table of brands, and houses of the tests' own."""
    ours = (resources.files("pipeline.scanning.builtin") / "data" / "brands.txt").read_text("utf-8")
    path: Path = tmp_path_factory.mktemp("brands") / "brands.txt"
    path.write_text("\n".join((ours, *BRANDS)), "utf-8")
    return Settings(brands=str(path))


@pytest.mark.parametrize("case", PHISHING, ids=lambda case: case.name)
async def test_each_deception_is_found_and_named(case: Case, settings: Settings):
    findings, verdict = await found(case, settings)
    names = {finding.name for finding in findings}
    assert set(case.find) <= names, [(one.name, one.score) for one in findings]
    assert verdict.verdict == case.verdict, [(one.name, one.score, one.text) for one in findings]


async def test_nearly_all_deceptions_reach_the_threshold(settings: Settings):
    assert len(PHISHING) >= 45
    verdicts = [(case.name, (await found(case, settings))[1]) for case in PHISHING]
    missed = [name for name, verdict in verdicts if verdict.verdict == "clean"]
    assert len(missed) <= len(PHISHING) // 20, missed


@pytest.mark.parametrize("case", HONEST, ids=lambda case: case.name)
async def test_honest_messages_are_clean(case: Case, settings: Settings):
    findings, verdict = await found(case, settings)
    assert verdict.verdict in ("clean", "bulk"), [(one.name, one.score, one.text) for one in findings]
    assert set(case.find) <= {finding.name for finding in findings}, [(one.name, one.score) for one in findings]


def test_there_are_honest_messages_of_many_kinds():
    assert len(HONEST) >= 25
