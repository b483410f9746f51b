"""DMARC Policy Records: which TXT record is one, and what it asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.dmarc_record import MAX_RECORD, Record, read, records


@pytest.mark.parametrize(
    ("text", "one"),
    [
        (b"v=DMARC1", True), (b"v=DMARC1;", True), (b"v=DMARC1; p=none", True), (b"v=DMARC1;p=none", True), (b"V \t= DMARC1 \t; p=none", True),
        (b"v=DMARC1 ", True), (b"v=DMARC1;\xff\0", True), (b"v=dmarc1; p=none", False), (b"v=DMARC2; p=none", False), (b"v=DMARC10", False),
        (b"v=DMARC1 p=none", False), (b"v=DMARC1, p=none", False), (b" v=DMARC1; p=none", False), (b"p=none; v=DMARC1", False), (b"", False),
        (b"v=DMARC1\n;", False), (b"v=spf1 -all", False),
    ],
)  # fmt: skip
def test_a_record_is_told_by_its_first_tag(text, one):
    assert records([b"other", text]) == ([text] if one else [])


def test_what_is_too_long_is_no_record():
    assert records([b"v=DMARC1;".ljust(MAX_RECORD)])
    assert not records([b"v=DMARC1;".ljust(MAX_RECORD + 1)])


def test_a_record_is_read_once():
    text = b"v=DMARC1; p=reject"
    assert read(text) is read(bytes(bytearray(text)))


@pytest.mark.parametrize(
    ("tags", "policies"),
    [
        ("p=none", ("none", "none", "none")),
        ("p=reject", ("reject", "reject", "reject")),
        ("p=reject; sp=none", ("reject", "none", "none")),
        ("p=reject; np=none", ("reject", "reject", "none")),
        ("p=none; sp=quarantine; np=reject", ("none", "quarantine", "reject")),
        ("np=reject; sp=quarantine; p=none", ("none", "quarantine", "reject")),
        ("P=Reject; SP = NONE ;\tnp\t=\tQuarantine\t", ("reject", "none", "quarantine")),
        ("p=reject; p=none", ("reject", "reject", "reject")),
        ("p=reject; p", ("reject", "reject", "reject")),
        ("p; p=reject", ("reject", "reject", "reject")),
        (";;; p=reject;;", ("reject", "reject", "reject")),
        ("p=reject; pct=0; ri=1; rf=afrf; fo=1; unknown=x; =; \xff", ("reject", "reject", "reject")),
        ("", ("none", "none", "none")),
        ("sp=reject", ("none", "none", "none")),
        ("rua=mailto:a@b.example", ("none", "none", "none")),
        ("p=rejected", ("", "", "")),
        ("p=", ("", "", "")),
        ("p=none reject", ("", "", "")),
        ("p=re\xffject", ("", "", "")),
        ("p=reject; sp=x", ("", "", "")),
        ("p=reject; np=", ("", "", "")),
        ("sp=x", ("", "", "")),
        ("p=x; rua=mailto:a@b.example", ("none", "none", "none")),
        ("p=reject; sp=x; rua=nonsense, mailto:a@b.example!10m", ("none", "none", "none")),
        ("p=reject; np=x; RUA=https://b.example/", ("none", "none", "none")),
        ("p=x; rua=", ("", "", "")),
        ("p=x; rua=a@b.example", ("", "", "")),
        ("p=x; rua=mailto:", ("", "", "")),
        ("p=x; rua=1:2", ("", "", "")),
        ("p=x; ruf=mailto:a@b.example", ("", "", "")),
    ],
)
def test_policies(tags, policies):
    record = read(f"v=DMARC1; {tags}".encode("latin-1"))
    assert (record.policy, record.subdomains, record.absent) == policies
    right = policies[0] not in {"", "none"} or tags.startswith(("p=none;", "np=")) or tags == "p=none"
    assert bool(record.problem) != right


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", Record("reject", "reject", "reject")),
        ("adkim=s", Record("reject", "reject", "reject", strict_dkim=True)),
        ("aspf=S", Record("reject", "reject", "reject", strict_spf=True)),
        ("adkim=r; aspf=x", Record("reject", "reject", "reject")),
        ("adkim=ss; aspf= s ", Record("reject", "reject", "reject", strict_spf=True)),
        ("psd=y", Record("reject", "reject", "reject", psd="y")),
        ("psd=N", Record("reject", "reject", "reject", psd="n")),
        ("psd=u", Record("reject", "reject", "reject")),
        ("psd=yes", Record("reject", "reject", "reject")),
        ("t=y", Record("reject", "reject", "reject", testing=True)),
        ("t=n", Record("reject", "reject", "reject")),
        ("t=1", Record("reject", "reject", "reject")),
    ],
)
def test_flags_that_are_not_understood_count_as_not_written(tags, expected):
    assert read(f"v=DMARC1; p=reject; {tags}".encode()) == expected


@given(st.binary(max_size=200) | st.text("pst n=;reject:dkmrua,mailto@\xff", max_size=80).map(str.encode))
def test_any_octets_are_read(octets):
    record = read(b"v=DMARC1;" + octets)
    assert record.problem.isascii()
    assert {record.policy, record.subdomains, record.absent} <= {"", "none", "quarantine", "reject"}
    assert (record.policy == "") == (record.subdomains == "") == (record.absent == "")
    assert record.policy or record.problem
