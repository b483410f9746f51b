"""A root directory with a program, the libraries it needs, and users of its own, for servers whose paths and users are compiled in.

So a mail server of Debian runs from wherever its package was unpacked, several of them side by side, without a user, a spool
or a configuration of its own on the machine. That takes root, which servers of mail start as anyway.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.servers import PATH, missing, need

KEEPER = "keeper"
"""Whom delivered mail belongs to."""
_LIBRARY = re.compile(r"(?:=> |^\s)(/\S+) \(0x", re.MULTILINE)
_DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}
_UID = 60_000


def unpacked(program: str) -> Path:
    """Where the package of an optional server of `/usr/sbin` is unpacked: `/` when it is installed. Only root may ask."""
    if os.geteuid() != 0:
        missing(f"root, which {program} starts as,")
    return Path(need(program)).resolve().parents[2]


class Root:
    """`users`: names of system users that the program wants, beside root and KEEPER."""

    def __init__(self, directory: Path, *users: str) -> None:
        self.directory = directory
        directory.mkdir(mode=0o755)
        for name, mode in (("dev", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("mail", 0o755)):
            (directory / name).mkdir()
            (directory / name).chmod(mode)
        for name, numbers in _DEVICES.items():
            os.mknod(directory / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
            (directory / "dev" / name).chmod(0o666)
        self._ids = {"root": 0} | {name: _UID + number for number, name in enumerate((KEEPER, *users))}
        self._write_users()
        shutil.chown(directory / "mail", self._ids[KEEPER], self._ids[KEEPER])

    def _write_users(self) -> None:
        people = [f"{name}:x:{number}:{number}::/nonexistent:/bin/sh\n" for name, number in self._ids.items()]
        self.write("etc/passwd", "".join(people))
        self.write("etc/group", "".join(f"{name}:x:{number}:\n" for name, number in self._ids.items()))
        self.write("etc/hosts", "127.0.0.1 localhost customer.test\n")

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)

    def folders(self, modes: Mapping[str, tuple[int, str, str]]) -> None:
        """Path -> mode, owner and group."""
        for path, (mode, owner, group) in modes.items():
            (self.directory / path).mkdir(parents=True, exist_ok=True)
            os.chown(self.directory / path, self._ids[owner], self._ids[group])
            (self.directory / path).chmod(mode)

    def install(self, program: Path, path: str, group: str = "") -> None:
        """A program of the machine, or of an unpacked package, at `path`, with the libraries that it is linked with."""
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, target)
        if group:
            os.chown(target, 0, self._ids[group])
        target.chmod(stat.S_IMODE(program.stat().st_mode))  # after chown, which takes set-uid and set-gid away
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, env={"PATH": PATH})
        assert "not found" not in listed.stdout, f"{program} lacks a library:\n{listed.stdout}"
        for library in _LIBRARY.findall(listed.stdout):
            inside = self.directory / library.lstrip("/")
            if not inside.exists():
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, inside)
