"""What a certificate says is read, and whether it is one for a server."""

from __future__ import annotations

import datetime as dt

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pipeline.probing.certificate import covers, read

DAY = dt.timedelta(days=1)
NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
NS = 1_000_000_000


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def self_signed(common: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW, NOW + DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_names_dates_and_issuer_are_read():
    issued = trustme.CA().issue_cert(
        "mail.example.org", "*.example.org", "192.0.2.1", not_before=NOW, not_after=NOW + DAY
    )
    found = read(der(issued.cert_chain_pems[0].bytes()))
    assert found is not None
    assert sorted(found.names) == ["*.example.org", "192.0.2.1", "mail.example.org"]
    assert (found.not_before, found.not_after) == (int(NOW.timestamp()) * NS, int((NOW + DAY).timestamp()) * NS)
    assert "Testing CA" in found.issuer
    assert not found.self_signed


def test_a_certificate_without_alternative_names_is_named_by_its_common_name():
    found = read(self_signed("old.example.org"))
    assert found is not None
    assert found.names == ("old.example.org",)
    assert found.self_signed


def test_names_cannot_do_anything_to_a_terminal():
    found = read(self_signed("x\x1b[2J\u202e.example"))
    assert found is not None
    assert all(name.isascii() and name.isprintable() for name in (*found.names, found.issuer))


@given(st.binary(max_size=300))
def test_octets_that_are_no_certificate_are_none(data):
    assert read(data) is None


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_is_none(place, octet):
    whole = bytearray(DAMAGED)
    whole[place % len(whole)] = octet
    read(bytes(whole))


DAMAGED = self_signed("mail.example.org")


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["mail.example.org"], "mail.example.org", True),
        (["MAIL.example.org."], "mail.Example.org", True),
        (["example.org"], "mail.example.org", False),
        (["*.example.org"], "mail.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "a.b.example.org", False),
        (["*.org"], "example.org", False),
        (["*"], "mail", False),
        (["ma*.example.org"], "mail.example.org", False),
        (["*.0.2.1"], "192.0.2.1", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["2001:db8:0:0::1"], "2001:db8::1", True),
        (["other.example", "mail.example.org"], "mail.example.org", True),
        ([], "mail.example.org", False),
    ],
)
def test_a_certificate_is_for_a_server_when_one_of_its_names_is(names, host, fits):
    assert covers(names, host) is fits
