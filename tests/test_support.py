"""The servers that tests stand on do what the tests believe of them."""

from __future__ import annotations

import smtplib
import socket
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.warm import Started


def test_a_killed_redis_has_everything_it_acknowledged(own_redis):
    for number in range(50):
        assert own_redis.command("XADD", "log", "*", "n", str(number)).startswith(b"$")
    own_redis.kill()
    assert not own_redis.running()
    assert own_redis.command("PING") == b""
    own_redis.start()
    assert own_redis.command("XLEN", "log") == b":50\r\n"


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_gets_an_empty_redis(redis_server, attempt):
    assert redis_server.command("DBSIZE") == b":0\r\n"
    assert redis_server.command("SET", f"left by {attempt}", "x") == b"+OK\r\n"


def test_the_sink_hands_out_what_was_sent(smtp_sink):
    with smtplib.SMTP("127.0.0.1", smtp_sink.port) as client:
        client.sendmail("", ["a@x.example", "b@x.example"], b"Subject: one\r\n\r\n.dot\r\n\r\n")
        client.sendmail(
            "s@y.example", ["a@x.example"], b"Received: from here\r\n\tfolded\r\n\r\n" + b"x" * 100_000 + b"\r\n"
        )
    first, second = sorted(smtp_sink.wait_messages(2), key=lambda sunk: sunk.sender)
    assert (first.sender, first.recipients, first.client) == ("", ("a@x.example", "b@x.example"), "127.0.0.1")
    assert first.data == b"Subject: one\n\n.dot\n\n"
    assert second.sender == "s@y.example"
    assert second.data == b"Received: from here\n\tfolded\n\n" + b"x" * 100_000 + b"\n"


def test_the_sink_misbehaves_when_told(tmp_path):
    with servers.smtp_sink(tmp_path, "-r", "rcpt") as sink, smtplib.SMTP("127.0.0.1", sink.port) as client:
        client.ehlo()
        client.mail("s@y.example")
        assert client.rcpt("a@x.example")[0] == 450
        assert sink.messages() == []


def test_smtp_source_and_swaks_send(smtp_sink):
    done = servers.smtp_source(
        smtp_sink.port, "-s", "2", "-m", "5", "-l", "100", "-f", "s@y.example", "-t", "a@x.example"
    )
    assert (done.returncode, done.stderr) == (0, "")
    smtp_sink.wait_messages(5)
    assert servers.swaks(smtp_sink.port, "--from", "s@y.example", "--to", "b@x.example").returncode == 0
    assert smtp_sink.wait_messages(6)[-1].recipients == ("b@x.example",)


def test_a_server_that_dies_at_start_is_reported_with_its_last_words(tmp_path):
    process = servers.Process(["sh", "-c", "echo out of luck; exit 3"], tmp_path / "log")
    with pytest.raises(pytest.fail.Exception, match=r"ended with 3:\nout of luck"):
        process.wait_ready(lambda: False)


def test_what_a_process_started_ends_with_it(tmp_path):
    process = servers.Process(["sh", "-c", "sleep 1000 & echo child $!; wait"], tmp_path / "log")
    child = process.wait_line(r"child (\d+)")[1]
    process.stop()
    servers.wait_until(lambda: not _alive(child), what="the end of the child")


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_missing_program_is_skipped_at_home_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        servers.need("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception):
        servers.need("no-such-program")


def test_a_forked_command_s_exit_code_is_told_however_early_it_ended():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"123 ")
        theirs.sendall(b"5")
    assert Started(("version",), ours).wait() == 5
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"123 ")
    assert Started(("version",), ours).wait() == -9
