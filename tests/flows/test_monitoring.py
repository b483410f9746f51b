"""A gateway that is looked at: its numbers are what was sent, and its health is what is so."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import smtplib
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.customer import Customer
from tests.support.gateway import Gateway, gateway
from tests.support.monitoring import OPENMETRICS, Numbers, look
from tests.support.servers import Process, RedisServer, free_port, wait_until

SECRET = b"X-Secret: 6f1ed002ab5595859014ebf0951522d9\r\n"
MAIL = (
    b"From: sender@elsewhere.test\r\nSubject: hello\r\nMessage-ID: <one@elsewhere.test>\r\n" + SECRET + b"\r\nhello\r\n"
)
COUNT = 5


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="gp-"))
    yield directory / "metrics.sock"
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[Gateway]:
    with gateway(metrics=f"unix:{place}", retry_interval="1s", keep_connection="500ms", lease="60s") as started:
        yield started


def numbers(place: Path, accept: str = "") -> Numbers:
    page = look(place, "/metrics", accept=accept)
    assert page.status == 200
    return page.numbers()


def pid_of(running: Gateway, role: str) -> int:
    return next(pid for pid, found in running.children().items() if found == role)


def is_fine(place: Path, page: str) -> bool:
    return look(place, page).status == 200


def at_rest(place: Path) -> Numbers:
    """The numbers when all that other tests sent is in them."""
    wait_until(
        lambda: numbers(place).sum("gatepost_view_lag_seconds") == 0, within=30, what="views at the end of the log"
    )
    return numbers(place)


def test_the_numbers_are_what_was_sent(running: Gateway, place: Path, domain: str, server: Customer):
    wait_until(lambda: is_fine(place, "/readyz"), within=30, what="readiness")
    before = at_rest(place)
    ids = [running.send(MAIL, f"anna@{domain}") for _ in range(COUNT)]
    for _ in range(2):
        with pytest.raises(smtplib.SMTPResponseException):
            running.send(MAIL, f"nobody@{domain}")
    for message_id in ids:
        running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")

    def change(now: Numbers, name: str, **labels: str) -> float:
        return now.sum(name, **labels) - before.sum(name, **labels)

    def arrived() -> bool:
        now = numbers(place)
        books = change(now, "gatepost_books_recipients", kind="delivered")
        return change(now, "gatepost_delivery_outcomes_total") >= COUNT and books >= COUNT

    wait_until(arrived, within=30, what="numbers of all that was sent")
    now = numbers(place)
    assert change(now, "gatepost_smtp_accepted_messages_total", role="receiver") == COUNT
    assert change(now, "gatepost_smtp_accepted_bytes_total") == COUNT * len(MAIL)
    assert change(now, "gatepost_smtp_connections_total") == COUNT + 2
    assert change(now, "gatepost_smtp_refusals_total") == 2
    assert change(now, "gatepost_smtp_refusals_total", **{"reply": "no_such_user", "class": "5xx"}) == 2
    assert change(now, "gatepost_smtp_data_seconds_count") == COUNT
    assert now.sum("gatepost_smtp_sessions") == 0
    assert change(now, "gatepost_scanned_messages_total", role="scanner") == COUNT
    assert change(now, "gatepost_engine_seconds_count", engine="builtin") == COUNT
    assert change(now, "gatepost_delivery_outcomes_total", outcome="accepted", stage="dot") == COUNT
    assert change(now, "gatepost_delivery_seconds_count") == COUNT
    assert change(now, "gatepost_delivery_bytes_total") > COUNT * len(MAIL)
    assert change(now, "gatepost_delivery_connections_total", result="failed") == 0
    assert change(now, "gatepost_commit_steps_total", role="scanner") == COUNT
    assert change(now, "gatepost_projected_events_total") >= 4 * COUNT
    assert change(now, "gatepost_books_recipients", kind="received") == COUNT
    assert now.sum("gatepost_books_balanced") == now.sum("gatepost_store_up") == 1
    assert now.sum("gatepost_waiting_messages") == now.sum("gatepost_parked") == 0
    assert set(now.values("gatepost_process_up", "process")) >= {
        "receiver-1", "scanner-1", "deliverer-1", "background-1",
    }  # fmt: skip
    assert set(now.values("gatepost_process_up", "process").values()) == {1}


def test_a_queue_is_shown_with_the_domain_that_waits(running: Gateway, place: Path, domain: str, server: Customer):
    server.stop()
    message_id = running.send(MAIL, f"anna@{domain}")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued")

    def waits() -> bool:
        now = numbers(place)
        return now.sum("gatepost_queue_messages", domain=domain) == now.sum("gatepost_waiting_messages") == 1

    wait_until(waits, within=30, what="the queue among the numbers")
    server.start()
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")


def test_no_address_id_or_content_is_ever_shown(running: Gateway, place: Path, domain: str, server: Customer):
    message_id = running.send(MAIL, f"anna@{domain}", f"ben@{domain}")
    running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    for page in ("/metrics", "/healthz", "/readyz"):
        text = look(place, page, accept=OPENMETRICS).body
        for secret in ("@", message_id, "elsewhere", "anna", "127.0.0.1", str(running.data), "6f1ed002"):
            assert secret not in text


def test_openmetrics_and_the_plain_form_say_the_same(running: Gateway, place: Path):
    plain, modern = at_rest(place), numbers(place, OPENMETRICS)
    assert plain.names() == modern.names()
    assert plain.sum("gatepost_smtp_accepted_messages_total") == modern.sum("gatepost_smtp_accepted_messages_total")


def test_a_process_that_stands_still_is_told_while_the_others_are_well(running: Gateway, place: Path):
    wait_until(lambda: is_fine(place, "/healthz"), within=30, what="health")
    background = pid_of(running, "background")
    os.kill(background, signal.SIGSTOP)
    try:
        told = look(place, "/healthz")
        assert told.status == 503
        assert told.json["processes"]["background-1"] == "does not answer"
        assert told.json["processes"]["scanner-1"] == "ok"
        assert look(place, "/healthz/background-1").status == 503
        assert look(place, "/healthz/scanner-1").status == 200
        assert look(place, "/healthz/nobody-1").status == 404
        now = numbers(place)
        assert now.values("gatepost_process_up", "process")["background-1"] == 0
        assert now.sum("gatepost_process_up", role="scanner") == 1
    finally:
        os.kill(background, signal.SIGCONT)
    wait_until(lambda: is_fine(place, "/healthz"), within=30, what="health")


def test_a_process_that_died_is_down_until_another_one_is_in_its_place(running: Gateway, place: Path):
    wait_until(lambda: is_fine(place, "/healthz"), within=30, what="health")
    before = numbers(place).sum("gatepost_process_restarts_total", role="scanner")
    os.kill(pid_of(running, "scanner"), signal.SIGKILL)
    wait_until(lambda: not is_fine(place, "/healthz"), within=30, what="the dead one among the processes")
    wait_until(lambda: is_fine(place, "/healthz"), within=60, what="another one")
    assert numbers(place).sum("gatepost_process_restarts_total", role="scanner") == before + 1


def test_nobody_is_ready_without_redis_and_all_are_when_it_is_back(running: Gateway, place: Path):
    wait_until(lambda: is_fine(place, "/readyz"), within=30, what="readiness")
    redis = pid_of(running, "redis")
    os.kill(redis, signal.SIGSTOP)
    try:
        told = look(place, "/readyz")
        assert told.status == 503
        assert "Redis" in told.json["processes"]["receiver-1"]
        assert is_fine(place, "/healthz")
    finally:
        os.kill(redis, signal.SIGCONT)
    wait_until(lambda: is_fine(place, "/readyz"), within=30, what="readiness")


def test_clients_that_mean_no_good_stop_nothing(running: Gateway, place: Path, domain: str, server: Customer):
    with contextlib.ExitStack() as held:
        for _ in range(200):
            client = held.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(5)
            with contextlib.suppress(OSError):
                client.connect(str(place))
                client.sendall(b"\x00GET / HTTP/9\r\n" * 3)
        message_id = running.send(MAIL, f"anna@{domain}")
        running.wait_kinds(message_id, "Received", "Scanned", "Queued", "Delivered")
    wait_until(lambda: is_fine(place, "/healthz"), within=30, what="health")


def test_after_a_reload_the_new_processes_are_shown_under_the_same_names(running: Gateway, place: Path):
    wait_until(lambda: is_fine(place, "/healthz"), within=30, what="health")
    names, old = set(look(place, "/healthz").json["processes"]), set(running.children())
    assert running.process
    os.kill(running.process.pid, signal.SIGHUP)
    wait_until(lambda: "reloaded" in running.process.output(), within=60, what="the reload")
    wait_until(lambda: is_fine(place, "/readyz"), within=30, what="readiness")
    assert set(look(place, "/healthz").json["processes"]) == names
    wait_until(lambda: len(old & set(running.children())) == 1, within=40, what="the end of the old ones")
    folder = running.data / "run"
    assert folder.stat().st_mode & 0o777 == 0o700
    wait_until(
        lambda: len(list(folder.glob("*.sock"))) == len(running.children()) - 1, within=20, what="no more sockets"
    )


def test_one_process_alone_answers_for_itself_on_a_port(own_redis: RedisServer, tmp_path: Path):
    port = free_port()
    environ = {"GATEPOST_REDIS_URL": own_redis.url, "GATEPOST_DATA": str(tmp_path), "GATEPOST_HOSTNAME": "g.test"}
    words = ["-m", "cli.main", "worker", "projector", "--metrics", f"127.0.0.1:{port}"]

    def status(page: str) -> tuple[int, str]:
        with contextlib.suppress(OSError):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=20) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
        return 0, ""

    process = Process([sys.executable, *words], tmp_path / "log", environ)
    try:
        process.wait_ready(lambda: status("/readyz")[0] == 200, timeout=30)
        assert 'gatepost_projected_events_total{role="projector"} 0.0' in status("/metrics")[1]
        assert "gatepost_store_up 1.0" in status("/metrics/store")[1]
        own_redis.kill()
        code, body = status("/readyz")
        assert (code, "Redis" in json.loads(body)["reason"]) == (503, True)
        assert status("/healthz")[0] == 200
        own_redis.start()
        wait_until(lambda: status("/readyz")[0] == 200, within=20, what="readiness")
        assert process.stop() == 0
    finally:
        process.kill()
