"""DNS lists as they are written in the settings."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.configuration import load, sample
from pipeline.dnslist import DnsList, worth
from pipeline.faults import ConfigurationError

ZEN = "zen.example=127.0.0.2:3,127.0.0.4-127.0.0.7:3.5,127.0.0.10-127.0.0.11:1"


@pytest.mark.parametrize(
    ("written", "answers", "score"),
    [
        (ZEN, ["127.0.0.2"], 3.0),
        (ZEN, ["127.0.0.4"], 3.5),
        (ZEN, ["127.0.0.7"], 3.5),
        (ZEN, ["127.0.0.8"], None),
        (ZEN, ["127.0.0.11", "127.0.0.2"], 3.0),
        (ZEN, ["127.255.255.254"], None),
        ("white.example=127.0.*.2:-1,127.0.*.3:-2.5", ["127.0.9.3"], -2.5),
        ("white.example=127.0.*.2:-1,127.0.*.3:-2.5", ["127.1.9.3"], None),
        ("multi.example=&8:4:phishing,&64:3", ["127.0.0.72"], 4.0),
        ("multi.example=&8:4:phishing,&64:3", ["127.0.0.66"], 3.0),
        ("multi.example=&8:4:phishing,&64:3", ["127.0.0.2"], None),
        ("simple.example=2", ["127.9.9.9"], 2.0),
        (" Simple.Example. = 127.0.0.2 : 2 ", ["127.0.0.2"], 2.0),
    ],
)
def test_an_answer_is_worth_what_the_first_rule_says_that_fits_and_of_several_the_most(written, answers, score):
    rule = worth(DnsList.parse(written).rules, tuple(int(ipaddress.IPv4Address(answer)) for answer in answers))
    assert (rule.score if rule else None) == score


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("zen.example", "expected ZONE=ANSWER:SCORE"),
        ("=127.0.0.2:3", "expected ZONE"),
        ("a b=1;", "expected ZONE"),
        ("zen.example=127.0.0.2", "expected ZONE"),
        ("zen.example=10.0.0.2:3", "they are in 127.0.0.0/8"),
        ("zen.example=127.0.0.7-127.0.0.4:3", "a range goes upwards"),
        ("zen.example=127.0.0.2:99", "20 at most"),
        ("zen.example=127.0.0.2:3:virus", "spam, phishing, spoof"),
        ("zen.example=&0:3", "1 to 255"),
        ("zen.example=&256:3", "1 to 255"),
        ("zen.example=127.0.*:3", "no answer of a DNS list"),
    ],
)
def test_what_is_wrong_with_a_list_is_said(written, says):
    with pytest.raises(ValueError, match=says):
        DnsList.parse(written)
    with pytest.raises(ConfigurationError, match="GATEPOST_ADDRESS_LISTS"):
        load(environ={"GATEPOST_ADDRESS_LISTS": written.replace(" ", "")})


@given(st.text())
def test_any_text_is_a_list_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert DnsList.parse(DnsList.parse(text)) == DnsList.parse(text)


def test_lists_come_from_the_file_and_from_the_environment(tmp_path):
    file = tmp_path / "gatepost.toml"
    file.write_text(f'address_lists = ["{ZEN}", "b.example=1"]\n')
    assert load(file).address_lists == (ZEN, "b.example=1")
    assert load(environ={"GATEPOST_DOMAIN_LISTS": f"{ZEN} b.example=1"}).domain_lists == (ZEN, "b.example=1")
    assert load(file).address_lists[0].zone == "zen.example"
    assert "# address_lists = []" in sample()
