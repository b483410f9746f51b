"""Where an address is at home, and what countries are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.country import Countries, in_force, name_of, names, shipped
from pipeline.faults import ConfigurationError

OURS = Countries(shipped())


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("8.8.8.8", "US"),
        ("::ffff:8.8.8.8", "US"),
        ("193.0.6.139", "NL"),
        ("2a01:4f8::1", "DE"),
        ("10.0.0.1", ""),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("fe80::1%eth0", ""),
        ("", ""),
        ("unix", ""),
    ],
)
def test_an_address_has_a_country_or_none(address, code):
    assert OURS.of(address) == code


@given(st.one_of(st.text(), st.ip_addresses().map(str)))
def test_no_address_raises(text):
    assert len(OURS.of(text)) in (0, 2)


def test_each_country_has_its_names_in_both_languages():
    for country in names().values():
        assert name_of(country.code) == country.english
        assert name_of(country.code, "de") == country.german
    assert (name_of("DE"), name_of("DE", "de"), name_of("AP")) == ("Germany", "Deutschland", "AP")


@pytest.mark.parametrize("content", [None, b"", b"no table", b"\x00" * 5000, b"x" * 200 + b"\xab\xcd\xefMaxMind.com"])
def test_what_is_no_table_is_said_at_once_with_its_name(tmp_path, content):
    path = tmp_path / "mine.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"country_table: .*mine\.mmdb: ") as told:
        Countries(path)
    assert "country_table" in told.value.remedy


def test_a_table_is_opened_once_in_a_process():
    assert in_force("") is in_force("")
