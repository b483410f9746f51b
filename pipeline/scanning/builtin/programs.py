"""Programs that a message claims to be written by, and what these always write.

Who sends many messages likes to look like a person at a common mail program, and copies its name without its habits. A mailing
list takes fields out and writes ids of its own, so nothing is said of what went through one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pipeline.events import Finding
from pipeline.mime import Header
from pipeline.scanning.builtin.bulk import is_list
from pipeline.scanning.engine import Mail
from pipeline.scanning.organisation import registrable

FORGED: Final = 1.5
_UUID: Final = rb"<[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}@"


class Program(NamedTuple):
    name: str
    claim: re.Pattern[bytes]
    """In X-Mailer or User-Agent."""
    fields: tuple[bytes, ...] = ()
    """One of these is always there."""
    message_id: re.Pattern[bytes] | None = None
    """What its Message-ID looks like, where there is one: a server may write it instead."""


PROGRAMS: Final = (
    Program("Outlook Express", re.compile(rb"Microsoft Outlook Express"), (b"x-mimeole",)),
    Program("Outlook", re.compile(rb"Microsoft (?:Office )?Outlook (?:1[2-9]|2\d)\.|Microsoft Outlook,? (?:Build|CWS|IMO)"),
            (b"x-mimeole", b"thread-index")),
    Program("Thunderbird", re.compile(rb"(?:Mozilla )?Thunderbird|Mozilla/5\.0 .{0,200}Thunderbird/"), (b"mime-version",),
            re.compile(_UUID + rb"|<[0-9A-Fa-f]{8}\.[0-9]{5,7}@")),
    Program("Apple Mail", re.compile(rb"Apple Mail \(2|iP(?:hone|ad) Mail \("), (b"mime-version",), re.compile(_UUID)),
    Program("The Bat!", re.compile(rb"The Bat!"), (b"x-priority",), re.compile(rb"<[0-9]{1,12}\.[0-9]{14}@")),
)  # fmt: skip

_GMAIL: Final = re.compile(rb"<(?:CA[\w+=.-]{20,100}|[0-9a-f]{20,60})@mail\.gmail\.com>", re.IGNORECASE)
_RIGHT: Final = re.compile(rb"@([^<>@\s]++)>")
_GMAIL_FORGED: Final = Finding(
    name="PROGRAM_FORGED", score=FORGED, text="a Message-ID as if from Gmail, in a form that Gmail does not write"
)
_PRIORITY: Final = Finding(
    name="PRIORITY_ALONE", score=0.8, text="X-MSMail-Priority without the fields that Outlook writes beside it"
)


_PROVIDERS: Final = (
    frozenset({"gmail.com", "googlemail.com", "google.com"}),
    frozenset({"exchangelabs.com", "hotmail.com", "live.com", "msn.com", "outlook.com", "phx.gbl"}),
    frozenset({"aol.com", "yahoo.com", "ymail.com"}),
    frozenset({"gmx.de", "gmx.net", "web.de"}),
)
"""Big providers, each with the names that stand in Message-IDs of its own."""
_ANOTHERS: Final = Finding(
    name="PROVIDER_ID",
    score=1.0,
    text="From is at a big provider, the Message-ID is not, and nothing proves that it is from there",
)


def programs(mail: Mail) -> list[Finding]:
    header = mail.header
    index = header.index
    if is_list(header):
        return []
    found: list[Finding] = []
    message_id = header.value(b"message-id")
    claimed = header.value(b"x-mailer") or header.value(b"user-agent")
    if claimed:
        program = next((program for program in PROGRAMS if program.claim.match(claimed)), None)
        if program is not None:
            found += _habits(program, header, message_id)
    if message_id.endswith(b"@mail.gmail.com>") and _GMAIL.fullmatch(message_id) is None:
        found.append(_GMAIL_FORGED)
    if b"x-msmail-priority" in index and b"x-mimeole" not in index and b"thread-index" not in index and not found:
        found.append(_PRIORITY)
    if _is_anothers(mail):
        found.append(_ANOTHERS)
    return found


def _is_anothers(mail: Mail) -> bool:
    authors = mail.header.authors
    own = authors[0].address.rpartition("@")[2].lower() if authors else ""
    group = next((group for group in _PROVIDERS if own in group), None)
    dmarc = mail.authentication.dmarc
    if group is None or (dmarc is not None and dmarc.result in ("pass", "temperror")):
        return False
    match = _RIGHT.search(mail.header.value(b"message-id")[:1000])
    return match is not None and registrable(match[1].decode("ascii", "replace")) not in group


def _habits(program: Program, header: Header, message_id: bytes) -> list[Finding]:
    missing = program.fields if not any(name in header.index for name in program.fields) else ()
    if missing:
        said = " nor ".join(name.decode().title() for name in missing)
        text = f"claims to be from {program.name}, which never writes without {said}"
    elif program.message_id is not None and message_id and program.message_id.match(message_id) is None:
        text = f"claims to be from {program.name}, whose Message-ID looks otherwise"
    else:
        return []
    return [Finding(name="PROGRAM_FORGED", score=FORGED, text=text)]
