"""The systems under test, each a private instance on loopback: how it starts, takes a domain's mail in, and stops.

Both do the same work: accept mail for two listed addresses of two domains, refuse all else, put each message on disk before
they say 250, and pass it on to a server on this machine. Each has its own directory below one folder, so both write to
the same disk. Only processes started here, and their children, are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

import psutil

LOAD_DOMAIN: Final = "bench.example"
"""Its route is smtp-sink."""
LONE_DOMAIN: Final = "lone.example"
"""Its route is the benchmark's own server, which notes the moment a message is complete."""
LIMIT: Final = 35_883_008
"""Octets of a message, as Gatepost announces it."""

READY: Final = 120.0
"""Seconds for a system to start: one with much in its store reads that first."""


class BenchError(Exception):
    """What keeps the benchmark from running, for whoever started it."""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if not found:
        raise BenchError(f"{name} is not installed (on Debian: apt-get install postfix)")
    return found


def takes_mail(port: int, domain: str) -> bool:
    """Whether RCPT TO:<user@domain> gets 250 there."""
    with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.ehlo("bench.client.example")
        client.mail("probe@client.example")
        return client.rcpt(f"user@{domain}")[0] == 250
    return False


class System(ABC):
    """One mail system: `with System(...) as system`, then mail goes in at `system.port`."""

    name: str

    def __init__(self, directory: Path, routes: Mapping[str, int]) -> None:
        """`routes`: the port on loopback that each domain's mail goes out to."""
        self.directory = directory
        self.routes = routes
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Returns when it takes mail for every domain of `routes`."""

    def __enter__(self) -> Self:
        self.directory.mkdir(mode=0o755)
        try:
            self.start()
            for domain in self.routes:
                wait_for(partial(self.takes_mail, domain), f"{self.name} to take mail")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def processes(self) -> list[psutil.Process]:
        """Everything that belongs to it now: the process started here and all its descendants."""
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def stop(self) -> None:
        if self.process is None:
            return
        family = self.processes()
        self._ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(40)
        _, left = psutil.wait_procs(family, timeout=5)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.process.wait(5)

    def _ask_to_stop(self) -> None:
        if self.process:
            self.process.terminate()

    def _spawn(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        # Files, not pipes: nobody reads them while it runs.
        with (self.directory / "stdout.log").open("wb") as output, (self.directory / "stderr.log").open("wb") as log:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, **environ},
                start_new_session=True,
            )

    def _check_running(self) -> None:
        if self.process is None or self.process.poll() is not None:
            raise BenchError(f"{self.name} did not start:\n{self._last_words()}")

    def takes_mail(self, domain: str) -> bool:
        self._check_running()
        return takes_mail(self.port, domain)

    def _last_words(self) -> str:
        logs = (self.directory / "stdout.log", self.directory / "stderr.log")
        return "\n".join(log.read_text("utf-8", errors="replace")[-2000:] for log in logs)


class Gatepost(System):
    name = "Gatepost"
    python = Path(sys.executable)
    """Of the checkout that is measured."""
    settings: Mapping[str, str] = {"GATEPOST_ALLOW_NETWORKS": "127.0.0.0/8"}

    def start(self) -> None:
        self.up()
        for domain, port in self.routes.items():
            self.command("domain", "add", domain, "--route", f"127.0.0.1:{port}")
            self.command("address", "add", f"user@{domain}")

    def up(self) -> None:
        """Returns when it says that it is ready. What it was told before is there again."""
        command = str(self.python.parent / "gatepost")
        if not os.access(command, os.X_OK):
            raise BenchError(f"there is no gatepost command beside {self.python}; ./run bench installs it")
        data = str(self.directory / "data")
        up = [command, "up", "--data", data, "--smtp", f"127.0.0.1:{self.port}"]
        self._spawn(up, self.settings)
        wait_for(self._is_ready, "Gatepost's ready line", READY)

    def _is_ready(self) -> bool:
        """It prints one line when it is ready to accept mail."""
        self._check_running()
        return "\n" in (self.directory / "stdout.log").read_text("utf-8", errors="replace")

    def command(self, *words: str) -> None:
        """A `gatepost` command about it, as somebody types it."""
        arguments = [str(self.python.parent / "gatepost"), *words, "--data", str(self.directory / "data")]
        environ = {**os.environ, **self.settings}
        done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


MAIN_CF: Final = """
compatibility_level = 3.6
queue_directory = {directory}/spool
data_directory = {directory}/lib
mail_owner = postfix
setgid_group = postdrop
myhostname = peer.example
myorigin = peer.example
mydestination =
mynetworks =
inet_interfaces = loopback-only
inet_protocols = ipv4
relay_domains = {domains}
relay_recipient_maps = inline:{{ {recipients} }}
transport_maps = inline:{{ {transports} }}
smtpd_relay_restrictions = reject_unauth_destination
message_size_limit = {limit}
alias_maps =
alias_database =
"""
"""What relaying for listed addresses of two domains takes; all else, durability and concurrency above all, is at its default."""

MASTER_CF: Final = """
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
"""
"""Debian's services, none in a chroot."""


class Postfix(System):
    name = "Postfix"

    def start(self) -> None:
        if os.geteuid() != 0:
            raise BenchError(
                "Postfix's master runs as root only; start the benchmark as root, or with --systems gatepost"
            )
        config = self.directory / "etc"
        for name, owner in (("etc", "root"), ("spool", "root"), ("lib", "postfix")):
            (self.directory / name).mkdir(mode=0o755)
            shutil.chown(self.directory / name, pwd.getpwnam(owner).pw_uid)
        (config / "main.cf").write_text(Postfix._main_cf(self))  # postmap reads it
        (config / "main.cf").write_text(self._main_cf())
        (config / "master.cf").write_text(MASTER_CF.format(port=self.port))
        self._spawn([program("postfix"), "-c", str(config), "start-fg"], {})

    def _main_cf(self) -> str:
        domains = {"domains": " ".join(self.routes), "limit": LIMIT, "directory": self.directory}
        recipients = ", ".join(f"{{ user@{domain} = yes }}" for domain in self.routes)
        transports = ", ".join(f"{{ {domain} = relay:[127.0.0.1]:{port} }}" for domain, port in self.routes.items())
        return MAIN_CF.format(recipients=recipients, transports=transports, **domains)

    def _ask_to_stop(self) -> None:
        # What was started is a shell around the master, and a signal would end the shell alone.
        stop = [program("postfix"), "-c", str(self.directory / "etc"), "stop"]
        subprocess.run(stop, capture_output=True, timeout=60, check=False)
