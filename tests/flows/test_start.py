"""Starting, stopping, reloading, and every way in which starting can be refused: one clear line, exit code 2, nothing damaged."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.customer import customer
from tests.support.gateway import ANNA, Gateway, gateway
from tests.support.servers import Process, listens, wait_until

MAIL = b"Subject: x\r\n\r\nhello\r\n"


def refused(data: Path, *words: str, **settings: object) -> str:
    """What `gatepost up` says when it refuses to start."""
    starting = Gateway(data, **{"smtp": "127.0.0.1:0", **settings})
    done = starting.cli("up", *words, ok=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def directory():
    """Short enough for a unix socket inside."""
    with tempfile.TemporaryDirectory(prefix="gp-") as name:
        yield Path(name)


def test_a_second_gateway_on_the_same_directory_is_refused_and_the_first_goes_on():
    with gateway() as running:
        running.add("127.0.0.1:9")
        said = refused(running.data)
        assert f"process {running.process.pid}" in said
        assert running.send(MAIL)


def test_files_of_the_directory_it_is_started_in_are_never_run(directory):
    here = directory / "here"
    here.mkdir()
    for name in ("dns", "redis", "aiosmtpd", "cli", "workers"):
        (here / f"{name}.py").write_text("raise SystemExit(f'{__file__} was run')\n")
    environ = {"GATEPOST_DATA": str(directory / "data"), "GATEPOST_HOSTNAME": "gateway.test"}
    command = [sys.executable, "-P", "-m", "cli.main", "up", "--smtp", "127.0.0.1:0"]
    process = Process(command, directory / "up.log", environ, cwd=here)
    try:
        process.wait_ready(lambda: "gatepost is ready" in process.output(), timeout=60)
    finally:
        assert process.stop(40) == 0
    assert "was run" not in process.output()


def test_a_port_in_use_is_refused(directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(directory / "data", "--smtp", f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said


def test_a_directory_that_cannot_be_used_is_refused(directory):
    (directory / "file").write_text("")
    assert "cannot use the data directory" in refused(directory / "file" / "data")


def test_a_directory_of_a_newer_version_is_refused_and_left_as_it_was(directory):
    (directory / "data").mkdir()
    (directory / "data" / "format").write_text("99\n")
    assert "newer Gatepost (format 99" in refused(directory / "data")
    assert (directory / "data" / "format").read_text() == "99\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("retry_intervall = '1m'", "did you mean 'retry_interval'"),
        ("= nonsense", "gatepost.toml"),
        ("smtp = 'here'", "HOST:PORT"),
    ],
)
def test_a_mistake_in_the_file_is_named(directory, content, says):
    file = directory / "gatepost.toml"
    file.write_text(content)
    assert says in refused(directory / "data", "--config", str(file))


def test_a_redis_that_would_lose_mail_is_refused_with_what_to_set(own_redis, directory):
    assert own_redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == b"+OK\r\n"
    said = refused(directory / "data", redis_url=own_redis.url)
    assert "maxmemory-policy noeviction" in said
    assert own_redis.command("DBSIZE") == b":1\r\n"


def test_an_outside_redis_is_used_and_left_running(own_redis):
    with customer() as server, gateway(redis_url=own_redis.url) as running:
        running.add(server.route)
        running.send(MAIL)
        server.wait(1)
        assert "redis" not in running.children().values()
    assert own_redis.command("PING") == b"+PONG\r\n"


def test_sigterm_ends_everything_in_order_and_a_restart_goes_on_where_it_was():
    with customer() as server, gateway(retry_interval="1s") as running:
        server.stop()
        running.add(server.route)
        waiting = [running.send(MAIL) for _ in range(5)]
        children = [*running.children(), running.nursery()]
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 30
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
        assert not listens(running.port)
        server.start()
        running.start()
        server.wait(5)
        assert sorted(mail.id for mail in server.arrived) == sorted(waiting)


def test_a_worker_that_dies_is_replaced_and_it_is_said():
    with gateway() as running:
        (pid,) = [pid for pid, role in running.children().items() if role == "scanner"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "worker died" in running.process.output(), what="the message")
        wait_until(lambda: any(role == "scanner" and new != pid for new, role in running.children().items()))


def test_who_connects_while_the_only_receiver_is_dead_waits_for_the_next_one():
    with gateway(receivers=1) as running:
        (pid,) = [pid for pid, role in running.children().items() if role == "receiver"]
        os.kill(pid, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
            os.kill(pid, signal.SIGKILL)
            assert client.recv(100).startswith(b"220 ")


def test_when_what_forks_workers_is_killed_mail_flows_on_and_the_next_workers_are_of_a_new_one():
    with customer() as server, gateway() as running:
        running.add(server.route)
        nursery, before = running.nursery(), running.children()
        os.kill(nursery, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{nursery}").exists(), what="its end")
        running.send(MAIL)
        server.wait(1)
        assert running.children() == before
        (scanner,) = [pid for pid, role in before.items() if role == "scanner"]
        os.kill(scanner, signal.SIGKILL)
        running.send(MAIL)
        server.wait(2)
        assert running.nursery() != nursery
        nursery = running.nursery()
        running.process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in running.process.output(), within=40, what="the reload")
        assert running.nursery() == nursery  # its code is the one that is installed
        running.send(MAIL)
        server.wait(3)


def test_sighup_takes_new_settings_and_a_new_certificate_without_refusing_anybody():
    with customer() as server, gateway() as running:
        file = running.data.parent / "gatepost.toml"
        running.environ["GATEPOST_CONFIG"] = str(file)
        file.write_text("")
        running.stop()
        running.start(f"127.0.0.1:{running.port}")
        running.add(server.route)
        before = running.children()
        first = certificate(running.port)
        for made in (running.data / "tls").iterdir():
            made.unlink()
        file.write_text("max_recipients = 100\n")
        running.process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in running.process.output(), within=40, what="the reload")
        wait_until(lambda: not set(before) & {pid for pid, role in running.children().items() if role != "redis"})
        assert certificate(running.port) != first
        running.send(MAIL)
        server.wait(1)
        with smtplib.SMTP("127.0.0.1", running.port) as client:
            client.ehlo()
            client.mail("a@b.test")
            codes = [client.rcpt("postmaster@example.test")[0] for _ in range(3)]
        assert codes == [250, 250, 250]
        file.write_text("nonsense = 1\n")
        running.process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings not reloaded" in running.process.output(), what="the refusal")
        table = running.data.parent / "mine.toml"
        table.write_text("version = 1\n")
        file.write_text(f'replies_table = "{table}"\n')
        running.process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: running.process.output().count("settings not reloaded") == 2, what="the second refusal")
        assert str(table) in running.process.output()
        running.send(MAIL)
        server.wait(2)


def certificate(port: int) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.starttls(context=context)
        return client.sock.getpeercert(binary_form=True)


def test_too_little_disk_is_452_at_mail_and_the_rest_goes_on():
    with gateway(min_free_disk=1 << 60) as running:
        running.add("127.0.0.1:9")
        with pytest.raises(smtplib.SMTPResponseException) as full:
            running.send(MAIL)
        assert (full.value.smtp_code, full.value.smtp_error[:5]) == (452, b"4.3.1")


def test_a_redis_that_is_gone_is_451_and_all_goes_on_by_itself_when_it_is_back(own_redis):
    with customer() as server, gateway(redis_url=own_redis.url, retry_interval="1s") as running:
        running.add(server.route)
        running.wait_kinds(running.send(MAIL), "Received", "Scanned", "Queued", "Delivered")
        own_redis.kill()
        with pytest.raises(smtplib.SMTPResponseException) as away:
            running.send(MAIL, "somebody.new@example.test")
        assert (away.value.smtp_code, away.value.smtp_error[:5]) == (451, b"4.3.0")
        own_redis.start()
        wait_until(lambda: sends(running), what="accepting again")
        server.wait(2)


def sends(running: Gateway) -> bool:
    try:
        return bool(running.send(MAIL))
    except smtplib.SMTPResponseException:
        return False


def test_mail_that_nobody_takes_in_its_lifetime_is_returned_to_the_sender():
    with customer() as server, gateway(retry_interval="1s", queue_lifetime="4s") as running:
        running.add("127.0.0.1:9")
        running.add(server.route, "boss@senders.test", domain="senders.test")
        message_id = running.send(MAIL, ANNA, sender="boss@senders.test")
        (bounce,) = server.wait(1)
        assert bounce.sender == ""
        assert b"Connection refused" in bounce.content
        running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Failed")
        failed = running.message_events()[message_id][-1]
        assert (failed.reason, failed.bounce) == ("expired", bounce.id)
        assert failed.at - running.message_events()[message_id][0].at >= 4_000_000_000


def test_the_commands_work_before_the_first_start_and_after_the_last(directory):
    offline = Gateway(directory / "data")
    offline.cli("domain", "add", "example.test", "--route", "127.0.0.1:2526")
    offline.cli("address", "add", ANNA)
    assert [row["domain"] for row in json.loads(offline.cli("domain", "list", "--json").stdout)["domains"]] == [
        "example.test"
    ]


def test_commands_start_quickly_enough_to_be_used_in_scripts(directory):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cli.main", "version"], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"aiosmtpd", "aiosmtplib", "cryptography", "dns", "ldap3", "uvloop", "pipeline.scanning"}


def test_a_full_redis_refuses_new_mail_until_what_waits_has_moved_to_disk():
    with customer() as server, gateway(redis_memory="8MiB", hot_bodies="redis", retry_interval="60s") as running:
        running.add("127.0.0.1:9")
        content = b"Subject: large\r\n\r\n" + b"x" * 200_000 + b"\r\n"
        accepted = []
        with pytest.raises(smtplib.SMTPResponseException) as full:
            accepted.extend(running.send(content) for _ in range(200))
        assert (full.value.smtp_code, full.value.smtp_error[:5]) == (452, b"4.3.1")
        wait_until(lambda: sends(running), within=30, what="room again")
        wait_until(lambda: list((running.data / "bodies").rglob(accepted[0])), within=30, what="the body on disk")
        running.cli("domain", "set", "example.test", "--route", server.route)
        server.wait(len(accepted) + 1)
        assert {mail.original for mail in server.arrived if len(mail.content) > 1000} == {content}


def test_after_a_kill_of_the_supervisor_nothing_is_left_running_and_the_next_start_has_all_mail():
    with customer() as server, gateway(retry_interval="1s") as running:
        server.stop()
        running.add(server.route)
        waiting = [running.send(MAIL) for _ in range(5)]
        children = [*running.children(), running.nursery()]
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        server.start()
        running.start()
        wait_until(lambda: not [pid for pid in children if Path(f"/proc/{pid}").exists()], within=40)
        server.wait(5)
        assert sorted(mail.id for mail in server.arrived) == sorted(waiting)


def test_a_wrong_table_of_replies_keeps_the_gateway_from_starting_and_check_names_it(directory):
    table = directory / "mine.toml"
    table.write_text("version = 1\n")
    said = refused(directory / "data", replies_table=str(table))
    assert said.startswith(f"gatepost: {table}: ")
    assert not (directory / "data" / "redis").exists()
    done = Gateway(directory / "data", replies_table=str(table)).cli("check", "--json", ok=False)
    assert {"fatal": "replies"}.items() <= {
        one["weight"]: one["about"] for one in json.loads(done.stdout)["findings"]
    }.items()


def test_a_wrong_table_of_countries_keeps_the_gateway_from_starting_and_check_names_it(directory):
    table = directory / "mine.mmdb"
    table.write_bytes(b"no table")
    said = refused(directory / "data", country_table=str(table))
    assert said.startswith(f"gatepost: country_table: {table}: not a table in the MaxMind DB format")
    done = Gateway(directory / "data", country_table=str(table)).cli("check", "--json", ok=False)
    assert {"fatal": "countries"}.items() <= {
        one["weight"]: one["about"] for one in json.loads(done.stdout)["findings"]
    }.items()
