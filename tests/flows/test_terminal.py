"""What strangers write never does anything to a terminal or a log: escape sequences, bidi controls, markup, line breaks.

One message has them in every place where they fit, one server answers with them; then every command that shows any of it is run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import re
import select
import smtplib
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import files, warm
from tests.support.customer import customer
from tests.support.gateway import Gateway, gateway, send_on
from tests.support.mail import PROGRAM, attachment, multipart, part
from tests.support.servers import wait_until

EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\u200f\u2028[red]x[/red][link=http://evil.example]y[/link]<script>z</script>\r\nINFO forged: line\t\x7f"
"""Escape sequences of seven and eight bits, bidi controls, a line separator, two kinds of markup, a line break with a false entry."""
IN_A_LINE = EVIL.replace("\r\n", "").encode()
"""The same for a header as it stands: UTF-8, no line break."""
RAW = IN_A_LINE + b"\x9b2J\xff"
WORD = b"=?utf-8?b?" + base64.b64encode(EVIL.encode()) + b"?="
SENDER = '"[red]x[/red]<script>"@elsewhere.test'
HELO = "[bold][link=http://evil.example]x"
DOMAIN = "terminal.example.test"

NOUNS = ("quarantine", "bounce", "replies", "address", "domain", "parked", "policy", "queue")
FIELDS = (
    "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Comments", "Keywords",
    "Resent-From", "Resent-To", "Resent-Date", "Return-Path", "Received", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    "Content-Disposition", "Content-Description", "Content-ID", "List-Id", "List-Unsubscribe", "Precedence", "Auto-Submitted", "X-Mailer",
    "User-Agent", "Organization", "Authentication-Results", "Received-SPF", "DKIM-Signature", "ARC-Seal", "X-Spam-Status", "X-Priority",
)  # fmt: skip


def in_all_fields(value: bytes) -> bytes:
    return b"".join(field.encode() + b": " + value + b"\r\n" for field in FIELDS)


def attached() -> Iterator[bytes]:
    """Names, types and members that are all reported."""
    name = b'"' + IN_A_LINE.replace(b'"', b"") + b'.exe"'
    extended = "utf-8''" + "".join(f"%{octet:02X}" for octet in (EVIL + ".exe").encode())
    yield (
        b"Content-Type: application/"
        + IN_A_LINE
        + b"\r\nContent-Disposition: attachment; filename="
        + name
        + b"\r\n\r\nx"
    )
    yield (
        b"Content-Type: application/x\r\nContent-Disposition: attachment; filename*=" + extended.encode() + b"\r\n\r\nx"
    )
    yield (
        b"Content-Type: image/"
        + RAW
        + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(PROGRAM).replace(b"\n", b"\r\n")
    )
    for archive in (
        files.zipped({EVIL + ".exe": b"x"}),
        files.tarred({EVIL + ".exe": b"x"}),
        files.sevenzip(EVIL + ".exe"),
        files.rar5("\x1b[2J.exe"),
    ):
        yield attachment(archive, "\x1b]0;owned\x07[red].zip")
    yield attachment(files.docx(files.relationship("attachedTemplate", "http://e.example/\x1b[2J[red]")), "a.docx")
    yield part("text/html", b"<a href='http://e.example/" + RAW + b"'>http://bank.example/" + RAW + b"</a>")


MESSAGES = {
    "as they stand": in_all_fields(RAW) + b"\r\n" + RAW + b"\r\n",
    "encoded": in_all_fields(WORD) + b"\r\nhello\r\n",
    "attached": b"From: " + WORD + b" <a@elsewhere.test>\r\nSubject: " + WORD + b"\r\nMIME-Version: 1.0\r\n" + multipart(attached()),
    "a link": b"From: a@elsewhere.test\r\nSubject: x\r\n" + part("text/html", b"<a href='http://e.example/" + RAW + b"'>http://bank.example/" + RAW + b"</a>"),
}  # fmt: skip


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    with gateway(retry_interval="60s", queue_lifetime="300s") as started:
        yield started


@pytest.fixture(scope="module")
def ids(running: Gateway) -> Iterator[dict[str, str]]:
    """The messages are in, kept or waiting, and their server has said its worst."""
    with customer() as server:
        words = IN_A_LINE.decode()
        server.refuse = {
            f"ben@{DOMAIN}": f"451 4.2.1 {words}",
            f"eva@{DOMAIN}": f"550-5.7.1 {words}\r\n550 5.7.1 {words}",
        }
        running.add(server.route, f"anna@{DOMAIN}", f"ben@{DOMAIN}", f"eva@{DOMAIN}", domain=DOMAIN)
        sent: dict[str, str] = {}
        with smtplib.SMTP("127.0.0.1", running.port, timeout=30) as client:
            client.ehlo(HELO)
            for name, content in MESSAGES.items():
                sent[name] = send_on(
                    client, content, *[f"{who}@{DOMAIN}" for who in ("anna", "ben", "eva")], sender=SENDER
                )
            plain = b"From: a@elsewhere.test\r\nSubject: " + WORD + b"\r\n\r\nhello\r\n"
            sent["refused"] = send_on(client, plain, f"ben@{DOMAIN}", f"eva@{DOMAIN}", sender=SENDER)
            for line in (
                f"MAIL FROM:<{IN_A_LINE.decode()}@x.test>",
                f"MAIL FROM:{SENDER}",
                f"RCPT TO:<{words}@{DOMAIN}>",
            ):
                client.send(line.encode() + b"\r\n")
                assert client.getreply()[0] >= 400
            with contextlib.suppress(smtplib.SMTPResponseException):
                send_on(client, plain, f'"[red]{"x" * 20}<script>"@{DOMAIN}', sender=SENDER)

        def settled() -> bool:
            seen = {one: {type(event).__name__ for event in events} for one, events in running.message_events().items()}
            ends = ("Failed", "Undeliverable")
            return all(
                "Quarantined" in seen[one] or ("Deferred" in seen[one] and any(end in seen[one] for end in ends))
                for one in sent.values()
            )

        wait_until(settled, within=60, what="a decision on each")
        yield sent


def harmless(text: str) -> bool:
    """Nothing in it but letters, spaces and line feeds."""
    return all(letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in text)


def commands(ids: dict[str, str], scanned: list[Path]) -> list[tuple[str, ...]]:
    return [
        *[("trace", message_id) for message_id in ids.values()],
        *[("quarantine", what, ids[one]) for what in ("show", "preview") for one in ("as they stand", "attached")],
        *[("policy", "explain", ids[one]) for one in ("as they stand", "attached", "a link")],
        *[("scan", str(path), "--domain", DOMAIN) for path in scanned],
        ("quarantine", "stats"), ("quarantine", "reports"), ("quarantine", "list", "--subject", "forged"),
        *[("bounce", "preview", ids[one]) for one in ("encoded", "refused")],
        ("quarantine", "list"), ("queue",), ("queue", "list", DOMAIN), ("queue", "destinations"), ("views",), ("books",), ("failures", ids["refused"]), ("failures", "--verbose"),
        ("failures", DOMAIN, "--all", "--verbose"), ("refused",), ("replies", "unknown"), ("replies", "explain", "550 5.7.1 " + EVIL),
        ("address", "tried", DOMAIN), ("address", "show", "[red]x@" + DOMAIN), ("domain", "show", DOMAIN), ("parked", "list"),
        ("trace", EVIL.replace("\r\n", "")),
    ]  # fmt: skip


@pytest.mark.timeout(300)
def test_no_command_shows_anything_that_does_something(running, ids, tmp_path):
    scanned = [tmp_path / f"{number}.eml" for number in range(len(MESSAGES) + 1)]
    for path, content in zip(
        scanned, [*MESSAGES.values(), MESSAGES["as they stand"].replace(b"z", b"\0\r\n\rz")], strict=True
    ):
        path.write_bytes(content)
    asked = commands(ids, scanned)
    with ThreadPoolExecutor(4) as pool:
        done = dict(zip(asked, pool.map(lambda words: running.cli(*words, ok=False), asked), strict=True))
        # One of each command is enough: all documents are written in one place.
        few = list({words[:2] if words[0] in NOUNS else words[:1]: words for words in asked}.values())
        documents = dict(zip(few, pool.map(lambda words: running.cli(*words, "--json", ok=False), few), strict=True))
    for words in asked:
        assert "Traceback" not in done[words].stderr, words
        assert harmless(done[words].stdout), (words, done[words].stdout)
        assert harmless(done[words].stderr), (words, done[words].stderr)
    for words, document in documents.items():
        assert document.stdout.isascii(), words
        assert harmless(document.stdout + document.stderr), words
        if document.returncode == 0:
            json.loads(document.stdout)
    told = {words: done[words].stdout for words in asked}
    kept = told["quarantine", "show", ids["attached"]]
    assert "EXECUTABLE" in kept
    assert "\\x1b" in kept or "\ufffd" in kept
    failures = told["failures", DOMAIN, "--all", "--verbose"]
    assert "\\x1b[2J" in failures
    assert "[red]x[/red]" in failures
    assert "[red]x[/red]<script>" in told["trace", ids["refused"]]
    assert HELO in told["trace", ids["refused"]]


def test_on_a_terminal_there_are_colours_of_ours_and_nothing_of_theirs(running, ids):
    for words in (
        ("trace", ids["refused"]),
        ("quarantine", "show", ids["attached"]),
        ("quarantine", "list"),
        ("failures", DOMAIN),
    ):
        seen = on_a_terminal(running, *words)
        assert "\x1b[" in seen, words
        without_colours = re.sub(r"\x1b\[(?:\d{1,3};?)*m", "", seen).replace("\r\n", "\n")
        assert harmless(without_colours), (words, without_colours)
        assert "\x1b]" not in seen, words


def on_a_terminal(running: Gateway, *words: str) -> str:
    ours, theirs = pty.openpty()
    try:
        environ = {**os.environ, **running.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
        environ.pop("NO_COLOR", None)
        process = warm.start(*words, stdout=theirs, stderr=theirs, stdin=theirs, environ=environ)
        os.close(theirs)
        theirs = -1
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            seen += piece
        assert process.wait(60) == 0, seen
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return seen.decode("utf-8")


def test_the_logs_of_the_processes_have_nothing_of_it_either(running, ids):
    output = running.process.output()
    assert harmless(output), [line for line in output.splitlines() if not harmless(line)][:5]
    assert not re.search(r"(?m)^INFO forged", output)
    assert "Traceback" not in output
