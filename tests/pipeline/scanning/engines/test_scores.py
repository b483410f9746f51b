"""What other engines think, on our scale."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scanning.engines.scores import (
    MAX_SYMBOLS,
    Symbol,
    carried_kind,
    clamav_finding,
    kind_of,
    opinion,
    rspamd_part,
    scaled,
)

T = 5.0


@pytest.mark.parametrize(
    ("part", "score"),
    [
        (0, 0), (0.5, 1.25), (0.6, 1.8), (0.7, 2.45), (0.99, 4.9), (1, 5), (1.5, 6.25), (2, 7.5), (3, 10), (200, 10),
        (-0.5, -0.5), (-1, -1), (-20, -1), (math.inf, 0), (-math.inf, 0), (math.nan, 0),
    ],
)  # fmt: skip
def test_a_share_of_the_engine_s_threshold_becomes_a_score(part, score):
    assert scaled(part, T) == score


@given(st.floats(-1000, 1000), st.floats(-1000, 1000), st.floats(0.1, 100))
def test_more_is_never_less_the_threshold_is_the_threshold_and_nobody_decides_alone_by_far(one, other, threshold):
    low, high = sorted((one, other))
    assert scaled(low, threshold) <= scaled(high, threshold)
    assert scaled(1.0, threshold) == round(threshold, 2)
    assert -0.2 * threshold - 0.01 <= scaled(one, threshold) <= 2 * threshold + 0.01


def test_two_engines_that_are_half_convinced_are_no_spam_and_three_that_nearly_are_be_it():
    assert 2 * scaled(0.5, T) <= T / 2
    assert 2 * scaled(0.7, T) < T
    assert 3 * scaled(0.6, T) > T


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PHISHING", "phishing"), ("DBL_PHISH", "phishing"), ("PHISHED_OPENPHISH", "phishing"), ("CLAM_VIRUS", "virus"),
        ("ANTIVIRUS_OK", "spam"), ("SPOOF_DISPLAY_NAME", "spoof"), ("DMARC_POLICY_REJECT", "spoof"),
        ("PRECEDENCE_BULK", "bulk"), ("MAILLIST", "bulk"), ("HFILTER_HELO_BADIP", "spam"), ("", "spam"),
    ],
)  # fmt: skip
def test_a_symbol_s_name_says_what_it_is_about(name, kind):
    assert kind_of(name) == kind


def test_a_score_is_of_the_kind_that_weighs_most_and_never_a_virus_or_bulk():
    assert carried_kind([Symbol("PHISHING", 4), Symbol("SPAMMY", 3)]) == "phishing"
    assert carried_kind([Symbol("PHISHING", 2), Symbol("SPAMMY", 3)]) == "spam"
    assert carried_kind([Symbol("SPOOF_X", 2), Symbol("GOOD", -9)]) == "spoof"
    assert carried_kind([Symbol("CLAM_VIRUS", 20), Symbol("MAILLIST", 20)]) == "spam"
    assert carried_kind([]) == "spam"


def test_one_finding_carries_the_score_and_the_symbols_stand_beside_it_without():
    symbols = [Symbol(f"S{number}", float(number)) for number in range(-100, 100)]
    carrier, *rest = opinion("rspamd", "Rspamd gives 9 of 15", 1.0, symbols, T)
    assert (carrier.name, carrier.score, carrier.engine) == ("RSPAMD_SCORE", 5.0, "rspamd")
    assert carrier.text == "Rspamd gives 9 of 15: S-100 -100, S-99 -99, S99 99"
    assert len(rest) == MAX_SYMBOLS
    assert {(finding.score, finding.engine) for finding in rest} == {(0.0, "rspamd")}


def test_phishing_is_what_an_engine_calls_so_and_is_sure_of():
    symbols = [Symbol("PHISHING", 5.9)]
    assert opinion("rspamd", "", 1.0, symbols, T)[0].kind == "phishing"
    assert opinion("rspamd", "", 0.98, symbols, T)[0].kind == "spam"


def test_what_an_engine_repeats_of_a_stranger_is_neutralised_and_short():
    carrier, symbol = opinion("x", "\x1b[2J", 0.1, [Symbol("A\x07" * 100, 1.0, "\u202egnp.exe\r\n" * 100)], T)
    for text in (carrier.text, symbol.name, symbol.text):
        assert text.isprintable()
        assert len(text) <= 200


@pytest.mark.parametrize(
    ("score", "tag_at", "action", "part"),
    [
        (3, 6, "no action", 0.5), (6, 6, "add header", 1.0), (12, 6, "reject", 2.0), (1, 6, "reject", 1.0),
        (30, 6, "no action", 0.99), (5, 6, "greylist", 5 / 6), (2, 6, "rewrite subject", 1.0), (3, 0, "no action", 0.0),
    ],
)  # fmt: skip
def test_the_action_of_rspamd_has_the_last_word(score, tag_at, action, part):
    assert rspamd_part(score, tag_at, action) == pytest.approx(part)


@pytest.mark.parametrize(
    ("signature", "name", "kind", "score"),
    [
        ("Win.Trojan.Agent-1", "CLAMAV", "virus", 100.0),
        ("Eicar-Test-Signature", "CLAMAV", "virus", 100.0),
        ("Heuristics.Phishing.Email.SpoofedDomain", "CLAMAV_PHISHING", "phishing", T),
        ("Sanesecurity.Phishing.Cur.1.UNOFFICIAL", "CLAMAV_PHISHING", "phishing", T),
        ("Heuristics.Encrypted.Zip", "CLAMAV_CONTENT", "content", T),
        ("PUA.Win.Packer-1", "CLAMAV_CONTENT", "content", T),
        ("Heuristics.OLE2.ContainsMacros", "CLAMAV_CONTENT", "content", T),
        ("Heuristics.Limits.Exceeded.MaxFiles", "CLAMAV_LIMITS", "content", 0.0),
    ],
)
def test_clamav_s_names_are_viruses_unless_they_say_otherwise(signature, name, kind, score):
    finding = clamav_finding(signature, T)
    assert (finding.name, finding.kind, finding.score, finding.engine) == (name, kind, score, "clamav")
    assert signature in finding.text
