"""What was measured, in the text that Prometheus reads."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import exposition as plain
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from pipeline import metrics
from pipeline.meters import Counter, Gauge, Histogram, Instrument

NAMESPACE: Final = "gatepost"
OPENMETRICS: Final = "application/openmetrics-text"
TYPES: Final = {
    False: plain.CONTENT_TYPE_PLAIN_0_0_4,
    True: f"{OPENMETRICS}; version=1.0.0; charset=utf-8",
}
"""Whether it is OpenMetrics -> its media type."""


def wants_openmetrics(accept: str) -> bool:
    """By a request's Accept. What a client prefers among several makes no difference: whoever names it can read it."""
    return any(part.partition(";")[0].strip().lower() == OPENMETRICS for part in accept.split(","))


def families(instruments: Iterable[Instrument]) -> Iterator[Metric]:
    for one in instruments:
        if isinstance(one, Counter):
            counter = CounterMetricFamily(one.name, one.text, labels=one.labels)
            for labels, value in one.values.copy().items():
                counter.add_metric(labels, value)
            yield counter
        elif isinstance(one, Gauge):
            gauge = GaugeMetricFamily(one.name, one.text, labels=one.labels)
            for labels, value in one.now().items():
                gauge.add_metric(labels, value)
            yield gauge
        elif isinstance(one, Histogram):
            yield _histogram(one)


def _histogram(one: Histogram) -> Metric:
    family = HistogramMetricFamily(one.name, one.text, labels=one.labels)
    bounds = [*(str(bound) for bound in one.bounds), "+Inf"]
    for labels, series in one.series.copy().items():
        family.add_metric(labels, list(zip(bounds, accumulate(series.counts.copy()), strict=True)), series.sum)
    return family


class Instruments(Collector):
    """Those that `read` answers when somebody looks."""

    def __init__(self, read: Callable[[], Iterable[Instrument]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        return families(self._read())


def of_process(*roles: str) -> CollectorRegistry:
    """All that a process of these roles measures, and what the kernel knows of it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Instruments(lambda: [one for one in metrics.OF_PROCESSES if one.of(*roles)]))
    ProcessCollector(namespace=NAMESPACE, registry=registry)
    return registry


def of(instruments: Iterable[Instrument]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    kept = tuple(instruments)
    registry.register(Instruments(lambda: kept))
    return registry


def written(registry: CollectorRegistry, *, as_openmetrics: bool) -> str:
    make = openmetrics.generate_latest if as_openmetrics else plain.generate_latest
    return make(registry).decode()


def note_build() -> None:
    try:
        version = importlib.metadata.version(NAMESPACE)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    metrics.BUILD.set(1, version, platform.python_version())
