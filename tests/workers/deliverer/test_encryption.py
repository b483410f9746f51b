"""What a route says of encryption and identity, against servers with real certificates."""

import asyncio
import base64
import datetime as dt
import hashlib
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.dane import Record
from pipeline.directory.options import RouteOptions, Tls
from tests.support.peer import Do, Peer
from tests.workers.deliverer.support import deliver, opened, settings, summary, target
from workers.deliverer.session import Session, SessionFailed

A = "a@example.com"
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def serving(authority: trustme.CA, *names: str, **dates: dt.datetime) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names or ("peer.example",), **dates).configure_cert(context)
    return context


async def failed(peer: Peer, options: RouteOptions, host: str = "peer.example", **changes: str):
    with pytest.raises(SessionFailed) as caught:
        await opened(peer, options, host, **changes)
    return caught.value.attempt


async def sent(peer: Peer, options: RouteOptions, host: str = "peer.example"):
    """The session over which a message was delivered."""
    session = await opened(peer, options, host)
    assert summary(await deliver(session)) == {A: "accepted dot 250"}
    await session.quit(1)
    return session


# Never, when offered, always


async def test_never_is_in_the_clear_even_where_tls_is_offered(authority):
    async with Peer(tls=serving(authority)) as peer:
        assert (await sent(peer, RouteOptions(tls=Tls.NEVER))).tls == ""
        assert b"STARTTLS" not in peer.said


async def test_always_takes_any_certificate(authority):
    async with Peer(tls=serving(authority, "other.example")) as peer:
        assert (await sent(peer, RouteOptions(tls=Tls.ALWAYS))).tls.startswith("TLSv1.3")


ALWAYS = [RouteOptions(tls=Tls.ALWAYS), RouteOptions(tls=Tls.VERIFIED)]


@pytest.mark.parametrize("options", ALWAYS, ids=lambda options: str(options.tls))
class TestWhereTlsMustBe:
    async def test_a_server_that_does_not_offer_it_gets_nothing(self, options):
        async with Peer() as peer:
            attempt = await failed(peer, options)
            assert (attempt.stage, attempt.code, attempt.enhanced) == ("starttls", 0, "4.7.4")
            assert attempt.reply == "The server does not offer STARTTLS, and its route must be encrypted."
            assert peer.connections == 1

    async def test_a_broken_handshake_is_not_followed_by_the_clear(self, options):
        async with Peer(broken_tls=True) as peer:
            attempt = await failed(peer, options)
            assert (attempt.stage, attempt.code, attempt.enhanced) == ("starttls", 0, "4.7.5")
            assert (peer.connections, peer.transactions) == (1, [])

    @pytest.mark.parametrize("how", ["close", "reset", "stall"])
    async def test_a_connection_lost_over_the_handshake_is_not_followed_by_the_clear(self, options, how):
        async with Peer({"starttls": [Do(b"220 go", after=how)]}, broken_tls=True) as peer:
            assert (await failed(peer, options, reply_timeout="0.2s")).stage == "starttls"
            assert peer.connections == 1

    async def test_an_offer_that_is_taken_back_is_quoted(self, options, authority):
        async with Peer({"starttls": b"454 4.7.0 not now"}, tls=serving(authority)) as peer:
            attempt = await failed(peer, options)
            assert (attempt.stage, attempt.code, attempt.reply) == ("starttls", 454, "454 4.7.0 not now")
            assert not any(command.startswith(b"MAIL") for command in peer.said)

    async def test_a_server_that_knows_no_ehlo_gets_nothing(self, options):
        async with Peer({"ehlo": b"502 what?"}) as peer:
            assert (await failed(peer, options)).stage == "starttls"


# Verified


@pytest.mark.parametrize(("names", "host"), [(["peer.example"], "peer.example"), (["peer.example"], "peer.example."), (["127.0.0.1"], "127.0.0.1")])  # fmt: skip
async def test_verified_takes_a_certificate_for_the_name_as_it_is_configured(authority, ca_file, names, host):
    async with Peer(tls=serving(authority, *names)) as peer:
        assert (await sent(peer, RouteOptions(tls=Tls.VERIFIED, ca_file=ca_file), host)).tls


NOT_TRUSTED = "The certificate of peer.example is not trusted: "


@pytest.mark.parametrize(
    ("names", "dates", "why"),
    [
        (["other.example"], {}, "it is for another name than peer.example"),
        (["127.0.0.1"], {}, "it is for another name than peer.example"),
        (["peer.example"], {"not_before": NOW - 2 * DAY, "not_after": NOW - DAY}, "it has expired"),
        (["peer.example"], {"not_before": NOW + DAY, "not_after": NOW + 2 * DAY}, "it is not valid yet"),
    ],
)
async def test_verified_says_exactly_what_is_wrong_and_sends_nothing(authority, ca_file, names, dates, why):
    async with Peer(tls=serving(authority, *names, **dates)) as peer:
        attempt = await failed(peer, RouteOptions(tls=Tls.VERIFIED, ca_file=ca_file))
        assert (attempt.stage, attempt.enhanced, attempt.reply) == ("starttls", "4.7.5", NOT_TRUSTED + why)
        assert (peer.connections, peer.transactions) == (1, [])


