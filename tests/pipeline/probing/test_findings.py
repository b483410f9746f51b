"""What a delivery test saw is judged the same way each time, and every finding that there are words for is met."""

from __future__ import annotations

import re
from string import Formatter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.probing import judge, texts
from pipeline.probing.findings import worst
from pipeline.probing.model import (
    Certificate,
    Finding,
    Lookup,
    Name,
    Plan,
    Quick,
    Report,
    Source,
    Step,
    Tls,
    Visit,
    Weight,
)
from pipeline.probing.texts import read
from tests.pipeline.probing.support import DAY, EHLO, NOW, answer, plan, report, tls, visit

BAD, WARNING, GOOD = Weight
REFUSED = "550 5.7.1 no"
LATER = "451 4.3.0 later"
SILENT = "The server did not answer within 15 seconds."
NO_SIZE = EHLO.replace("\r\n250 SIZE 50000000", "\r\n250 DSN")


def ended(*said: tuple[Step, str]) -> dict[Step, str | None]:
    """Answers that end with these, and none of the usual ones behind the first of them."""
    usual = list(Step)
    rest = usual[usual.index(said[0][0]) :]
    return {**dict.fromkeys(rest), **dict(said)}


def names(**fields: Any) -> Report:
    return report(lookup=Lookup(**fields))


def name(**fields: Any) -> Report:
    return names(names=(Name(server="mail.example.test:25", host="mail.example.test", **fields),))


def slow(took: int) -> Visit:
    usual = visit()
    answers = [msgspec.structs.replace(one, took=took) if one.step is Step.GREETING else one for one in usual.answers]
    return msgspec.structs.replace(usual, answers=tuple(answers))


