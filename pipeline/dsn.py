"""Bounces: the report to a sender that a message could not be delivered (RFC 3464), and when not to send one; and the report
that it went on to a server that will not report, for who asked (RFC 3461 5.2.2).

A bounce is written to somebody who did nothing wrong and is no expert: first who did not get what, and the exact words of
the server that refused; then the same for programs; then the header of the message, never its body. It is pure ASCII
whatever the message was, except for the address of a sender that is not ASCII itself. Text of strangers goes in line by
line, neutralised: it cannot add a header field, nor end a part.
"""

from __future__ import annotations

import binascii
import re
import textwrap
from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.events import Attempt
from pipeline.state import Message, Recipient
from pipeline.trace import date

MAX_HEADER: Final = 64 << 10
"""Octets of the original header that are returned."""

RELAYED: Final = "relayed"
"""No failure: the server took it, and will send no report although one was asked for."""

_REASONS: Final = {
    RELAYED: "was accepted by the next server, which does not send reports: you will not hear whether it arrived",
    "refused": "was refused by the server that is responsible for it",
    "expired": "could not be delivered in the time we try, and we have given up",
}
_RETURNED: Final = "was returned by the postmaster"
_EXPIRED_STATUS: Final = "4.4.7"
_NOT_PLAIN: Final = re.compile(rb"[^\t\r\n -~]")
_LONG_LINE: Final = re.compile(rb"[^\n]{998}")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_LIST_FIELD: Final = re.compile(rb"^list-[a-z-]+[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient to be told of. `reason` as in `events.Failed`, or RELAYED."""

    recipient: Recipient
    reason: str
    attempt: Attempt | None = None
    note: str = ""
    """Why the postmaster returned it, in their words."""


def worth_bouncing(message: Message, recipient: Recipient, header: bytes) -> str:
    """Why no bounce is to be sent for this recipient; empty when one is. `header`: the beginning of the message.

    A bounce must never answer a bounce, a list or a machine (RFC 3834 2, RFC 5321 4.5.5), nor somebody who asked for none
    (RFC 3461 4.1).
    """
    if not message.sender:
        return "null sender"
    if message.sender.rpartition("@")[0].casefold() == "mailer-daemon":
        return "sender is a mailer daemon"
    notify = {word.strip() for word in recipient.notify.upper().split(",") if word.strip()}
    if notify and "FAILURE" not in notify:
        return "sender asked for none (NOTIFY)"
    header = _header_only(header)
    if _word(header, b"auto-submitted") not in (b"", b"no"):
        return "message is automatic (Auto-Submitted)"
    if _word(header, b"precedence") in (b"bulk", b"list", b"junk"):
        return "message is bulk mail (Precedence)"
    if _LIST_FIELD.search(header):
        return "message is from a list"
    return ""


def render(
    *, message: Message, failures: Sequence[Failure], header: bytes, hostname: str, now: int, bounce_id: str
) -> bytes:
    """The bounce as bytes, CRLF line ends.

    `header`: the beginning of the message; `now`: ns since the epoch; `bounce_id`: the id under which the bounce lives,
    from which its Message-ID and its boundary are made.
    """
    host = _token(hostname)
    parts = [
        _part("text/plain", _explanation(message, failures, host).encode(), "Notification"),
        _part("message/delivery-status", _status(message, failures, host), "Delivery report"),
        _part("text/rfc822-headers", _clean(_header_only(header)), "Header of the message"),
    ]
    boundary = f"=_{_token(bounce_id)}"
    while any(f"--{boundary}".encode() in part for part in parts):
        boundary += "_"
    lines = [
        f"Date: {date(now)}",
        f"From: Mail Delivery System <MAILER-DAEMON@{host}>",
        f"To: <{_address(message.sender)}>",
        f"Subject: {_subject(failures)}",
        f"Message-ID: <{_token(bounce_id)}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        "",
        "This is a report about a message that you sent, in MIME format.",
        "",
    ]
    if _MESSAGE_ID.fullmatch(message.message_id):
        lines[5:5] = [f"In-Reply-To: {message.message_id}", f"References: {message.message_id}"]
    out = ["\r\n".join(lines).encode()]
    out += [b"\r\n--%s\r\n%s" % (boundary.encode(), part) for part in parts]
    out.append(b"\r\n--%s--\r\n" % boundary.encode())
    return b"".join(out)


def _subject(failures: Sequence[Failure]) -> str:
    if all(failure.reason == RELAYED for failure in failures):
        return "Mail relayed: there will be no report of its delivery"
    return "Undelivered mail: returned to sender"


def _opening(failures: Sequence[Failure]) -> str:
    failed = sum(failure.reason != RELAYED for failure in failures)
    if not failed:
        return "You asked to be told when the message that you sent was delivered. This is all that can be said of it."
    whom = "the recipient below" if len(failures) == 1 else f"{failed} of the recipients below"
    if failed == len(failures) > 1:
        whom = f"the {failed} recipients below"
    return f"The message that you sent could not be delivered to {whom}. It will not be tried again."


def _explanation(message: Message, failures: Sequence[Failure], host: str) -> str:
    lines = [
        f"This is the mail gateway {host}.",
        "",
        *_wrap(_opening(failures)),
        "",
        f"  Received by us: {date(message.received_at)}",
    ]
    if message.subject:
        lines.append(f"  Subject:        {_line(message.subject)[:200]}")
    for failure in failures:
        lines += [
            "",
            f"<{_address(failure.recipient.original or failure.recipient.address)}>",
            *_wrap(_REASONS.get(failure.reason, _RETURNED) + (":" if failure.note else "."), "  "),
        ]
        if failure.note:
            lines += ["", *_wrap(_line(failure.note), "    "), ""]
        if failure.attempt is not None and failure.attempt.reply:
            lines += ["", *_wrap(_who_said(failure.attempt), "  "), ""]
            lines += [f"    {_line(line)}" for line in failure.attempt.reply.split("\n")]
    lines += [
        "",
        *_wrap(
            "If these words do not tell you what to do, please show this report to the postmaster of the recipient's "
            "domain. It is the answer of their mail server."
        ),
        "",
    ]
    return "\r\n".join(lines)


def _who_said(attempt: Attempt) -> str:
    """What introduces the words: they are the server's only where it gave a code."""
    if attempt.stage == "route":
        return "No server could be chosen for it:"
    server = _line(attempt.server + (f" [{attempt.address}]" if attempt.address else ""))
    return f"The server {server} said:" if attempt.code else f"The server {server} was tried last, and this happened:"


def _status(message: Message, failures: Sequence[Failure], host: str) -> bytes:
    """message/delivery-status (RFC 3464 2)."""
    lines = []
    if message.envid:
        lines.append(f"Original-Envelope-Id: {_ascii(_line(_from_xtext(message.envid)))}")
    lines += [f"Reporting-MTA: dns; {host}", f"Arrival-Date: {date(message.received_at)}"]
    for failure in failures:
        lines += ["", *_recipient_fields(failure)]
    # Folded hard where a line is too long for 7bit, which is all that this type may be (RFC 3464 2.1).
    folded = ["\r\n\t".join(part for line in field.split("\n") for part in textwrap.wrap(line, 900)) for field in lines]
    return ("\r\n".join(folded) + "\r\n").encode("ascii")


def _recipient_fields(failure: Failure) -> list[str]:
    lines = []
    kind, semicolon, address = _from_xtext(failure.recipient.orcpt).partition(";")
    if semicolon:
        lines.append(f"Original-Recipient: {_token(kind)}; {_ascii(_address(address.strip()))}")
    # RFC 6533 3: a mailbox that is not ASCII has a type and a form of its own.
    final = _address(failure.recipient.original or failure.recipient.address)
    lines.append(f"Final-Recipient: {'rfc822' if final.isascii() else 'utf-8'}; {_ascii(final)}")
    lines.append(f"Action: {'relayed' if failure.reason == RELAYED else 'failed'}")
    attempt = failure.attempt
    if failure.reason == "expired":
        lines.append(f"Status: {_EXPIRED_STATUS}")
    elif failure.reason == "returned":
        lines.append("Status: 5.0.0")  # what a server said was temporary; what was decided is not
    else:
        unknown = "2.0.0" if failure.reason == RELAYED else "5.0.0"
        lines.append(f"Status: {attempt.enhanced if attempt is not None and attempt.enhanced else unknown}")
    if attempt is not None:
        if attempt.server and attempt.stage != "route":
            lines.append(f"Remote-MTA: dns; {_ascii(_line(attempt.server.rpartition(':')[0]))}")
        if attempt.reply:
            said = [_ascii(_line(line)) for line in attempt.reply.split("\n") if line.strip()]
            # RFC 3464 2.3.6: the type smtp is for what a server said; other words are ours.
            lines.append(f"Diagnostic-Code: {'smtp' if attempt.code else 'x-gatepost'}; " + "\n".join(said))
    return lines


def _part(kind: str, body: bytes, description: str) -> bytes:
    """A body part with its header; quoted-printable unless it is short-lined ASCII."""
    plain = _NOT_PLAIN.search(body) is None and _LONG_LINE.search(body) is None
    head = f"Content-Description: {description}\r\nContent-Type: {kind}"
    if kind == "text/plain":
        head += f"; charset={'us-ascii' if plain else 'utf-8'}"
    if not plain:
        # Where the text has no line end to go by, it is broken with a bare LF.
        body = binascii.b2a_qp(body, istext=True).replace(b"=\n", b"=\r\n")
        head += "\r\nContent-Transfer-Encoding: quoted-printable"
    return head.encode() + b"\r\n\r\n" + body


def _header_only(header: bytes) -> bytes:
    end = header.find(b"\r\n\r\n", 0, MAX_HEADER)
    if header.startswith(b"\r\n"):
        return b""
    if end >= 0:
        return header[: end + 2]
    cut = header[:MAX_HEADER]
    return cut if len(header) <= MAX_HEADER and cut.endswith(b"\r\n") else cut[: cut.rfind(b"\n") + 1]


def _clean(header: bytes) -> bytes:
    """With CRLF as the only control characters beside the tab."""
    return re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", b"?", header)


def _word(header: bytes, field: bytes) -> bytes:
    """The first word of a field, lower case; empty without the field."""
    match = re.search(rb"^" + field + rb"[ \t]*:(?:[ \t]|\r?\n[ \t])*([^\s;(]*)", header, re.IGNORECASE | re.MULTILINE)
    return match[1].lower() if match else b""


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


def _token(text: str) -> str:
    """A name of ours in a place where only letters, digits and a little else can stand."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, 76, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
