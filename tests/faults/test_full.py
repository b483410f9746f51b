"""A disk that is full, for bodies and for Redis's file, and memory that is: senders are put off, nothing is lost, and all goes on
by itself when there is space again.

The disk is a small tmpfs of the test's own, which root may mount.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.faults import accounts
from tests.faults.accounts import Fault, Senders, wait_settled
from tests.support.customer import Customer, customer
from tests.support.gateway import ANNA, Gateway, gateway_in
from tests.support.servers import missing, wait_until

DISK = 96 << 20
SMALL = b"Subject: small\r\n\r\n" + (b"x" * 70 + b"\r\n") * 50
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 12_000


@contextlib.contextmanager
def disk(size: int) -> Iterator[Path]:
    """A file system of its own."""
    directory = Path(tempfile.mkdtemp(prefix="gp-"))
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        directory.rmdir()
        missing("the right to mount a small disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)
        directory.rmdir()


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: Customer) -> Iterator[Gateway]:
    with (
        disk(DISK) as directory,
        gateway_in(directory, lease="3s", retry_interval="1s", min_free_disk=8 << 20, redis_memory="64MiB") as started,
    ):
        started.add(server.route)
        yield started


class Ballast:
    """A file that takes up a disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "ballast"

    def leave(self, octets: int) -> None:
        """Grow until no more than that is free, whatever others write meanwhile."""
        with self._path.open("ab") as file:
            while (free := self._free() - octets) > 0:
                # Somebody else took some of it: the allocation is undone as a whole, and we look again.
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def sending(running: Gateway) -> Iterator[Senders]:
    """Mail that goes on until it is stopped, and at the latest at the end of the test, so that the next one has the gateway to itself."""
    senders = Senders(running.port, 10**9, numbered, threads=3)
    senders.start()
    try:
        yield senders
    finally:
        senders.stop()
        wait_until(lambda: senders.done, within=60, what="the last messages accepted")


def numbered(number: int) -> tuple[bytes, str]:
    return (LARGE if number % 3 == 0 else SMALL).replace(b"Subject: ", b"Subject: %d " % number), ANNA


def test_a_full_disk_puts_senders_off_and_loses_nothing(running, server):
    ballast = Ballast(running.data.parent)
    with sending(running) as senders:
        try:
            wait_until(lambda: len(senders.acknowledged) > 10, what="mail")
            # First less than min_free_disk, then nothing at all: Redis cannot write its file, and ends.
            ballast.leave(4 << 20)
            wait_until(lambda: senders.put_off[452] > 3, what="452")
            redis_before = [pid for pid, role in running.children().items() if role == "redis"]

            def cannot_write() -> bool:
                ballast.leave(0)  # the janitor may just have made some room
                with (
                    contextlib.suppress(redis.RedisError, OSError),
                    running.redis() as client,
                ):
                    client.set("gp:test:ballast", b"x" * 65536)
                    client.delete("gp:test:ballast")
                return [pid for pid, role in running.children().items() if role == "redis"] != redis_before

            wait_until(cannot_write, within=20, what="a Redis that ends because it cannot write")
            refused = senders.unanswered
            wait_until(lambda: senders.unanswered > refused + 3, within=60, what="senders put off")
        finally:
            ballast.drop()
        before = len(senders.acknowledged)
        wait_until(lambda: len(senders.acknowledged) > before + 10, within=60, what="mail again")
    check(running, server, senders, [Fault("disk full", 0, 2**40, loses_replies=True)])


def test_full_memory_puts_senders_off_and_what_is_here_goes_on(running, server):
    server.arrived.clear()
    before = set(running.message_events())
    with sending(running) as senders, running.redis() as client:
        wait_until(lambda: len(senders.acknowledged) > 10, what="mail")
        most = client.config_get("maxmemory")["maxmemory"]
        # More is in use than may be: nothing that needs memory is done but by what moves mail on.
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - (64 << 10))
        wait_until(lambda: senders.put_off[452] > 3, what="452")
        wait_until(lambda: not accounts.waits(running), within=60, what="what was here to go on")
        client.config_set("maxmemory", most)
        count = len(senders.acknowledged)
        wait_until(lambda: len(senders.acknowledged) > count + 10, within=60, what="mail again")
        assert set(senders.put_off) == {452}
    check(running, server, senders, [], before)


def check(running, server, senders, faults, before=frozenset()):
    wait_settled(running)
    found = accounts.account(running, senders.acknowledged, server.arrived, faults, before)
    assert not found.ends["waiting"]
    print(f"\n{found}; put off: {dict(senders.put_off)}")
