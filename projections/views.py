"""The views that there are."""

from __future__ import annotations

from pipeline.settings import Settings
from projections.alerts import Alerts
from projections.base import Projection
from projections.books import Books
from projections.classifier import Classifier
from projections.failures import Failures
from projections.outbound import Outbound
from projections.quarantine import Quarantine
from projections.queue import Queue
from projections.refusals import Refusals
from projections.trace import Trace


def projections(settings: Settings) -> tuple[Projection, ...]:
    return (
        Queue(),
        Failures(settings.failures_kept),
        Books(),
        Refusals(),
        Classifier(),
        Quarantine(),
        Trace(),
        Outbound(),
        Alerts(),
    )
