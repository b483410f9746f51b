"""Who counts as one client."""

from __future__ import annotations

import ipaddress
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clients import Bucket, belongs, client_of
from pipeline.limits import HOUR, MINUTE


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "unknown"),
        ("/run/socket", "unknown"),
        ("192.0.2.1.5", "unknown"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_64(address, client):
    assert client_of(address) == client


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_whatever_the_last_64_bits_are_it_is_the_same_client(address, rest):
    other = ipaddress.IPv6Address(int(address) >> 64 << 64 | rest)
    if address.ipv4_mapped is None and other.ipv4_mapped is None:
        assert client_of(str(address)) == client_of(str(other))


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),
        ("10.2.0.0", False),
        ("2001:db8::5", True),
        ("fe80::1%eth0", True),
        ("2001:db9::5", False),
        ("::ffff:10.2.0.0", False),
        ("", False),
    ],
)
def test_an_address_belongs_to_a_network_also_in_its_mapped_form(address, inside):
    networks = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "fe80::/10")]
    assert belongs(address, networks) is inside
    assert not belongs(address, ())


def test_a_mapped_network_may_be_written_as_such():
    assert belongs("::ffff:192.0.2.1", [ipaddress.ip_network("::ffff:192.0.2.0/120")])


@given(st.integers(1, 10_000_000), st.sampled_from([MINUTE, HOUR]))
def test_a_bucket_never_gives_more_than_its_size_in_a_period(size, period):
    bucket = Bucket.of(size, period)
    assert bucket.size == size
    assert period / bucket.cost <= size
    assert math.isclose(period / bucket.cost, size, rel_tol=0.15)


def test_a_bucket_of_nothing_is_no_limit():
    assert Bucket.of(0, MINUTE).size == 0
