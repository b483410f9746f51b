"""However a command ends, it leaves nothing half made behind, and says what its end was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shop
from tests.support.servers import ROOT

EXPORT = """
import asyncio, sys
from pathlib import Path
from cli.audit.exporting import _growing
from cli.options import Common
from cli.session import session

async def work():
    async with session(Common()):
        with _growing(Path(sys.argv[1])) as growing:
            (growing / "records").write_bytes(b"half")
            print("half made", flush=True)
            await asyncio.Event().wait()

try:
    asyncio.run(work())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_at_a_running_gateway_that_is_told_to_end_takes_away_what_is_half_made(
    shop: Shop, tmp_path: Path, number: signal.Signals
):
    shop.add()
    folder = tmp_path / "exports"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", EXPORT, folder], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "half made\n"
        assert list(folder.iterdir())
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "log"], ["audit", "log", "--json"], ["report", "outbound"], ["report", "outbound", "--format", "html"], ["views"],
        ["archive"], ["alerts", "rules"], ["replay"], ["queue", "--watch", "0.2"], ["config", "sample"], ["books"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_who_has_read_enough_of_a_command_is_told_of_no_failure(shop: Shop, words: list[str]):
    shop.add()
    theirs, ours = os.pipe()
    os.close(theirs)
    with os.fdopen(ours, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
