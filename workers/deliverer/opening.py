"""From an address to a session that has said EHLO: connect, greeting, EHLO or HELO, STARTTLS, AUTH.

aiosmtplib does the talking; then a Wire takes the transport over, because sending through aiosmtplib costs a round trip
per command. TLS is opportunistic where the route does not say otherwise: any certificate is better than none, and when the
handshake fails the server is dialled once more and spoken to in the clear, since it would otherwise get no mail at all (RFC 7435).
Where the route says that TLS must be, there is no such second time: `Dial.must_encrypt` is asked wherever the clear begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Final, cast

import aiosmtplib
import msgspec

from pipeline import dane, diagnosis
from pipeline.directory.options import PLAIN, RouteOptions, Tls
from pipeline.events import Attempt
from pipeline.faults import ConfigurationError
from pipeline.outcome import neutralise, nonsense, parse_reply
from pipeline.route import Target
from pipeline.settings import Settings
from workers.deliverer import encryption, login
from workers.deliverer.wire import CLOSED, SessionFailed, Wire, explain

_NO_EHLO: Final = frozenset({500, 501, 502, 503, 504, 550, 554})
"""Answers to EHLO after which HELO is tried (RFC 5321 3.2)."""

_MALFORMED: Final = b"Malformed SMTP response line: "
"""What aiosmtplib puts before a line that it does not understand."""
IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Of Linux; Python has no name for it."""


class Features(msgspec.Struct, frozen=True):
    """What the server offers in reply to EHLO, as far as we use it."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size: bool = False
    dsn: bool = False
    xclient: frozenset[str] = frozenset()
    """The attributes that it takes with XCLIENT."""
    xforward: frozenset[str] = frozenset()

    @classmethod
    def of(cls, offered: Mapping[str, str]) -> Features:
        """`offered`: keyword in lower case -> parameters."""
        return cls(
            pipelining="pipelining" in offered,
            eight_bit="8bitmime" in offered,
            smtputf8="smtputf8" in offered,
            size="size" in offered,
            dsn="dsn" in offered,
            xclient=frozenset(offered.get("xclient", "").upper().split()),
            xforward=frozenset(offered.get("xforward", "").upper().split()),
        )


class Opened(msgspec.Struct, frozen=True):
    wire: Wire
    features: Features
    tls: str
    """Version and cipher; empty without TLS."""
    software: str
    """What the server is, as far as its greeting says."""


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """Where to, from where, as whom, and what it must not go without."""

    target: Target
    hostname: str
    """Our name in EHLO."""
    settings: Settings
    options: RouteOptions = PLAIN
    source: str = ""
    """The address of ours to go out from; empty: the system's choice."""
    patience: float = 0.0
    """Seconds for the connection, where it is to be less than the setting connect_timeout."""

    records: tuple[dane.Record, ...] = ()
    """TLSA records of the server: with any, TLS must be."""

    @property
    def must_encrypt(self) -> bool:
        return bool(self.records) or self.options.tls in (Tls.ALWAYS, Tls.VERIFIED)

    @property
    def name(self) -> str:
        """Whom the certificate is for."""
        return self.target.host.rstrip(".")


class _HandshakeFailed(Exception):
    """`failure`: what is to be said when there is no second time."""

    def __init__(self, failure: SessionFailed) -> None:
        super().__init__()
        self.failure = failure


async def open_wire(dial: Dial) -> Opened:
    """Connect and say EHLO. Raises SessionFailed with the stage and the words it ended with.

    Takes at most `connect_timeout` for the connection, `greeting_timeout` for the greeting, and `reply_timeout` for each
    command; twice all that when a TLS handshake fails and the clear is allowed.
    """
    try:
        return await _open(dial, tls=dial.options.tls is not Tls.NEVER)
    except _HandshakeFailed as failed:
        if dial.must_encrypt:
            raise failed.failure from None
        return await _open(dial, tls=False)


