"""Which of the delivery errors are meant: `--server`, `--class`, `--from`, `--to`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.faults import ConfigurationError
from pipeline.terms import folded, host
from projections.readers.failures import DomainFailures, group

if TYPE_CHECKING:
    from cli.diagnoses import Diagnoses
    from pipeline.events import Attempt


class Chosen:
    def __init__(self, server: str, about: str, times: tuple[int, int] | None, meant: Diagnoses) -> None:
        """`times`: first and last (ns), None for all. Raises ConfigurationError: no such class."""
        if about and about not in meant.classes:
            raise ConfigurationError(f"no class {about!a}", remedy=f"One of {', '.join(sorted(meant.classes))}.")
        self._server = folded(server.strip())
        self._about = about
        self._times = times
        self._meant = meant

    def of(self, one: DomainFailures) -> DomainFailures:
        """Those of a domain. Equal errors were counted as they came, so within times they are counted among those that are kept."""
        failures = tuple(
            failure for failure in one.failures if self._wanted(failure.attempt) and self._within(failure.at)
        )
        if self._times is not None:
            return DomainFailures(domain=one.domain, failures=failures, groups=group(failures))
        groups = tuple(found for found in one.groups if self._wanted(found.newest.attempt))
        return DomainFailures(domain=one.domain, failures=failures, groups=groups)

    def _within(self, at: int) -> bool:
        return self._times is None or self._times[0] <= at <= self._times[1]

    def _wanted(self, attempt: Attempt) -> bool:
        if self._server and self._server not in (folded(attempt.server), host(attempt.server), attempt.address):
            return False
        return not self._about or (bool(attempt.stage) and self._meant.of(attempt).about == self._about)
