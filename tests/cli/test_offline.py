"""Commands on a data directory whose gateway does not run, and starts that cannot be."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.session import actor
from tests.support import warm
from tests.support.servers import ROOT, Process, wait_until


@pytest.fixture
def data() -> Iterator[Path]:
    """Under a short path: the socket of the embedded Redis is in it."""
    with tempfile.TemporaryDirectory(prefix="gp-") as directory:
        yield Path(directory) / "data"


def gatepost(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "GATEPOST_HOSTNAME": "gateway.test", "GATEPOST_SMTP": "127.0.0.1:0"}
    return warm.run(*words, "--data", str(data), environ=environ, cwd=ROOT)


def servers_of(data: Path) -> list[int]:
    """Redis servers on a data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(str(data).encode() in word for word in words) and b"server" in words[0]:
                found.append(int(entry.name))
    return found


def test_a_domain_can_be_added_before_the_first_start_and_what_was_done_is_kept(data: Path):
    assert gatepost(data, "domain", "add", "example.test", "--route", "mx.example.test:25").returncode == 0
    assert gatepost(data, "address", "add", "anna@example.test").stdout == "1 address added\n"
    assert json.loads(gatepost(data, "domain", "list", "--json").stdout)["domains"][0]["addresses"] == 1
    queue = gatepost(data, "queue")
    assert queue.stdout.startswith("Nothing waits.")
    assert "Gatepost is not running here" in queue.stdout
    assert not servers_of(data)
    assert json.loads(gatepost(data, "check", "--json").stdout)["ok"]


def test_two_commands_at_once_take_turns_or_share(data: Path):
    first = gatepost(data, "domain", "add", "example.test", "--route", "mx.example.test:25")
    assert first.returncode == 0
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.main", "address", "add", f"{name}@example.test", "--data", str(data)], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("anna", "ben")
    ]  # fmt: skip
    said = [one.communicate(timeout=60) for one in both]
    listed = json.loads(gatepost(data, "address", "list", "example.test", "--json").stdout)["addresses"]
    assert [one.returncode for one in both] == [0, 0], said
    assert listed == ["anna@example.test", "ben@example.test"]
    assert not servers_of(data)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_leaves_no_server_behind(data: Path, tmp_path, number):
    assert gatepost(data, "domain", "add", "example.test", "--route", "mx.example.test:25").returncode == 0
    names = tmp_path / "names"
    names.write_text("".join(f"user{index}@example.test\n" for index in range(200_000)))
    process = Process(
        [sys.executable, "-m", "cli.main", "address", "import", names, "--data", data],
        tmp_path / "import.log",
        cwd=ROOT,
    )
    wait_until((data / "redis" / "redis.sock").exists, what="the server of the command")
    assert servers_of(data)
    process.popen.send_signal(number)
    assert process.wait() == 128 + number
    wait_until(lambda: not servers_of(data), what="the end of the server")
    assert "Traceback" not in process.output()
    assert json.loads(gatepost(data, "domain", "list", "--json").stdout)["domains"]


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"\n", 1), (b"\x03", 130)])
def test_a_question_on_a_terminal_is_answered_by_yes_no_or_ctrl_c(data: Path, answer, code):
    assert gatepost(data, "domain", "add", "example.test", "--route", "mx.example.test:25").returncode == 0
    terminal, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "domain", "remove", "example.test", "--data", str(data)], cwd=ROOT,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - so that Ctrl-C on it is a signal
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(terminal, 4096)
    assert not servers_of(data), "nobody else waits while somebody thinks"
    os.write(terminal, answer)
    assert process.wait(30) == code
    os.close(terminal)
    left = json.loads(gatepost(data, "domain", "list", "--json").stdout)["domains"]
    assert len(left) == (0 if code == 0 else 1)


def test_the_actor_is_the_user():
    assert actor().startswith("cli:")
    assert len(actor()) > len("cli:")


# Starts that cannot be: one line and what to do, exit code 2, nothing damaged


def test_a_port_in_use_is_said_and_nothing_is_started(data: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = gatepost(data, "up", "--smtp", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    assert done.stderr.startswith("gatepost: cannot listen on 127.0.0.1:")
    assert "--smtp" in done.stderr.splitlines()[1]
    assert not servers_of(data)


def test_a_data_directory_of_a_newer_version_is_left_alone(data: Path):
    data.mkdir()
    (data / "format").write_text("99\n")
    for words in (("up", "--smtp", "127.0.0.1:0"), ("domain", "add", "example.test", "--route", "mx.example.test:25")):
        done = gatepost(data, *words)
        assert done.returncode == 2
        assert "newer Gatepost" in done.stderr
    assert (data / "format").read_text() == "99\n"
    assert [path.name for path in data.iterdir()] == ["format"]


def test_a_directory_that_cannot_be_is_said(data: Path):
    data.parent.joinpath("file").touch()
    done = gatepost(data.parent / "file" / "data", "up", "--smtp", "127.0.0.1:0")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) <= 2


def test_a_second_gateway_on_a_directory_is_refused_and_commands_use_the_first(data: Path, tmp_path):
    first = Process(
        [sys.executable, "-m", "cli.main", "up", "--data", data, "--smtp", "127.0.0.1:0"], tmp_path / "up.log", cwd=ROOT
    )
    try:
        first.wait_line("gatepost is ready", timeout=60)
        second = gatepost(data, "up", "--smtp", "127.0.0.1:0")
        assert second.returncode == 2
        assert second.stderr.startswith(f"gatepost: another gatepost (process {first.pid}) runs on ")
        assert gatepost(data, "domain", "add", "example.test", "--route", "mx.example.test:25").returncode == 0
        assert gatepost(data, "queue").stdout == "Nothing waits.\n"
        assert len(servers_of(data)) == 1
    finally:
        assert first.stop() == 0
    assert not servers_of(data)