async def _open(dial: Dial, *, tls: bool) -> Opened:
    client = aiosmtplib.SMTP(
        hostname=dial.name, local_hostname=dial.hostname, start_tls=False, timeout=dial.settings.reply_timeout.seconds
    )
    taken_over = False
    software = ""
    table = diagnosis.in_force(dial.settings.replies_table)
    try:
        software = table.software_of(await _greet(client, dial))
        await _ehlo(client, dial)
        encrypted = tls and await _encrypt(client, dial)
        if dial.options.auth_user:
            await _log_in(client, dial, encrypted=encrypted)
        opened = _take_over(client, dial, software)
        taken_over = True
    except SessionFailed as failed:
        said_by = software or table.software_of(failed.attempt.reply)
        raise SessionFailed(msgspec.structs.replace(failed.attempt, software=said_by)) from failed
    else:
        return opened
    finally:
        if not taken_over:
            client.close()


async def _greet(client: aiosmtplib.SMTP, dial: Dial) -> str:
    """Connect; the text of the greeting."""
    loop = asyncio.get_running_loop()
    target, patience = dial.target, dial.settings.connect_timeout.seconds
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    with _at(dial, "connect"):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if dial.source:
                _bind(sock, dial)
            async with asyncio.timeout(min(dial.patience or patience, patience)):
                await loop.sock_connect(sock, (target.address, target.port))
        except BaseException:
            sock.close()
            raise
    with _at(dial, "greeting"):
        greeting = await client.connect(sock=sock, timeout=dial.settings.greeting_timeout.seconds)
    return greeting.message


def _bind(sock: socket.socket, dial: Dial) -> None:
    # Ports are shared between destinations, or a busy address would run out of them.
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((dial.source, 0))
    except OSError as error:
        words = f"Our own address {dial.source} cannot be used: {explain(error)} (see the setting source_addresses)"
        raise SessionFailed(_attempt(dial, "route", (0, "4.3.5", words), time.monotonic_ns())) from None


async def _ehlo(client: aiosmtplib.SMTP, dial: Dial) -> None:
    with _at(dial, "ehlo"):
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as refused:
            if refused.code not in _NO_EHLO or not client.is_connected:
                raise
            await client.helo()


async def _encrypt(client: aiosmtplib.SMTP, dial: Dial) -> bool:
    """Whether the connection is encrypted now. Raises SessionFailed when it is not and must be."""
    if not client.supports_extension("starttls"):
        if dial.must_encrypt:
            why = "its DNS says that it does (DANE)" if dial.records else "its route must be encrypted"
            words = f"The server does not offer STARTTLS, and {why}."
            raise SessionFailed(_attempt(dial, "starttls", (0, "4.7.4", words), time.monotonic_ns()))
        return False
    if not await _starttls(client, dial):
        return False
    if dial.records:
        _check_records(client, dial)
    await _ehlo_within(client, dial)
    return True


async def _starttls(client: aiosmtplib.SMTP, dial: Dial) -> bool:
    """Whether the handshake was made. False: the server took its offer back, and goes on in the clear."""
    start = time.monotonic_ns()
    try:
        context = (
            encryption.verified(dial.options.ca_file) if dial.options.tls is Tls.VERIFIED else encryption.anybody()
        )
    except ConfigurationError as error:
        words = neutralise(f"We can verify nobody: {error}".encode())
        raise SessionFailed(_attempt(dial, "route", (0, "4.3.5", words), start)) from None
    try:
        with _at(dial, "starttls"):
            await client.starttls(tls_context=context, validate_certs=context.check_hostname)
    except SessionFailed as failed:
        if failed.attempt.code == 0:
            why = encryption.distrust(failed.__context__, dial.name)
            words = why or failed.attempt.reply
            if why or dial.must_encrypt:
                failed = SessionFailed(_attempt(dial, "starttls", (0, "4.7.5", words), start))
            raise _HandshakeFailed(failed) from None
        if failed.attempt.code == 421 or not client.is_connected or dial.must_encrypt:
            raise
        return False
    return True