CASES: list[tuple[str, Weight, Report]] = [
    # Names
    ("dns-silent", BAD, names(problem="no answer", passing=True)),
    ("no-servers", BAD, names(problem="the name example.test does not exist")),
    ("no-mx", WARNING, names(implicit=True, names=(Name(server="example.test:25", addresses=("192.0.2.1",)),))),
    ("ourselves", BAD, name(addresses=("192.0.2.1",), ours="it is this gateway")),
    ("name-silent", BAD, name(problem="no answer", passing=True)),
    (
        "name-silent",
        WARNING,
        names(names=(Name(server="a:25", problem="x", passing=True), Name(server="b:25", addresses=("192.0.2.1",)))),
    ),
    ("name", BAD, name(problem="the name does not exist")),
    ("closed", BAD, name(closed=(("10.0.0.1", "a private address"),), problem="x")),
    ("closed", WARNING, name(closed=(("10.0.0.1", "a private address"),), addresses=("192.0.2.1",))),
    ("resolves", GOOD, report()),
    ("no-family", BAD, report(plan=plan(sources=(Source("2001:db8::9"),)))),
    # The test itself
    ("unfinished", WARNING, report(complete=False)),
    ("unsent", BAD, report(visit(), plan=plan(send="x1"))),
    # Reaching the server
    ("no-way", BAD, report(visit(ended((Step.CONNECT, "Network is unreachable")), no_way=True, tls=None))),
    (
        "no-way",
        WARNING,
        report(visit(ended((Step.CONNECT, "Network is unreachable")), no_way=True, tls=None), visit()),
    ),
    (
        "no-source",
        BAD,
        report(
            visit(ended((Step.CONNECT, "Cannot assign")), no_way=True, source=Source(address="192.0.2.9"), tls=None)
        ),
    ),
    ("connect", BAD, report(visit(ended((Step.CONNECT, "Connection refused")), tls=None))),
    ("connect", WARNING, report(visit(ended((Step.CONNECT, "Connection refused")), tls=None), visit())),
    ("greeting-silent", BAD, report(visit(ended((Step.GREETING, SILENT)), tls=None))),
    ("greeting-refused", BAD, report(visit(ended((Step.GREETING, "554 5.7.1 go away")), tls=None))),
    ("greeting-slow", WARNING, report(slow(6_000_000_000))),
    ("greeting", GOOD, report(visit())),
    ("stray", WARNING, report(visit(stray="421 too late"))),
    ("loop", BAD, report(visit({Step.GREETING: "220 Gateway.Example. ESMTP Gatepost"}))),
    ("loop", BAD, report(visit({Step.EHLO: EHLO.replace("mail.example.test", "gateway.example")}))),
    # What it offers
    ("no-ehlo", WARNING, report(visit({Step.EHLO: "502 5.5.1 what", Step.HELO: "250 hi"}, tls=None))),
    ("ehlo", BAD, report(visit(ended((Step.EHLO, REFUSED), (Step.HELO, REFUSED)), tls=None))),
    ("offers", GOOD, report(visit())),
    ("no-pipelining", WARNING, report(visit({Step.EHLO: "250-mail.example.test\r\n250 SIZE 0"}))),
    ("no-8bitmime", WARNING, report(visit({Step.EHLO: "250-mail.example.test\r\n250 SIZE 0"}))),
    ("no-smtputf8", GOOD, report(visit({Step.EHLO: "250-mail.example.test\r\n250 SIZE 0"}))),
    ("size", GOOD, report(visit())),
    ("size-any", GOOD, report(visit({Step.EHLO: "250-mail.example.test\r\n250 SIZE 0"}))),
    ("size-any", GOOD, report(visit({Step.EHLO: "250-mail.example.test\r\n250 SIZE"}))),
    ("size-unsaid", WARNING, report(visit({Step.EHLO: NO_SIZE}))),
    ("size-small", WARNING, report(visit({Step.EHLO: EHLO.replace("50000000", "35883007")}))),
    # Encryption
    ("no-starttls", WARNING, report(visit({Step.STARTTLS: None}, tls=None))),
    ("no-starttls", BAD, report(visit({Step.STARTTLS: None}, tls=None), plan=plan(encrypted=True))),
    ("starttls-refused", WARNING, report(visit({Step.STARTTLS: "454 4.7.0 not now"}, tls=None))),
    ("tls-failed", WARNING, report(visit(tls=Tls(failed="wrong version number")))),
    ("tls-failed", BAD, report(visit(tls=Tls(failed="wrong version number")), plan=plan(verified=True))),
    ("tls", GOOD, report(visit())),
    ("certificate", GOOD, report(visit())),
    ("certificate-unreadable", WARNING, report(visit(tls=tls(certificate=None)))),
    ("certificate-expired", WARNING, report(visit(tls=tls(not_after=NOW - 2 * DAY)))),
    ("certificate-expired", BAD, report(visit(tls=tls(not_after=NOW - 2 * DAY)), plan=plan(verified=True))),
    ("certificate-early", WARNING, report(visit(tls=tls(not_before=NOW + DAY)))),
    ("certificate-soon", WARNING, report(visit(tls=tls(not_after=NOW + 20 * DAY)))),
    ("certificate-name", WARNING, report(visit(tls=tls(names=("other.example",))))),
    ("certificate-name", BAD, report(visit(tls=tls(names=("other.example",))), plan=plan(verified=True))),
    ("certificate-self-signed", WARNING, report(visit(tls=tls(self_signed=True, untrusted="self-signed")))),
    ("certificate-self-signed", BAD, report(visit(tls=tls(self_signed=True)), plan=plan(verified=True))),
    ("certificate-untrusted", WARNING, report(visit(tls=tls(untrusted="unable to get local issuer")))),
    # Mail
    ("login", GOOD, report(visit({Step.AUTH: "235 2.7.0 ok"}))),
    ("login-failed", BAD, report(visit({Step.AUTH: "535 5.7.8 no"}))),
    ("login-failed", BAD, report(visit({Step.AUTH: "The password is not sent without encryption."}))),
    ("sender-refused", BAD, report(visit({Step.MAIL: REFUSED}))),
    ("sender-deferred", WARNING, report(visit({Step.MAIL: LATER}))),
    ("sender-silent", BAD, report(visit(ended((Step.MAIL, SILENT))))),
    ("recipient", GOOD, report(visit())),
    ("recipient-refused", BAD, report(visit({Step.KNOWN: "550 5.7.1 relay access denied"}))),
    ("recipient-deferred", WARNING, report(visit({Step.KNOWN: "450 4.2.0 greylisted"}))),
    ("recipient-silent", BAD, report(visit(ended((Step.KNOWN, SILENT))))),
    ("postmaster-only-refused", WARNING, report(visit({Step.KNOWN: REFUSED}), plan=plan(listed=False))),
    ("postmaster-only-deferred", WARNING, report(visit({Step.KNOWN: LATER}), plan=plan(listed=False))),
    ("postmaster-only-silent", BAD, report(visit(ended((Step.KNOWN, SILENT))), plan=plan(listed=False))),
    ("unknown-refused", GOOD, report(visit())),
    ("unknown-unsaid", WARNING, report(visit({Step.RANDOM: LATER}))),
    ("catch-all", WARNING, report(visit({Step.RANDOM: "250 ok"}))),
    ("catch-all-both", GOOD, report(visit({Step.RANDOM: "250 ok"}), plan=plan(catch_all=True))),
    ("catch-all-here", WARNING, report(visit(), plan=plan(catch_all=True))),
    ("postmaster", GOOD, report(visit())),
    ("postmaster-refused", WARNING, report(visit({Step.POSTMASTER: "550 5.1.1 who"}))),
    ("bounces", GOOD, report(visit())),
    ("bounce-refused", BAD, report(visit({Step.BOUNCE: "550 5.7.1 no bounces here", Step.BOUNCE_RCPT: None}))),
    ("bounce-refused", BAD, report(visit({Step.BOUNCE_RCPT: REFUSED}))),
    ("bounce-deferred", WARNING, report(visit({Step.BOUNCE: LATER}))),
    ("bounce-silent", BAD, report(visit({Step.BOUNCE: SILENT}))),
    # Manners
    ("manners", GOOD, report(visit())),
    ("rset", WARNING, report(visit({Step.RSET: "502 what"}))),
    ("quit", WARNING, report(visit({Step.QUIT: SILENT}))),
    ("quick", GOOD, report(visit(quick=Quick(wanted=10, opened=10, greeted=10)))),
    ("quick-slow", WARNING, report(visit(quick=Quick(wanted=10, opened=10, greeted=9)))),
    (
        "quick-refused",
        WARNING,
        report(visit(quick=Quick(wanted=10, opened=5, greeted=4, refused=answer(Step.GREETING, "421 4.7.0 too many")))),
    ),
    # The real message
    ("sent", GOOD, report(visit({Step.DATA: "354 go", Step.DOT: "250 2.0.0 queued"}, sent=True), plan=plan(send="x1"))),
    ("sent-unknown", WARNING, report(visit({Step.DATA: "354 go", Step.DOT: SILENT}, sent=True), plan=plan(send="x1"))),
    (
        "sent-refused",
        BAD,
        report(visit({Step.DATA: "354 go", Step.DOT: "554 5.6.0 spam"}, sent=True), plan=plan(send="x1")),
    ),
    ("sent-refused", BAD, report(visit({Step.SEND_MAIL: REFUSED}), plan=plan(send="x1"))),
]


