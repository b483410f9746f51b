"""LDAP messages as octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.ldap import messages
from pipeline.sources.ldap.messages import Found, MalformedError, Reference, Result
from tests.support.ldap import BIND_OK, found, number, octets, paged, result, tlv

names = st.text("abcdefghijklmnopqrstuvwxyz;-0123456789", min_size=1, max_size=12)
values = st.lists(st.binary(max_size=300), max_size=5)
entries = st.tuples(st.binary(max_size=60), st.dictionaries(names, values, max_size=5))


def message(identifier: int, *parts: bytes) -> bytes:
    return tlv(0x30, number(identifier), *parts)


def entry(dn: bytes, attributes: dict[str, list[bytes]]) -> bytes:
    lists = [tlv(0x30, octets(name), tlv(0x31, *map(octets, some))) for name, some in attributes.items()]
    return tlv(0x64, octets(dn), tlv(0x30, *lists))


@given(st.integers(1, 2**31 - 1), entries)
def test_entries_are_read_as_they_were_written(identifier, written):
    octets_ = message(identifier, entry(*written))
    assert messages.size(octets_) == len(octets_)
    assert messages.read(octets_) == (identifier, Found(*written))


@given(st.integers(1, 2**31 - 1), st.integers(0, 200), st.text(max_size=50), st.binary(max_size=40))
def test_results_are_read_as_they_were_written(identifier, code, words, cookie):
    octets_ = message(identifier, result(0x65, code, words, matched="dc=x", referral="ldap://y/"), paged(cookie))
    read, answer = messages.read(octets_)
    assert isinstance(answer, Result)
    assert (read, answer.code, answer.matched, answer.words) == (identifier, code, b"dc=x", words.encode())
    assert answer.referrals == (b"ldap://y/",)
    assert answer.cookie == cookie


def test_references_and_what_says_nothing_are_told_apart():
    assert messages.read(message(1, tlv(0x73, octets("ldap://a/"), octets("ldap://b/")))) == (
        1,
        Reference((b"ldap://a/", b"ldap://b/")),
    )
    assert messages.read(message(1, tlv(0x79, octets("x")))) == (1, None)


@given(st.binary(max_size=400))
def test_any_octets_are_a_message_or_malformed(data):
    for candidate in (data, tlv(0x30, data), message(1, data), message(1, tlv(0x64, data)), message(1, BIND_OK, data)):
        for function in (messages.size, messages.read):
            try:
                function(candidate)
            except MalformedError:
                continue


@given(entries, st.data())
def test_a_message_that_is_cut_or_spoiled_is_never_more_than_it_was(written, data):
    whole = message(1, entry(*written))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedError):
        messages.read(whole[:cut])
    spoiled = bytearray(whole)
    spoiled[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, answer = messages.read(bytes(spoiled))
    except MalformedError:
        return
    if isinstance(answer, Found):
        assert sum(len(value) for some in answer.attributes.values() for value in some) <= len(whole)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"", 0),
        (b"\x30", 0),
        (b"\x30\x05", 7),
        (b"\x30\x81", 0),
        (b"\x30\x81\x80", 131),
        (b"\x30\x84\x00\x00\x01", 0),
        (b"\x30\x84\x00\x00\x01\x00", 262),
    ],
)
def test_the_size_of_a_message_is_known_from_its_first_octets(head, size):
    assert messages.size(head) == size


@pytest.mark.parametrize("head", [b"2", b"22", b"\x16\x03", b"\x30\x80", b"\x30\x85\0\0\0\0\0", b"\x30\xff"])
def test_what_cannot_begin_a_message_is_refused_at_once(head):
    with pytest.raises(MalformedError):
        messages.size(head)


def test_a_cookie_of_another_shape_is_malformed():
    control = tlv(0xA0, tlv(0x30, octets("1.2.840.113556.1.4.319"), octets(b"\x04\x03abc")))
    _, answer = messages.read(message(1, result(0x65), control))
    assert isinstance(answer, Result)
    with pytest.raises(MalformedError):
        _ = answer.cookie


def test_the_criticality_of_a_control_is_passed_over():
    value = tlv(0x30, number(0), octets(b"next"))
    control = tlv(0xA0, tlv(0x30, octets("1.2.840.113556.1.4.319"), tlv(0x01, b"\xff"), octets(value)))
    _, answer = messages.read(message(1, result(0x65), control))
    assert isinstance(answer, Result)
    assert answer.cookie == b"next"


@pytest.mark.parametrize(
    ("control", "cookie"),
    [
        (b"", b""),
        (tlv(0x30), b""),
        (tlv(0x30, tlv(0x01, b"\xff")), b""),
        (tlv(0x30, octets("rid=000,csn=1")), b"rid=000,csn=1"),
    ],
)
def test_the_state_of_a_directory_may_be_missing(control, cookie):
    _, answer = messages.read(
        message(1, result(0x65), tlv(0xA0, tlv(0x30, octets(messages.SYNC_DONE), octets(control))))
    )
    assert isinstance(answer, Result)
    assert answer.sync_cookie == cookie


# Requests, beside the same written by hand


def test_a_search_asks_for_what_it_was_told_to():
    condition = r"(&(objectClass=person)(cn=\2a*b*)(mail=*))"
    request = messages.search_request(7, "dc=x", "one", condition, ["mail", "cn"], page=(500, b"cookie"))
    terms = (
        tlv(0xA3, octets("objectClass"), octets("person")),
        tlv(0xA4, octets("cn"), tlv(0x30, tlv(0x80, b"*"), tlv(0x81, b"b"))),
        tlv(0x87, b"mail"),
    )
    search = tlv(
        0x63,
        octets("dc=x"), number(1, 0x0A), number(0, 0x0A), number(0), number(0), tlv(0x01, b"\0"),
        tlv(0xA0, *terms),
        tlv(0x30, octets("mail"), octets("cn")),
    )  # fmt: skip
    control = tlv(0x30, octets(messages.PAGED), tlv(0x01, b"\0"), octets(tlv(0x30, number(500), octets("cookie"))))
    shorter = tlv(0x30, octets(messages.PAGED), octets(tlv(0x30, number(500), octets("cookie"))))
    assert request in [message(7, search, tlv(0xA0, one)) for one in (control, shorter)]


def test_a_negated_rule_is_written_as_the_rfc_says():
    rule = tlv(0x81, b"1.2.840.113556.1.4.803"), tlv(0x82, b"flags"), tlv(0x83, b"2")
    request = messages.search_request(1, "", "sub", "(!(flags:1.2.840.113556.1.4.803:=2))", ["mail"])
    assert any(tlv(0xA2, tlv(0xA9, *rule, default)) in request for default in (b"", tlv(0x84, b"\0")))


def test_the_state_is_asked_for_so_that_it_is_given_or_refused():
    request = messages.search_request(1, "dc=x", "base", "(objectClass=*)", ["1.1"], sync=True)
    critical = tlv(0x30, octets(messages.SYNC_REQUEST), tlv(0x01, b"\xff"), octets(tlv(0x30, number(1, 0x0A))))
    assert request.endswith(tlv(0xA0, critical))


@pytest.mark.parametrize(("dn", "password"), [("cn=admin,dc=x", "pässwörd"), ("", "")])
def test_a_bind_carries_name_and_password(dn, password):
    expected = tlv(0x60, number(3), octets(dn), tlv(0x80, password.encode()))
    assert messages.bind_request(1, dn, password) == message(1, expected)


def test_starttls_and_unbind_are_what_the_rfc_says():
    assert messages.starttls_request(1) == message(1, tlv(0x77, tlv(0x80, b"1.3.6.1.4.1.1466.20037")))
    assert messages.unbind_request(2) == message(2, tlv(0x42))


@pytest.mark.parametrize(
    "text",
    ["(mail=*)", "(&(a=b)(|(c=d*e*f)(!(g>=h))(i~=j)))", r"(cn=\28x\29)", "(uac:1.2.840.113556.1.4.803:=2)", "(cn=jörg)"],
)  # fmt: skip
def test_filters_are_known(text):
    assert messages.filter_fault(text) == ""


@pytest.mark.parametrize(
    "text",
    ["mail=*", "(mail=*", "(mail)", "()", "(&)", "((a=b))", "(a=b)(c=d)", "(!(a=b)(c=d))", "(a=b))(", "(&(a=b)", "(" * 5000 + ")" * 5000, "(!" * 5000 + "(a=b)" + ")" * 5000],
)  # fmt: skip
def test_what_is_no_filter_is_told(text):
    assert messages.filter_fault(text) != ""


@given(st.text("()&|!=*<>~:\\ab1 ", max_size=30))
def test_any_text_is_a_filter_or_told_to_be_none(text):
    if messages.filter_fault(text) == "":
        request = messages.search_request(1, "", "sub", text, ["mail"])
        assert messages.size(request) == len(request)


def test_found_of_the_tests_is_what_they_think():
    assert messages.read(message(1, found("x", **{"a_b__range_eq_0-1": ["v"]}))) == (
        1,
        Found(b"x", {"a-b;range=0-1": [b"v"]}),
    )
