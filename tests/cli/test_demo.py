"""The demo, as a new user runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import ROOT, Process


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gp-") as made:
        yield Path(made)


def command(directory: Path, *words: str) -> list[str]:
    ports = ["--smtp", "127.0.0.1:0", "--customer", "127.0.0.1:0"]
    return [sys.executable, "-m", "cli.main", "demo", "--data", str(directory / "demo"), *ports, *words]


def test_the_demo_shows_five_messages_and_everything_goes_as_told(directory: Path):
    environ = {**os.environ, "GATEPOST_PARTITIONS": "nonsense"}
    done = subprocess.run(
        command(directory, "--once"), cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr + (directory / "demo" / "gatepost.log").read_text()
    for words in (
        "accepted as",
        "delivered",
        "quarantined",
        "550 5.1.1",
        "Connection refused",
        "FROM_BRAND",
        "All 5 went",
    ):
        assert words in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_the_demo_goes_on_until_it_is_told_to_stop(directory: Path):
    process = Process(command(directory), directory / "out", cwd=ROOT)
    try:
        process.wait_line("Ctrl-C stops everything", timeout=100)
        lines = process.output().splitlines()
        (listing,) = [line.strip() for line in lines if "quarantine list" in line]
        shown = subprocess.run(listing, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert "EICAR" in shown.stdout or "virus" in shown.stdout, shown.stderr
        (mail,) = [line.strip() for line in lines if "smtplib" in line]
        subprocess.run(mail, shell=True, check=True, timeout=60)
        process.wait_line(r"delivered +to anna@example.test(?s:.*)received +from you@elsewhere.test(?s:.*)delivered")
        (mended,) = [line.strip() for line in lines if "domain set" in line]
        subprocess.run(mended, shell=True, cwd=ROOT, check=True, timeout=60, capture_output=True)
        process.wait_line("delivered +to carla@away.example.test")
    finally:
        process.popen.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert "Stopping" in process.output()


@pytest.mark.parametrize("option", ["--smtp", "--customer"])
def test_a_port_in_use_is_said_with_another_one_to_use(directory: Path, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = command(directory, "--once")
        words[words.index(option) + 1] = f"127.0.0.1:{port}"
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"gatepost: cannot listen on 127.0.0.1:{port}")
    assert f"such as {option} 127.0.0.1:{port + 1000}" in done.stderr