@pytest.mark.parametrize(("kind", "weight", "seen"), CASES)
def test_what_was_seen_is_judged(kind, weight, seen):
    found = [finding for finding in judge(seen) if finding.kind == kind]
    assert [finding.weight for finding in found][:1] == [weight]


def test_every_kind_of_finding_is_met_and_has_words():
    assert {kind for kind, _, _ in CASES} == set(read())


def test_a_good_server_has_good_findings_only():
    assert {finding.weight for finding in judge(report(visit()))} == {GOOD}


def test_a_route_that_never_encrypts_hears_nothing_of_encryption():
    seen = report(visit({Step.STARTTLS: None}, tls=None), plan=plan(plain=True))
    assert {finding.weight for finding in judge(seen)} == {GOOD}


def test_findings_come_bad_ones_first_then_warnings_then_good_ones():
    weights = [finding.weight for finding in judge(report(visit({Step.KNOWN: REFUSED, Step.POSTMASTER: REFUSED})))]
    assert weights == sorted(weights, key=list(Weight).index)
    assert weights[0] is BAD
    assert weights[-1] is GOOD
    assert WARNING in weights


@pytest.mark.parametrize("text", [REFUSED, LATER, SILENT])
def test_who_takes_nobody_is_not_said_to_know_its_addresses(text):
    said = ended((Step.KNOWN, text), (Step.RANDOM, "550 5.7.1 no"), (Step.POSTMASTER, "550 5.7.1 no"))
    kinds = {finding.kind for finding in judge(report(visit(said)))}
    assert not kinds & {"unknown-refused", "catch-all", "catch-all-here", "unknown-unsaid"}


