"""Many attempts, counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.diagnosis import Action, diagnose, explain, read
from pipeline.diagnosis import tally as module
from pipeline.diagnosis.table import parse, shipped
from pipeline.diagnosis.tally import MAX_GROUPS, MAX_GROUPS_OF_DOMAIN, Backtest, Decided, Unknowns, likeness
from pipeline.diagnosis.words import DOES, OWNER, RENTER
from pipeline.events import Attempt
from tests.pipeline.diagnosis.test_diagnose import REPLIES, attempt

TABLE = read()
CHANGED = parse(
    shipped() + '\n[[rule]]\nname = "huch"\nclass = "server"\naction = "hold"\nphrases = ["huch"]\n',
    "changed.toml",
)


def refusal(words: str, code: int = 550) -> Attempt:
    return Attempt(server="mx:25", stage="rcpt", code=code, enhanced=f"{code // 100}.0.0", reply=f"{code} {words}")


def test_what_another_table_decides_otherwise_is_counted_with_the_newest_example():
    tested = Backtest(TABLE, CHANGED)
    tested.add("a.test", 3, refusal("Huch 3"))
    tested.add("b.test", 5, refusal("Huch 5"))
    tested.add("c.test", 1, refusal("Huch 1"))
    tested.add("c.test", 1, refusal("5.1.1 User unknown"))
    assert (tested.seen, tested.otherwise, tested.left_off) == (4, 3, 0)
    (group,) = tested.groups()
    assert group.before == Decided("", "other", Action.FAIL)
    assert group.after == Decided("huch", "server", Action.HOLD)
    assert (group.count, group.first, group.last) == (3, 1, 5)
    assert (group.domain, group.example.reply) == ("b.test", "550 Huch 5")


def test_the_same_table_decides_nothing_otherwise():
    tested = Backtest(TABLE, parse(shipped(), "same.toml"))
    for software, stage, *_, reply in REPLIES:
        tested.add("a.test", 1, attempt(stage, reply, software))
    assert (tested.seen, tested.otherwise, tested.groups()) == (len(REPLIES), 0, [])


def test_without_another_table_all_are_counted_by_what_was_decided_the_most_frequent_first():
    tested = Backtest(TABLE)
    for number in range(3):
        tested.add("a.test", number, refusal("User unknown"))
    tested.add("a.test", 9, refusal("Huch"))
    assert [(group.count, group.before.about, group.after) for group in tested.groups()] == [
        (3, "recipient", None),
        (1, "other", None),
    ]


def test_the_server_s_software_counts():
    own = parse(
        shipped() + '\n[[rule]]\nname = "huch"\nclass = "server"\nsoftware = ["exim"]\nphrases = ["huch"]\n', "own.toml"
    )
    tested = Backtest(TABLE, own)
    for software in ("exim", "postfix", ""):
        tested.add("a.test", 1, Attempt(server="x", stage="rcpt", code=550, reply="550 Huch", software=software))
    assert tested.otherwise == 1


def test_unknown_replies_that_differ_in_numbers_addresses_and_queue_ids_are_one():
    found = Unknowns(TABLE)
    found.add("b.test", 2, refusal("Huch 4Xyz17 for <anna@b.test> from [192.0.2.7]:4711"))
    found.add("a.test", 9, refusal("Huch 9Abc99 for <ben@a.test> from [198.51.100.20]:25"))
    found.add("a.test", 4, refusal("huch  1 for carla@a.test from [2001:db8::1]:1"))
    found.add("a.test", 5, refusal("Anders", 450))
    found.add("a.test", 5, refusal("5.1.1 User unknown"))
    assert (found.seen, found.unknown, found.left_off) == (5, 4, 0)
    huch = found.groups()[0]
    assert (huch.count, huch.first, huch.last, list(huch.domains)) == (2, 2, 9, ["b.test", "a.test"])
    assert huch.example.reply == "550 Huch 9Abc99 for <ben@a.test> from [198.51.100.20]:25"
    assert {(group.code, group.count) for group in found.groups()} == {(550, 2), (550, 1), (450, 1)}


@pytest.mark.parametrize(
    ("reply", "same"),
    [
        ("550 5.7.1 Huch (in reply to 4XyZ1)", "huch (in reply to #)"),
        ("550-Huch\n550 [192.0.2.1]:25", "huch [#]:#"),
        ("550 a1-20020 - gsmtp", "# - gsmtp"),
        ("550 at 2026-11-24T10:00:00+0100", "at #"),
        ("550 <a@b.example>... huch", "<@>... huch"),
        ("550", ""),
        ("550 größe_7", "größe_#"),
    ],
)
def test_a_likeness_is_the_words_without_what_changes(reply, same):
    assert likeness(reply) == same


@given(st.text(max_size=5000))
def test_a_likeness_is_bounded_and_stays_as_it_is(text):
    made = likeness(text)
    assert len(made) <= module.LONGEST_LIKENESS
    assert not any(letter.isdigit() for letter in made)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ["a", "#", "1.", "@", "a@", "550-", "1", "x1#.", " "])
def test_a_reply_made_to_be_slow_is_read_in_linear_time(piece):
    """A hundred kilobytes, of which no attempt has more than four; a quadratic pattern takes minutes."""
    text = "550 " + piece * (100_000 // len(piece))
    assert len(likeness(text)) <= module.LONGEST_LIKENESS
    assert diagnose(refusal(text)).rule == ""


def test_the_number_of_groups_is_bounded_and_what_is_left_off_is_counted(monkeypatch):
    monkeypatch.setattr(module, "MAX_GROUPS", 5)
    monkeypatch.setattr(module, "MAX_GROUPS_OF_DOMAIN", 3)
    words = ["one", "two", "three", "four", "five", "six"]
    found = Unknowns(TABLE)
    for word in words:
        found.add("loud.test", 1, refusal(f"Huch {word}"))
    found.add("quiet.test", 2, refusal("Ach"))
    found.add("quiet.test", 2, refusal("Ach"))
    assert (len(found.groups()), found.left_off, found.unknown) == (4, 3, 8)
    assert found.groups()[0].domains == {"quiet.test": None}
    for number, word in enumerate(words):
        found.add(f"{number}.test", 3, refusal(f"Hm {word}"))
    assert (len(found.groups()), found.left_off) == (5, 3 + 5)
    assert MAX_GROUPS_OF_DOMAIN < MAX_GROUPS

    rules = "".join(f'[[rule]]\nname = "{word}"\nclass = "server"\nphrases = ["{word}"]\n' for word in words)
    tested = Backtest(TABLE, parse(f"{shipped()}\n{rules}", "many.toml"))
    for word in words:
        tested.add("a.test", 1, refusal(f"Huch {word}"))
    assert (len(tested.groups()), tested.left_off, tested.otherwise) == (5, 1, 6)


def test_the_domains_of_a_group_are_named_up_to_a_number():
    found = Unknowns(TABLE)
    for number in range(module.NAMED + 1):
        found.add(f"{number}.test", number, refusal("Huch"))
    (group,) = found.groups()
    assert (len(group.domains), group.more_domains, group.count) == (module.NAMED, True, module.NAMED + 1)


@pytest.mark.parametrize(("software", "stage", "about", "action", "reply"), REPLIES)
def test_what_is_explained_is_what_is_diagnosed_and_names_what_was_met(software, stage, about, action, reply):
    one = attempt(stage, reply, software)
    explained = explain(one)
    assert explained.found == diagnose(one)
    rule = next((rule for rule in TABLE.rules if rule.name == explained.found.rule), None)
    if rule is None:
        assert explained.met == ()
        return
    given_ = {"stages": rule.stages, "codes": rule.codes, "enhanced": rule.enhanced, "software": rule.software, "phrases": rule.phrases, "with": rule.also}  # fmt: skip
    assert {one.condition for one in explained.met} == {name for name, values in given_.items() if values}
    assert all(one.value in given_[one.condition] for one in explained.met)


def test_what_the_table_proposes_is_told_where_it_has_not_the_last_word():
    late = explain(refusal("5.1.1 User unknown", 450))
    assert (late.proposed, late.found.action) == (Action.FAIL, Action.RETRY)
    assert explain(refusal("5.1.1 User unknown")).proposed is Action.FAIL


def test_each_action_is_told_in_each_language():
    assert set(DOES) == set(Action)
    for texts in (*DOES.values(), OWNER, RENTER):
        assert set(texts) == {"en", "de"}
        assert all(texts.values())
