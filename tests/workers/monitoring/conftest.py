"""A process under test is this one, in which other tests ran before."""

from __future__ import annotations

import pytest

from pipeline import metrics
from pipeline.meters import Pulses


@pytest.fixture(autouse=True)
def fresh_pulses(monkeypatch):
    """Loops of other tests stand still for good."""
    monkeypatch.setattr(metrics, "PULSES", Pulses())
