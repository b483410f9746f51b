"""A whole gateway and a real directory server: who is listed there gets mail here, and who is gone there keeps it for a while."""

from __future__ import annotations

import os
import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import DOMAIN, Gateway, gateway
from tests.support.ldap import ADMIN, BASE, PASSWORD, Slapd, person, slapd
from tests.support.servers import wait_until

PEOPLE = [f"u{number}" for number in range(40)]


@pytest.fixture(scope="module")
def directory() -> Iterator[Slapd]:
    with slapd("".join(person(name, f"mail: {name}@{DOMAIN}") for name in PEOPLE)) as server:
        yield server


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with gateway() as started:
        started.add("127.0.0.1:9", f"hand@{DOMAIN}")
        yield started


@pytest.fixture
def sync(running: Gateway, directory: Slapd, tmp_path: Path) -> str:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    running.cli(
        "sync", "add", "ldap", "office", "--server", directory.url, "--no-starttls", "--profile", "openldap",
        "--base", BASE, "--bind-dn", ADMIN, "--secret-file", str(secret), "--every", "1m",
    )  # fmt: skip
    return "office"


def accepted(running: Gateway, name: str) -> bool:
    with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
        client.ehlo("sender.test")
        client.mail("s@elsewhere.test")
        return client.rcpt(f"{name}@{DOMAIN}")[0] == 250


def test_a_gateway_without_a_sync_has_no_process_for_it_and_from_the_first_one_on_it_is_kept_running():
    with gateway() as started:
        started.add("127.0.0.1:9")

        def syncers() -> set[int]:
            return {pid for pid, role in started.children().items() if role == "syncer"}

        assert set(started.children().values()) == {"receiver", "scanner", "deliverer", "background", "redis"}
        people = started.data.parent / "people.csv"
        people.write_text(f"late@{DOMAIN}\n")
        started.cli("sync", "add", "csv", "list", "--file", str(people), "--every", "1h")
        wait_until(lambda: accepted(started, "late"), within=30, what="the first run")
        (first,) = syncers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: syncers() - {first}, within=30, what="another syncer")
        (second,) = syncers()
        started.process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in started.process.output(), within=40, what="the reload")
        wait_until(lambda: syncers() and second not in syncers(), within=40, what="a syncer with the new settings")
        assert len(syncers()) == 1


def test_a_directory_is_followed_on_schedule_and_by_hand(running: Gateway, directory: Slapd, sync: str):
    wait_until(lambda: accepted(running, "u7"), within=30, what="the first run on schedule")
    assert not accepted(running, "nobody")
    (one,) = running.json("sync", "list")["syncs"]
    assert (one["last"]["result"], one["last"]["run"]) == ("applied", 1)
    assert running.json("address", "list", DOMAIN, "--source", "office")["addresses"][0] == f"u0@{DOMAIN}"

    directory.modify(person("new", f"mail: new@{DOMAIN}") + f"dn: uid=u3,{BASE}\nchangetype: delete\n")
    done = running.json("sync", "run", sync)
    assert done["domains"][DOMAIN] == {"added": ["new"], "changed": [], "removed": ["u3"], "kept": 0}
    assert accepted(running, "new")
    assert accepted(running, "u3")
    assert running.json("address", "list", DOMAIN, "--leaving")["addresses"] == [f"u3@{DOMAIN}"]

    gone = "".join(f"dn: uid={name},{BASE}\nchangetype: delete\n\n" for name in PEOPLE[10:30])
    directory.modify(gone)
    waiting = running.cli("sync", "run", sync, ok=False)
    assert waiting.returncode == 1
    assert "it would take away 20 of 40 addresses" in waiting.stdout
    assert accepted(running, "u15")
    running.cli("sync", "approve", sync, "--yes")
    assert len(running.json("address", "list", DOMAIN, "--leaving")["addresses"]) == 21
    assert accepted(running, "hand")

    directory.stop()
    failed = running.cli("sync", "run", sync, ok=False)
    assert (failed.returncode, "cannot be reached" in failed.stderr) == (1, True)
    assert accepted(running, "u5")
    for everything in (failed, waiting):
        assert PASSWORD not in everything.stdout + everything.stderr
    assert PASSWORD not in running.process.output()
    assert [run["result"] for run in running.json("sync", "history", sync)["runs"]] == [
        "failed", "applied", "waiting for approval", "applied", "applied",
    ]  # fmt: skip
