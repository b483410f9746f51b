import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.configuration import load
from pipeline.egress import check_bindable, pick
from pipeline.faults import ConfigurationError
from pipeline.units import SourceAddress

ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


@pytest.mark.parametrize(
    ("blocked", "chosen"),
    [
        ({}, ONE),
        ({ONE: 11}, TWO),
        ({ONE: 10}, ONE),
        ({TWO: 99}, ONE),
        ({ONE: 99, TWO: 98}, THREE),
        ({ONE: 99, TWO: 98, THREE: 99}, TWO),
        ({ONE: 99, TWO: 99, THREE: 99}, ONE),
        ({"2001:db8::1": 99}, ONE),
    ],
)
def test_the_first_address_that_is_not_blocked_is_chosen_else_the_one_that_is_free_first(blocked, chosen):
    assert pick([ONE, TWO, THREE], blocked, now=10) == chosen


def test_of_none_none_is_chosen():
    assert pick([], {}, now=10) == ""


@given(st.dictionaries(st.sampled_from([ONE, TWO, THREE]), st.integers(0, 20)))
def test_the_same_address_is_chosen_as_long_as_nothing_changes(blocked):
    chosen = pick([ONE, TWO, THREE], blocked, now=10)
    assert chosen == pick([ONE, TWO, THREE], dict(reversed(blocked.items())), now=10)
    assert blocked.get(chosen, 0) <= 10 or all(blocked.get(one, 0) > 10 for one in (ONE, TWO, THREE))


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("192.0.2.1", "192.0.2.1", ""),
        (" 192.0.2.1   mail1.example.net ", "192.0.2.1", "mail1.example.net"),
        ("2001:DB8:0::1 mail1.example.net", "2001:db8::1", "mail1.example.net"),
        ("[2001:db8::1]", "2001:db8::1", ""),
    ],
)
def test_a_source_address_is_an_address_and_perhaps_a_name(text, address, name):
    source = SourceAddress.parse(text)
    assert (source.address, source.name) == (address, name)
    assert SourceAddress.parse(source) == source


@pytest.mark.parametrize("text", ["", "mail1.example.net", "0.0.0.0", "::", "224.0.0.1", "fe80::1%eth0", "192.0.2.1 a b", "192.0.2.1 a\x00"])  # fmt: skip
def test_what_mail_cannot_go_out_from_is_refused(text):
    with pytest.raises(ValueError, match=r"expected|not an address|EHLO"):
        SourceAddress.parse(text)


def test_source_addresses_are_read_from_a_file_and_from_the_environment(tmp_path):
    file = tmp_path / "gatepost.toml"
    file.write_text('source_addresses = ["192.0.2.1 a.example.net", "2001:db8::1"]\n')
    written = load(file, {}).source_addresses
    said = load(None, {"GATEPOST_SOURCE_ADDRESSES": "192.0.2.1 a.example.net, 2001:db8::1"}).source_addresses
    assert written == said == ("192.0.2.1 a.example.net", "2001:db8::1")
    with pytest.raises(ConfigurationError, match="twice"):
        load(None, {"GATEPOST_SOURCE_ADDRESSES": "192.0.2.1, 192.0.2.1 b.example"})


def test_an_address_that_this_machine_has_not_is_found_before_anything_starts():
    check_bindable([SourceAddress.parse("127.0.0.1"), SourceAddress.parse("127.0.0.9 x.example")])
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1 cannot be used here") as caught:
        check_bindable([SourceAddress.parse("127.0.0.1"), SourceAddress.parse("192.0.2.1")])
    assert caught.value.remedy
