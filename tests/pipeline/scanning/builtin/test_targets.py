"""Where a link leads, as a browser would take it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scanning.builtin.targets import target_of


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://www.a.example/x", "www.a.example"),
        (" HTTPS://WWW.A.Example. ", "www.a.example"),
        ("www.a.example/x", "www.a.example"),
        ("//a.example", "a.example"),
        ("\\\\a.example\\x", "a.example"),
        ("https:/\\a.example", "a.example"),
        ("ht\ntps://a.ex\tample/", "a.example"),
        ("https://user:pass@a.example:8080/x", "a.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://bank.example\\@evil.example/", "bank.example"),
        ("https://a.example?u=https://b.example", "a.example"),
        ("https://a。example/", "a.example"),
        ("https://\uff41.example/", "a.example"),
        ("https://m\u00fcller.example/", "xn--mller-kva.example"),
        ("https://%61.example/", "a.example"),
        ("http://3221226029/", "192.0.2.45"),
        ("http://0xC0.0x00.0x02.0x2d/", "192.0.2.45"),
        ("http://0300.0.2.055/", "192.0.2.45"),
        ("http://192.0.557/", "192.0.2.45"),
        ("http://0xc000022d/", "192.0.2.45"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("http://999.1.1.1/", "999.1.1.1"),
        ("/relative", ""),
        ("mailto:a@b.example", ""),
        ("data:text/html,x", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_host_is_the_one_that_a_browser_would_ask(text, host):
    assert target_of(text).host == host


@pytest.mark.parametrize(
    "text",
    [
        "http://3221226029/", "http://0xC0.0.2.1/", "http://0300.0.2.1/", "http://192.0.557/", "http://%65vil.example/", "http://a%2eexample/",
        "http://e\u00advil.example/", "http://e\u200bvil.example/",
    ],
)  # fmt: skip
def test_a_host_that_nobody_can_read_is_disguised(text):
    assert target_of(text).disguised


@pytest.mark.parametrize(
    "text", ["http://192.0.2.1/", "https://a.example/%20x", "https://m\u00fcller.example", "http://%7Bhost%7D/"]
)
def test_a_plain_host_is_not(text):
    assert not target_of(text).disguised


def test_the_parts_of_an_address():
    target = target_of("https://bank.example:x@evil.example:8081/p?q#f")
    assert (target.user, target.port, target.rest, target.scheme) == ("bank.example:x", 8081, "/p?q#f", "https")
    assert target_of("https://a.example:443/").port == 0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://a.example/x", "a.example"), ("HTTP:/\\u:p@A.example.:80", "a.example"), ("//a.example", "a.example"),
        ("www.a.example/x", "www.a.example"), ("mailto:a@b.example", ""), ("#x", ""), ("/x", ""), ("javascript:alert()", ""), ("", ""),
    ],
)  # fmt: skip
def test_the_host_of_a_link(url, host):
    assert target_of(url).host == host


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("http://10.1.2.3/", True), ("http://192.168.1.1/", True), ("http://127.1/", True), ("http://intranet/", True), ("http://nas.local/", True),
        ("http://[::1]/", True), ("http://192.0.2.1/", False), ("http://a.example/", False),
    ],
)  # fmt: skip
def test_addresses_of_the_house_are_private(text, private):
    assert target_of(text).private is private


@given(st.text(max_size=300))
def test_any_text_is_read(text):
    for written in (text, "http://" + text, "https://a@" + text + "/x"):
        target = target_of(written)
        assert target.host == target.host.lower()
        assert len(target.host) <= 300
        assert target.private in (True, False)
        assert isinstance(target.organisation, str)
