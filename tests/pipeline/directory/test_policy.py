"""What a domain and a person may say of their mail, and what holds when several say something."""

from __future__ import annotations

import pytest

from pipeline.directory import Domain
from pipeline.directory.inherit import effective
from pipeline.directory.policy import Policy, check, over, resolve
from pipeline.faults import ConfigurationError

OURS = {"spam_threshold": 5.0, "phishing_threshold": 4.0}


def test_each_field_is_taken_from_the_nearest_that_says_it_and_who_that_is_is_known():
    found = resolve(
        [
            ("set by anna", Policy(spam="tag")),
            ("set for shop.example", Policy(spam="discard", spam_threshold=7.0)),
            ("set for example", Policy(bulk="quarantine", prefix="[SPAM]")),
        ],
        **OURS,
        personal="set by anna",
    )
    assert (found.acts["spam"], found.acts["bulk"], found.acts["virus"]) == ("tag", "quarantine", "quarantine")
    assert (found.spam_threshold, found.phishing_threshold, found.prefix) == (7.0, 4.0, "[SPAM]")
    assert found.origins == {
        "spam_threshold": "set for shop.example", "phishing_threshold": "the setting phishing_threshold",
        "bulk": "set for example", "spam": "set by anna", "phishing": "the default", "spoof": "the default",
        "content": "the default", "virus": "the default", "prefix": "set for example",
    }  # fmt: skip


def test_of_what_a_person_says_only_what_is_theirs_counts_and_within_bounds():
    mine = Policy(spam_threshold=500.0, phishing_threshold=0.1, content="deliver", virus="discard", spoof="deliver")
    found = resolve([("mine", mine)], **OURS, personal="mine")
    assert (found.spam_threshold, found.phishing_threshold) == (15.0, 2.0)
    assert {found.acts[kind] for kind in ("content", "virus", "spoof")} == {"quarantine"}


def test_what_an_old_or_damaged_store_says_of_viruses_lets_none_pass():
    assert resolve([("x", Policy(virus="deliver", spam="eat"))], **OURS).acts["virus"] == "quarantine"
    assert resolve([("x", Policy(virus="deliver", spam="eat"))], **OURS).acts["spam"] == "quarantine"


def test_a_child_takes_from_its_parents_field_by_field_and_can_say_that_there_is_no_prefix():
    domains = {
        "a.test": Domain(
            name="a.test", route=("x:25",), policy=Policy(spam="tag", prefix="[SPAM]", spam_threshold=6.0)
        ),
        "b.a.test": Domain(name="b.a.test", parent="a.test", policy=Policy(prefix="none")),
    }
    policy = effective(domains, domains["b.a.test"]).policy
    assert policy == Policy(spam="tag", prefix="none", spam_threshold=6.0)
    assert resolve([("x", policy)], **OURS).prefix == ""
    assert over([None, None]) is None


@pytest.mark.parametrize(
    ("policy", "personal", "said"),
    [
        (Policy(virus="deliver"), False, "a virus is never delivered"),
        (Policy(virus="tag"), False, "a virus is never delivered"),
        (Policy(spam="eat"), False, "no action 'eat'"),
        (Policy(spam_threshold=-1.0), False, "expected 0.5 to 1000"),
        (Policy(spam_threshold=2000.0), False, "expected 0.5 to 1000"),
        (Policy(spam_threshold=20.0), True, "expected 2 to 15 for a person"),
        (Policy(phishing_threshold=9.0), True, "expected 2 to 8"),
        (Policy(content="deliver"), True, "not a person's to say"),
        (Policy(virus="discard"), True, "not a person's to say"),
        (Policy(phishing="deliver"), True, "not a person's to say"),
        (Policy(prefix="x\r\nBcc: y"), False, "printable ASCII"),
        (Policy(prefix="ü"), False, "printable ASCII"),
        (Policy(prefix="x" * 41), False, "at most 40"),
        (Policy(prefix="=?utf-8?q?x?="), False, "printable ASCII"),
    ],
)
def test_what_nobody_may_say_is_refused(policy, personal, said):
    with pytest.raises(ConfigurationError, match=said):
        check(policy, personal=personal)


def test_what_they_may_say_is_taken():
    check(Policy(virus="discard", content="deliver", spam="tag", prefix="[SPAM]", spam_threshold=0.5), personal=False)
    check(Policy(bulk="discard", spam="deliver", spam_threshold=15.0, phishing_threshold=2.0), personal=True)