async def test_an_authority_that_is_not_known_is_named_as_the_reason(authority, ca_file):
    async with Peer(tls=serving(trustme.CA())) as peer:
        attempt = await failed(peer, RouteOptions(tls=Tls.VERIFIED, ca_file=ca_file))
        assert attempt.reply.startswith(NOT_TRUSTED + "its authority is not known here")
    async with Peer(tls=serving(authority)) as peer:
        attempt = await failed(peer, RouteOptions(tls=Tls.VERIFIED))
        assert attempt.reply.startswith(NOT_TRUSTED + "its authority is not known here")


async def test_authorities_that_cannot_be_read_are_a_fault_of_ours(tmp_path, authority):
    async with Peer(tls=serving(authority)) as peer:
        for file in (tmp_path / "none.pem", tmp_path):
            attempt = await failed(peer, RouteOptions(tls=Tls.VERIFIED, ca_file=str(file)))
            assert (attempt.stage, attempt.enhanced) == ("route", "4.3.5")
            assert str(file) in attempt.reply


async def test_authorities_that_are_renewed_hold_for_the_next_connection(authority, tmp_path):
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    options = RouteOptions(tls=Tls.VERIFIED, ca_file=str(file))
    async with Peer(tls=serving(authority)) as peer:
        await failed(peer, options)
        authority.cert_pem.write_to_path(tmp_path / "new.pem")
        (tmp_path / "new.pem").replace(file)
        assert (await sent(peer, options)).tls


# AUTH


@pytest.fixture
def password(tmp_path) -> str:
    file = tmp_path / "password"
    file.write_text("s3cret pass\u00e4\n", "utf-8")
    file.chmod(0o600)
    return str(file)


PLAIN_WORD = base64.b64encode(b"\0relay\0s3cret pass\xc3\xa4")
AUTH = ("PIPELINING", "AUTH CRAM-MD5 LOGIN PLAIN")


def logging_in(password: str, **changes: object) -> RouteOptions:
    return RouteOptions(auth_user="relay", auth_secret_file=password, **changes)  # type: ignore[arg-type]


async def test_the_password_is_sent_within_tls(authority, password):
    async with Peer(tls=serving(authority), features=AUTH) as peer:
        await sent(peer, logging_in(password))
        assert peer.said[3] == b"AUTH PLAIN " + PLAIN_WORD


async def test_a_server_that_offers_login_only_is_logged_in_at(authority, password):
    script = {"auth": [b"334 UGFzc3dvcmQ6", b"235 ok"]}
    async with Peer(script, tls=serving(authority), features=["AUTH LOGIN"]) as peer:
        await sent(peer, logging_in(password))
        words = [base64.b64encode(b"relay"), base64.b64encode(b"s3cret pass\xc3\xa4")]
        assert peer.said[3:5] == [b"AUTH LOGIN " + words[0], words[1]]


@pytest.mark.parametrize("broken", [False, True])
async def test_the_password_is_never_sent_in_the_clear_unless_that_is_allowed(password, broken):
    async with Peer(features=AUTH, broken_tls=broken) as peer:
        attempt = await failed(peer, logging_in(password))
        assert (attempt.stage, attempt.enhanced) == ("auth", "4.7.11")
        assert "not encrypted" in attempt.reply
        assert not any(command.startswith((b"AUTH", b"MAIL")) for command in peer.said)
        await sent(peer, logging_in(password, auth_in_clear=True))


async def test_a_refused_password_is_quoted_without_it(authority, password):
    echo = b"535-5.7.8 bad: AUTH PLAIN " + PLAIN_WORD + b"\r\n535 5.7.8 is not 's3cret pass\xc3\xa4'"
    async with Peer({"auth": echo}, tls=serving(authority), features=AUTH) as peer:
        attempt = await failed(peer, logging_in(password))
        assert (attempt.stage, attempt.code, attempt.enhanced) == ("auth", 535, "5.7.8")
        assert attempt.reply == "535-5.7.8 bad: AUTH PLAIN [secret]\n535 5.7.8 is not '[secret]'"
        assert peer.transactions == []


