"""Which entries of lists speak of a message, which of them count, and which one holds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory.lists.entries import ALLOW, BLOCK, EMPTY, Rule, parse
from pipeline.directory.lists.matching import DOMAIN, OPERATOR, PERSON, Asked, Match, Patterns, Sender, ruling

SENDER = Sender(
    envelope="bounce-17@news.shop.example",
    authors=("Offers@shop.example",),
    client="192.0.2.7",
    country="DE",
    authenticated=frozenset({"shop.example"}),
)


def asked(rules: list[Rule], sender: Sender = SENDER, now: int = 10) -> tuple[Match, ...]:
    """As the store does it: by key, and the patterns one by one."""
    summary = EMPTY
    stored = {}
    for rule in rules:
        summary = summary.changed(stored.get(rule.key), rule)
        stored[rule.key] = rule
    asked = Asked(sender)
    found = [stored[key] for key in asked.keys(summary) if key in stored]
    return asked.matches(found, Patterns(summary.patterns.values()), now, level=DOMAIN, whose="of a.test")


@pytest.mark.parametrize(
    ("entry", "speaks_of"),
    [
        ("bounce-17@news.shop.example", "the sender bounce-17@news.shop.example"),
        ("BOUNCE-17@news.shop.example", "the sender bounce-17@news.shop.example"),
        ("offers@shop.example", "the author Offers@shop.example"),
        ("news.shop.example", "the sender bounce-17@news.shop.example"),
        ("shop.example", "the sender bounce-17@news.shop.example"),
        ("bounce-*@news.shop.example", "the sender bounce-17@news.shop.example"),
        ("*@*.shop.example", "the sender bounce-17@news.shop.example"),
        ("offers@*", "the author Offers@shop.example"),
        ("192.0.2.7", "the client 192.0.2.7"),
        ("192.0.0.0/16", "the client 192.0.2.7"),
        ("country:DE", "the client's country DE"),
        ("hop.example", ""),
        ("x.shop.example", ""),
        ("bounce-18@news.shop.example", ""),
        ("bounce-*@shop.example", ""),
        ("*@*.news.shop.example", ""),
        ("192.0.3.0/24", ""),
        ("2001:db8::/32", ""),
        ("country:FR", ""),
    ],
)
def test_an_entry_speaks_of_the_sender_the_author_the_client_or_its_country(entry, speaks_of):
    assert [match.said for match in asked([parse(entry, BLOCK)])] == ([speaks_of] if speaks_of else [])


@pytest.mark.parametrize(
    ("entry", "authenticated", "counts"),
    [
        ("offers@shop.example", {"shop.example"}, True),
        ("offers@shop.example", set(), False),
        ("offers@shop.example", {"evil.example"}, False),
        ("offers@shop.example", {"x.shop.example"}, False),
        ("offers@shop.example", {"example"}, False),
        ("news.shop.example", {"shop.example"}, True),
        ("news.shop.example", {"news.shop.example"}, True),
        ("shop.example", {"news.shop.example"}, True),
        ("shop.example", {"other.example"}, False),
        ("*@*.shop.example", {"shop.example"}, True),
        ("*@*.shop.example", set(), False),
        ("192.0.2.0/24", set(), True),
        ("country:DE", set(), True),
    ],
)
def test_an_allow_of_an_address_counts_only_when_its_domain_is_authenticated(entry, authenticated, counts):
    sender = Sender(
        envelope=SENDER.envelope, authors=SENDER.authors, client=SENDER.client, country="DE",
        authenticated=frozenset(authenticated),
    )  # fmt: skip
    (match,) = asked([parse(entry, ALLOW)], sender)
    assert match.problem == ("" if counts else "the sender is not authenticated")
    assert ruling([match]) == (match if counts else None)
    (block,) = asked([parse(entry, BLOCK)], sender)
    assert ruling([block]) == block


def test_the_domain_that_is_authenticated_has_to_be_that_of_the_address_that_the_entry_names():
    forged = Sender(envelope="x@evil.example", authors=("boss@a.test",), authenticated=frozenset({"evil.example"}))
    (match,) = asked([parse("a.test", ALLOW)], forged)
    assert match.problem


@pytest.mark.parametrize(
    "written", ["max@b\u00fccher.example", "max@B\u00dcCHER.EXAMPLE.", "max@xn--bcher-kva.example"]
)
@pytest.mark.parametrize("entry", ["b\u00fccher.example", "max@b\u00fccher.example", "*@*.xn--bcher-kva.example"])
def test_an_author_s_domain_is_the_same_in_unicode_and_in_a_labels(written, entry):
    """An author in Unicode is no way around a block, and is authenticated as the domain that the DNS has."""
    name = written.replace("@", "@x.") if "*" in entry else written
    sender = Sender(authors=(name,), authenticated=frozenset({"xn--bcher-kva.example"}))
    for action in (BLOCK, ALLOW):
        (match,) = asked([parse(entry, action)], sender)
        assert not match.problem


def test_an_entry_that_is_over_does_not_count():
    assert asked([parse("shop.example", BLOCK, expires=10)], now=10) == ()
    assert len(asked([parse("shop.example", BLOCK, expires=11)], now=10)) == 1
    assert asked([parse("*@*.shop.example", BLOCK, expires=10)], now=10) == ()


def test_an_ipv4_client_in_ipv6_clothes_is_an_ipv4_client():
    sender = Sender(client="::ffff:192.0.2.7")
    assert len(asked([parse("192.0.2.0/24", BLOCK)], sender)) == 1


@pytest.mark.parametrize(
    "envelope", ["", "x", "@", "x@", "@y.example", "a@b@c.example", "x@" + "a." * 2000 + "b", "\x00@\x00"]
)
def test_whatever_a_sender_is_called_lists_can_be_asked(envelope):
    sender = Sender(envelope=envelope, authors=(envelope,), client=envelope)
    keys = Asked(sender).keys(EMPTY.changed(None, parse("192.0.2.0/24", BLOCK)))
    assert len(keys) < 60


LEVELS = st.sampled_from([OPERATOR, DOMAIN, PERSON])
ENTRIES = ["offers@shop.example", "shop.example", "news.shop.example", "*@*.shop.example", "192.0.2.0/24", "country:DE"]
MATCHES = st.lists(
    st.builds(
        lambda entry, action, level, problem: Match(
            parse(entry, action), level, "", "", problem if action == ALLOW else ""
        ),
        st.sampled_from(ENTRIES),
        st.sampled_from([ALLOW, BLOCK]),
        LEVELS,
        st.sampled_from(["", "", "not authenticated"]),
    ),
    max_size=8,
)


@given(MATCHES, st.integers())
def test_the_order_of_entries_does_not_matter(matches, seed):
    other = list(matches)
    random.Random(seed).shuffle(other)
    one, two = ruling(matches), ruling(other)
    assert (one and one.order()) == (two and two.order())


@given(MATCHES)
def test_a_person_goes_before_the_domain_and_that_before_the_operator(matches):
    found = ruling(matches)
    counted = [match for match in matches if not match.problem]
    assert (found is None) == (not counted)
    if found is not None:
        assert found.level == max(match.level for match in counted)
        same = [match for match in counted if match.level == found.level and match.rule.rank == found.rule.rank]
        assert found.rule.action == BLOCK or all(match.rule.action == ALLOW for match in same)


@given(MATCHES, st.sampled_from(ENTRIES), LEVELS)
def test_a_block_more_never_makes_an_allow_hold(matches, entry, level):
    before = ruling(matches)
    after = ruling([*matches, Match(parse(entry, BLOCK), level, "", "")])
    assert after is not None
    if before is None or before.rule.action == BLOCK:
        assert after.rule.action == BLOCK
