"""A network inside this machine: hosts with addresses of their own on one switch, each a network namespace, reachable from nowhere else.

    with network() as lan:
        host = lan.host("10.86.0.2")
        host.start([program, ...], log)     # a process there
        host.call(function)                 # a thread of ours there: what it opens are that host's sockets
        host.unplug(), host.plug()          # nothing comes in or goes out
        host.lose("10.86.0.3"), host.find("10.86.0.3")  # one other host is out of its reach

The test itself is on none of the hosts: it sees their files, unix sockets among them. Making namespaces takes root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.support.servers import Process, missing, need

T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000
PLACE: Final = Path("/run/netns")
UPLINK: Final = "lan0"


def ip(*words: str) -> None:
    subprocess.run([need("ip"), *words], check=True, capture_output=True, timeout=20)


class Host:
    """`address` is its own on the switch. Names of interfaces are inside namespaces, where nobody else has any."""

    def __init__(self, network: Network, address: str) -> None:
        self.address = address
        self._network = network
        self._port = f"port{address.rpartition('.')[2]}"
        self.namespace = f"{network.name}-{address.rpartition('.')[2]}"
        self.processes: list[Process] = []
        self.plugged = True

    def make(self) -> None:
        switch = self._network.switch
        ip("netns", "add", self.namespace)
        ip("-n", switch, "link", "add", self._port, "type", "veth", "peer", "name", UPLINK, "netns", self.namespace)
        ip("-n", switch, "link", "set", self._port, "master", "bridge", "up")
        ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", UPLINK)
        for interface in ("lo", UPLINK):
            ip("-n", self.namespace, "link", "set", interface, "up")

    def enter(self) -> None:
        """From now on the sockets that this thread opens are on this host (setns(2))."""
        handle = os.open(PLACE / self.namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.namespace}")
        finally:
            os.close(handle)

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns, called in a thread that is on this host."""
        answer: list[Any] = []

        def work() -> None:
            try:
                self.enter()
                answer.append((function(), None))
            except BaseException as error:  # noqa: BLE001 - raised where it was asked for
                answer.append((None, error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(120)
        assert answer, "no answer within two minutes"
        result, error = answer[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def start(self, arguments: Sequence[str | Path], log: Path, environ: Mapping[str, str] | None = None) -> Process:
        """nsenter becomes the program, so signals reach it."""
        command = [need("nsenter"), f"--net={PLACE / self.namespace}", *arguments]
        process = Process(command, log, environ)
        self.processes.append(process)
        return process

    def unplug(self) -> None:
        """Cut off in both directions, without a word to anybody: the other end of its cable goes down."""
        ip("-n", self._network.switch, "link", "set", self._port, "down")
        self.plugged = False

    def plug(self) -> None:
        ip("-n", self._network.switch, "link", "set", self._port, "up")
        self.plugged = True

    def lose(self, *addresses: str) -> None:
        """What is sent to these hosts vanishes; all others are reached as before."""
        for address in addresses:
            ip("-n", self.namespace, "route", "add", "blackhole", address)

    def find(self, *addresses: str) -> None:
        for address in addresses:
            ip("-n", self.namespace, "route", "delete", "blackhole", address)

    def remove(self) -> None:
        for process in self.processes:
            process.kill()
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "delete", self.namespace)


class Network:
    def __init__(self) -> None:
        self.name = f"gp{secrets.token_hex(4)}"
        self.switch = f"{self.name}-switch"
        self.hosts: list[Host] = []

    def make(self) -> None:
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        ip("-n", self.switch, "link", "set", "bridge", "up")

    def host(self, address: str) -> Host:
        host = Host(self, address)
        self.hosts.append(host)
        host.make()
        return host

    def remove(self) -> None:
        for host in reversed(self.hosts):
            host.remove()
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "delete", self.switch)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Skips the test where the machine does not let us have one."""
    lan = Network()
    try:
        lan.make()
    except (OSError, subprocess.CalledProcessError):
        lan.remove()
        missing("the right to make network namespaces (root)")
    try:
        yield lan
    finally:
        lan.remove()
