"""Real programs as destinations: each takes messages byte for byte."""

import asyncio
import contextlib
import os
import socket
import ssl

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from pipeline.directory.options import RouteOptions, Tls
from pipeline.route import Target
from tests.support.servers import need
from tests.workers.deliverer.support import CONTENT, TRACE, deliver, settings, summary
from workers.deliverer.session import Session, SessionFailed

A, B = "a@example.com", "b@example.com"


class Keep:
    def __init__(self) -> None:
        self.messages: list[tuple[str, list[str], bytes]] = []

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("b@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 kept"


async def test_aiosmtpd_takes_messages_byte_for_byte():
    handler = Keep()
    controller = Controller(handler, hostname="127.0.0.1", port=0, enable_SMTPUTF8=True)
    controller.port = free_port()
    controller.start()
    try:
        where = Target(f"localhost:{controller.port}", "localhost", "127.0.0.1", controller.port)
        session = await Session.open(where, hostname="gw.example.net", settings=settings())
        assert summary(await deliver(session, [A, B])) == {A: "accepted dot 250", B: "refused rcpt 550"}
        assert summary(await deliver(session, [B])) == {B: "refused rcpt 550"}
        assert summary(await deliver(session, [A], sender="")) == {A: "accepted dot 250"}
        assert [content for _, _, content in handler.messages] == [TRACE + CONTENT] * 2
        assert handler.messages[0][:2] == ("s@example.org", [A])
        await session.quit(1)
    finally:
        await asyncio.to_thread(controller.stop)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextlib.asynccontextmanager
async def smtp_sink(*options: str):
    program = need("smtp-sink")
    port = free_port()
    user = ["-u", "root"] if os.getuid() == 0 else []
    process = await asyncio.create_subprocess_exec(program, *user, *options, f"127.0.0.1:{port}", "100")
    try:
        yield Target(f"localhost:{port}", "localhost", "127.0.0.1", port)
    finally:
        process.terminate()
        await process.wait()


async def dial(where: Target) -> Session:
    """A session as soon as the server listens."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await Session.open(where, hostname="gw.example.net", settings=settings())
            except SessionFailed:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("options", [(), ("-p",), ("-e",)], ids=["pipelined", "stepwise", "helo"])
async def test_smtp_sink_takes_messages_byte_for_byte(options, tmp_path):
    async with smtp_sink("-d", f"{tmp_path}/%M.", *options) as where:
        session = await dial(where)
        for size in (0, 10, 5_000):
            content = CONTENT + b".x\r\n" * size
            assert summary(await deliver(session, [A, B], content=content)) == {
                A: "accepted dot 250",
                B: "accepted dot 250",
            }
        await session.quit(1)
        kept = sorted((path.read_bytes() for path in tmp_path.iterdir()), key=len)
        assert len(kept) == 3
        for size, data in zip((0, 10, 5_000), kept, strict=True):
            whole = (TRACE + CONTENT + b".x\r\n" * size).replace(b"\r\n", b"\n")
            assert data.rstrip(b"\n").endswith(whole.rstrip(b"\n"))


@pytest.mark.parametrize(
    ("options", "outcome"),
    [(("-r", "data"), "deferred data 450"), (("-f", "."), "refused dot 500"), (("-r", "rcpt"), "deferred rcpt 450")],
)
async def test_smtp_sink_refusing_in_a_phase_is_understood(options, outcome):
    async with smtp_sink(*options) as where:
        session = await dial(where)
        assert summary(await deliver(session)) == {A: outcome}
        assert summary(await deliver(session)) == {A: outcome}
        await session.quit(1)


async def test_aiosmtpd_takes_mail_from_who_verifies_its_certificate_and_logs_in(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "wrong").write_text("other\n")
    (tmp_path / "wrong").chmod(0o600)

    def authenticate(server, session, envelope, mechanism, data):
        good = (data.login, data.password) == (b"relay", b"s3cret")
        return AuthResult(success=good, handled=False)

    handler = Keep()
    controller = Controller(
        handler, hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True, auth_required=True,
        authenticator=authenticate,
    )  # fmt: skip
    controller.start()
    try:
        where = Target(f"localhost:{controller.port}", "localhost", "127.0.0.1", controller.port)

        def options(password: str) -> RouteOptions:
            file = str(tmp_path / password)
            return RouteOptions(
                tls=Tls.VERIFIED, ca_file=str(tmp_path / "ca.pem"), auth_user="relay", auth_secret_file=file
            )

        with pytest.raises(SessionFailed) as caught:
            await Session.open(where, hostname="gw.example.net", settings=settings(), options=options("wrong"))
        assert (caught.value.attempt.stage, caught.value.attempt.code) == ("auth", 535)
        session = await Session.open(where, hostname="gw.example.net", settings=settings(), options=options("password"))
        assert summary(await deliver(session, [A])) == {A: "accepted dot 250"}
        assert handler.messages[0][2] == TRACE + CONTENT
        await session.quit(1)
    finally:
        await asyncio.to_thread(controller.stop)
