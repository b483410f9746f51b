"""From an address to a session that has said EHLO: connect, greeting, EHLO or HELO, STARTTLS when it is offered.

aiosmtplib does the talking; then a Wire takes the transport over, because sending through aiosmtplib costs a round trip
per command. TLS here is opportunistic: any certificate is better than none, and when the handshake fails the server is
dialled once more and spoken to in the clear, since it would otherwise get no mail at all (RFC 7435).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final, cast

import aiosmtplib
import msgspec

from pipeline import diagnosis
from pipeline.events import Attempt
from pipeline.outcome import nonsense, parse_reply
from pipeline.route import Target
from pipeline.settings import Settings
from workers.deliverer.wire import CLOSED, SessionFailed, Wire, explain

_NO_EHLO: Final = frozenset({500, 501, 502, 503, 504, 550, 554})
"""Answers to EHLO after which HELO is tried (RFC 5321 3.2)."""

_MALFORMED: Final = b"Malformed SMTP response line: "
"""What aiosmtplib puts before a line that it does not understand."""


class Features(msgspec.Struct, frozen=True):
    """What the server offers in reply to EHLO, as far as we use it."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size: bool = False
    dsn: bool = False


class Opened(msgspec.Struct, frozen=True):
    wire: Wire
    features: Features
    tls: str
    """Version and cipher; empty without TLS."""
    software: str
    """What the server is, as far as its greeting says."""


class _HandshakeFailed(Exception):
    pass


async def open_wire(target: Target, hostname: str, settings: Settings) -> Opened:
    """Connect to `target` and say EHLO as `hostname`. Raises SessionFailed with the stage and the words it ended with.

    Takes at most `connect_timeout` for the connection, `greeting_timeout` for the greeting, and `reply_timeout` for each
    command; twice all that when a TLS handshake fails.
    """
    try:
        return await _open(target, hostname, settings, tls=True)
    except _HandshakeFailed:
        return await _open(target, hostname, settings, tls=False)


async def _open(target: Target, hostname: str, settings: Settings, *, tls: bool) -> Opened:
    client = aiosmtplib.SMTP(
        hostname=target.host, local_hostname=hostname, start_tls=False, timeout=settings.reply_timeout.seconds
    )
    taken_over = False
    software = ""
    try:
        software = diagnosis.read().software_of(await _greet(client, target, settings))
        await _ehlo(client, target)
        if tls and client.supports_extension("starttls") and await _starttls(client, target):
            await _ehlo_within(client, target)
        opened = _take_over(client, target, software)
        taken_over = True
    except SessionFailed as failed:
        said_by = software or diagnosis.read().software_of(failed.attempt.reply)
        raise SessionFailed(msgspec.structs.replace(failed.attempt, software=said_by)) from failed
    else:
        return opened
    finally:
        if not taken_over:
            client.close()


async def _greet(client: aiosmtplib.SMTP, target: Target, settings: Settings) -> str:
    """Connect; the text of the greeting."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    with _at(target, "connect"):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(settings.connect_timeout.seconds):
                await loop.sock_connect(sock, (target.address, target.port))
        except BaseException:
            sock.close()
            raise
    with _at(target, "greeting"):
        greeting = await client.connect(sock=sock, timeout=settings.greeting_timeout.seconds)
    return greeting.message


async def _ehlo(client: aiosmtplib.SMTP, target: Target) -> None:
    with _at(target, "ehlo"):
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as refused:
            if refused.code not in _NO_EHLO or not client.is_connected:
                raise
            await client.helo()


async def _starttls(client: aiosmtplib.SMTP, target: Target) -> bool:
    """Whether the connection is encrypted now. False: the server took its offer back, and goes on in the clear."""
    try:
        with _at(target, "starttls"):
            await client.starttls(tls_context=_context(), validate_certs=False)
    except SessionFailed as failed:
        if failed.attempt.code == 0:
            raise _HandshakeFailed from failed
        if failed.attempt.code == 421 or not client.is_connected:
            raise
        return False
    return True


async def _ehlo_within(client: aiosmtplib.SMTP, target: Target) -> None:
    """The first words within TLS. In TLS 1.3 our part of the handshake ends before the server has judged it: it may then
    close in place of an answer.
    """
    try:
        await _ehlo(client, target)
    except SessionFailed as failed:
        if failed.attempt.code == 0:
            raise _HandshakeFailed from failed
        raise


def _take_over(client: aiosmtplib.SMTP, target: Target, software: str) -> Opened:
    transport = client.transport
    if transport is None or transport.is_closing():
        raise SessionFailed(_attempt(target, "ehlo", (0, "4.4.2", CLOSED), time.monotonic_ns()))
    cipher = transport.get_extra_info("cipher")
    tls = f"{cipher[1]} {cipher[0]}" if cipher else ""
    offers = client.supports_extension
    features = Features(
        pipelining=offers("pipelining"),
        eight_bit=offers("8bitmime"),
        smtputf8=offers("smtputf8"),
        size=offers("size"),
        dsn=offers("dsn"),
    )
    return Opened(Wire(cast(asyncio.Transport, transport), asyncio.get_running_loop()), features, tls, software)


@functools.cache
def _context() -> ssl.SSLContext:
    # Not create_default_context: it loads the system's authorities, 20 ms and a megabyte for certificates nobody checks.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def _at(target: Target, stage: str) -> Iterator[None]:
    """Turn whatever goes wrong within into SessionFailed at `stage`."""
    start = time.monotonic_ns()
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        raise SessionFailed(_attempt(target, stage, _words(error), start)) from None
    except TimeoutError:
        words = "The server did not answer in time."
        raise SessionFailed(_attempt(target, stage, (0, _no_answer(stage), words), start)) from None
    except (OSError, aiosmtplib.SMTPException) as error:
        lost = isinstance(error, aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPConnectError)
        words = CLOSED if lost else explain(error)
        raise SessionFailed(_attempt(target, stage, (0, _no_answer(stage), words), start)) from None


def _no_answer(stage: str) -> str:
    """Our status when there was no reply: no answer from the host, or a bad connection (RFC 3463 3.5)."""
    return "4.4.1" if stage == "connect" else "4.4.2"


def _words(error: aiosmtplib.SMTPResponseException) -> tuple[int, str, str]:
    """Code, status and text as the server sent them: aiosmtplib keeps the code and the lines without it."""
    lines = error.message.encode("utf-8", "surrogateescape").split(b"\n")
    if not 200 <= error.code <= 599:
        head = b"%d " % error.code if error.code >= 0 else b""
        said = [head + line.removeprefix(_MALFORMED).rstrip(b"\r") for line in lines if line]
        return 0, "4.5.0", nonsense(said)
    head = b"%d" % error.code
    reply = parse_reply([head + b"-" + line for line in lines[:-1]] + [head + b" " + lines[-1]])
    return reply.code, reply.enhanced, reply.text


def _attempt(target: Target, stage: str, words: tuple[int, str, str], start: int) -> Attempt:
    code, enhanced, reply = words
    return Attempt(
        server=target.server,
        address=target.address,
        stage=stage,
        code=code,
        enhanced=enhanced,
        reply=reply,
        took=time.monotonic_ns() - start,
    )
