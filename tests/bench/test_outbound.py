"""The benchmark of reports finds all that it wrote down."""

from __future__ import annotations

import asyncio

from bench.outbound import FORMATS, Made, fill, measure, report
from bench.quarantine import server


def test_every_attempt_is_in_the_report_from_the_store_and_without(tmp_path):
    with server(tmp_path) as url:
        assert asyncio.run(fill(url, 3000)) > 0
        found = measure(url, 3000, "csv")
    assert found["rows"] == 3000
    for name in FORMATS:
        rows, octets = asyncio.run(report(Made(300), name))
        assert rows == 300
        assert octets > 300 * 100