@pytest.mark.parametrize(
    ("features", "words"), [(["AUTH CRAM-MD5 XOAUTH2"], "only cram-md5, xoauth2"), ([], "no AUTH at all")]
)
async def test_a_server_that_takes_no_password_is_not_logged_in_at(authority, password, features, words):
    async with Peer(tls=serving(authority), features=features) as peer:
        attempt = await failed(peer, logging_in(password))
        assert (attempt.stage, attempt.code, attempt.enhanced) == ("auth", 0, "4.7.4")
        assert words in attempt.reply


async def test_a_password_that_cannot_be_read_is_a_fault_of_ours(authority, tmp_path):
    async with Peer(tls=serving(authority), features=AUTH) as peer:
        attempt = await failed(peer, logging_in(str(tmp_path / "none")))
        assert (attempt.stage, attempt.enhanced) == ("route", "4.3.5")
        assert str(tmp_path / "none") in attempt.reply


async def test_a_password_of_the_environment_is_taken(authority, monkeypatch):
    monkeypatch.setenv("RELAY_PASSWORD", "s3cret pass\u00e4")
    async with Peer(tls=serving(authority), features=AUTH) as peer:
        await sent(peer, RouteOptions(auth_user="relay", auth_secret_env="RELAY_PASSWORD"))
        assert b"AUTH PLAIN " + PLAIN_WORD in peer.said


@pytest.mark.parametrize("how", ["close", "stall"])
async def test_a_server_that_says_nothing_to_auth_is_a_failure(authority, password, how):
    async with Peer({"auth": Do(b"", after=how)}, tls=serving(authority), features=AUTH) as peer:
        assert (await failed(peer, logging_in(password), reply_timeout="0.2s")).stage == "auth"


# From where


async def test_a_session_goes_out_from_the_address_it_was_given():
    came_from = asyncio.Queue[str]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await came_from.put(writer.get_extra_info("peername")[0])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        peer = Peer()
        peer.port = server.sockets[0].getsockname()[1]
        with pytest.raises(SessionFailed) as caught:
            await opened(peer, source="127.0.0.9")
        assert await came_from.get() == "127.0.0.9"
        assert caught.value.attempt.source == "127.0.0.9"


async def test_every_attempt_says_from_where_it_was_made():
    async with Peer({"rcpt": b"550 5.7.1 you are listed"}) as peer:
        session = await opened(peer, source="127.0.0.9")
        (outcome,) = (await deliver(session)).values()
        assert outcome.attempt.source == "127.0.0.9"
        await session.quit(1)


async def test_an_address_that_is_not_ours_is_a_fault_of_ours():
    async with Peer() as peer:
        with pytest.raises(SessionFailed) as caught:
            await opened(peer, source="192.0.2.1")
        attempt = caught.value.attempt
        assert (attempt.stage, attempt.enhanced) == ("route", "4.3.5")
        assert "192.0.2.1 cannot be used" in attempt.reply
        assert peer.connections == 0


# DANE


def key_record(context_of: trustme.LeafCert) -> Record:
    certificate = x509.load_pem_x509_certificate(context_of.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Record(3, 1, 1, hashlib.sha256(key).digest())


async def dialled(peer: Peer, *records: Record, **options: object) -> Session:
    return await Session.open(
        target(peer), hostname="gw", settings=settings(), options=RouteOptions(**options), records=records
    )  # fmt: skip


async def test_a_server_with_the_certificate_of_its_dns_gets_mail_whoever_signed_it():
    leaf = trustme.CA().issue_cert("other.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    async with Peer(tls=context) as peer:
        session = await dialled(peer, key_record(leaf))
        assert session.tls
        assert summary(await deliver(session)) == {A: "accepted dot 250"}
        await session.quit(1)


async def test_a_server_with_another_certificate_gets_nothing_and_not_in_the_clear_either(authority):
    other = key_record(trustme.CA().issue_cert("peer.example"))
    async with Peer(tls=serving(authority)) as peer:
        with pytest.raises(SessionFailed) as caught:
            await dialled(peer, other)
        attempt = caught.value.attempt
        assert (attempt.stage, attempt.enhanced) == ("starttls", "4.7.5")
        assert attempt.reply.startswith("The certificate of peer.example is not the one in its DNS (DANE): ")
        assert (peer.connections, peer.transactions) == (1, [])


@pytest.mark.parametrize("broken", [False, True])
async def test_records_of_whatever_kind_mean_encrypted_or_not_at_all(broken):
    async with Peer(broken_tls=broken) as peer:
        with pytest.raises(SessionFailed) as caught:
            await dialled(peer, Record(1, 1, 1, b"useless"))
        assert caught.value.attempt.stage == "starttls"
        assert peer.connections == 1


async def test_records_do_not_make_a_route_that_is_to_be_verified_less_so(authority):
    leaf = trustme.CA().issue_cert("peer.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    async with Peer(tls=context) as peer:
        with pytest.raises(SessionFailed):
            await dialled(peer, key_record(leaf), tls=Tls.VERIFIED)
