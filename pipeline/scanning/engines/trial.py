"""Giving each engine messages whose result everybody knows: nothing, EICAR, GTUBE."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.events import Client, Finding
from pipeline.ids import new_id
from pipeline.scanning.builtin.engine import BuiltIn
from pipeline.scanning.engine import Mail
from pipeline.scanning.engines.guard import Guard
from pipeline.scanning.engines.outside import guards
from pipeline.scanning.faults import EngineFault
from pipeline.settings import Settings
from pipeline.state import Message, Recipient, Stage
from pipeline.trace import date

# In pieces, so that no scanner stops this file.
EICAR_FILE: Final = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + b"-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE_LINE: Final = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD" + b"-ANTI-UBE-TEST-EMAIL*C.34X"
PATIENCE: Final = 10.0
"""Seconds for one message: whoever asks wants to know, and may wait longer than mail does."""
HARMLESS, EICAR, GTUBE = "harmless", "EICAR", "GTUBE"
MUST_FIND: Final = {
    "builtin": (EICAR, GTUBE),
    "clamav": (EICAR,),
    "rspamd": (GTUBE,),
    "spamassassin": (GTUBE,),
}


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    engine: str
    message: str
    """harmless, EICAR, GTUBE."""
    passed: bool
    said: str
    took: int = 0
    """ns"""


def messages(now: int) -> dict[str, bytes]:
    head = (
        f"From: Postmaster <postmaster@gatepost.test>\r\nTo: Postmaster <postmaster@gatepost.test>\r\nDate: {date(now)}\r\n"
        f"Message-ID: <{now}@gatepost.test>\r\nSubject: A test of the engines\r\nMIME-Version: 1.0\r\n"
    ).encode("ascii")
    text = head + b"Content-Type: text/plain; charset=us-ascii\r\n\r\n%b\r\n"
    attached = (
        head + b'Content-Type: application/octet-stream; name="eicar.txt"\r\n'
        b'Content-Disposition: attachment; filename="eicar.txt"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(EICAR_FILE).replace(b"\n", b"\r\n")
    )
    return {
        HARMLESS: text % b"This is a test, and nothing is wrong with it.",
        EICAR: attached,
        GTUBE: text % GTUBE_LINE,
    }


async def tried(settings: Settings, hostname: str) -> list[Trial]:
    """All engines with all messages that mean something to them. Raises ConfigurationError."""
    now = time.time_ns()
    contents = messages(now)
    outside = guards(settings, hostname)
    every: list[BuiltIn | Guard] = [BuiltIn(settings, hostname), *outside]
    found = [
        await _try(engine, kind, Mail(_message(now), contents[kind]), settings.spam_threshold)
        for engine in every
        for kind in (HARMLESS, *MUST_FIND[engine.name])
    ]
    for guard in outside:
        guard.close()
    return found


def _message(now: int) -> Message:
    return Message(
        id=new_id(now, 0), version=1, domain="gatepost.test", sender="postmaster@gatepost.test", size=1000,
        recipients=(Recipient(address="postmaster@gatepost.test", stage=Stage.RECEIVED),), received_at=now, expires=now,
        client=Client(address="127.0.0.1", helo="localhost", protocol="ESMTP"),
    )  # fmt: skip


async def _try(engine: BuiltIn | Guard, kind: str, mail: Mail, threshold: float) -> Trial:
    started = time.monotonic_ns()
    try:
        if isinstance(engine, BuiltIn):
            findings: Sequence[Finding] = engine.look(mail)
        else:
            async with asyncio.timeout(PATIENCE):
                findings = await engine.scan(mail)
    except EngineFault as fault:
        return Trial(engine=engine.name, message=kind, passed=False, said=fault.whole)
    except TimeoutError:
        return Trial(engine=engine.name, message=kind, passed=False, said=f"no answer within {PATIENCE:g} s")
    took = time.monotonic_ns() - started
    bad = sum(finding.score for finding in findings) >= threshold
    said = ", ".join(f"{one.name} {one.score:g}" for one in findings if one.score) or "nothing"
    return Trial(engine=engine.name, message=kind, passed=bad != (kind == HARMLESS), said=said, took=took)
