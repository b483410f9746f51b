"""The whole gateway as a user runs it: `gatepost up` as a process, asked through the command line and through its log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import smtplib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from pipeline import configuration
from pipeline.directory import Address, Domain
from pipeline.events import MessageEvent, Recorded
from pipeline.log import Damaged
from pipeline.settings import Settings
from tests.support import warm
from tests.support.dns import names_in_a_thread
from tests.support.servers import Process, wait_until
from workers.wiring import Wiring, socket_path

DOMAIN = "example.test"
ANNA = "anna@example.test"


class Gateway:
    """`settings` are keys of gatepost.toml, given through the environment."""

    def __init__(self, data: Path, **settings: object) -> None:
        self.data = data
        self.environ = {
            "GATEPOST_DATA": str(data),
            "GATEPOST_ALLOW_NETWORKS": "127.0.0.0/8",
            "GATEPOST_HOSTNAME": "gateway.test",
            "GATEPOST_RECEIVERS": "1",
            "GATEPOST_ARCHIVE": "false",  # a process less to start; nothing of a test's mail is a day old
            **{f"GATEPOST_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.process: Process | None = None
        self.port = 0

    # Running

    def start(self, smtp: str = "127.0.0.1:0") -> None:
        command = [sys.executable, "-m", "cli.main", "up", "--data", self.data, "--smtp", smtp]
        self.process = Process(command, self.data.parent / "up.log", self.environ)
        offset = len(self.process.output()) if self.port else 0
        wait_line = re.compile(r"gatepost is ready: mail on \S+:(\d+)")
        self.process.wait_ready(lambda: wait_line.search(self.process.output(), offset), timeout=60)
        found = wait_line.search(self.process.output(), offset)
        assert found
        self.port = int(found[1])

    def stop(self) -> int:
        assert self.process
        return self.process.stop(40)

    def children(self) -> dict[int, str]:
        """Process id -> role (`redis` for the embedded server) of what works just now."""
        found = {}
        for pid, words in self._family():
            if "worker" in words:
                found[pid] = words[words.index("worker") + 1]
            elif "-server" in words[0]:  # it adds where it listens to its name
                found[pid] = "redis"
        return found

    def nursery(self) -> int:
        """The process that workers are forked from."""
        (pid,) = [pid for pid, words in self._family() if words[1] == "nursery" or "cli.nursery" in words]
        return pid

    def _family(self) -> Iterator[tuple[int, list[str]]]:
        assert self.process
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if words[0]:
                    yield int(pid), words

    # Asking

    def cli(self, *words: str, ok: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        done = warm.run(*words, environ={**os.environ, **self.environ}, stdin=stdin)
        if ok:
            assert done.returncode == 0, f"gatepost {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str, ok: bool = True) -> Any:
        return json.loads(self.cli(*words, "--json", ok=ok).stdout)

    def add(self, route: str, *addresses: str, domain: str = DOMAIN) -> None:
        """A domain with addresses, as `gatepost domain add` and `gatepost address add` make them."""
        asyncio.run(self._add(route, addresses or (ANNA,), domain))

    async def _add(self, route: str, addresses: Sequence[str], domain: str) -> None:
        wiring = await Wiring.connect(self.settings())
        try:
            await wiring.directory.set_domain(Domain(name=domain, route=(route,)), by="test", now=wiring.clock())
            listed = [Address(local=address.rpartition("@")[0]) for address in addresses]
            await wiring.directory.set_addresses({domain: listed}, by="test", now=wiring.clock())
        finally:
            await wiring.close()

    def redis(self) -> redis.Redis:
        """A client of the embedded Redis, to close after use."""
        return redis.Redis(unix_socket_path=str(socket_path(self.data)))

    def settings(self) -> Settings:
        return configuration.load(environ=self.environ)

    def events(self) -> list[Recorded]:
        """Every event of every partition, in order within each, wherever it is kept."""
        return asyncio.run(self._events())

    async def _events(self) -> list[Recorded]:
        wiring = await Wiring.connect(self.settings())
        try:
            found: list[Recorded] = []
            for partition in range(wiring.store.partitions):
                after = "0"
                while rows := await wiring.history.read(partition, after, 5000):
                    assert not [row for row in rows if isinstance(row, Damaged)]
                    found += [row for row in rows if isinstance(row, Recorded)]
                    after = rows[-1].entry
            return found
        finally:
            await wiring.close()

    def kinds(self, message_id: str | None = None) -> list[str]:
        return [type(r.event).__name__ for r in self.events() if message_id in (None, r.subject)]

    def counts(self) -> Counter[str]:
        return Counter(self.kinds())

    def message_events(self) -> dict[str, list[MessageEvent]]:
        found: dict[str, list[MessageEvent]] = {}
        for recorded in self.events():
            if isinstance(recorded.event, MessageEvent):
                found.setdefault(recorded.subject, []).append(recorded.event)
        return found

    def wait_kinds(self, message_id: str, *kinds: str, within: float = 20) -> None:
        def there() -> bool:
            return self.kinds(message_id) == list(kinds)

        try:
            wait_until(there, within=within, what=f"{kinds} of {message_id}")
        except BaseException:
            sys.stderr.write(
                f"events: {self.kinds(message_id)}\n{self.process.output()[-3000:] if self.process else ''}"
            )
            raise

    # Sending

    def send(self, content: bytes, *recipients: str, sender: str = "sender@elsewhere.test") -> str:
        """Over SMTP; the ids in the reply, the first one when there is one."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as client:
            client.ehlo("sender.test")
            return send_on(client, content, *(recipients or (ANNA,)), sender=sender)


def send_on(client: smtplib.SMTP, content: bytes, *recipients: str, sender: str = "sender@elsewhere.test") -> str:
    """One transaction, without smtplib's repairs of line ends; the id that the gateway gave."""
    for code, reply in (client.mail(sender), *(client.rcpt(recipient) for recipient in recipients)):
        if code != 250:
            client.rset()
            raise smtplib.SMTPResponseException(code, reply)
    code, reply = client.docmd("DATA")
    assert code == 354, reply
    stuffed = re.sub(rb"(?m)^\.", b"..", content)
    client.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")
    client.send(b".\r\n")
    code, reply = client.getreply()
    if code != 250:
        raise smtplib.SMTPResponseException(code, reply)
    found = re.search(rb"[0-9a-z]{22}", reply)
    assert found, reply
    return found[0].decode()


@contextlib.contextmanager
def gateway(records: Mapping[tuple[str, str], Sequence[str]] | None = None, **settings: object) -> Iterator[Gateway]:
    """A running gateway in a directory of its own; the directory stays when the test fails.

    `records`: what its DNS knows (see tests/support/dns.py); every other name does not exist.
    """
    with names_in_a_thread(records or {}) as names:
        directory = Path(tempfile.mkdtemp(prefix="gp-"))
        yield from _gateway(directory, **{"resolver": f"127.0.0.1:{names.port}", **settings})
        subprocess.run(["rm", "-rf", str(directory)], check=True)


@contextlib.contextmanager
def gateway_in(directory: Path, **settings: object) -> Iterator[Gateway]:
    """As `gateway`, in a directory that the test made."""
    with names_in_a_thread({}) as names:
        yield from _gateway(directory, **{"resolver": f"127.0.0.1:{names.port}", **settings})


def _gateway(directory: Path, **settings: object) -> Iterator[Gateway]:
    running = Gateway(directory / "data", **settings)
    running.start()
    try:
        yield running
    except BaseException:
        running.stop()
        sys.stderr.write(f"kept: {directory}\n")
        raise
    running.stop()
