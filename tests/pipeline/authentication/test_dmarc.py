"""DMARC: which record applies, where an organization begins, what aligns, and what comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.dmarc import MAX_WALKS, Result, evaluate
from pipeline.resolver import LookupFailed, Resolver
from tests.support.dns import Names
from tests.support.zone import TROUBLE, Zone

REJECT = "v=DMARC1; p=reject"


def zone(records: dict[str, Any], *existing: str) -> Zone:
    """The DMARC records of domains (a text, several, or TROUBLE), and names that exist besides."""
    found: dict[str, list[Any]] = {name: [("A", "192.0.2.1")] for name in existing}
    for domain, texts in records.items():
        several = texts if isinstance(texts, list) else [texts]
        found[f"_dmarc.{domain}"] = [text if text is TROUBLE else ("TXT", text.encode("latin-1")) for text in several]
    return Zone(found)


async def failing(names: Zone, author: str) -> Result:
    """The result for a message that was authenticated for nobody."""
    return await evaluate(author, spf=("fail", author), dkim=[("fail", author)], names=names)


async def aligned(names: Zone, author: str, identifier: str) -> bool:
    """Whether an identifier aligns, by DKIM and by SPF."""
    dkim = await evaluate(author, spf=None, dkim=[("pass", identifier)], names=names)
    spf = await evaluate(author, spf=("pass", identifier), dkim=[], names=names)
    assert {dkim.aligned, spf.aligned} in ({"dkim", "spf"}, {""})
    assert {dkim.result, spf.result} == ({"pass"} if dkim.aligned else {"fail"})
    return bool(dkim.aligned)


@pytest.mark.parametrize(
    ("records", "author", "domain", "organizational", "policy"),
    [
        ({"example.com": REJECT}, "example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "EXAMPLE.com.", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "mail.example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "a.b.c.d.example.com", "example.com", "example.com", "reject"),
        ({"example.com": f"{REJECT}; sp=none"}, "example.com", "example.com", "example.com", "reject"),
        ({"example.com": f"{REJECT}; sp=none"}, "mail.example.com", "example.com", "example.com", "none"),
        # The author's own record is the one, whatever is above it; its sp is for nobody (RFC 9989 4.7).
        ({"mail.example.com": "v=DMARC1; p=none; sp=reject", "example.com": REJECT}, "mail.example.com", "mail.example.com", "example.com", "none"),
        # One between the author and its organization applies to nothing.
        ({"b.example.com": "v=DMARC1; p=none", "example.com": REJECT}, "a.b.example.com", "example.com", "example.com", "reject"),
        # psd=n makes an organization of its domain, and the walk ends there.
        ({"b.example.com": "v=DMARC1; p=none; psd=n", "example.com": REJECT}, "a.b.example.com", "b.example.com", "b.example.com", "none"),
        ({"a.b.example.com": "v=DMARC1; p=none; psd=n", "example.com": REJECT}, "a.b.example.com", "a.b.example.com", "a.b.example.com", "none"),
        # psd=y makes one of the domain below it; its own policy is for those that have none.
        ({"com": f"{REJECT}; psd=y"}, "example.com", "com", "example.com", "reject"),
        ({"com": f"{REJECT}; psd=y"}, "a.mail.example.com", "com", "example.com", "reject"),
        ({"com": f"{REJECT}; psd=y; sp=quarantine"}, "a.mail.example.com", "com", "example.com", "quarantine"),
        ({"com": f"{REJECT}; psd=y", "example.com": "v=DMARC1; p=none"}, "a.mail.example.com", "example.com", "example.com", "none"),
        ({"com": f"{REJECT}; psd=y", "mail.example.com": "v=DMARC1; p=none"}, "a.mail.example.com", "com", "example.com", "reject"),
        ({"example.com": f"{REJECT}; psd=y"}, "a.mail.example.com", "example.com", "mail.example.com", "reject"),
        # The one where the walk began is not its own suffix.
        ({"example.com": f"{REJECT}; psd=y", "com": "v=DMARC1; psd=n"}, "example.com", "example.com", "example.com", "reject"),
        # A suffix that forgets psd=y is taken for the organization.
        ({"com": REJECT}, "a.example.com", "com", "com", "reject"),
        ({"example.com": f"{REJECT}; psd=u", "com": "v=DMARC1; p=none; psd=u"}, "example.com", "example.com", "com", "reject"),
        # Several records are none.
        ({"mail.example.com": [REJECT, REJECT], "example.com": "v=DMARC1; p=quarantine"}, "mail.example.com", "example.com", "example.com", "quarantine"),
        ({"mail.example.com": [REJECT, "v=spf1 -all"]}, "mail.example.com", "mail.example.com", "mail.example.com", "reject"),
        # A name that is longer than eight labels loses those in the middle.
        ({"3.2.1.example.com": REJECT}, "9.8.7.6.5.4.3.2.1.example.com", "3.2.1.example.com", "3.2.1.example.com", "reject"),
        ({"9.8.7.6.5.4.3.2.1.example.com": REJECT}, "9.8.7.6.5.4.3.2.1.example.com", "9.8.7.6.5.4.3.2.1.example.com", "9.8.7.6.5.4.3.2.1.example.com", "reject"),
        ({"5.4.3.2.1.example.com": f"{REJECT}; psd=y"}, "9.8.7.6.5.4.3.2.1.example.com", "5.4.3.2.1.example.com", "6.5.4.3.2.1.example.com", "reject"),
        # What is written in From is below what it seems to be below.
        ({"example.com": REJECT}, "-a.example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "a b.example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "a\u202e.example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "a\udcff.example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "a\\.example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "..example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "x" * 64 + ".example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "x." * 200 + "example.com", "example.com", "example.com", "reject"),
        ({"example.com": REJECT}, "a\u3002example\uff0ecom", "example.com", "example.com", "reject"),
        ({"xn--bcher-kva.example": REJECT}, "Bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example", "reject"),
        ({"xn--bcher-kva.example": REJECT}, "a\u2028.Bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example", "reject"),
    ],
)  # fmt: skip
async def test_the_record_that_applies_and_the_organization(records, author, domain, organizational, policy):
    result = await failing(zone(records), author)
    assert (result.result, result.domain, result.organizational, result.policy) == (
        "fail", domain, organizational, policy,
    )  # fmt: skip
    assert result.aligned == ""


@pytest.mark.parametrize(
    ("records", "author", "organizational"),
    [
        ({}, "example.com", "example.com"),
        ({}, "a.b.example.com", "a.b.example.com"),
        ({}, "localhost", "localhost"),
        ({"example.com": [REJECT, REJECT]}, "example.com", "example.com"),
        ({"example.com": "v=DMARC2; p=reject"}, "example.com", "example.com"),
        ({"example.com": "p=reject; v=DMARC1"}, "example.com", "example.com"),
        ({"example.com": "v=spf1 -all"}, "example.com", "example.com"),
        ({"8.7.6.example.com": REJECT}, "9.8.7.6.5.4.3.2.1.example.com", "9.8.7.6.5.4.3.2.1.example.com"),
    ],
)
async def test_without_a_record_there_is_no_policy(records, author, organizational):
    result = await evaluate(author, spf=("pass", author), dkim=[("pass", author)], names=zone(records))
    assert (result.result, result.domain, result.organizational, result.policy) == ("none", "", organizational, "")
    several = isinstance(records.get("example.com"), list)
    assert result.problem == ("_dmarc.example.com has more than one DMARC record" if several else "")


@pytest.mark.parametrize(
    "author",
    ["", ".", "[192.0.2.1]", "192.0.2.1", "[IPv6:2001:db8::1]", "a b", "\u2028", "x.1", "\udcff", "a.\u202e", "²"],
)
async def test_what_is_no_domain_has_no_policy_and_is_not_asked_about(author):
    names = zone({})
    assert await evaluate(author, spf=("pass", author), dkim=[("pass", author)], names=names) == Result(
        "none", problem="the author domain is not a domain name"
    )
    assert names.asked == []


@pytest.mark.parametrize(
    ("author", "asked"),
    [
        ("com", ["com"]),
        ("example.com", ["example.com", "com"]),
        ("a.b.c.d.e.f.example.com", ["a.b.c.d.e.f.example.com", "b.c.d.e.f.example.com", "c.d.e.f.example.com", "d.e.f.example.com",
                                     "e.f.example.com", "f.example.com", "example.com", "com"]),
        ("a.b.c.d.e.f.g.example.com", ["a.b.c.d.e.f.g.example.com", "c.d.e.f.g.example.com", "d.e.f.g.example.com", "e.f.g.example.com",
                                       "f.g.example.com", "g.example.com", "example.com", "com"]),
        ("a.b.c.d.e.f.g.h.i.j.mail.example.com", ["a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com",
                                                  "i.j.mail.example.com", "j.mail.example.com", "mail.example.com", "example.com", "com"]),
    ],
)  # fmt: skip
async def test_a_walk_asks_at_most_eight_questions_in_the_order_of_the_rfc(author, asked):
    names = zone({})
    await failing(names, author)
    assert names.asked == [(f"_dmarc.{name}", "TXT") for name in asked]


@pytest.mark.parametrize("psd", ["y", "n"])
async def test_a_walk_ends_where_a_boundary_is_declared(psd):
    names = zone({"b.example.com": f"{REJECT}; psd={psd}", "com": REJECT})
    await failing(names, "a.b.example.com")
    assert [name for name, _ in names.asked] == ["_dmarc.a.b.example.com", "_dmarc.b.example.com"]


@pytest.mark.parametrize(
    ("record", "exists", "policy"),
    [
        (f"{REJECT}; np=none", True, "reject"),
        (f"{REJECT}; np=none", False, "none"),
        (f"{REJECT}; sp=none; np=quarantine", True, "none"),
        (f"{REJECT}; sp=none; np=quarantine", False, "quarantine"),
        (f"{REJECT}; sp=none", False, "none"),
        (REJECT, False, "reject"),
    ],
)
async def test_a_subdomain_that_does_not_exist_has_a_policy_of_its_own(record, exists, policy):
    names = zone({"example.com": record}, *(["x.example.com"] if exists else []))
    assert (await failing(names, "x.example.com")).policy == policy
    assert (await failing(names, "example.com")).policy == "reject"


@pytest.mark.parametrize("found", [[("CNAME", "gone.example")], [("MX", (0, ""))], [("TXT", b"x")]])
async def test_any_record_makes_a_name_exist_even_an_alias_to_nothing(found):
    """RFC 9989 A.4."""
    names = Zone({"_dmarc.example.com": [("TXT", b"v=DMARC1; p=reject; np=none")], "x.example.com": found})
    assert (await failing(names, "x.example.com")).policy == "reject"


async def test_a_name_with_names_below_it_exists():
    names = zone({"example.com": "v=DMARC1; p=reject; np=none"}, "a.x.example.com")
    assert (await failing(names, "x.example.com")).policy == "reject"


async def test_existence_is_asked_only_where_it_matters():
    for record in (REJECT, f"{REJECT}; sp=none", f"{REJECT}; sp=none; np=none"):
        names = zone({"example.com": record})
        await failing(names, "x.example.com")
        assert {kind for _, kind in names.asked} == {"TXT"}


ORGANIZATION = {"example.com": REJECT, "other.test": REJECT}
DEPARTMENT = {"example.com": REJECT, "dept.example.com": "v=DMARC1; p=none; psd=n"}
SUFFIX = {"co.test": "v=DMARC1; p=reject; psd=y"}


@pytest.mark.parametrize(
    ("records", "author", "identifier", "relaxed", "strict"),
    [
        (ORGANIZATION, "example.com", "example.com", True, True),
        (ORGANIZATION, "EXAMPLE.com", "Example.COM.", True, True),
        (ORGANIZATION, "mail.example.com", "mail.example.com", True, True),
        (ORGANIZATION, "mail.example.com", "example.com", True, False),
        (ORGANIZATION, "example.com", "mail.example.com", True, False),
        (ORGANIZATION, "a.example.com", "b.c.example.com", True, False),
        (ORGANIZATION, "example.com", "other.test", False, False),
        (ORGANIZATION, "example.com", "notexample.com", False, False),
        (ORGANIZATION, "example.com", "com", False, False),
        (ORGANIZATION, "example.com", "example.com.evil.test", False, False),
        (ORGANIZATION, "example.com", "", False, False),
        (ORGANIZATION, "example.com", "[192.0.2.1]", False, False),
        (ORGANIZATION, "a\u202e.example.com", "a\u202e.example.com", False, False),
        (DEPARTMENT, "example.com", "dept.example.com", False, False),
        (DEPARTMENT, "example.com", "x.dept.example.com", False, False),
        (DEPARTMENT, "dept.example.com", "x.dept.example.com", True, False),
        (DEPARTMENT, "x.dept.example.com", "dept.example.com", True, False),
        (DEPARTMENT, "x.dept.example.com", "y.dept.example.com", True, False),
        (DEPARTMENT, "x.dept.example.com", "example.com", False, False),
        (SUFFIX, "a.co.test", "a.co.test", True, True),
        (SUFFIX, "a.co.test", "x.a.co.test", True, False),
        (SUFFIX, "x.a.co.test", "a.co.test", True, False),
        (SUFFIX, "a.co.test", "b.co.test", False, False),
        (SUFFIX, "a.co.test", "co.test", False, False),
        (SUFFIX, "co.test", "co.test", True, True),
        (SUFFIX, "co.test", "a.co.test", False, False),
        ({"xn--bcher-kva.example": REJECT}, "bücher.example", "xn--bcher-kva.example", True, True),
        ({"xn--bcher-kva.example": REJECT}, "xn--bcher-kva.example", "mail.Bücher.example", True, False),
        # Below a name of more than eight labels the two walks meet further up.
        ({"example.com": REJECT}, "9.8.7.6.5.4.3.2.1.example.com", "8.7.6.5.4.3.2.1.example.com", True, False),
    ],
)
async def test_relaxed_is_the_same_organization_and_strict_the_same_name(records, author, identifier, relaxed, strict):
    assert await aligned(zone(records), author, identifier) == relaxed
    severe = {domain: f"{text}; adkim=s; aspf=s" for domain, text in records.items()}
    assert await aligned(zone(severe), author, identifier) == strict


async def test_each_method_has_its_own_mode():
    for mode, expected in (("adkim=s", "spf"), ("aspf=s", "dkim")):
        names = zone({"example.com": f"{REJECT}; {mode}"})
        result = await evaluate(
            "example.com", spf=("pass", "m.example.com"), dkim=[("pass", "m.example.com")], names=names
        )
        assert result.aligned == expected


@pytest.mark.parametrize(
    ("spf", "dkim", "expected"),
    [
        (None, [], ""),
        (("pass", "example.com"), [], "spf"),
        (("softfail", "example.com"), [], ""),
        (("neutral", "example.com"), [("neutral", "example.com")], ""),
        (("fail", "example.com"), [("pass", "example.com")], "dkim"),
        (("pass", "example.com"), [("pass", "example.com")], "dkim"),
        (("pass", "x.example.com"), [("pass", "example.com")], "dkim"),
        (("pass", "example.com"), [("pass", "x.example.com")], "spf"),
        (("pass", "other.test"), [("fail", "example.com"), ("pass", "other.test"), ("pass", "x.example.com")], "dkim"),
        (("pass", "other.test"), [("permerror", "example.com"), ("none", "example.com")], ""),
    ],
)
async def test_any_identifier_that_passed_and_aligns_makes_it_pass(spf, dkim, expected):
    result = await evaluate("example.com", spf=spf, dkim=dkim, names=zone({"example.com": REJECT}))
    assert (result.result, result.aligned) == ("pass" if expected else "fail", expected)
    assert result.policy == "reject"


async def test_an_identifier_that_is_the_organization_or_far_from_it_takes_no_walk():
    names = zone({"example.com": REJECT})
    signatures = [("pass", "other.test"), ("pass", "example.com"), ("pass", "x.example.com")]
    result = await evaluate("mail.example.com", spf=("pass", "y.example.com"), dkim=signatures, names=names)
    assert result.aligned == "dkim"
    assert [name for name, _ in names.asked] == ["_dmarc.mail.example.com", "_dmarc.example.com", "_dmarc.com"]


async def test_the_number_of_walks_is_bounded():
    records = {f"d{number}.example.com": "v=DMARC1; psd=n" for number in range(50)} | {"example.com": REJECT}
    names = zone(records)
    signatures = [("pass", f"d{number}.example.com") for number in range(50)] * 2
    result = await evaluate("example.com", spf=None, dkim=signatures, names=names)
    assert result.result == "fail"
    assert len(names.asked) == 2 + MAX_WALKS


async def test_the_test_mode_is_told_and_the_policy_stays_as_published():
    result = await failing(zone({"example.com": f"{REJECT}; t=y; np=quarantine"}), "x.example.com")
    assert (result.policy, result.testing) == ("quarantine", True)


@pytest.mark.parametrize(
    ("record", "result", "policy", "problem"),
    [
        ("v=DMARC1", "fail", "none", "the DMARC record of example.com: it has no p=, so all of it counts as none"),
        ("v=DMARC1; p=x; rua=mailto:a@b.example", "fail", "none", "the DMARC record of example.com: its p= is not a policy, so all of it counts as none"),
        ("v=DMARC1; p=x", "permerror", "", "the DMARC record of example.com: its p= is not a policy"),
        ("v=DMARC1; p=reject; sp=\x1b[31m", "permerror", "", "the DMARC record of example.com: its sp= is not a policy"),
    ],
)  # fmt: skip
async def test_a_record_with_a_wrong_policy_says_so_and_enforces_nothing(record, result, policy, problem):
    names = zone({"example.com": record, "com": REJECT})
    got = await failing(names, "example.com")
    assert (got.result, got.domain, got.policy, got.problem) == (result, "example.com", policy, problem)
    passing = await evaluate("example.com", spf=None, dkim=[("pass", "example.com")], names=names)
    assert passing.result == ("pass" if policy else "permerror")


async def test_a_wrong_record_of_a_suffix_is_no_policy_for_those_below_it():
    got = await failing(zone({"com": "v=DMARC1; psd=y; p=x"}), "a.example.com")
    assert (got.result, got.domain, got.organizational, got.policy) == ("permerror", "com", "example.com", "")


async def test_discarded_records_are_mentioned_where_another_applies():
    result = await failing(
        zone({"x.example.com": [REJECT, REJECT], "example.com": "v=DMARC1; p=none"}), "x.example.com"
    )
    assert result.problem == "_dmarc.x.example.com has more than one DMARC record"


@pytest.mark.parametrize(
    ("records", "author", "identifier", "expected"),
    [
        # Nothing is known of the policy.
        ({"example.com": TROUBLE}, "example.com", "example.com", ("temperror", "", "")),
        ({"example.com": TROUBLE}, "a.example.com", "a.example.com", ("temperror", "", "")),
        ({"com": TROUBLE}, "example.com", "example.com", ("temperror", "", "")),
        # The policy is known, the organization is not: the same name passes, and another top level cannot.
        ({"a.example.com": REJECT, "com": TROUBLE}, "a.example.com", "a.example.com", ("pass", "reject", "dkim")),
        ({"a.example.com": REJECT, "com": TROUBLE}, "a.example.com", "example.com", ("temperror", "reject", "")),
        ({"a.example.com": REJECT, "com": TROUBLE}, "a.example.com", "example.test", ("fail", "reject", "")),
        ({"a.example.com": f"{REJECT}; adkim=s", "com": TROUBLE}, "a.example.com", "example.com", ("fail", "reject", "")),
        ({"a.example.com": f"{REJECT}; psd=n", "com": TROUBLE}, "a.example.com", "b.a.example.com", ("pass", "reject", "dkim")),
        # The organization of the identifier is not.
        ({"example.com": REJECT, "x.example.com": TROUBLE}, "example.com", "x.example.com", ("temperror", "reject", "")),
        ({"example.com": f"{REJECT}; adkim=s", "x.example.com": TROUBLE}, "example.com", "x.example.com", ("fail", "reject", "")),
    ],
)  # fmt: skip
async def test_trouble_with_the_dns_is_told_only_where_it_could_change_the_result(
    records, author, identifier, expected
):
    result = await evaluate(author, spf=None, dkim=[("pass", identifier)], names=zone(records))
    assert (result.result, result.policy, result.aligned) == expected
    assert bool(result.problem) == (expected[0] == "temperror")


async def test_a_name_of_which_it_is_not_known_whether_it_exists():
    names = Zone({
        "_dmarc.example.com": [("TXT", b"v=DMARC1; p=reject; np=none")], "_dmarc.x.example.com": [], "x.example.com": [TROUBLE],
    })  # fmt: skip
    result = await failing(names, "x.example.com")
    assert (result.result, result.policy) == ("temperror", "")
    assert result.problem == "the DNS did not answer whether x.example.com exists"
    result = await evaluate("x.example.com", spf=None, dkim=[("pass", "example.com")], names=names)
    assert (result.result, result.policy, result.problem) == ("pass", "", "")


@pytest.mark.parametrize(
    ("spf", "dkim", "result"),
    [
        (("temperror", "example.com"), [], "temperror"),
        (("fail", "example.com"), [("temperror", "x.example.com")], "temperror"),
        (("fail", "example.com"), [("temperror", "other.test")], "fail"),
        (("temperror", "example.com"), [("pass", "example.com")], "pass"),
    ],
)
async def test_an_identifier_that_could_not_be_checked_leaves_it_open_if_it_would_align(spf, dkim, result):
    got = await evaluate("example.com", spf=spf, dkim=dkim, names=zone({"example.com": REJECT}))
    assert got.result == result
    assert bool(got.problem) == (result == "temperror")


RECORDS = {
    ("_dmarc.example.com", "TXT"): ['"v=DMARC1; p=reject; sp=quaran" "tine; np=none"', '"other"'],
    ("example.com", "A"): ["192.0.2.1"],
    ("alias.example.com", "CNAME"): ["gone.example.com"],
    ("_dmarc.broken.test", "TXT"): ['"v=DMARC1; p=reject"'],
}


@pytest.mark.parametrize(
    ("author", "result", "policy"),
    [
        ("example.com", "fail", "reject"),
        ("alias.example.com", "fail", "quarantine"),
        ("nobody.example.com", "fail", "none"),
        ("example.org", "none", ""),
        ("silent.test", "temperror", ""),
        ("failing.test", "temperror", ""),
        ("x." * 120 + "example.com", "fail", "none"),
    ],
)
async def test_it_works_with_a_real_server(author, result, policy):
    async with Names(RECORDS, silent=["_dmarc.silent.test"], failing=["_dmarc.failing.test"]) as names:
        got = await evaluate(author, spf=None, dkim=[], names=Resolver(f"127.0.0.1:{names.port}", lifetime=0.3))
    assert (got.result, got.policy) == (result, policy)


class Hostile:
    """Answers whatever it was told, by turns, about any name, and counts."""

    def __init__(self, turns: list[Any]) -> None:
        self._turns = turns
        self.asked = 0

    async def txt(self, name: str) -> tuple[bytes, ...]:
        self.asked += 1
        turn = self._turns[self.asked % len(self._turns)]
        if isinstance(turn, bool):
            raise LookupFailed("no\x1b", permanent=turn)
        return tuple(turn)

    async def cname(self, name: str) -> tuple[str, ...]:
        await self.txt(name)
        return ()


tags = st.sampled_from(
    [
        "p=none",
        "p=reject",
        "p=x",
        "sp=none",
        "np=reject",
        "psd=y",
        "psd=n",
        "adkim=s",
        "aspf=s",
        "t=y",
        "rua=mailto:a@b.c",
        "",
    ]
)
texts = st.lists(tags, max_size=4).map(lambda chosen: ("v=DMARC1; " + "; ".join(chosen)).encode()) | st.binary(
    max_size=30
)
domains = st.sampled_from(["example.com", "a.example.com", "a.b.example.com", "com", "x." * 126 + "y", ""]) | st.text(
    max_size=30
)
results = st.tuples(st.sampled_from(["pass", "fail", "temperror", "none"]), domains)


@given(
    st.lists(st.lists(texts, max_size=2) | st.booleans(), min_size=1, max_size=5),
    domains,
    results | st.none(),
    st.lists(results, max_size=15),
)
def test_nothing_raises_and_no_limit_is_exceeded(turns, author, spf, dkim):
    names = Hostile(turns)
    result = asyncio.run(evaluate(author, spf=spf, dkim=dkim, names=names))
    for text in (result.domain, result.organizational, result.problem):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) < 500
    assert names.asked <= 8 * (1 + MAX_WALKS) + 1
    assert bool(result.aligned) == (result.result == "pass")
    assert result.domain or result.result in {"none", "temperror"}
    assert result.result != "fail" or result.policy
