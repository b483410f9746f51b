"""Reports to senders as bytes (RFC 3464): that a message could not be delivered, that it still waits, or that it went on to a
server that will not report (RFC 3461 5.2.2). When not to send one: `unsent.py`.

First for a person (`dsn_words.py`), then the same for programs, then the header of the message, never its body: RFC 3461 4.3 lets
a sender ask for all of it (RET=FULL), but who that is nobody has proved, and a forger would have us send his text to his victim.

A report is pure ASCII whatever the message was. Only one to an address that is not ASCII itself is a message for SMTPUTF8, with the
types and forms of RFC 6533. Text of strangers goes in line by line, neutralised: it cannot add a header field, nor end a part.
"""

from __future__ import annotations

import binascii
import re
import textwrap
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.diagnosis import diagnose
from pipeline.diagnosis.diagnose import UNMATCHED
from pipeline.dsn_words import FALLBACK, WORDS, Words, words_in
from pipeline.events import Attempt
from pipeline.state import Message, Recipient
from pipeline.trace import date
from pipeline.unsent import header_only

RELAYED: Final = "relayed"
"""No failure: the server took it, and will send no report although one was asked for."""
DELAYED: Final = "delayed"
"""No failure yet: it waits, and is tried again."""

_ACTIONS: Final = {RELAYED: "relayed", DELAYED: "delayed"}
_EXPIRED_STATUS: Final = "4.4.7"
_NOT_PLAIN: Final = re.compile(rb"[^\t\r\n -~]")
_LONG_LINE: Final = re.compile(rb"[^\n]{998}")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT: Final = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_WIDTH: Final = 76


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient to be told of. `reason` as in `events.Failed`, or RELAYED, or DELAYED."""

    recipient: Recipient
    reason: str
    attempt: Attempt | None = None
    at: int = 0
    """When `attempt` was made (ns); 0: not known."""
    until: int = 0
    """Of one that is delayed: when it is given up (ns)."""
    note: str = ""
    """Why the postmaster returned it, in their words."""


def render(
    *,
    message: Message,
    failures: Sequence[Failure],
    header: bytes,
    hostname: str,
    now: int,
    bounce_id: str,
    language: str = FALLBACK,
) -> bytes:
    """The report as bytes, CRLF line ends.

    `header`: the beginning of the message; `now`: ns since the epoch; `bounce_id`: the id under which the report lives,
    from which its Message-ID and its boundary are made; `language`: en or de, others are taken for en.
    """
    host, words, utf8 = _token(hostname), words_in(language), needs_utf8(message)
    original = _clean(header_only(header))
    glob = "global-" if utf8 else ""
    parts = [
        _part("text/plain", _explanation(message, failures, host, words, language).encode(), "Notification", language),
        _part(f"message/{glob}delivery-status", _status(message, failures, host, utf8=utf8), "Delivery report"),
        _part("message/global-headers" if utf8 else "text/rfc822-headers", original, "Header of the message"),
    ]
    boundary = f"=_{_token(bounce_id)}"
    while any(f"--{boundary}".encode() in part for part in parts):
        boundary += "_"
    lines = [
        f"Date: {date(now)}",
        f"From: Mail Delivery System <MAILER-DAEMON@{host}>",
        f"To: <{_address(message.sender)}>",
        f"Subject: {_subject(failures, words)}",
        f"Message-ID: <{_token(bounce_id)}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        "",
        words.preamble,
        "",
    ]
    if _MESSAGE_ID.fullmatch(message.message_id):
        lines[5:5] = [f"In-Reply-To: {message.message_id}", f"References: {message.message_id}"]
    out = ["\r\n".join(lines).encode()]
    out += [b"\r\n--%s\r\n%s" % (boundary.encode(), part) for part in parts]
    out.append(b"\r\n--%s--\r\n" % boundary.encode())
    return b"".join(out)


def needs_utf8(message: Message) -> bool:
    """Whether a report to its sender is a message for SMTPUTF8."""
    return not message.sender.isascii()


# For a person


def _subject(failures: Sequence[Failure], words: Words) -> str:
    reasons = {failure.reason for failure in failures}
    if reasons == {RELAYED}:
        return words.subject_relayed
    return words.subject_delayed if reasons == {DELAYED} else words.subject_failed


def _opening(failures: Sequence[Failure], words: Words) -> str:
    failed = sum(failure.reason not in _ACTIONS for failure in failures)
    if failed:
        if len(failures) == 1:
            return words.failed_one
        return (words.failed_all if failed == len(failures) else words.failed_some).format(failed)
    until = max(failure.until for failure in failures)
    return words.delayed.format(date(until)) if until else words.relayed


def _explanation(message: Message, failures: Sequence[Failure], host: str, words: Words, language: str) -> str:
    facts = [(words.received, date(message.received_at))]
    if message.subject:
        facts.append((words.subject, _line(message.subject)[:200]))
    width = max(len(name) for name, _ in facts)
    lines = [words.gateway.format(host), "", *_wrap(_opening(failures, words)), ""]
    lines += [f"  {name:<{width}} {text}" for name, text in facts]
    for failure in failures:
        lines += ["", f"<{_named(failure)}>", *_wrap(_what(failure, words), "  ")]
        if failure.note:
            lines += ["", *_wrap(_line(failure.note), "    "), ""]
        if failure.attempt is not None and failure.attempt.reply:
            lines += ["", *_wrap(_who_said(failure.attempt, words), "  "), ""]
            lines += [f"    {_line(line)}" for line in failure.attempt.reply.split("\n")]
            lines += _meaning(message, failure, failure.attempt, words, language)
    lines += ["", *_wrap(words.closing), ""]
    return "\r\n".join(lines)


def _what(failure: Failure, words: Words) -> str:
    what = {
        RELAYED: words.passed_on, DELAYED: words.waits, "refused": words.refused, "expired": words.expired,
    }.get(failure.reason, words.returned)  # fmt: skip
    return what.removesuffix(".") + ":" if failure.note else what


def _who_said(attempt: Attempt, words: Words) -> str:
    """What introduces the words: they are the server's only where it gave a code."""
    if attempt.stage == "route":
        return words.no_server
    server = _line(attempt.server + (f" [{attempt.address}]" if attempt.address else ""))
    return (words.said if attempt.code else words.happened).format(server)


