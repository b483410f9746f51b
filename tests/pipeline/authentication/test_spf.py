"""SPF: what is checked and what comes of it, how much is asked, and what no record and no sender can do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication import spf as module
from pipeline.authentication.spf import MAX_EXPLANATION, MAX_SHOWN, Result, check_host, spf
from pipeline.resolver import LookupFailed, Resolver
from tests.support.dns import Names
from tests.support.zone import TROUBLE, Zone

CLIENT = "192.0.2.1"
SIX = "2001:db8::1"


def txt(text: str) -> tuple[str, bytes]:
    return "TXT", text.encode()


def zone(record: str, **others: list[Any]) -> Zone:
    """`record` is the one of a.example; of the others, `_` in a name stands for a dot."""
    names = {name.replace("_", "."): found for name, found in others.items()}
    return Zone({"a.example": [txt(record)], **names})


async def check(names: Zone, address: str = CLIENT, sender: str = "jo@a.example", helo: str = "h.example") -> Result:
    return await check_host(
        address, sender.rpartition("@")[2], sender, helo=helo, names=names, receiver="r.example", now=1_700_000_000
    )


@pytest.mark.parametrize(
    ("record", "result", "mechanism"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass", "ip4:192.0.2.0/24"),
        ("v=spf1 -ip4:192.0.2.0/24", "fail", "-ip4:192.0.2.0/24"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "softfail", "~all"),
        ("v=spf1 ?ALL", "neutral", "?ALL"),
        ("v=spf1", "neutral", "default"),
        ("v=spf1 include:p.example -all", "pass", "include:p.example"),
        ("v=spf1 -include:p.example", "fail", "-include:p.example"),
        ("v=spf1 include:f.example ~all", "softfail", "~all"),
        ("v=spf1 redirect=f.example", "fail", "-all"),
        ("v=spf1 ~all redirect=f.example", "softfail", "~all"),
        ("v=spf1 redirect=n.example", "neutral", "default"),
    ],
)
async def test_the_directive_that_decides_is_named(record, result, mechanism):
    names = zone(
        record, p_example=[txt("v=spf1 ip4:192.0.2.1 -all")], f_example=[txt("v=spf1 -all")], n_example=[txt("v=spf1")]
    )
    assert await check(names) == Result(result, "a.example", mechanism)


@pytest.mark.parametrize(
    ("record", "result", "problem"),
    [
        ("v=spf1 nonsense", "permerror", "the SPF record of a.example is wrong: a mechanism that does not exist, or not in this form"),
        ("v=spf1 include:b.example", "permerror", "b.example is referred to and has no SPF record"),
        ("v=spf1 redirect=b.example", "permerror", "b.example is referred to and has no SPF record"),
        ("v=spf1 include:%{l}..example", "permerror", "jo..example is referred to and has no SPF record"),
        ("v=spf1 include:two.example", "permerror", "two.example has more than one SPF record"),
        ("v=spf1 a:silent.example", "temperror", "the DNS did not answer about silent.example (A)"),
        ("v=spf1 include:silent.example", "temperror", "the DNS did not answer about silent.example (TXT)"),
        ("v=spf1 include:a.example", "permerror", "more than 10 terms that ask the DNS"),
        ("v=spf1 redirect=a.example", "permerror", "more than 10 terms that ask the DNS"),
        ("v=spf1 a:b.example a:c.example a:d.example", "permerror", "more than 2 terms for which the DNS has no answer"),
        ("v=spf1 mx:many.example", "permerror", "many.example has more than 10 MX records"),
    ],
)  # fmt: skip
async def test_an_error_says_why(record, result, problem):
    names = Zone({
        "a.example": [txt(record)],
        "two.example": [txt("v=spf1 -all"), txt("v=spf1 -all")],
        "silent.example": [TROUBLE],
        "many.example": [("MX", (10, f"m{number}.example")) for number in range(11)],
    })  # fmt: skip
    assert await check(names) == Result(result, "a.example", problem=problem)


@pytest.mark.parametrize(
    "domain",
    ["", "localhost", "a..example", ".a.example", "x" * 64 + ".example", "a." * 127 + "example", "[192.0.2.1]", "192.0.2.1", "a b.example",
     "a\tb.example", "a\0.example", "[IPv6:2001:db8::1]", "\u2028.example", "\udcff.example", "a\\.example", "a.example\n"],
)  # fmt: skip
async def test_what_is_no_domain_has_no_policy_and_is_not_asked_about(domain):
    names = Zone({})
    assert await check_host(CLIENT, domain, f"jo@{domain}", helo=domain, names=names) == Result("none")
    assert names.asked == []


async def test_a_client_without_an_address_is_not_judged():
    assert await check(zone("v=spf1 -all"), address="") == Result("none", "a.example")


async def test_the_null_sender_is_checked_by_the_name_in_helo():
    names = Zone(
        {
            "h.example": [txt("v=spf1 exists:%{l}.%{o}.%{d} -all")],
            "postmaster.h.example.h.example": [("A", "127.0.0.2")],
        }
    )
    result, scope = await spf(CLIENT, "h.example", "", names)
    assert (result.result, result.domain, scope) == ("pass", "h.example", "helo")
    result, scope = await spf(CLIENT, "h.example", "jo@a.example", names)
    assert (result.result, result.domain, scope) == ("none", "a.example", "mailfrom")


async def test_a_domain_is_checked_in_lower_case_and_a_labels():
    names = Zone(
        {
            "xn--bcher-kva.example": [txt("v=spf1 exists:%{o}.x.example -all")],
            "xn--bcher-kva.example.x.example": [("A", "127.0.0.2")],
        }
    )
    assert (await check(names, sender="jo@Bücher.EXAMPLE")).result == "pass"
    assert (await check(names, sender="jo@XN--BCHER-kva.example")).domain == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "record", ["v=spf1 exists:%{l}.x.example ?all", "v=spf1 -include:%{s} ?all", "v=spf1 a:%{h}.x.example ?all"]
)
async def test_a_macro_for_what_is_not_ascii_does_not_match(record):
    """RFC 8616 4."""
    names = zone(record)
    assert (await check(names, sender="jörg@a.example", helo="h\u2028.example")).result == "neutral"
    assert names.asked == [("a.example", "TXT")]


async def test_a_redirect_for_what_is_not_ascii_is_none():
    assert (await check(zone("v=spf1 redirect=%{l}.x.example"), sender="jörg@a.example")).mechanism == "default"


@pytest.mark.parametrize("address", ["::ffff:192.0.2.1", "::FFFF:c000:201", CLIENT])
async def test_a_mapped_address_is_an_ipv4_address(address):
    assert (await check(zone("v=spf1 ip4:192.0.2.1 -all"), address)).result == "pass"
    assert (await check(zone("v=spf1 ip6:::ffff:192.0.2.1 -all"), address)).result == "fail"
    names = zone("v=spf1 a -all", a_example=[txt("v=spf1 a exists:%{i}.%{v} -all"), ("A", "192.0.2.2")])
    assert (await check(names, address)).result == "fail"
    assert names.asked[-2:] == [("a.example", "A"), ("192.0.2.1.in-addr", "A")]


@pytest.mark.parametrize(
    ("address", "record", "result"),
    [
        (CLIENT, "v=spf1 a/24 -all", "pass"),
        (CLIENT, "v=spf1 a -all", "fail"),
        (CLIENT, "v=spf1 a//24 -all", "fail"),
        (SIX, "v=spf1 a/24 -all", "fail"),
        (SIX, "v=spf1 a/24//64 -all", "pass"),
        (SIX, "v=spf1 mx//64 -all", "pass"),
        (CLIENT, "v=spf1 mx/24 -all", "pass"),
        (SIX, "v=spf1 exists:a.example -all", "pass"),
        (CLIENT, "v=spf1 ptr -all", "pass"),
        (CLIENT, "v=spf1 ptr:EXAMPLE.org -all", "fail"),
        (CLIENT, "v=spf1 ptr:ample.test -all", "fail"),
        (CLIENT, "v=spf1 exists:%{p}.x.example -all", "pass"),
    ],
)
async def test_mechanisms_that_ask(address, record, result):
    names = Zone({
        "a.example": [txt(record), ("A", "192.0.2.77"), ("AAAA", "2001:db8::77"), ("MX", (10, "")), ("MX", (5, "a.example"))],
        "1.2.0.192.in-addr.arpa": [("PTR", "liar.example.org"), ("PTR", "Host.A.example"), ("PTR", "host.example.test")],
        "liar.example.org": [("A", "192.0.2.9")],
        "host.a.example": [("A", "192.0.2.9"), ("A", CLIENT)],
        "host.example.test": [("A", CLIENT)],
        "host.a.example.x.example": [("A", "127.0.0.2")],
    })  # fmt: skip
    assert (await check(names, address)).result == result


@pytest.mark.parametrize("found", [[TROUBLE], [("PTR", "silent.example")], []])
async def test_trouble_with_the_names_of_a_client_is_no_match(found):
    names = zone("v=spf1 ptr ~all", **{"1_2_0_192_in-addr_arpa": found}, silent_example=[TROUBLE])
    assert (await check(names)).result == "softfail"


async def test_the_servers_of_a_domain_are_asked_about_in_their_order_until_one_matches():
    servers = [("MX", (30 - number, f"m{number}.example")) for number in range(10)]
    names = Zone({
        "a.example": [txt("v=spf1 mx -all"), *servers],
        **{f"m{number}.example": [("A", f"192.0.2.{number}")] for number in range(10)},
    })  # fmt: skip
    assert (await check(names, "192.0.2.8")).result == "pass"
    assert names.asked[2:] == [("m9.example", "A"), ("m8.example", "A")]


async def test_a_match_counts_although_the_term_had_empty_answers():
    names = Zone({
        "a.example": [txt("v=spf1 a:x1.example a:x2.example mx -all"), ("MX", (1, "x3.example")), ("MX", (2, "m.example"))],
        "m.example": [("A", CLIENT)],
    })  # fmt: skip
    assert (await check(names)).mechanism == "mx"


async def test_no_more_is_asked_than_the_limits_allow():
    """10 terms, each with 10 servers that do exist and do not match, and the names of the client besides."""
    servers = [("MX", (1, f"m{number}.example")) for number in range(10)]
    names = Zone({
        "a.example": [txt("v=spf1" + " mx" * 9 + " ptr mx -all"), *servers],
        **{f"m{number}.example": [("A", "192.0.2.9")] for number in range(20)},
        "1.2.0.192.in-addr.arpa": [("PTR", f"m{number}.example") for number in range(20)],
    })  # fmt: skip
    assert (await check(names)).problem == "more than 10 terms that ask the DNS"
    assert len(names.asked) == 1 + 9 * 11 + 11


@pytest.mark.parametrize(("times", "result"), [(9, "softfail"), (10, "permerror")])
async def test_the_names_of_the_client_count_once_as_a_macro(times, result):
    names = Zone({
        "a.example": [txt("v=spf1" + " include:%{p}.y.example" * times + " ~all")],
        "m.example.y.example": [txt("v=spf1 -all")],
        "1.2.0.192.in-addr.arpa": [("PTR", "m.example")],
        "m.example": [("A", CLIENT)],
    })  # fmt: skip
    assert (await check(names)).result == result


@pytest.mark.parametrize(
    ("template", "explanation"),
    [
        (
            b"Mail of %{s} from %{c} (%{r}, %{t}): no.",
            "Mail of jo@a.example from 192.0.2.1 (r.example, 1700000000): no.",
        ),
        (b"%{p} %{h} %{D}", "unknown h.example a.example"),
        (b"see http://x.example/?s=%{S}%_%%", "see http://x.example/?s=jo%40a.example %"),
        (b"x" * 2000, "x" * MAX_EXPLANATION),
        (b"x" * 2049, ""),
        (b"%{x}", ""),
        (b"100%", ""),
        (b"two\nlines", ""),
        (b"esc\x1b[0m", ""),
        (b"\xc3\xbc", ""),
        (b"", ""),
    ],
)
async def test_an_explanation_is_expanded_bounded_and_given_only_when_all_of_it_is_right(template, explanation):
    names = zone("v=spf1 exp=e.example -all", e_example=[("TXT", template)])
    assert await check(names) == Result("fail", "a.example", "-all", explanation)


@pytest.mark.parametrize(
    ("record", "exp", "explanation"),
    [
        ("v=spf1 exp=e.example -all", [txt("No.")], "No."),
        ("v=spf1 exp=e.example ~all", [txt("No.")], ""),
        ("v=spf1 exp=e.example ip4:192.0.2.1", [txt("No.")], ""),
        ("v=spf1 exp=e.example -all", [txt("No."), txt("No.")], ""),
        ("v=spf1 exp=e.example -all", [], ""),
        ("v=spf1 exp=e.example -all", [TROUBLE], ""),
        ("v=spf1 exp=none.example -all", [], ""),
        ("v=spf1 exp=e.example redirect=f.example", [txt("Ours.")], "Theirs."),
        ("v=spf1 exp=e.example -include:p.example", [txt("Ours.")], "Ours."),
        ("v=spf1 exp=%{l}.e.example -all", [], "For jo."),
    ],
)
async def test_the_explanation_is_that_of_the_record_that_decided(record, exp, explanation):
    names = Zone({
        "a.example": [txt(record)],
        "e.example": exp,
        "f.example": [txt("v=spf1 -all exp=theirs.example")],
        "p.example": [txt("v=spf1 ip4:192.0.2.1 -all exp=theirs.example")],
        "theirs.example": [txt("Theirs.")],
        "jo.e.example": [txt("For jo.")],
    })  # fmt: skip
    assert (await check(names)).explanation == explanation
    asked_for_it = any(
        name in {"e.example", "theirs.example", "jo.e.example", "none.example"} for name, _ in names.asked
    )
    assert asked_for_it == ((await check(names)).result == "fail")


async def test_an_explanation_for_a_sender_that_is_not_ascii_is_left_out():
    names = zone("v=spf1 exp=e.example -all", e_example=[txt("No, %{l}.")])
    assert await check(names, sender="jörg@a.example") == Result("fail", "a.example", "-all")


class Slow(Zone):
    """Never answers about names that start with `slow`."""

    async def txt(self, name: str) -> tuple[bytes, ...]:
        if name.startswith("slow"):
            self.asked.append((name, "TXT"))
            await asyncio.Event().wait()
        return await super().txt(name)


async def test_a_result_does_not_wait_long_for_its_explanation(monkeypatch):
    monkeypatch.setattr(module, "EXPLAINING", 0.01)
    assert await check(Slow({"a.example": [txt("v=spf1 exp=slow.example -all")]})) == Result(
        "fail", "a.example", "-all"
    )


@pytest.mark.parametrize("record", ["v=spf1 include:slow.example -all", "v=spf1 exp=slow.example -all"])
async def test_the_deadline_of_the_caller_ends_it_at_any_question(record):
    names = Slow({"a.example": [txt(record)]})
    task = asyncio.create_task(check(names))
    async with asyncio.timeout(5):
        while not names.asked or names.asked[-1][0] != "slow.example":
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_record_says_is_cut_where_it_is_shown():
    names = zone("v=spf1 -exists:%{d" + "0" * 400 + "1}.b.example -all", example_b_example=[("A", "127.0.0.2")])
    result = await check(names)
    assert result.mechanism.startswith("-exists:%{d000")
    assert result.mechanism.endswith("[cut]")
    assert len(result.mechanism) == MAX_SHOWN


# Against a real server, by way of the real resolver.

RECORDS = {
    ("a.example", "TXT"): ['"v=spf1 include:" "b.example -all exp=e.example"', '"other"'],
    ("b.example", "TXT"): ['"v=spf1 a:mail.b.example ip6:2001:db8::/32 mx ptr:b.example exists:%{l}.x.example ?all"'],
    ("b.example", "MX"): ["10 mx.b.example.", "20 six.b.example."],
    ("e.example", "TXT"): ['"%{i} may not."'],
    ("mail.b.example", "CNAME"): ["host.b.example"],
    ("host.b.example", "A"): ["192.0.2.1"],
    ("mx.b.example", "A"): ["192.0.2.2"],
    ("six.b.example", "AAAA"): ["2001:db9::2"],
    ("3.2.0.192.in-addr.arpa", "PTR"): ["Relay.B.example."],
    ("4.2.0.192.in-addr.arpa", "PTR"): ["relay.b.example."],
    ("relay.b.example", "A"): ["192.0.2.3"],
    ("jo.x.example", "A"): ["127.0.0.2"],
    ("two.example", "TXT"): ['"v=spf1 -all"', '"v=spf1 +all"'],
    ("lame.example", "TXT"): ['"v=spf1 a:broken.example -all"'],
    ("long.example", "TXT"): ['"v=spf1 exists:%{l}.x.example -all"'],
    ("bs.example", "TXT"): ['"v=spf1 exists:%{l}.y.example -all"'],
    ("none.example", "A"): ["192.0.2.1"],
}


@pytest.mark.parametrize(
    ("address", "sender", "result"),
    [
        ("192.0.2.1", "anna@a.example", "pass"),
        ("2001:db8::5", "anna@a.example", "pass"),
        ("192.0.2.2", "anna@a.example", "pass"),
        ("2001:db9::2", "anna@a.example", "pass"),
        ("192.0.2.3", "anna@a.example", "pass"),
        ("192.0.2.4", "jo@a.example", "pass"),
        ("192.0.2.4", "anna@a.example", "fail"),
        ("192.0.2.4", "anna@two.example", "permerror"),
        ("192.0.2.4", "anna@none.example", "none"),
        ("192.0.2.4", "anna@nowhere.example", "none"),
        ("192.0.2.4", f"{'x' * 64}@long.example", "fail"),
        ("192.0.2.4", "anna@silent.example", "temperror"),
        ("192.0.2.4", "anna@failing.example", "temperror"),
        ("192.0.2.4", "anna@lame.example", "temperror"),
    ],
)
async def test_it_works_with_a_real_server(address, sender, result):
    async with Names(RECORDS, silent=["silent.example"], failing=["failing.example", "broken.example"]) as names:
        found, _ = await spf(address, "h.example", sender, Resolver(f"127.0.0.1:{names.port}", lifetime=0.3))
    assert found.result == result
    assert found.explanation == ("192.0.2.4 may not." if sender == "anna@a.example" and result == "fail" else "")


async def test_a_backslash_of_a_sender_stays_one_on_the_way_to_the_server():
    async with Names(RECORDS) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=0.3)
        assert (await spf(CLIENT, "h.example", 'a\\046b"@bs.example', resolver))[0].result == "fail"
        assert names.asked[-1][0].replace("\\\\", "\\") == 'a\\046b".y.example'


async def test_a_second_message_asks_nothing():
    async with Names(RECORDS) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=0.3)
        first = await spf("192.0.2.4", "h.example", "anna@a.example", resolver)
        asked = len(names.asked)
        assert await spf("192.0.2.4", "h.example", "anna@a.example", resolver) == first
        assert len(names.asked) == asked


# Whatever records, senders and servers say.

MECHANISMS = ["a", "mx", "ptr", "all", "ip4:192.0.2.1", "ip6:2001:db8::/32", "include:b.example", "include:%{d}", "include:%{l}.%{d}",
              "exists:%{i}.x.example", "exists:%{p}.%{h}", "a:%{s}/24//64", "mx:%{d2r}", "ptr:%{d}", "redirect=%{d}", "redirect=b.example",
              "exp=e.example", "exp=%{S}.e.example", "x=y", "nonsense", "", "a:%%%_%-"]  # fmt: skip
record_texts = st.lists(
    st.tuples(st.sampled_from(["", "+", "-", "~", "?"]), st.sampled_from(MECHANISMS)).map("".join)
    | st.text("amxptr:/.%{d}sl123-~", max_size=12),
    max_size=14,
).map(lambda terms: "v=spf1 " + " ".join(terms))
octets = record_texts.map(str.encode) | st.binary(max_size=40)
hosts = st.sampled_from(["b.example", "a.example", "x" * 64 + ".example", "", "."])
addresses = st.sampled_from(["192.0.2.1", "192.0.2.2"])
answers = st.fixed_dictionaries({
    "A": st.lists(addresses, max_size=3),
    "AAAA": st.lists(st.sampled_from(["2001:db8::1", "::ffff:192.0.2.1"]), max_size=3),
    "MX": st.lists(st.tuples(st.integers(0, 65535), hosts), max_size=12),
    "TXT": st.lists(octets, max_size=2),
    "PTR": st.lists(hosts, max_size=15),
})  # fmt: skip


class Hostile:
    """Answers whatever it was told, by turns, about any name, and counts."""

    def __init__(self, turns: list[dict[str, list[Any]] | bool]) -> None:
        self._turns = turns
        self.asked: list[str] = []

    async def _answer(self, kind: str) -> tuple[Any, ...]:
        turn = self._turns[len(self.asked) % len(self._turns)]
        self.asked.append(kind)
        if isinstance(turn, bool):
            raise LookupFailed("no\x1b", permanent=turn)
        return tuple(turn[kind])

    async def a(self, name: str) -> tuple[str, ...]:
        return await self._answer("A")

    async def aaaa(self, name: str) -> tuple[str, ...]:
        return await self._answer("AAAA")

    async def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        return await self._answer("MX")

    async def txt(self, name: str) -> tuple[bytes, ...]:
        return await self._answer("TXT")

    async def ptr(self, address: str) -> tuple[str, ...]:
        return await self._answer("PTR")


@given(
    st.lists(answers | st.booleans(), min_size=1, max_size=4),
    st.sampled_from([CLIENT, SIX, "::ffff:192.0.2.1", "fe80::1%eth0", "nonsense"]),
    st.text(max_size=20) | st.sampled_from(["a.example", "h.example", "."]),
    st.text(max_size=20) | st.just("jo@a.example") | st.text(max_size=10).map(lambda local: f"{local}@a.example"),
)
def test_nothing_raises_and_no_limit_is_exceeded(turns, address, helo, sender):
    names = Hostile(turns)
    result, _ = asyncio.run(spf(address, helo, sender, names))
    texts = (result.domain, result.mechanism, result.explanation, result.problem)
    assert all(text.isascii() and text.isprintable() and len(text) < 500 + MAX_SHOWN for text in texts)
    # One record, one more for each term and the explanation; 10 terms with 10 addresses; the names of the client.
    assert names.asked.count("TXT") <= 1 + 10 + 1
    assert names.asked.count("PTR") <= 1
    assert names.asked.count("MX") <= 10
    assert names.asked.count("A") + names.asked.count("AAAA") <= 10 * 10 + 10
