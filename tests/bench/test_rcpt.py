"""The benchmark of RCPT asks what it says, of a system that has what it says."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from bench.rcpt import KINDS, domains, measure
from bench.systems import BenchError
from tests.support import servers


@pytest.mark.parametrize("name", KINDS)
def test_every_reply_is_timed_and_is_the_one_expected(name):
    if name == "postfix":
        servers.need("postfix")
        if os.geteuid() != 0:
            servers.missing("root, which Postfix's master runs as,")
    with tempfile.TemporaryDirectory(prefix="gpb-") as path:
        directory = Path(path)
        directory.chmod(0o755)
        names = domains(5)
        with KINDS[name](directory / name, names, 20) as system:
            times = asyncio.run(measure(system.port, names, 20, sessions=5, rate=200, seconds=1.5))
            assert len(times["listed"]) > 50
            assert times["unknown"]
            assert all(0 < seconds < 10 for values in times.values() for seconds in values)
            with pytest.raises(BenchError, match="expected"):
                asyncio.run(measure(system.port, ["elsewhere.example"], 20, sessions=1, rate=200, seconds=1))
