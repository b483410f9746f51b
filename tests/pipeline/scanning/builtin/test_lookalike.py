"""Names that look like others, and names that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scanning.builtin.lookalike import Index, mixes_scripts, one_off, skeleton
from pipeline.scanning.builtin.tables import brands

NAMES = Index(["paypal", "mueller-bau", "amazon", "microsoft", "dhl", "modern"], ["apple", "chase"])


@pytest.mark.parametrize(
    ("label", "name", "how"),
    [
        ("paypa1", "paypal", "same"),
        ("paypaI", "paypal", "same"),
        ("rnicrosoft", "microsoft", "same"),
        ("micr0s0ft", "microsoft", "same"),
        ("modem", "modern", "same"),
        ("rnueller-bau", "mueller-bau", "same"),
        ("xn--pypal-4ve", "paypal", "same"),
        ("amazom", "amazon", "letter"),
        ("amazn", "amazon", "letter"),
        ("amazoon", "amazon", "letter"),
        ("amaozn", "amazon", "letter"),
        ("muellerbau", "mueller-bau", "letter"),
        ("paypal-security", "paypal", "word"),
        ("login-paypal", "paypal", "word"),
        ("paypalsecurity", "paypal", "word"),
        ("securepaypa1", "paypal", "word"),
        ("dhl-paket", "dhl", "word"),
        ("apple-support", "apple", "word"),
        ("mueller-bau-login", "mueller-bau", "word"),
        ("paypal-festival", "paypal", "part"),
        ("app1e", "apple", "same"),
    ],
)
def test_names_that_deceive(label, name, how):
    like = NAMES.alike(label)
    assert like is not None
    assert (like.name, like.how) == (name, how)


@pytest.mark.parametrize(
    "label",
    [
        "paypal",
        "apply",
        "chose",
        "amazing",
        "mailer",
        "dhi",
        "dh",
        "xn--mnchen-3ya",
        "schmidt-bau",
        "chase-park",
        "macrosoftware",
        "a",
        "",
    ],
)
def test_names_that_do_not(label):
    assert NAMES.alike(label) is None


@pytest.mark.parametrize(
    "label",
    [
        "dhl",
        "paypal",
        "heise",
        "spiegel",
        "zeit",
        "stackoverflow",
        "wikipedia",
        "debian",
        "python",
        "bundestag",
        "stanford",
        "notebooksbilliger",
        "reddit",
        "lidl",
        "bahn",
    ],
)
def test_well_known_names_are_no_look_alikes_of_brands(label):
    assert brands().index.alike(label) is None


def test_letters_of_two_alphabets_in_a_word():
    assert mixes_scripts("p\u0430ypal")
    assert not mixes_scripts("\u043f\u0440\u0438\u0432\u0435\u0442")
    assert not mixes_scripts("m\u00fcller")


@given(st.text("abcdefr-l1", max_size=12), st.text("abcdefr-l1", max_size=12))
def test_one_edit_is_found_from_both_sides(a, b):
    assert one_off(a, b) == one_off(b, a)
    assert not one_off(a, a)


@given(st.text(max_size=80))
def test_any_label_has_a_skeleton_that_is_its_own(label):
    assert skeleton(skeleton(label)) == skeleton(skeleton(skeleton(label)))
    NAMES.alike(label)
    brands().index.alike("xn--" + label)
