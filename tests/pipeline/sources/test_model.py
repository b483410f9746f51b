"""What a listing is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources import faults
from pipeline.sources.faults import ImplausibleError, LimitedError, SourceError, shown
from pipeline.sources.model import MAX_CATCH_ALL, MAX_PROBLEMS, MAX_TARGETS, Collector, Entry, Mark, digest, opened

addresses = st.from_regex(r"[a-cA-CäÄ\"]{1,3}@[a-bA-B]\.test", fullmatch=True) | st.text(max_size=20)


@given(st.lists(addresses, max_size=30))
def test_every_address_is_listed_once_or_is_a_problem(texts):
    collector = Collector()
    written = [collector.add(text, "mailbox") for text in texts]
    try:
        listing = collector.listing()
    except ImplausibleError:
        assert not any(written)
        return
    keys = [(entry.local.casefold(), entry.domain) for entry in listing.entries]
    assert len(keys) == len(set(keys))
    assert listing.problem_count == written.count("")
    assert all(problem.isprintable() for problem in listing.problems)


def test_the_first_mention_of_an_address_counts():
    collector = Collector()
    assert collector.add(' "Anna"@EXAMPLE.test ', "group", ("x@y.test",), "one") == "Anna@example.test"
    assert collector.add("anna@example.test", "mailbox", (), "two") == "anna@example.test"
    assert collector.listing().entries == (Entry("Anna", "example.test", "group", ("x@y.test",), "one"),)


def test_letters_that_are_composed_differently_are_the_same():
    collector = Collector()
    collector.add("jo\u0308rg@example.test", "mailbox")
    collector.add("J\u00d6RG@example.test", "mailbox")
    assert [entry.local for entry in collector.listing().entries] == ["j\u00f6rg"]


def test_the_limit_is_of_addresses_and_not_of_mentions():
    collector = Collector(limit=1)
    collector.add("a@x.test", "mailbox")
    collector.add("A@x.test", "mailbox")
    with pytest.raises(LimitedError, match="more than 1 addresses"):
        collector.add("b@x.test", "mailbox")


def test_targets_are_kept_as_far_as_there_is_room():
    collector = Collector(limit=MAX_TARGETS + 10)
    targets = tuple(f"t{n}@x.test" for n in range(MAX_TARGETS + 5))
    for name in ("a", "b", "c"):
        collector.add(f"{name}@x.test", "group", targets)
    assert [len(entry.targets) for entry in collector.listing().entries] == [MAX_TARGETS, MAX_TARGETS, 0]


def test_catch_alls_are_bounded_and_neutral():
    collector = Collector()
    collector.add("a@x.test", "mailbox")
    for n in range(MAX_CATCH_ALL + 5):
        collector.catch_all(f"d{n}.test\x1b", "|/x\r\n")
    collector.catch_all("d0.test\x1b", "|/x\r\n")
    found = collector.listing().catch_all
    assert len(found) == MAX_CATCH_ALL
    assert found[0] == (r"d0.test\x1b", "|/x")


def test_problems_are_bounded_counted_and_neutral():
    collector = Collector()
    collector.add("a@x.test", "mailbox")
    for _ in range(MAX_PROBLEMS + 1):
        collector.problem("cn=\x1b[2J", "x" * 1000 + "\n\u202e")
    listing = collector.listing()
    assert (len(listing.problems), listing.problem_count) == (MAX_PROBLEMS, MAX_PROBLEMS + 1)
    assert listing.problems[0].startswith(r"cn=\x1b[2J: xxx")
    assert len(listing.problems[0]) <= faults.MAX_WORDS


def test_an_empty_listing_says_what_it_consisted_of():
    collector = Collector()
    with pytest.raises(ImplausibleError, match=r"no address at all\Z"):
        collector.listing()
    collector.problem("line 1", "broken")
    with pytest.raises(ImplausibleError, match="and 1 that are none; the first: line 1: broken"):
        collector.listing()


@given(st.binary(max_size=20), st.text(max_size=20), st.binary(max_size=50))
def test_a_marker_is_read_back(asked, server, state):
    mark = Mark(asked, server, state)
    assert opened(mark.seal()) == mark


@given(st.binary(max_size=60))
def test_any_octets_are_a_marker_or_none(data):
    mark = opened(data)
    assert mark is None or isinstance(mark, Mark)


def test_different_questions_have_different_digests():
    questions = [("a", "b"), ("ab",), ("a", ("b",)), (), ("a", "b", None)]
    assert len({digest(*question) for question in questions}) == len(questions)
    assert digest("a", 1) == digest("a", 1)


@given(st.text() | st.binary(), st.integers(10, 300))
def test_words_from_outside_are_one_bounded_visible_line(words, most):
    said = shown(words, most)
    assert len(said) <= most
    assert said == "" or said.isprintable()


def test_the_tree_of_faults_is_the_one_in_the_docstring():
    names = {line.split()[1] for line in (faults.__doc__ or "").splitlines() if "──" in line}
    assert names == {kind.__name__ for kind in SourceError.__subclasses__()}