def _meaning(message: Message, failure: Failure, attempt: Attempt, words: Words, language: str) -> list[str]:
    """What the words are about, and what the recipient's postmaster can do; nothing where nobody knows."""
    if failure.reason == RELAYED:
        return []
    found = diagnose(attempt, software=attempt.software)
    if found.rule == UNMATCHED:
        return []
    known = language if language in WORDS else FALLBACK
    domain = (failure.recipient.original or failure.recipient.address).rpartition("@")[2] or message.domain
    return [
        "",
        *_wrap(words.means.format(found.title[known]), "  "),
        *_wrap(words.remedy.format(_address(domain), found.renter[known]), "  "),
    ]


def _named(failure: Failure) -> str:
    """The recipient as the sender named it."""
    return _address(failure.recipient.original or failure.recipient.address)


# For programs


def _status(message: Message, failures: Sequence[Failure], host: str, *, utf8: bool) -> bytes:
    """message/delivery-status (RFC 3464 2), or message/global-delivery-status (RFC 6533 3)."""
    lines = []
    if message.envid:
        lines.append(f"Original-Envelope-Id: {_ascii(_line(_from_xtext(message.envid)))}")
    lines += [f"Reporting-MTA: dns; {host}", f"Arrival-Date: {date(message.received_at)}"]
    for failure in failures:
        lines += ["", *_recipient_fields(failure, utf8=utf8)]
    # Folded hard where a line is too long for 7bit, which is all that this type may be (RFC 3464 2.1).
    folded = ["\r\n\t".join(part for line in field.split("\n") for part in textwrap.wrap(line, 900)) for field in lines]
    return ("\r\n".join(folded) + "\r\n").encode()


