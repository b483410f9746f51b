"""One Redis process on a port of this machine, open to all or closed: what a Redis of several processes is made of (topologies.py)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trustme

from tests.support.servers import ROOT, Process, free_port, missing, need, redis_binaries

PASSWORD: Final = "pass/word@1"
OPERATOR: Final = "operator"
"""Name and password of who may do everything at a closed one: the tests, and its servers among themselves."""
WRITING: Final = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction"}


def documented_user(password: str) -> str:
    """The line of an ACL file that the page has."""
    found = re.search(r"^user gatepost .*$", (ROOT / "docs" / "redis.md").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[0].replace(">PASSWORD", f">{password}")


def packaged() -> str:
    """The server program that the gateway uses itself. It has no TLS."""
    binaries = redis_binaries()
    return binaries[0] if binaries else missing("redis-server")


class Guard:
    """What it takes to get into servers that let nobody in without TLS, a certificate, and a user's password, which is in a file."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        for name in ("server", "client"):
            made = authority.issue_cert("127.0.0.1", "localhost")
            made.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
            made.private_key_pem.write_to_path(directory / f"{name}.key")
        (directory / "password").write_text(PASSWORD + "\n")
        (directory / "password").chmod(0o600)
        self.context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        self.context.load_cert_chain(directory / "client.pem", directory / "client.key")

    def options(self, port: int) -> dict[str, str]:
        """Of a server, or of a Sentinel."""
        return {
            "port": "0",
            "tls-port": str(port),
            "tls-auth-clients": "yes",
            "tls-replication": "yes",
            "tls-cert-file": str(self._directory / "server.pem"),
            "tls-key-file": str(self._directory / "server.key"),
            "tls-ca-cert-file": str(self._directory / "ca.pem"),
        }

    @property
    def settings(self) -> dict[str, object]:
        """The gateway's, besides `redis_url`."""
        return {
            "redis_user": "gatepost",
            "redis_password_file": self._directory / "password",
            "redis_tls_ca": self._directory / "ca.pem",
            "redis_tls_cert": self._directory / "client.pem",
            "redis_tls_key": self._directory / "client.key",
        }


class Node:
    """One server, with a directory of its own. The gateway's user may do what docs/redis.md says that it needs, and no more."""

    def __init__(self, directory: Path, options: dict[str, str], guard: Guard | None = None) -> None:
        self.port = free_port()
        self.guard = guard
        self.binary = need("redis-server") if guard else packaged()
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        users = self.directory / "users.acl"
        all_else = (
            f"user default off ~* &* +@all\nuser {OPERATOR} on >{OPERATOR}" if guard else "user default on nopass"
        )
        users.write_text(f"{all_else} ~* &* +@all\n{documented_user(PASSWORD)}\n")
        self.options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(directory),
            "daemonize": "no",
            "aclfile": str(users),
            **options,
        }
        if guard:
            self.options |= {**guard.options(self.port), "masteruser": OPERATOR, "masterauth": OPERATOR}
        self.process: Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def spawn(self) -> None:
        words = [word for name, value in self.options.items() for word in (f"--{name}", *value.split(" "))]
        self.process = Process([self.binary, *words], self.directory / "log")

    def start(self) -> None:
        self.spawn()
        self.wait()

    def wait(self) -> None:
        assert self.process
        self.process.wait_ready(lambda: self.command("PING").startswith(b"+PONG"))

    def command(self, *words: str) -> bytes:
        """Up to 64 KiB of the reply, as it came; nothing when the server is away."""
        with contextlib.suppress(OSError), self._connected() as client:
            client.sendall(_packed(*words))
            return client.recv(65536)
        return b""

    def _connected(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        if self.guard is not None:
            client = self.guard.context.wrap_socket(client, server_hostname="127.0.0.1")
            client.sendall(_packed("AUTH", OPERATOR, OPERATOR))
            client.recv(65536)
        return client

    def is_master(self) -> bool:
        """As it says itself."""
        return self.command("ROLE").startswith(b"*3\r\n$6\r\nmaster")

    def refused(self) -> bytes:
        """What the gateway tried and may not do: nothing, when it is `*0`."""
        return self.command("ACL", "LOG")

    def running(self) -> bool:
        return self.process is not None and self.process.running()

    def kill(self) -> None:
        """As when its machine loses power."""
        if self.process:
            self.process.kill()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It hangs: connections to it come about, and nothing is answered."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self.process:
            self.process.stop()


def _packed(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w.encode()), w.encode()) for w in words)