def _check_records(client: aiosmtplib.SMTP, dial: Dial) -> None:
    """Raises SessionFailed when the certificate is not the one that the DNS speaks of."""
    start = time.monotonic_ns()
    chain = encryption.chain_of(client.transport)
    names = list(dict.fromkeys(name.rstrip(".") for name in (dial.name, dial.target.mx_of) if name))
    why = dane.distrust(dial.records, chain, names, dt.datetime.now(dt.UTC))
    if why:
        words = neutralise(f"The certificate of {dial.name} is not the one in its DNS (DANE): {why}".encode())
        raise SessionFailed(_attempt(dial, "starttls", (0, "4.7.5", words), start))


async def _ehlo_within(client: aiosmtplib.SMTP, dial: Dial) -> None:
    """The first words within TLS. In TLS 1.3 our part of the handshake ends before the server has judged it: it may then
    close in place of an answer.
    """
    try:
        await _ehlo(client, dial)
    except SessionFailed as failed:
        if failed.attempt.code == 0:
            raise _HandshakeFailed(failed) from failed
        raise


async def _log_in(client: aiosmtplib.SMTP, dial: Dial, *, encrypted: bool) -> None:
    start = time.monotonic_ns()
    try:
        secret = login.secret_of(dial.options)
    except login.CannotLogIn as cannot:
        # Nothing of the server's: so it is the route's.
        raise SessionFailed(_attempt(dial, "route", (0, cannot.enhanced, cannot.words), start)) from None
    try:
        with _at(dial, "auth"):
            await login.log_in(client, dial.options, secret, encrypted=encrypted)
    except login.CannotLogIn as cannot:
        raise SessionFailed(_attempt(dial, "auth", (0, cannot.enhanced, cannot.words), start)) from None
    except SessionFailed as failed:
        said = login.hide(failed.attempt.reply, dial.options, secret)
        raise SessionFailed(msgspec.structs.replace(failed.attempt, reply=said)) from None


def _take_over(client: aiosmtplib.SMTP, dial: Dial, software: str) -> Opened:
    transport = client.transport
    if transport is None or transport.is_closing():
        raise SessionFailed(_attempt(dial, "ehlo", (0, "4.4.2", CLOSED), time.monotonic_ns()))
    cipher = transport.get_extra_info("cipher")
    tls = f"{cipher[1]} {cipher[0]}" if cipher else ""
    features = Features.of(client.esmtp_extensions)
    return Opened(Wire(cast(asyncio.Transport, transport), asyncio.get_running_loop()), features, tls, software)


@contextlib.contextmanager
def _at(dial: Dial, stage: str) -> Iterator[None]:
    """Turn whatever goes wrong within into SessionFailed at `stage`."""
    start = time.monotonic_ns()
    try:
        yield
    except aiosmtplib.SMTPResponseException as error:
        raise SessionFailed(_attempt(dial, stage, _words(error), start)) from None
    except TimeoutError:
        words = "The server did not answer in time."
        raise SessionFailed(_attempt(dial, stage, (0, _no_answer(stage), words), start)) from None
    except (OSError, aiosmtplib.SMTPException) as error:
        lost = isinstance(error, aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPConnectError)
        words = CLOSED if lost else explain(error)
        raise SessionFailed(_attempt(dial, stage, (0, _no_answer(stage), words), start)) from None


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


def _attempt(dial: Dial, stage: str, words: tuple[int, str, str], start: int) -> Attempt:
    code, enhanced, reply = words
    return Attempt(
        server=dial.target.server,
        address=dial.target.address,
        stage=stage,
        code=code,
        enhanced=enhanced,
        reply=reply,
        took=time.monotonic_ns() - start,
        source=dial.source,
    )