def _recipient_fields(failure: Failure, *, utf8: bool) -> list[str]:
    """In the order of RFC 3464 2.3."""
    written = _unicode if utf8 else _ascii
    lines = []
    kind, semicolon, address = _from_xtext(failure.recipient.orcpt).partition(";")
    if semicolon:
        lines.append(f"Original-Recipient: {_token(kind)}; {written(_address(address.strip()))}")
    # RFC 6533 3: a mailbox that is not ASCII has a type and a form of its own.
    final = _named(failure)
    lines.append(f"Final-Recipient: {'rfc822' if final.isascii() else 'utf-8'}; {written(final)}")
    lines.append(f"Action: {_ACTIONS.get(failure.reason, 'failed')}")
    lines.append(f"Status: {_status_of(failure)}")
    attempt = failure.attempt
    if attempt is not None:
        if attempt.server and attempt.stage != "route":
            lines.append(f"Remote-MTA: dns; {_ascii(_line(attempt.server.rpartition(':')[0]))}")
        if attempt.reply:
            said = [_ascii(_line(line)) for line in attempt.reply.split("\n") if line.strip()]
            # RFC 3464 2.3.6: the type smtp is for what a server said; other words are ours.
            lines.append(f"Diagnostic-Code: {'smtp' if attempt.code else 'x-gatepost'}; " + "\n".join(said))
        if failure.at:
            lines.append(f"Last-Attempt-Date: {date(failure.at)}")
    if failure.reason == DELAYED and failure.until:
        lines.append(f"Will-Retry-Until: {date(failure.until)}")
    return lines


def _status_of(failure: Failure) -> str:
    """RFC 3463: the server's, where its class is that of the action; what is delayed is of class 4 whatever was said."""
    said = failure.attempt.enhanced if failure.attempt is not None else ""
    if failure.reason == "expired":
        return _EXPIRED_STATUS
    if failure.reason == DELAYED:
        return f"4{said[1:]}" if said[:2] in ("4.", "5.") else "4.0.0"
    wanted = "2" if failure.reason == RELAYED else "5"
    return said if said.startswith(wanted) else f"{wanted}.0.0"


# Parts


def _part(kind: str, body: bytes, description: str, language: str = "") -> bytes:
    """A body part with its header; quoted-printable unless it is short-lined ASCII."""
    plain = _NOT_PLAIN.search(body) is None and _LONG_LINE.search(body) is None
    head = f"Content-Description: {description}\r\nContent-Type: {kind}"
    if kind == "text/plain":
        head += f"; charset={'us-ascii' if plain else 'utf-8'}\r\nContent-Language: {_token(language)}"
    if not plain:
        # Where the text has no line end to go by, it is broken with a bare LF.
        body = binascii.b2a_qp(body, istext=True).replace(b"=\n", b"=\r\n")
        head += "\r\nContent-Transfer-Encoding: quoted-printable"
    return head.encode() + b"\r\n\r\n" + body


def _clean(header: bytes) -> bytes:
    """With CRLF as the only control characters beside the tab."""
    return re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", b"?", header)


def _from_xtext(text: str) -> str:
    """Undo RFC 3461 4's xtext."""
    return _XTEXT.sub(lambda match: chr(int(match[1], 16)), text)


def _line(text: str) -> str:
    """One line: everything that is not printable becomes a question mark."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _address(text: str) -> str:
    """An address on a line; RFC 5321 4.5.3.1.3 allows 256 octets, and more would not fit."""
    return _line(text if len(text.encode("utf-8", "replace")) <= 900 else text[:200] + "...")


def _ascii(text: str) -> str:
    r"""RFC 6533's utf-8-addr-xtext: `\x{NN}` for what is not ASCII."""
    return text if text.isascii() else "".join(char if char.isascii() else f"\\x{{{ord(char):02X}}}" for char in text)


def _unicode(text: str) -> str:
    """The same undone: RFC 6533's utf-8-address."""
    return _line(_UNITEXT.sub(lambda match: chr(min(int(match[1], 16), 0x10FFFF)), text))


def _token(text: str) -> str:
    """A name of ours in a place where only letters, digits and a little else can stand."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
