import datetime as dt
import hashlib

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipeline.dane import Record, distrust, look_up
from pipeline.resolver import LookupFailed, Resolver
from pipeline.route import Target
from tests.support.dns import Names

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
HOST, DOMAIN = "mx.example", "shop.example"
KEY_RECORD = "3 1 1 " + "ab" * 32
RECORDS = {
    (DOMAIN, "MX"): [f"10 {HOST}."],
    (HOST, "A"): ["9.9.9.9"],
    (f"_25._tcp.{HOST}", "TLSA"): [KEY_RECORD],
}
TLSA = f"_25._tcp.{HOST}"
ALL = [DOMAIN, HOST, TLSA]


# Looking up


async def found(signed, mx_of="", *, authenticated=True, records=RECORDS, host=HOST, **trouble):
    async with Names(records, signed=signed, **trouble) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=0.3, authenticated=authenticated)
        target = Target(f"{host}:25", host, "9.9.9.9", 25, mx_of=mx_of)
        answer = await look_up(resolver, target)
        return answer, [name for name, kind in names.asked if kind == "TLSA"]


async def test_records_hold_where_the_whole_way_to_them_is_signed():
    expected = (Record(3, 1, 1, bytes.fromhex("ab" * 32)),)
    assert await found(ALL, DOMAIN) == (expected, [TLSA])
    assert await found(ALL) == (expected, [TLSA])


@pytest.mark.parametrize("unsigned", ALL)
async def test_one_unsigned_answer_on_the_way_and_they_do_not(unsigned):
    answer, _ = await found([name for name in ALL if name != unsigned], DOMAIN)
    assert answer == ()


async def test_where_the_address_is_not_signed_nobody_asks_for_records():
    assert await found([DOMAIN, TLSA], DOMAIN) == ((), [])


async def test_a_resolver_that_is_not_trusted_is_not_believed():
    assert await found(ALL, DOMAIN, authenticated=False) == ((), [])


async def test_an_address_has_no_records():
    assert await found(ALL, host="9.9.9.9") == ((), [])


async def test_a_server_without_records_has_none():
    without = {key: value for key, value in RECORDS.items() if key[1] != "TLSA"}
    assert (await found(ALL, DOMAIN, records=without))[0] == ()
    assert (await found(ALL, DOMAIN, records={**without, (TLSA, "TXT"): ['"x"']}))[0] == ()


@pytest.mark.parametrize("trouble", ["failing", "silent"])
async def test_records_that_cannot_be_asked_for_are_not_the_same_as_none(trouble):
    with pytest.raises(LookupFailed) as caught:
        await found(ALL, DOMAIN, **{trouble: [TLSA]})
    assert not caught.value.permanent


async def test_a_family_that_cannot_be_asked_about_does_not_matter():
    assert (await found(ALL, DOMAIN, failing=[f"{HOST} AAAA"]))[0] != ()


# Judging


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def der(pem: trustme.Blob) -> bytes:
    return x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)


def issued(authority: trustme.CA, *names: str, **dates: dt.datetime) -> list[bytes]:
    """The chain as a server sends it when its authority is to be found by a record: itself, and the authority."""
    leaf = authority.issue_cert(*names or (HOST,), **dates)
    return [*map(der, leaf.cert_chain_pems), der(authority.cert_pem)]


def record(usage: int, selector: int, matching: int, certificate: bytes) -> Record:
    octets = certificate
    if selector == 1:
        key = x509.load_der_x509_certificate(certificate).public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    data = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}[matching]
    return Record(usage, selector, matching, data)


def judged(records, chain, names=(HOST,)) -> str:
    return distrust(records, chain, names, NOW)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_a_servers_own_certificate_matches_in_every_form_and_no_other_does(authority, selector, matching):
    chain, other = issued(authority), issued(authority)
    assert judged([record(3, selector, matching, chain[0])], chain) == ""
    assert "matches none of the 1 TLSA" in judged([record(3, selector, matching, other[0])], chain)
    assert judged([record(3, selector, matching, other[0]), record(3, selector, matching, chain[0])], chain) == ""


def test_an_own_certificate_needs_neither_the_name_nor_the_date(authority):
    chain = issued(authority, "other.example", not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    assert judged([record(3, 1, 1, chain[0])], chain) == ""


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_an_authority_vouches_for_the_certificates_that_it_signed_and_for_no_others(authority, selector, matching):
    chain = issued(authority)
    anchor = record(2, selector, matching, chain[-1])
    assert judged([anchor], chain) == ""
    stranger = issued(trustme.CA())
    assert judged([anchor], stranger) != ""
    # Sending the authority's certificate along does not make it one's own.
    assert judged([anchor], [stranger[0], chain[-1]]) != ""


def test_an_authority_between_is_one_too(authority):
    between = authority.create_child_ca()
    leaf = between.issue_cert(HOST)
    chain = [*map(der, leaf.cert_chain_pems), der(authority.cert_pem)]
    assert judged([record(2, 1, 1, der(between.cert_pem))], chain) == ""
    assert judged([record(2, 1, 1, der(authority.cert_pem))], chain) == ""
    assert judged([record(2, 1, 1, der(authority.cert_pem))], [chain[0], chain[-1]]) != ""


def test_the_certificate_of_another_customer_of_the_authority_is_no_authority(authority):
    customer = issued(authority)
    forged = trustme.CA()
    chain = [issued(forged)[0], customer[0]]
    assert judged([record(2, 0, 1, customer[0])], chain) != ""


def test_an_authority_that_is_not_sent_is_taken_from_the_record(authority):
    chain = issued(authority)
    assert judged([record(2, 0, 0, chain[-1])], chain[:-1]) == ""
    assert judged([record(2, 0, 1, chain[-1])], chain[:-1]) != ""


def test_with_an_authority_the_name_and_the_date_count(authority):
    wrong = issued(authority, "other.example")
    anchor = record(2, 1, 1, wrong[-1])
    assert "does not vouch for it as mx.example" in judged([anchor], wrong)
    assert judged([anchor], wrong, (HOST, "other.example")) == ""
    old = issued(authority, not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    assert judged([anchor], old) != ""


@pytest.mark.parametrize("useless", [Record(0, 1, 1, b"x"), Record(1, 1, 1, b"x"), Record(3, 9, 1, b"x"), Record(3, 1, 9, b"x"), Record(255, 0, 0, b"")])  # fmt: skip
def test_records_that_mean_nothing_between_mail_servers_leave_any_certificate(authority, useless):
    chain = issued(authority)
    assert judged([useless], chain) == ""
    assert judged([useless, Record(3, 1, 1, b"x" * 32)], chain) != ""


@pytest.mark.parametrize("chain", [[], [b""], [b"\x30\x03\x02\x01\x01"], [b"x" * 10_000]])
def test_what_is_no_certificate_is_not_trusted(chain):
    assert judged([Record(3, 1, 1, b"x" * 32), Record(2, 0, 0, b"junk")], chain).isprintable()
    assert judged([Record(3, 1, 1, b"x" * 32)], chain) != ""
