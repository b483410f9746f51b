"""From findings, settings and lists to what happens to each copy: tables, and what must hold whatever anybody sets."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.actions import tag_parts
from pipeline.directory.lists.entries import ALLOW, BLOCK, parse
from pipeline.directory.lists.matching import DOMAIN, OPERATOR, PERSON, Match
from pipeline.directory.policies import View, Views, unlisted
from pipeline.directory.policy import CLASSES, NEVER_OUT, STRICTNESS, Act, Policy, resolve
from pipeline.events import Decision, Finding
from pipeline.scanning.engine import Report
from pipeline.scanning.policy import judge
from pipeline.scanning.verdict import add_up, classes
from pipeline.settings import Settings
from tests.support.mail import message

SETTINGS = Settings()
A, B = "a@x.example", "b@x.example"


def finding(kind: str, score: float, text: str = "", engine: str = "") -> Finding:
    return Finding(name=f"{kind}_{score}".upper(), score=score, kind=kind, text=text, engine=engine)


def view(domain: Policy | None = None, person: Policy | None = None, *matches: Match) -> View:
    layers = [("mine", person)] if person else []
    layers += [("set for x.example", domain)] if domain else []
    resolved = resolve(layers, spam_threshold=5.0, phishing_threshold=4.0, personal="mine" if person else "")
    return View(resolved, matches)


def match(entry: str, action: str, level: int = DOMAIN, problem: str = "", *, content: bool = False) -> Match:
    return Match(parse(entry, action, content=content), level, "of x.example", "the sender", problem)


def only(seen: View) -> Views:
    return Views(unlisted(SETTINGS).domain, {A: seen})


def act(findings: list[Finding], seen: View, origin: str = "smtp") -> str:
    (action,) = judge(Report(findings=tuple(findings)), message(A, origin=origin), SETTINGS, only(seen)).actions
    return action.action


def test_without_anybody_having_set_anything_bad_mail_is_kept_and_the_rest_is_delivered():
    for kind in CLASSES:
        wanted = Act.DELIVER if kind == "bulk" else Act.QUARANTINE
        assert act([finding(kind, 9.0)], unlisted(SETTINGS).domain) == wanted
    assert act([], unlisted(SETTINGS).domain) == Act.DELIVER


def test_of_clean_mail_that_goes_to_all_no_decision_is_kept_and_of_all_other_mail_each():
    plain = judge(Report(findings=(finding("spam", 0.3),)), message(A, B), SETTINGS)
    assert (len(plain.decisions), plain.recorded) == (1, ())
    spam = judge(Report(findings=(finding("spam", 9.0),)), message(A, B), SETTINGS)
    assert spam.recorded == spam.decisions != ()
    allowed = judge(Report(), message(A), SETTINGS, only(view(None, None, match("x.example", ALLOW))))
    assert allowed.recorded == allowed.decisions != ()


def test_a_virus_is_no_spam_because_of_its_points_so_nobody_discards_it_with_their_spam():
    assert act([finding("virus", 100.0)], view(None, Policy(spam="discard"))) == Act.QUARANTINE
    assert act([finding("content", 10.0)], view(Policy(spam="discard"))) == Act.QUARANTINE
    assert act([finding("virus", 100.0), finding("spam", 6.0)], view(Policy(spam="discard"))) == Act.DISCARD


def test_each_recipient_has_an_action_of_its_own():
    report = Report(findings=(finding("spam", 7.25, "too loud"),), engines=("builtin/1",), took=5)
    judged = judge(report, message(A, B), SETTINGS)
    assert [(action.recipient, action.action) for action in judged.actions] == [(A, "quarantine"), (B, "quarantine")]
    assert judged.quarantine == dict.fromkeys((A, B), "spam (score 7.25): too loud")
    assert (judged.score, judged.findings, judged.engines, judged.took) == (7.25, report.findings, ("builtin/1",), 5)
    assert judged.decisions == (
        Decision(
            recipients=(A, B), action="quarantine", verdict="spam",
            why=("score 7.25 >= 5 (the setting spam_threshold)", "spam: quarantine (the default)"),
        ),
    )  # fmt: skip


def test_two_recipients_with_settings_of_their_own_get_two_outcomes():
    views = {A: view(Policy(spam="tag", prefix="[SPAM]")), B: view(None, Policy(spam_threshold=9.0))}
    judged = judge(
        Report(findings=(finding("spam", 7.0),)), message(A, B), SETTINGS, Views(unlisted(SETTINGS).domain, views)
    )
    first, second = judged.actions
    assert (first.action, first.verdict, tag_parts(first.tag)) == ("tag", "spam", ("spam; score=7", "[SPAM]"))
    assert (second.action, second.verdict, second.tag) == ("deliver", "clean", "")
    assert judged.verdict == "spam"
    assert "score 7 < 9 (mine)" in second.why


@pytest.mark.parametrize("origin", ["bounce", "report", "alert", "release"])
@pytest.mark.parametrize("kind", CLASSES)
def test_what_we_wrote_and_what_was_released_is_always_delivered(kind, origin):
    strict = view(Policy(spam="discard", virus="discard"), None, match("x.example", BLOCK))
    assert act([finding(kind, 50.0)], strict, origin) == Act.DELIVER


@pytest.mark.parametrize(
    ("found", "matches", "expected"),
    [
        ([("spam", 9.0)], [match("x.example", ALLOW)], "deliver"),
        ([("phishing", 9.0)], [match("x.example", ALLOW)], "deliver"),
        ([("spam", 9.0)], [match("x.example", ALLOW, problem="the sender is not authenticated")], "quarantine"),
        ([("virus", 9.0)], [match("x.example", ALLOW)], "quarantine"),
        ([("virus", 9.0)], [match("x.example", ALLOW, content=True)], "quarantine"),
        ([("content", 9.0)], [match("x.example", ALLOW)], "quarantine"),
        ([("content", 9.0)], [match("x.example", ALLOW, content=True)], "deliver"),
        ([], [match("x.example", BLOCK)], "quarantine"),
        ([], [match("x.example", BLOCK), match("a@x.example", ALLOW)], "deliver"),
        ([], [match("x.example", ALLOW), match("a@x.example", BLOCK)], "quarantine"),
        ([], [match("x.example", BLOCK, OPERATOR), match("192.0.2.0/24", ALLOW, PERSON)], "deliver"),
        ([], [match("a@x.example", ALLOW, OPERATOR), match("country:DE", BLOCK, PERSON)], "quarantine"),
    ],
)
def test_lists_have_the_last_word_but_let_no_virus_pass(found, matches, expected):
    assert act([finding(*each) for each in found], view(None, None, *matches)) == expected


def test_a_block_says_in_the_reason_who_is_blocked_and_by_whom():
    judged = judge(Report(), message(A), SETTINGS, only(view(None, None, match("country:DE", BLOCK))))
    assert judged.quarantine == {A: "blocked sender: country:DE (of x.example)"}
    assert judged.actions[0].why[-2:] == ("the sender: block country:DE of x.example", "so it is kept in quarantine")


def test_an_entry_that_does_not_count_is_told_of_with_the_reason():
    seen = view(None, None, match("x.example", ALLOW, problem="the sender is not authenticated"))
    (action,) = judge(Report(findings=(finding("spam", 9.0),)), message(A), SETTINGS, only(seen)).actions
    assert "not counted: allow x.example of x.example, because the sender is not authenticated" in action.why


def test_a_reason_is_one_short_line_without_control_characters():
    judged = judge(Report(findings=(finding("virus", 1.0, "x\x1b[2J\r\n" + "y" * 500),)), message(), SETTINGS)
    (reason,) = judged.quarantine.values()
    assert reason.startswith("virus: x [2J y")
    assert len(reason) == 200
    assert reason.isprintable()


def test_a_finding_without_words_is_named():
    judged = judge(Report(findings=(finding("content", 5.0),)), message(), SETTINGS)
    assert judged.actions[0].reason == "blocked content: CONTENT_5.0"


def test_the_threshold_is_a_setting_and_does_not_touch_viruses():
    high = msgspec.structs.replace(SETTINGS, spam_threshold=20.0)
    assert judge(Report(findings=(finding("spam", 19.0),)), message(), high).verdict == "clean"
    assert judge(Report(findings=(finding("virus", 1.0),)), message(), high).verdict == "virus"


# What must hold whatever is found and whatever anybody has set.

SCORES = st.floats(-20, 20, allow_nan=False).map(lambda value: round(value, 1))
FINDINGS = st.lists(
    st.builds(finding, st.sampled_from(CLASSES), SCORES, st.just(""), st.sampled_from(["", "", "rspamd", "clamav"])),
    max_size=6,
)
ACTS = st.sampled_from(["", *Act])
POLICIES = st.builds(
    Policy,
    spam_threshold=st.sampled_from([0.0, 1.0, 5.0, 12.0]),
    phishing_threshold=st.sampled_from([0.0, 1.0, 5.0, 12.0]),
    bulk=ACTS, spam=ACTS, phishing=ACTS, spoof=ACTS, content=ACTS, virus=ACTS,
)  # fmt: skip
ENTRIES = st.builds(
    lambda entry, action, level, problem, content: match(
        entry, action, level, problem if action == ALLOW else "", content=content and action == ALLOW
    ),
    st.sampled_from(["a@x.example", "x.example", "192.0.2.0/24", "country:DE"]),
    st.sampled_from([ALLOW, BLOCK]),
    st.sampled_from([OPERATOR, DOMAIN, PERSON]),
    st.sampled_from(["", "the sender is not authenticated"]),
    st.booleans(),
)
MATCHES = st.lists(ENTRIES, max_size=5)


@given(FINDINGS, POLICIES, POLICIES, MATCHES)
def test_a_virus_never_comes_through(found, domain, person, matches):
    found = [*found, finding("virus", 0.5)]
    assert act(found, view(domain, person, *matches)) in NEVER_OUT


@given(FINDINGS, POLICIES, POLICIES)
def test_a_person_cannot_loosen_what_happens_to_viruses_and_blocked_content(found, domain, person):
    alone, together = view(domain).policy, view(domain, person).policy
    assert {kind: alone.acts[kind] for kind in ("virus", "content", "phishing", "spoof")} == {
        kind: together.acts[kind] for kind in ("virus", "content", "phishing", "spoof")
    }
    if {"virus", "content"} & set(classes(add_up(found), 5.0, 4.0)):
        assert STRICTNESS[act(found, view(domain, person))] >= min(
            STRICTNESS[alone.acts[kind]] for kind in ("virus", "content")
        )


@given(FINDINGS, POLICIES, MATCHES, ENTRIES)
def test_a_block_more_never_makes_delivery_more_likely(found, domain, matches, entry):
    block = match(entry.rule.entry if "country" not in entry.rule.form else "country:DE", BLOCK, entry.level)
    before = act(found, view(domain, None, *matches))
    assert STRICTNESS[act(found, view(domain, None, *matches, block))] >= STRICTNESS[before]


@given(FINDINGS, POLICIES, POLICIES, MATCHES, st.sampled_from(CLASSES), st.floats(0.1, 20))
def test_more_score_never_makes_delivery_more_likely(found, domain, person, matches, kind, more):
    seen = view(domain, person, *matches)
    before = act(found, seen)
    assert STRICTNESS[act([*found, finding(kind, round(more, 1))], seen)] >= STRICTNESS[before]


@given(FINDINGS, POLICIES, MATCHES, st.randoms())
def test_the_order_of_the_entries_of_lists_does_not_matter(found, domain, matches, random):
    other = list(matches)
    random.shuffle(other)
    assert act(found, view(domain, None, *matches)) == act(found, view(domain, None, *other))


@given(FINDINGS, st.lists(st.tuples(POLICIES, MATCHES), min_size=1, max_size=4))
def test_each_recipient_gets_exactly_one_action_and_is_told_why_once(found, people):
    views = {f"p{number}@x.example": view(domain, None, *matches) for number, (domain, matches) in enumerate(people)}
    judged = judge(Report(findings=tuple(found)), message(*views), SETTINGS, Views(unlisted(SETTINGS).domain, views))
    assert [action.recipient for action in judged.actions] == list(views)
    told = [recipient for decision in judged.decisions for recipient in decision.recipients]
    assert sorted(told) == sorted(views)
    assert all(decision.action in list(Act) and decision.why for decision in judged.decisions)
    assert (
        judge(Report(findings=tuple(found)), message(*views), SETTINGS, Views(unlisted(SETTINGS).domain, views))
        == judged
    )


def test_a_thousand_recipients_with_settings_of_their_own_do_not_make_a_huge_event():
    people = {f"p{n}@x.example": View(view(None, Policy(spam_threshold=2.0 + n / 100)).policy) for n in range(1000)}
    judged = judge(
        Report(findings=(finding("spam", 5.0),)), message(*people), SETTINGS, Views(unlisted(SETTINGS).domain, people)
    )
    assert len(judged.decisions) <= 52
    assert sorted(r for decision in judged.decisions for r in decision.recipients) == sorted(people)
    assert {d.action for d in judged.decisions} == {"deliver", "quarantine"}
