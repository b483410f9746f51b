"""What a directory may become, and what holds in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.directory import Domain
from pipeline.directory.inherit import DEPTH, effective, home
from pipeline.directory.rules import check
from pipeline.faults import ConfigurationError, GatepostError, RefusedError

ROUTE = ("mx.example.test:25",)


def domains(*those: Domain) -> dict[str, Domain]:
    return {domain.name: domain for domain in those}


def judge(*those: Domain) -> None:
    check(domains(*those), [domain.name for domain in those])


A = Domain(name="a.test", route=ROUTE)


def test_a_directory_of_a_domain_its_alias_and_its_child_is_fine():
    judge(A, Domain(name="alias.test", alias_of="a.test"), Domain(name="child.test", parent="a.test"))


@pytest.mark.parametrize(
    ("those", "fault", "words"),
    [
        ([Domain(name="a.test")], ConfigurationError, "a.test has no route"),
        ([Domain(name="b.test", alias_of="a.test")], RefusedError, "no domain a.test"),
        ([A, Domain(name="b.test", alias_of="b.test")], RefusedError, "b.test is an alias itself"),
        (
            [A, Domain(name="c.test", alias_of="b.test"), Domain(name="b.test", alias_of="a.test")],
            RefusedError,
            "b.test is an alias itself",
        ),
        (
            [A, Domain(name="b.test", alias_of="a.test"), Domain(name="c.test", parent="b.test")],
            RefusedError,
            "cannot become an alias: c.test depend",
        ),
        ([Domain(name="a.test", parent="nobody.test", route=ROUTE)], RefusedError, "no domain nobody.test"),
        ([Domain(name="a.test", parent="a.test", route=ROUTE)], RefusedError, "a.test would be above itself"),
        (
            [
                Domain(name="a.test", parent="b.test", route=ROUTE),
                Domain(name="b.test", parent="c.test"),
                Domain(name="c.test", parent="a.test"),
            ],
            RefusedError,
            "above itself: a.test under b.test under c.test under a.test",
        ),
        ([Domain(name="a.test", route=ROUTE, timezone="Europe/Nowhere")], ConfigurationError, "no time zone"),
        ([Domain(name="a.test", route=ROUTE, timezone="../../etc/passwd")], ConfigurationError, "no time zone"),
        ([Domain(name="a.test", route=ROUTE, language="xx")], ConfigurationError, "no language"),
        ([Domain(name="a.test", route=ROUTE, delimiter="++")], ConfigurationError, "cannot separate"),
        ([Domain(name="a.test", route=ROUTE, delimiter="@")], ConfigurationError, "cannot separate"),
        ([Domain(name="a.test", route=ROUTE, smtputf8="maybe")], ConfigurationError, "smtputf8"),
        ([Domain(name="a.test", route=ROUTE, max_recipients=-1)], ConfigurationError, "negative"),
        ([Domain(name="a.test", route=ROUTE, retry_interval=1)], ConfigurationError, "tried again"),
        ([Domain(name="a.test", route=ROUTE, retry_interval=8 * 86400 * 10**9)], ConfigurationError, "tried again"),
        ([Domain(name="a.test", route=ROUTE, queue_lifetime=-1)], ConfigurationError, "held"),
        ([Domain(name="a.test", route=ROUTE, contact="nobody")], ConfigurationError, "contact"),
        ([Domain(name="a.test", route=ROUTE, contact_outside="x@A.test")], ConfigurationError, "inside a.test"),
        ([Domain(name="a.test", route=ROUTE, protected_names=("Anna",))], ConfigurationError, "not a whole name"),
        (
            [Domain(name="a.test", route=ROUTE, protected_names=("Anna \x1b[31m",))],
            ConfigurationError,
            "cannot be shown",
        ),
        (
            [Domain(name="a.test", route=ROUTE, protected_names=("Anna Schmidt",) * 201)],
            ConfigurationError,
            "more than 200",
        ),
        ([Domain(name="a.test", route=ROUTE, trusted_relays=("192.0.2.1/24",))], ConfigurationError, "trusted relay"),
        ([Domain(name="a.test", route=ROUTE, trusted_relays=("::1",) * 101)], ConfigurationError, "there may be 100"),
    ],
)
def test_what_cannot_be(those, fault, words):
    with pytest.raises(fault, match=words):
        judge(*those)


def test_what_others_depend_on_cannot_go():
    with pytest.raises(RefusedError, match=r"a.test has aliases: alias.test"):
        check(domains(Domain(name="alias.test", alias_of="a.test")), ["a.test"])
    with pytest.raises(RefusedError, match=r"a.test has children: child.test"):
        check(domains(Domain(name="child.test", parent="a.test", route=ROUTE)), ["a.test"])


def test_a_child_takes_what_it_has_not_from_the_nearest_parent_that_has_it_but_never_who_is_accepted():
    top = Domain(
        name="top.test",
        route=ROUTE,
        timezone="Europe/Berlin",
        language="de",
        catch_all=True,
        greylist=True,
        delimiter="+",
    )
    all_ = domains(
        top, Domain(name="mid.test", parent="top.test", language="en"), Domain(name="low.test", parent="mid.test")
    )
    low = effective(all_, all_["low.test"])
    assert (low.route, low.timezone, low.language) == (ROUTE, "Europe/Berlin", "en")
    assert (low.catch_all, low.greylist, low.delimiter, low.hold) == (False, False, "", None)
    assert effective(all_, top) is top


def test_an_alias_leads_home_and_one_that_leads_nowhere_is_not_ours():
    all_ = domains(A, Domain(name="b.test", alias_of="a.test"), Domain(name="c.test", alias_of="b.test"))
    assert home(all_, "a.test") == home(all_, "b.test") == A
    assert home(all_, "c.test") is None
    assert home(all_, "nobody.test") is None


NAMES = st.sampled_from(["a.test", "b.test", "c.test", "d.test", ""])


@given(
    st.lists(
        st.builds(Domain, name=NAMES.filter(bool), parent=NAMES, alias_of=NAMES, route=st.sampled_from([(), ROUTE]))
    )
)
def test_whatever_the_store_holds_looking_ends_and_what_passes_the_rules_leads_somewhere(those):
    all_ = domains(*those)
    for domain in those:
        effective(all_, domain)
        home(all_, domain.name)
    try:
        check(all_, list(all_))
    except GatepostError:
        return
    for name in all_:
        found = home(all_, name)
        assert found is not None
        assert effective(all_, found).route
        assert len(all_) - 1 <= DEPTH
