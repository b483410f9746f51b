"""What an entry lists, by the query that found it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.definitions import LdapSource, Query
from pipeline.sources.faults import ImplausibleError
from pipeline.sources.ldap.entries import Question
from pipeline.sources.ldap.messages import Found
from pipeline.sources.model import MAX_TARGETS, Collector, Listing

EXCHANGE = Query(addresses=("mail", "SMTP:proxyAddresses"), aliases=("smtp:proxyAddresses",))


def listed(query: Query, *, domain: str = "", **attributes: list[str]) -> Listing:
    collector = Collector(domain=domain)
    values = {name.lower().replace("__", ";"): [value.encode() for value in some] for name, some in attributes.items()}
    definition = LdapSource(servers=("ldap://x",), base="dc=x")
    Question(query, definition).take(Found(b"cn=x", values), collector)
    return collector.listing()


def simple(found: Listing) -> list[Any]:
    return [(f"{entry.local}@{entry.domain}", entry.kind, *entry.targets) for entry in found.entries]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["SMTP:a@x.test", "smtp:b@x.test"], ["a@x.test mailbox", "b@x.test alias a@x.test"]),
        (["smtp:b@x.test", "SMTP:a@x.test"], ["a@x.test mailbox", "b@x.test alias a@x.test"]),
        (["smtp:b@x.test", "smtp:c@x.test"], ["b@x.test mailbox", "c@x.test alias b@x.test"]),
        (["Smtp:b@x.test"], ["b@x.test mailbox"]),
        (["SMTP: a@x.test", "a@x.test"], ["a@x.test mailbox"]),
        (["plain@x.test"], ["plain@x.test mailbox"]),
        (["SMTP:a@x.test", "X500:/o=x", "SIP:a@sip.test", "x400:C=US;A= ;", "EUM:1;", "smtp:"], ["a@x.test mailbox"]),
    ],
)
def test_proxy_addresses_are_told_apart_by_their_prefixes(values, expected):
    assert [" ".join(row) for row in simple(listed(EXCHANGE, proxyAddresses=values))] == expected


def test_the_first_of_the_main_attributes_is_the_main_address():
    found = listed(EXCHANGE, mail=["m@x.test"], proxyAddresses=["SMTP:a@x.test", "smtp:b@x.test", "smtp:M@X.test"])
    assert simple(found) == [
        ("m@x.test", "mailbox"),
        ("a@x.test", "alias", "m@x.test"),
        ("b@x.test", "alias", "m@x.test"),
    ]


def test_a_broken_main_address_leaves_its_place_to_the_next():
    found = listed(EXCHANGE, mail=["broken"], proxyAddresses=["smtp:b@x.test", "smtp:c@x.test"])
    assert simple(found) == [("b@x.test", "mailbox"), ("c@x.test", "alias", "b@x.test")]
    assert found.problems == ("cn=x: broken: not an address; expected local@domain",)


def test_options_of_an_attribute_make_no_difference():
    found = listed(Query(), mail=["a@x.test"], **{"mail__lang-de": ["b@x.test"], "mail__binary": ["c@x.test"]})
    assert sorted(simple(found)) == [("a@x.test", "mailbox"), ("b@x.test", "mailbox"), ("c@x.test", "mailbox")]


@pytest.mark.parametrize("state", ["closed", "CLOSED", "Closed"])
def test_an_entry_in_an_excluded_state_lists_nothing(state):
    with pytest.raises(ImplausibleError):
        listed(Query(unless=("status=closed",)), mail=["a@x.test"], status=[state])
    assert len(listed(Query(unless=("status=closed",)), mail=["a@x.test"], status=["open"]).entries) == 1
    assert len(listed(Query(unless=("status=closed",)), mail=["a@x.test"]).entries) == 1


def test_a_contact_whose_only_address_is_elsewhere_is_none_of_ours():
    contact = Query(
        kind="forwarder", addresses=("mail",), aliases=("smtp:proxyAddresses",), targets=("smtp:targetAddress",)
    )
    found = listed(contact, mail=["P@else.test"], targetAddress=["SMTP:p@else.test"], proxyAddresses=["smtp:p@x.test"])
    assert simple(found) == [("p@x.test", "forwarder", "p@else.test")]
    with pytest.raises(ImplausibleError):
        listed(contact, mail=["p@else.test"], targetAddress=["SMTP:p@else.test"])


def test_targets_that_are_no_addresses_are_passed_over_and_the_others_bounded():
    group = Query(kind="group", targets=("member",))
    members = ["cn=anna,dc=x", "|/bin/program", "local", *(f"m{n}@x.test" for n in range(MAX_TARGETS + 5))]
    found = listed(group, mail=["g@x.test"], member=members)
    assert len(found.entries[0].targets) == MAX_TARGETS
    assert found.entries[0].targets[0] == "m0@x.test"
    assert found.problems == ()


def test_an_attribute_named_for_two_purposes_is_asked_for_once():
    question = Question(EXCHANGE, LdapSource(servers=("ldap://x",), base="dc=x", filter="(a=b)", more=("uid",)))
    assert question.attributes == ("mail", "proxyaddresses", "uid")
    assert question.filter == "(&(objectClass=*)(a=b)(|(mail=*)(proxyaddresses=*)(uid=*)))"


@given(
    st.dictionaries(st.sampled_from(["mail", "proxyaddresses", "other"]), st.lists(st.binary(max_size=50), max_size=4))
)
def test_any_octets_in_an_entry_are_addresses_or_problems(attributes):
    collector = Collector()
    Question(EXCHANGE, LdapSource(servers=("ldap://x",), base="dc=x")).take(Found(b"cn=\xff", attributes), collector)
    assert len(collector) + collector.problem_count <= 2 * sum(map(len, attributes.values()))
