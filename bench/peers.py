"""Two more systems to stand beside: Postfix with Rspamd as a milter, and Haraka. Each is a private instance, as those in `systems.py`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from bench.systems import LIMIT, BenchError, Postfix, System, free_port, program, wait_for

CACHE: Final = Path.home() / ".cache" / "gatepost"
HARAKA: Final = "Haraka@3.3.4"
COMPILING: Final = 120
"""Seconds for Rspamd's first start, which compiles its patterns; a later one takes them from the cache."""


class Nameserver:
    """A DNS server that has no name: whoever asks is answered at once."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, client = self._socket.recvfrom(4096)
                # The question again, as an answer (QR, RA) that says NXDOMAIN (RFC 1035 4.1.1), without additional records.
                self._socket.sendto(question[:2] + b"\x81\x83" + question[4:6] + bytes(6) + question[12:], client)


class PostfixRspamd(Postfix):
    """Rspamd looks at each message before Postfix says 250, with all its rules and no network but a nameserver that has nothing."""

    name = "Postfix+Rspamd"

    def start(self) -> None:
        self._milter = free_port()
        self._nameserver = Nameserver()
        self._rspamd = self._start_rspamd()
        wait_for(self._pongs, "Rspamd", COMPILING)
        super().start()

    def processes(self) -> list[psutil.Process]:
        found = super().processes()
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._rspamd.pid)
            found += [root, *root.children(recursive=True)]
        return found

    def stop(self) -> None:
        super().stop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._rspamd.pid, signal.SIGTERM)
        self._rspamd.wait(30)

    def _main_cf(self) -> str:
        return f"{super()._main_cf()}smtpd_milters = inet:127.0.0.1:{self._milter}\nmilter_default_action = tempfail\n"

    def _start_rspamd(self) -> subprocess.Popen[bytes]:
        home = self.directory / "rspamd"
        ours = home / "conf" / "override.d"
        ours.mkdir(parents=True)
        cache = CACHE / "rspamd"
        cache.mkdir(parents=True, exist_ok=True)
        for file, text in self._settings().items():
            (ours / file).write_text(text)
        places = {"LOCAL_CONFDIR": home / "conf", "DBDIR": cache, "RUNDIR": home, "LOGDIR": home}
        command = [program("rspamd"), "-i", "-f", "-c", "/etc/rspamd/rspamd.conf"]
        command += [f"--var={name}={path}" for name, path in places.items()]
        with (self.directory / "rspamd.log").open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _settings(self) -> Mapping[str, str]:
        workers = os.cpu_count() or 1
        milter = 'milter = yes; timeout = 120s; upstream "local" { default = yes; self_scan = yes; }'
        host, port = self._nameserver.address.split(":")
        return {
            "options.inc": f'dns {{ nameserver = ["{host}:{port}"]; timeout = 1s; retransmits = 1; }}\nlocal_addrs = [];\n',
            "worker-proxy.inc": f'bind_socket = "127.0.0.1:{self._milter}"; count = {workers}; {milter}\n',
            "worker-normal.inc": "enabled = false;\n",
            "worker-fuzzy.inc": "enabled = false;\n",
            "worker-controller.inc": f'bind_socket = "127.0.0.1:{free_port()}";\n',
            "logging.inc": 'type = "console"; level = "error";\n',
        }

    def _pongs(self) -> bool:
        if self._rspamd.poll() is not None:
            raise BenchError(
                f"Rspamd did not start:\n{(self.directory / 'rspamd.log').read_text('utf-8', 'replace')[-2000:]}"
            )
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._milter), timeout=1):
            return True
        return False


class Haraka(System):
    """From npm, one process for each processor; its queue is files, as it is by default."""

    name = "Haraka"

    def start(self) -> None:
        node, package = shutil.which("node"), fetch_haraka()
        if node is None:
            raise BenchError("node is not installed (on Debian: apt-get install nodejs npm)")
        home = self.directory / "haraka"
        for folder in ("config", "queue", "plugins"):
            (home / folder).mkdir(parents=True)
        connection = (package / "config" / "connection.ini").read_text("utf-8")
        for file, text in self._settings(connection).items():
            (home / "config" / file).write_text(text)
        # It asks for the name of each client before its greeting.
        asks = f"exports.register = () => require('node:dns').setServers(['{Nameserver().address}'])\n"
        (home / "plugins" / "nameserver.js").write_text(asks)
        self._spawn([node, str(package / "bin" / "haraka"), "-c", str(home)], {"NODE_ENV": "production"})

    def _settings(self, connection: str) -> Mapping[str, str]:
        """`connection`: its own file of that name, which has to be whole."""
        targets = "".join(
            f'{domain} = {{ "action": "accept", "nexthop": "127.0.0.1:{port}" }}\n'
            for domain, port in self.routes.items()
        )
        return {
            "me": "peer.example\n",
            "host_list": "".join(f"{domain}\n" for domain in self.routes),
            "plugins": "nameserver\nrelay\nrcpt_to.in_host_list\n",
            "relay.ini": "[relay]\ndest_domains=true\n",
            "relay_dest_domains.ini": f"[domains]\n{targets}",
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=cpus\n",
            "connection.ini": connection.replace("bytes=26214400", f"bytes={LIMIT}"),
            "outbound.ini": "local_mx_ok=true\nenable_tls=false\n",
            "log.ini": "[main]\nlevel=error\nformat=default\n",
        }


def fetch_haraka() -> Path:
    """Where Haraka is; installed from npm when it is first needed. Raises BenchError."""
    home = CACHE / HARAKA
    package = home / "node_modules" / "Haraka"
    if (package / "bin" / "haraka").exists():
        return package
    npm = shutil.which("npm")
    if npm is None:
        raise BenchError("npm is not installed, which fetches Haraka (on Debian: apt-get install nodejs npm)")
    home.mkdir(parents=True, exist_ok=True)
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home), HARAKA]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"npm install {HARAKA} failed: {done.stderr.strip()[-500:]}")
    return package


KINDS: Final[Mapping[str, type[System]]] = {"postfix+rspamd": PostfixRspamd, "haraka": Haraka}
