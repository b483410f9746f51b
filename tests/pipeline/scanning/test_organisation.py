"""Whose a name in the DNS is, and which addresses are nobody's."""

from __future__ import annotations

import pytest

from pipeline.scanning.organisation import is_private, organisation, registrable


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("www.a.co.uk", "a.co.uk"), ("a.example", "a.example"), ("x.y.a.example", "a.example"), ("me.github.io", "me.github.io"),
        ("192.0.2.1", "192.0.2.1"), ("com", "com"), ("2001:db8::1", "2001:db8::1"), ("", ""),
    ],
)  # fmt: skip
def test_who_answers_for_a_name(host, expected):
    assert organisation(host) == expected


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("www.shop.co.uk", "shop.co.uk"), ("co.uk", ""), ("A.Example.", "a.example"), ("bücher.example", "xn--bcher-kva.example"),
        ("192.0.2.1", ""), ("[192.0.2.1]", ""), ("a..example", ""), ("x" * 300 + ".example", ""), ("", ""), ("host", ""),
    ],
)  # fmt: skip
def test_of_a_name_as_somebody_wrote_it(name, found):
    assert registrable(name) == found


def test_whose_networks_are_nobodys():
    assert [is_private(one) for one in ("172.31.255.255", "172.32.0.0", "2001:db8::1", "::ffff:10.0.0.1")] == [
        True,
        False,
        False,
        True,
    ]
