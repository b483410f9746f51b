"""Which clients are suspicious, and which senders have pools of addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.suspicion import from_known_pool, looks_generic, reasons, says_a_name

GOOD = {
    "address": "198.51.100.7", "name": "mx7.elsewhere.test", "names_known": True, "helo": "mx7.elsewhere.test",
    "ours": {"gateway.test", "example.test"}.__contains__, "spf": "pass",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"spf": "none"}, ()),
        ({"spf": "temperror"}, ()),
        ({"spf": "fail"}, ("SPF fail",)),
        ({"spf": "softfail"}, ("SPF softfail",)),
        ({"name": ""}, ("no name in the DNS",)),
        ({"name": "", "names_known": False}, ()),
        ({"name": "198-51-100-7.dsl.provider.test"}, ("a name like a home connection's",)),
        ({"helo": "localhost"}, ("no host name in HELO",)),
        ({"helo": "WIN-ABC123"}, ("no host name in HELO",)),
        ({"helo": "[198.51.100.7]"}, ()),
        ({"helo": "[192.0.2.1]"}, ("no host name in HELO",)),
        ({"helo": "198.51.100.7"}, ("no host name in HELO",)),
        ({"helo": "Gateway.TEST."}, ("our own name in HELO",)),
        ({"helo": "example.test"}, ("our own name in HELO",)),
        ({"name": "", "helo": "x", "spf": "fail"}, ("no name in the DNS", "no host name in HELO", "SPF fail")),
    ],
)
def test_each_reason_has_a_word_and_an_honest_server_has_none(changes, expected):
    assert reasons(**{**GOOD, **changes}) == expected


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("198-51-100-7.provider.test", "198.51.100.7"),
        ("7.100.51.198.provider.test", "198.51.100.7"),
        ("host-100-7.provider.test", "198.51.100.7"),
        ("c6336407.provider.test", "198.51.100.7"),
        ("p5b0c7f2a.dip0.provider.test", "91.12.127.42"),
        ("dyn-042.provider.test", "192.0.2.1"),
        ("adsl.provider.test", "192.0.2.1"),
        ("user12.pool.provider.test", "192.0.2.1"),
        ("2001-db8-0-0-1-2-aabb-ccdd.provider.test", "2001:db8::1:2:aabb:ccdd"),
    ],
)
def test_names_that_providers_give_to_connections(name, address):
    assert looks_generic(name, address)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("mx1.example.test", "198.51.100.7"),
        ("mail-ed1-f41.google.com", "209.85.208.41"),
        ("mail-am6eur05on2040.outbound.protection.outlook.com", "40.107.22.40"),
        ("smtp198.provider.test", "198.51.100.7"),
        ("a8-52.smtp-out.amazonses.com", "54.240.8.53"),
        ("userservices.example.test", "192.0.2.1"),
        ("homepage.example.test", "192.0.2.1"),
    ],
)
def test_names_of_servers_with_numbers_and_words_in_them(name, address):
    assert not looks_generic(name, address)


@pytest.mark.parametrize(
    ("mechanism", "domain", "known"),
    [
        ("include:_spf.google.com", "customer.test", True),
        ("include:spf.protection.outlook.com", "customer.test", True),
        ("ip4:192.0.2.0/24", "outlook.com", True),
        ("include:_spf.google.com.evil.test", "evil.test", False),
        ("include:notgoogle.com", "evil.test", False),
        ("ip4:192.0.2.1", "customer.test", False),
        ("default", "", False),
    ],
)
def test_a_pool_is_known_by_the_record_that_passed(mechanism, domain, known):
    assert from_known_pool(mechanism, domain) is known


@given(st.text(max_size=80), st.text(max_size=40))
def test_whatever_a_client_says_is_judged(text, address):
    says_a_name(text, address)
    looks_generic(text, address)
    from_known_pool(text, address)
