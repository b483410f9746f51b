"""Questions to the DNS: what is kept, for how long, and what is asked only once."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import resolver as module
from pipeline.resolver import LookupFailed, Resolver
from tests.support.dns import Names

RECORDS = {
    ("example.org", "MX"): ["10 mx.example.org."],
    ("example.org", "TXT"): ['"v=spf1 " "-all"', '"other"'],
    ("mx.example.org", "A"): ["192.0.2.1"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["MX.Example.org."],
}


def resolver(names: Names, lifetime: float = 0.5) -> Resolver:
    return Resolver(f"127.0.0.1:{names.port}", lifetime=lifetime)


async def test_answers_come_in_the_form_in_which_they_are_wanted():
    async with Names(RECORDS) as names:
        asked = resolver(names)
        assert await asked.mx("example.org") == ((10, "mx.example.org"),)
        assert sorted(await asked.txt("example.org")) == [b"other", b"v=spf1 -all"]
        assert await asked.a("mx.example.org") == ("192.0.2.1",)
        assert await asked.aaaa("mx.example.org") == ()
        assert await asked.ptr("192.0.2.1") == ("mx.example.org",)


async def test_an_answer_is_asked_for_once_also_when_many_ask_at_once_and_whatever_the_case():
    async with Names(RECORDS) as names:
        asked = resolver(names)
        await asyncio.gather(*(asked.txt(name) for name in ("example.org", "EXAMPLE.org", "example.org")))
        assert await asked.aaaa("mx.example.org") == await asked.aaaa("mx.example.org") == ()
        assert len(names.asked) == 2


async def test_who_loses_patience_leaves_the_answer_to_the_cache():
    async with Names(RECORDS) as names:
        asked = resolver(names)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asked.txt("example.org")
        assert len(await asked.txt("example.org")) == 2
        assert len(names.asked) == 1


async def test_no_such_name_is_permanent_and_kept():
    async with Names(RECORDS) as names:
        asked = resolver(names)
        for _ in range(2):
            with pytest.raises(LookupFailed, match="does not exist") as caught:
                await asked.txt("nobody.example")
            assert caught.value.permanent
        assert len(names.asked) == 1


async def test_the_question_for_an_alias_tells_whether_the_name_itself_exists():
    records = {("alias.example.org", "CNAME"): ["gone.example.org"], ("plain.example.org", "TXT"): ['"x"']}
    async with Names(records) as names:
        asked = resolver(names)
        assert await asked.cname("alias.example.org") == ("gone.example.org",)
        assert await asked.cname("plain.example.org") == ()
        with pytest.raises(LookupFailed) as caught:
            await asked.cname("gone.example.org")
        assert caught.value.permanent


@pytest.mark.parametrize("trouble", ["failing", "silent"])
async def test_trouble_is_temporary_and_not_met_twice_in_a_moment(trouble):
    now = 1000.0
    async with Names(RECORDS, **{trouble: ["example.org"]}) as names:
        asked = Resolver(f"127.0.0.1:{names.port}", lifetime=0.2, clock=lambda: now)
        for _ in range(3):
            with pytest.raises(LookupFailed) as caught:
                await asked.txt("example.org")
            assert not caught.value.permanent
        before = len(names.asked)
        with pytest.raises(LookupFailed):
            await asked.txt("example.org")
        assert len(names.asked) == before
        names.failing.clear()
        names.silent.clear()
        now += module.FAILED + 1
        assert len(await asked.txt("example.org")) == 2


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", "." * 300, "\udcff.example", "a" * 300])
async def test_what_is_no_name_is_a_no(name):
    async with Names(RECORDS) as names:
        with pytest.raises(LookupFailed) as caught:
            await resolver(names).txt(name)
        assert caught.value.permanent
        assert names.asked == []


async def test_the_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "CACHED", 20)
    async with Names({(f"n{number}.example", "A"): ["192.0.2.1"] for number in range(50)}) as names:
        asked = resolver(names)
        for number in range(50):
            await asked.a(f"n{number}.example")
        assert len(asked._known) <= 20


async def test_a_dead_dns_is_not_waited_for_each_time_and_is_used_again_when_it_is_back():
    now = 1000.0
    many = [f"n{number}.example" for number in range(module.SILENT)]
    async with Names(RECORDS, silent=many) as names:
        asked = Resolver(f"127.0.0.1:{names.port}", lifetime=0.05, clock=lambda: now)
        await asyncio.gather(*(asked.txt(name) for name in many), return_exceptions=True)
        before = len(names.asked)
        with pytest.raises(LookupFailed, match="not asked") as caught:
            await asked.txt("example.org")
        assert not caught.value.permanent
        assert len(names.asked) == before
        now += module.DEAD
        assert len(await asked.txt("example.org")) == 2
        with pytest.raises(LookupFailed, match="does not exist"):
            await asked.txt("nobody.example")


async def test_what_is_expected_is_asked_at_once_and_only_once():
    async with Names(RECORDS) as names:
        asked = resolver(names)
        asked.expect("example.org", "TXT")
        asked.expect("192.0.2.1", "PTR")
        asked.expect("no address", "PTR")
        assert await asked.ptr("192.0.2.1") == ("mx.example.org",)
        assert len(await asked.txt("example.org")) == 2
        asked.expect("example.org", "TXT")
        assert len(names.asked) == 2
        with pytest.raises(LookupFailed):
            await asked.ptr("no address")
