"""Encryption and certificates, with real handshakes: what is wrong is told, and the rest is looked at all the same."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.probing import Report
from tests.support.dns import Names
from tests.support.peer import Do, Peer
from tests.workers.probing.support import IMPATIENT, QUICK, found, kinds, plan, run, visited
from workers.probing.visit import context

HOST = "mail.example.test"
UNKNOWN = [b"250 2.1.5 ok", b"550 5.1.1 no such user"]
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine knows the authority."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context.cache_clear()
    yield
    context.cache_clear()


def server(issued: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(made)
    return made


async def seen(tls: ssl.SSLContext, patience=QUICK, **fields) -> Report:
    """A visit of `mail.example.test`, whose address is this machine's."""
    async with Names({(HOST, "A"): ["127.0.0.1"]}) as names, Peer({"rcpt": UNKNOWN}, tls=tls) as peer:
        return await run(plan(f"{HOST}:{peer.port}", **fields), patience, names.port)


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_that_a_known_authority_vouches_for_is_good(authority):
    report = await seen(server(authority.issue_cert(HOST, not_after=NOW + 40 * DAY)))
    assert kinds(report) == {}
    (visit,) = report.visits
    assert visit.connections == 1
    assert found(report, "certificate").values["names"] == HOST
    assert found(report, "certificate").values["days"] == 39
    assert found(report, "tls").values["version"] in ("TLSv1.2", "TLSv1.3")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("names", "before", "after", "wanted", "connections"),
    [
        ([HOST], NOW - 9 * DAY, NOW - 3 * DAY, {"certificate-expired"}, 2),
        ([HOST], NOW + 3 * DAY, NOW + 30 * DAY, {"certificate-early"}, 2),
        ([HOST], NOW - 9 * DAY, NOW + 3 * DAY, {"certificate-soon"}, 1),
        (["other.example"], NOW - DAY, NOW + 40 * DAY, {"certificate-name"}, 1),
        (["*.example.test"], NOW - DAY, NOW + 40 * DAY, set(), 1),
        (["other.example"], NOW - 9 * DAY, NOW - 3 * DAY, {"certificate-name", "certificate-expired"}, 2),
    ],
)
async def test_dates_and_names_of_a_certificate_are_looked_at(authority, names, before, after, wanted, connections):
    report = await seen(server(authority.issue_cert(*names, not_before=before, not_after=after)))
    assert set(kinds(report)) == wanted
    assert set(kinds(report).values()) <= {"warning"}
    assert report.visits[0].works
    assert report.visits[0].connections == connections


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_an_authority_that_nobody_knows_is_a_warning_and_bad_where_the_route_insists():
    unknown = server(trustme.CA().issue_cert(HOST, not_after=NOW + 40 * DAY))
    assert kinds(await seen(unknown)) == {"certificate-untrusted": "warning"}
    assert kinds(await seen(unknown, verified=True)) == {"certificate-untrusted": "bad"}


async def test_a_self_signed_certificate_is_a_warning(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + 40 * DAY
    )
    file = tmp_path / "own.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    report = await seen(tls)
    assert kinds(report) == {"certificate-self-signed": "warning"}
    assert report.visits[0].tls is not None
    assert report.visits[0].tls.version
    assert report.visits[0].works


def wants_a_certificate_of_ours(tls: ssl.SSLContext) -> None:
    """In TLS 1.3 it says so only after our part of the handshake."""
    tls.verify_mode = ssl.CERT_REQUIRED


def speaks_old_tls_only(tls: ssl.SSLContext) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("spoil", [wants_a_certificate_of_ours, speaks_old_tls_only])
async def test_a_server_whose_handshake_fails_is_looked_at_in_the_clear(
    authority, spoil: Callable[[ssl.SSLContext], None]
):
    tls = server(authority.issue_cert(HOST))
    spoil(tls)
    report = await seen(tls)
    assert kinds(report) == {"tls-failed": "warning"}
    assert report.visits[0].works
    assert report.visits[0].connections == 2


async def test_talk_that_is_no_tls_is_a_failed_handshake():
    async with Peer({"rcpt": UNKNOWN}, broken_tls=True) as peer:
        report = await visited(peer.port)
        strict = await visited(peer.port, encrypted=True)
    # It may come together with the reply before it, and is then a word that nobody asked for as well.
    assert kinds(report)["tls-failed"] == "warning"
    assert kinds(strict)["tls-failed"] == "bad"
    assert report.visits[0].works


async def test_a_handshake_that_stalls_is_left():
    async with Peer({"rcpt": UNKNOWN, "starttls": [Do(after="stall")]}, features=("PIPELINING", "STARTTLS")) as peer:
        report = await visited(peer.port, IMPATIENT)
    assert "tls-failed" in kinds(report)
    assert "no handshake" in str(found(report, "tls-failed").values["words"])


async def test_words_slipped_in_before_the_handshake_are_nobodys():
    async with Peer({"rcpt": UNKNOWN, "starttls": [b"220 go\r\n250 I am trusted"]}, broken_tls=True) as peer:
        report = await visited(peer.port)
    assert {"tls-failed", "stray"} <= set(kinds(report))
    assert report.visits[0].stray == "250 I am trusted"


async def test_a_starttls_that_is_refused_leaves_the_line_in_the_clear(authority):
    async with Peer(
        {"rcpt": UNKNOWN, "starttls": b"454 4.7.0 not now"}, tls=server(authority.issue_cert(HOST))
    ) as peer:
        report = await visited(peer.port)
    assert kinds(report) == {"starttls-refused": "warning"}
    assert peer.connections == 1
    assert report.visits[0].works


async def test_a_route_that_never_encrypts_is_not_asked_to(authority):
    async with Peer({"rcpt": UNKNOWN}, tls=server(authority.issue_cert(HOST))) as peer:
        report = await visited(peer.port, plain=True)
    assert kinds(report) == {}
    assert peer.encrypted == 0
    assert b"STARTTLS" not in peer.said


async def test_a_route_may_have_an_authority_of_its_own(authority, tmp_path):
    file = tmp_path / "own.pem"
    authority.cert_pem.write_to_path(file)
    issued = authority.issue_cert(HOST, not_after=NOW + 40 * DAY)
    assert kinds(await seen(server(issued), ca_file=str(file), verified=True)) == {}
    assert kinds(await seen(server(issued), verified=True)) == {"certificate-untrusted": "bad"}
    assert kinds(await seen(server(issued), ca_file=str(tmp_path / "none.pem"), verified=True)) == {"tls-failed": "bad"}
