"""Messages as octets, good and bad, and what the scanner makes of them."""

from __future__ import annotations

import base64
import itertools
import mmap
import random
from collections.abc import Iterable
from pathlib import Path

from pipeline.mime import Buffer
from pipeline.scanning.builtin import BuiltIn
from pipeline.scanning.engine import Mail, Report
from pipeline.scanning.policy import Verdict, judge
from pipeline.settings import Settings
from pipeline.state import Message, Recipient, Stage

NOW = 1_795_428_000_000_000_000
"""Monday, 23 November 2026, 10:00 UTC, in ns."""
OURS = "mx.gatepost.example"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + b"-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD" + b"-ANTI-UBE-TEST-EMAIL*C.34X"
PROGRAM = b"MZ\x90\x00\x03" + bytes(55) + b"\x80\x00\x00\x00" + bytes(64) + b"PE\x00\x00"
HEAD = (
    b"From: Some One <some.one@a.example>\r\nTo: x@example.test\r\nSubject: hello\r\n"
    b"Date: Mon, 23 Nov 2026 09:58:00 +0000\r\nMessage-ID: <1@a.example>\r\nMIME-Version: 1.0\r\n"
)
SETTINGS = Settings()


def message(*recipients: str, origin: str = "smtp", size: int = 0) -> Message:
    return Message(
        id="0k3x9v2qd7m1c0f5tz8a03", version=1, domain="example.test", sender="some.one@a.example", size=size,
        recipients=tuple(Recipient(address=a, stage=Stage.RECEIVED) for a in recipients or ("x@example.test",)),
        received_at=NOW, expires=NOW, origin=origin,
    )  # fmt: skip


def crlf(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def encoded(data: bytes) -> bytes:
    return crlf(base64.encodebytes(data))


def part(content_type: str, body: bytes, *more: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (f"Content-Type: {content_type}", *more)).encode() + b"\r\n" + body


def attachment(data: bytes, name: str = "", content_type: str = "application/octet-stream") -> bytes:
    more = [f'Content-Disposition: attachment; filename="{name}"'] if name else []
    return part(content_type, encoded(data), "Content-Transfer-Encoding: base64", *more)


def multipart(parts: Iterable[bytes], boundary: str = "=_b", kind: str = "mixed") -> bytes:
    """A Content-Type field and a body: to be put behind other fields."""
    line = b"--" + boundary.encode()
    body = b"".join(line + b"\r\n" + piece + b"\r\n" for piece in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode() + body + line + b"--\r\n"


def with_parts(*parts: bytes) -> bytes:
    return HEAD + multipart([part("text/plain", b"hello"), *parts])


def look(content: Buffer, settings: Settings = SETTINGS) -> list[str]:
    """Names of what the built-in engine finds, in its order."""
    return [finding.name for finding in BuiltIn(settings, OURS).look(Mail(message(), content))]


def verdict(content: Buffer, settings: Settings = SETTINGS) -> Verdict:
    findings = BuiltIn(settings, OURS).look(Mail(message(), content))
    return judge(Report(findings=tuple(findings)), message(), settings)


def mapped(path: Path, pieces: Iterable[bytes]) -> mmap.mmap:
    with path.open("wb") as file:
        file.writelines(pieces)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def noise(octets: int) -> Iterable[bytes]:
    """Some `octets` that look like random ones, in base64, with line breaks, the same at each run."""
    block = encoded(random.Random(1).randbytes(57 * 1000))
    return itertools.repeat(block, octets // (57 * 1000))