def test_a_connection_that_failed_has_one_finding():
    found = judge(report(visit(ended((Step.CONNECT, "Connection refused")), tls=None), lookup=Lookup()))
    assert [finding.kind for finding in found] == ["connect"]


def test_a_certificate_is_not_compared_with_an_address_unless_the_route_insists():
    numbered = {"host": "192.0.2.1", "server": "192.0.2.1:25"}
    assert "certificate-name" not in {one.kind for one in judge(report(visit(**numbered)))}
    assert "certificate-name" in {one.kind for one in judge(report(visit(**numbered), plan=plan(verified=True)))}


def test_an_expired_certificate_is_not_called_untrusted_as_well():
    seen = report(visit(tls=tls(not_after=NOW - DAY, untrusted="certificate has expired")))
    kinds = {one.kind for one in judge(seen)}
    assert "certificate-expired" in kinds
    assert "certificate-untrusted" not in kinds
    assert "certificate" not in kinds


def test_two_visits_of_one_address_from_two_sources_are_told_apart():
    first, second = (visit({Step.KNOWN: REFUSED}, source=Source(address=one)) for one in ("192.0.2.8", "192.0.2.9"))
    found = [one.source for one in judge(report(first, second)) if one.kind == "recipient-refused"]
    assert found == ["192.0.2.8", "192.0.2.9"]


# Words


@pytest.mark.parametrize("kind", sorted(read()))
def test_words_are_there_in_both_languages_and_mention_only_what_was_seen(kind):
    entry = read()[kind]
    known = {
        name
        for found, _, seen in CASES
        if found == kind
        for one in judge(seen)
        if one.kind == kind
        for name in one.values
    }
    for field in entry.__struct_fields__:
        text = getattr(entry, field)
        if isinstance(text, str):
            assert text == text.strip()
            assert {name for _, name, _, _ in Formatter().parse(text) if name is not None} <= known, field
    assert placeholders(entry.en) == placeholders(entry.de)
    tips = (entry.owner_en, entry.owner_de, entry.renter_en, entry.renter_de)
    weights = {weight for found, weight, _ in CASES if found == kind}
    assert all(tips) if weights != {GOOD} else not any(tips)
    assert entry.en != entry.de


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_words_of_a_stranger_mean_nothing_in_ours():
    (found,) = [
        one
        for one in judge(report(visit({Step.KNOWN: "550 {0} {words.__class__} %s"})))
        if one.kind == "recipient-refused"
    ]
    assert texts(found).title["en"] == "anna@example.test is refused: 550 {0} {words.__class__} %s"


def test_numbers_are_written_as_each_language_does():
    small = report(visit({Step.EHLO: EHLO.replace("50000000", "10485760")}))
    (found,) = [one for one in judge(small) if one.kind == "size-small"]
    words = texts(found)
    assert "10,485,760" in words.title["en"]
    assert "10.485.760" in words.title["de"]
    (slowed,) = [one for one in judge(report(slow(6_250_000_000))) if one.kind == "greeting-slow"]
    assert "6.2 s" in texts(slowed).title["en"]
    assert "6,2 s" in texts(slowed).title["de"]


