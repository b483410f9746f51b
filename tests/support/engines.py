"""The engines that look at mail beside us, for real: clamd with signatures of our own, Rspamd without a network, spamd with its own rules.

with clamd() as server:
    Settings(clamav=server.address)
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.servers import Process, free_port, listens, missing, need

SIGNATURE = "Test.EICAR.hdb"
BAD_LETTER = b"Nobody but the clamd of our tests takes this letter for a virus.\r\n"
CLAMD_TAKES = 1 << 20
"""Its StreamMaxLength."""
MODULES = Path("/etc/rspamd/modules.d")
PLAIN = frozenset({"chartable", "dkim", "emails", "hfilter", "maillist", "mid", "mime_types", "phishing", "regexp"})
"""Modules of Rspamd that need nobody else."""


class EngineServer:
    """One engine as a process that can be killed, stopped where it is, and started again on the same port."""

    def __init__(self, command: list[str | Path], directory: Path, port: int, ready: Callable[[], object]) -> None:
        self.directory = directory
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self._command = command
        self._ready = ready
        self.process: Process | None = None

    def start(self) -> None:
        self.process = Process(self._command, self.directory / "log")
        self.process.wait_ready(self._ready, timeout=60)

    def kill(self) -> None:
        """SIGKILL to it and its children."""
        if self.process:
            self.process.kill()

    def freeze(self) -> None:
        """SIGSTOP: its port takes connections, and nobody answers."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        os.killpg(self.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def _running(make: Callable[[Path], EngineServer]) -> Iterator[EngineServer]:
    directory = Path(tempfile.mkdtemp(prefix="gp-"))
    directory.chmod(0o755)
    server = make(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()  # clamd and spamd take their time to end in order, and nothing of theirs is worth it
        shutil.rmtree(directory, ignore_errors=True)


def clamd() -> contextlib.AbstractContextManager[EngineServer]:
    """Knows EICAR, our letter, and nothing else. It listens on a unix socket in its directory as well: `directory / "socket"`."""
    return _running(_clamd)


def _clamd(directory: Path) -> EngineServer:
    program, port = need("clamd"), free_port()
    (directory / "db").mkdir()
    ours = f"{hashlib.md5(BAD_LETTER, usedforsecurity=False).hexdigest()}:{len(BAD_LETTER)}:Test.Letter"
    (directory / "db" / "test.hdb").write_text(f"44d88612fea8a8f36de82e1278abb02f:68:{SIGNATURE}\n{ours}\n")
    lines = {
        "DatabaseDirectory": directory / "db", "TCPSocket": port, "TCPAddr": "127.0.0.1", "Foreground": "yes",
        "LocalSocket": directory / "socket", "StreamMaxLength": CLAMD_TAKES, "PidFile": directory / "pid",
        "TemporaryDirectory": directory, "User": pwd.getpwuid(os.getuid()).pw_name,
    }  # fmt: skip
    (directory / "clamd.conf").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    return EngineServer([program, "-c", directory / "clamd.conf"], directory, port, lambda: listens(port))


def spamd() -> contextlib.AbstractContextManager[EngineServer]:
    """With the rules that come with it and no test that needs the network."""
    return _running(_spamd)


def _spamd(directory: Path) -> EngineServer:
    program, port = need("spamd"), free_port()
    plugins = list(Path("/etc/spamassassin").glob("*.pre")) or missing("spamassassin")
    rules = directory / "rules"
    rules.mkdir()
    for plugin in plugins:
        shutil.copy(plugin, rules)
    (rules / "local.cf").write_text("use_bayes 0\nrequired_score 5.0\nreport_safe 0\n")
    command: list[str | Path] = [
        program, "-L", "-x", "-u", "nobody", f"--listen=127.0.0.1:{port}", "--allowed-ips=127.0.0.1", "-m", "2",
        f"--siteconfigpath={rules}", "--nouser-config", f"--pidfile={directory / 'pid'}", "-s", "stderr",
    ]  # fmt: skip
    return EngineServer(command, directory, port, lambda: listens(port))


def rspamd(resolver: str = "127.0.0.1:1") -> contextlib.AbstractContextManager[EngineServer]:
    """`resolver`: HOST:PORT of its DNS server. Nothing is compiled ahead, which would take half a minute."""
    return _running(lambda directory: _rspamd(directory, resolver))


def _rspamd(directory: Path, resolver: str) -> EngineServer:
    program, port = need("rspamd"), free_port()
    ours = directory / "conf" / "override.d"
    (directory / "conf" / "local.d").mkdir(parents=True)
    ours.mkdir()
    for module in MODULES.glob("*.conf"):
        if module.stem not in PLAIN:
            (directory / "conf" / "local.d" / module.name).write_text("enabled = false;\n")
    # The list that comes with it takes ten seconds of each start.
    (directory / "tlds").write_text("com\nexample\nnet\norg\ntest\n")
    (ours / "options.inc").write_text(
        f'dns {{ nameserver = ["{resolver}"]; timeout = 0.2s; retransmits = 1; }}\n'
        'filters = "chartable,dkim,regexp";\nlocal_addrs = [];\ndisable_hyperscan = true;\n'
        f'url_tld = "{directory}/tlds";\n'
    )
    (ours / "worker-normal.inc").write_text(f'bind_socket = "127.0.0.1:{port}"; count = 1;\n')
    for name in ("controller", "proxy"):
        (ours / f"worker-{name}.inc").write_text(f'enabled = false; bind_socket = "127.0.0.1:{port}";\n')
    (ours / "logging.inc").write_text('type = "console"; level = "notice";\n')
    names = {"LOCAL_CONFDIR": directory / "conf"}
    for name in ("DBDIR", "RUNDIR", "LOGDIR"):
        names[name] = directory / name.lower()
        names[name].mkdir()
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, "_rspamd", "_rspamd")
    command: list[str | Path] = [program, "-f", "-c", "/etc/rspamd/rspamd.conf"]
    command += ["-u", "_rspamd", "-g", "_rspamd"] if os.geteuid() == 0 else ["-i"]
    command += [f"--var={name}={value}" for name, value in names.items()]
    return EngineServer(command, directory, port, lambda: _pongs(port))


def _pongs(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        client.settimeout(2)
        client.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
        return b"pong" in client.recv(1000)
    return False
