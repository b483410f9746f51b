"""Secrets of sources: read when a source is opened, and shown nowhere.

A file that everybody on the machine may change is refused: whoever wrote it last chooses what we send. One that everybody may
read is taken, with a warning in the log: secrets that are mounted into a container are readable for all by default (Docker
0444, Kubernetes 0644), where "all" is nobody but us, and refusing them would only teach people to put secrets elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from pipeline.faults import ConfigurationError
from pipeline.sources.faults import shown

MAX_SECRET: Final = 4096
"""Octets of a secret's file; API tokens have 32, and a JSON Web Token fits as well."""

_log = structlog.get_logger(__name__)


class Secret:
    """A text that neither repr, a log nor a traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not stored")


def read(file: str, variable: str, environ: Mapping[str, str] | None = None, *, quiet: bool = False) -> Secret | None:
    """What the file or the variable holds; None when neither is named. Raises ConfigurationError.

    `quiet`: for what is read so often, and by every command, that a warning would be no help.
    """
    if file:
        return _checked(_content(file, quiet=quiet), file)
    if variable:
        text = (os.environ if environ is None else environ).get(variable)
        if text is None:
            raise ConfigurationError(
                f"the environment has no variable {variable}", remedy="Set it where the gateway is started."
            )
        return _checked(text, f"the variable {variable}")
    return None


def readers(file: str) -> str:
    """Who besides its owner may read a file; nobody: empty. What is no file nobody reads."""
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return ""
    if status.st_mode & stat.S_IROTH:
        return "everybody on this machine"
    # That of root is often given to its reader by way of the group.
    if status.st_mode & stat.S_IRGRP and (status.st_uid != 0 or status.st_gid == 0):
        return "its group"
    return ""


def _content(file: str, *, quiet: bool) -> str:
    try:
        # Not blocking: somebody may have put a pipe there.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.closing(os.fdopen(descriptor, "rb")) as opened:
            status = os.fstat(descriptor)
            _check_status(file, status, quiet=quiet)
            data = opened.read(MAX_SECRET + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ConfigurationError(
            f"cannot read the secret in {shown(file)}: {why}", remedy="Give a file that the gateway's user may read."
        ) from None
    if len(data) > MAX_SECRET:
        raise ConfigurationError(f"{shown(file)}: more than {MAX_SECRET:,} octets are no secret")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # Not `from`: the exception holds the octets.
        raise ConfigurationError(f"the secret in {shown(file)} is not UTF-8") from None


def _check_status(file: str, status: os.stat_result, *, quiet: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the secret's file {shown(file)} is not a plain file")
    if status.st_mode & stat.S_IWOTH:
        raise ConfigurationError(f"everybody may change the secret in {shown(file)}", remedy=f"chmod 600 {shown(file)}")
    if status.st_mode & stat.S_IROTH and not quiet:
        _log.warning("a secret can be read by everybody on this machine", file=shown(file))


def _checked(text: str, where: str) -> Secret:
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise ConfigurationError(f"the secret in {shown(where)} is empty")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in secret):
        raise ConfigurationError(
            f"the secret in {shown(where)} has a control character or more than one line",
            remedy="It must be on one line.",
        )
    return Secret(secret)