def test_where_the_table_of_replies_knows_the_reply_its_tips_are_given():
    (found,) = [
        one
        for one in judge(report(visit({Step.KNOWN: "550 5.7.1 relay access denied"})))
        if one.kind == "recipient-refused"
    ]
    words = texts(found)
    assert set(words.about) == {"en", "de"}
    assert words.owner["en"] != read()["recipient-refused"].owner_en
    (other,) = [one for one in judge(report(visit({Step.KNOWN: "550 xyzzy"}))) if one.kind == "recipient-refused"]
    assert texts(other).about == {}
    assert texts(other).owner["en"] == read()["recipient-refused"].owner_en


def test_a_missing_postmaster_is_not_told_to_be_removed():
    (found,) = [
        one
        for one in judge(report(visit({Step.POSTMASTER: "550 5.1.1 user unknown"})))
        if one.kind == "postmaster-refused"
    ]
    assert texts(found).owner["en"] == read()["postmaster-refused"].owner_en


# Anything

words = st.text(max_size=60)
answers = st.builds(
    answer, st.sampled_from(Step), st.one_of(words, st.from_regex(r"[2-5][0-9]{2}[ -][ -~]{0,40}", fullmatch=True)),
    st.integers(0, 10**12),
)  # fmt: skip
certificates = st.builds(
    Certificate, names=st.lists(words, max_size=3).map(tuple), issuer=words, not_before=st.integers(-10**20, 10**20),
    not_after=st.integers(-10**20, 10**20), self_signed=st.booleans(),
)  # fmt: skip
visits = st.builds(
    Visit, server=words, host=words, address=words, port=st.integers(1, 65535), software=st.sampled_from(["", "postfix"]),
    answers=st.lists(answers, max_size=16).map(tuple), no_way=st.booleans(), stray=words, sent=st.booleans(),
    tls=st.none() | st.builds(Tls, version=words, failed=words, untrusted=words, certificate=st.none() | certificates),
    quick=st.none() | st.builds(Quick, wanted=st.just(10), opened=st.integers(0, 10), greeted=st.integers(0, 10), refused=st.none() | answers),
    complete=st.booleans(),
)  # fmt: skip
plans = st.builds(
    Plan, domain=words, hostname=words, known=words, random=words, listed=st.booleans(), catch_all=st.booleans(),
    encrypted=st.booleans(), verified=st.booleans(), send=st.sampled_from(["", "x1"]), size=st.integers(0, 10**9),
)  # fmt: skip
reports = st.builds(
    Report,
    plan=plans,
    at=st.integers(0, 10**19),
    visits=st.lists(visits, max_size=4).map(tuple),
    complete=st.booleans(),
)


@given(reports)
def test_whatever_was_seen_has_findings_in_words_and_in_order(seen):
    found = judge(seen)
    assert found == judge(seen)
    order = [list(Weight).index(one.weight) for one in found]
    assert order == sorted(order)
    for one in found:
        said = texts(one)
        assert all(said.title.values())
        assert all(said.explanation.values())
        assert one.weight is GOOD or (all(said.owner.values()) and all(said.renter.values()))


@given(reports)
def test_a_server_that_takes_the_known_address_over_a_good_line_is_never_a_bad_recipient(seen):
    kinds = {(one.kind, one.where) for one in judge(seen)}
    for one in seen.visits:
        opened = one.answer(Step.CONNECT)
        if one.works and opened is not None and not opened.text:
            others = [other for other in seen.visits if other.place == one.place]
            assert len(others) > 1 or ("recipient-refused", one.place) not in kinds
            assert ("recipient", one.place) in kinds


def test_the_worst_weight_is_known_and_nothing_at_all_is_good():
    assert worst(()) is GOOD
    bad, good = Finding(kind="name", weight=BAD), Finding(kind="tls", weight=GOOD)
    assert worst((good, bad)) is BAD
