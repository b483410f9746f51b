"""All methods on one message: what is said, what is asked, and what happens when nobody answers."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from pipeline.authentication.together import LATE, Authentication, authenticate
from pipeline.events import Client
from pipeline.mime import Header
from pipeline.resolver import Resolver
from pipeline.state import Stage
from tests.support.dns import Names
from tests.support.examples import AT, message_in

RECORDS = {
    ("elsewhere.test", "TXT"): ['"v=spf1 ip4:198.51.100.0/24 -all"'],
    ("_dmarc.elsewhere.test", "TXT"): ['"v=DMARC1; p=reject"'],
    ("7.100.51.198.in-addr.arpa", "PTR"): ["liar.test.", "out.elsewhere.test."],
    ("out.elsewhere.test", "A"): ["198.51.100.7"],
    ("liar.test", "A"): ["192.0.2.1"],
}
CONTENT = b"From: A <a@elsewhere.test>\r\nSubject: x\r\n\r\nbody\r\n"


async def check(names: Names, content: bytes = CONTENT, seconds: float = 2.0, **changes: object) -> Authentication:
    message = msgspec.structs.replace(message_in(Stage.RECEIVED), **changes)
    resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=5)
    return await authenticate(
        message, content, Header(content), resolver, authserv_id="gw.test", now=AT, seconds=seconds
    )


def said(found: Authentication) -> dict[str, str]:
    return {
        result.method: " ".join([result.result, *(f"{name}={value}" for name, value in result.properties)])
        for result in found.results
    }


async def test_what_is_found_out_is_said_of_each_method_with_what_it_was_about():
    async with Names(RECORDS) as names:
        found = await check(names)
    assert said(found) == {
        "iprev": "pass policy.iprev=198.51.100.7",
        "spf": "pass smtp.mailfrom=sender@elsewhere.test",
        "dkim": "none",
        "dmarc": "pass header.from=elsewhere.test policy.published-domain-policy=reject",
    }
    assert found.client_name == "out.elsewhere.test"
    assert found.dmarc is not None
    assert found.dmarc.aligned == "spf"


async def test_the_null_sender_is_judged_by_the_name_in_helo():
    records = {**RECORDS, ("out.elsewhere.test", "TXT"): ['"v=spf1 -all"']}
    async with Names(records) as names:
        assert said(await check(names, sender=""))["spf"] == "fail smtp.helo=out.elsewhere.test"


@pytest.mark.parametrize(
    ("field", "result"),
    [
        (b"From: a@elsewhere.test, b@other.test\r\n", "permerror"),
        (b"From: a@elsewhere.test, b@ELSEWHERE.test\r\n", "pass header.from=elsewhere.test policy.published-domain-policy=reject"),
        (b"From: nobody\r\n", None),
        (b"", None),
        (b"From: a@nowhere.test\r\n", "none header.from=nowhere.test"),
    ],
)  # fmt: skip
async def test_dmarc_speaks_of_one_author_domain(field, result):
    async with Names(RECORDS) as names:
        assert said(await check(names, field + b"Subject: x\r\n\r\n")).get("dmarc") == result


async def test_a_message_of_our_own_has_nothing_to_prove_and_nobody_is_asked():
    async with Names(RECORDS) as names:
        assert await check(names, client=None) == Authentication()
        assert names.asked == []


async def test_forged_results_are_found_whoever_sent_the_message():
    field = b"Authentication-Results: GW.test; spf=pass\r\n"
    async with Names(RECORDS) as names:
        for client in (Client(address="198.51.100.7"), None):
            assert (await check(names, field + CONTENT, client=client)).drop == ((0, len(field)),)
            assert (await check(names, field * 201 + CONTENT, client=client)).flooded


async def test_a_silent_dns_costs_its_time_and_every_method_says_that_it_does_not_know():
    silent = ["elsewhere.test", "_dmarc.elsewhere.test", "7.100.51.198.in-addr.arpa"]
    async with Names(RECORDS, silent=silent) as names:
        found = await check(names, seconds=0.1)
    assert {result.method: result.result for result in found.results} == {
        "iprev": "temperror", "spf": "temperror", "dkim": "none", "dmarc": "temperror",
    }  # fmt: skip
    assert [result.reason for result in found.results if result.method in ("spf", "dmarc")] == [LATE, LATE]


async def test_questions_that_are_sure_to_come_are_asked_before_any_answer():
    async with Names(RECORDS, silent=["elsewhere.test"]) as names:
        await check(names, seconds=0.1)
        assert {name for name, _ in names.asked} >= {
            "elsewhere.test", "_dmarc.elsewhere.test", "7.100.51.198.in-addr.arpa"
        }  # fmt: skip


async def test_who_cancels_is_not_told_that_time_was_up():
    async with Names(RECORDS, silent=["elsewhere.test"]) as names:
        task = asyncio.create_task(check(names, seconds=30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("address", ["no address", "2001:db8::7"])
async def test_a_client_without_a_name_or_an_address_is_no_trouble(address):
    async with Names(RECORDS) as names:
        found = await check(names, client=Client(address=address, helo="x"))
    assert said(found)["iprev"].startswith("fail")
    assert found.client_name == ""


@pytest.mark.parametrize(
    ("sender", "dmarc"), [("a@elsewhere.test", "temperror"), ("", "temperror"), ("a@other.test", "fail")]
)
async def test_of_a_client_that_is_not_known_nothing_is_asked_and_nothing_said_and_dmarc_stays_open(sender, dmarc):
    async with Names(RECORDS) as names:
        found = await check(names, sender=sender, client=Client(address=""))
    assert {result.method: result.result for result in found.results} == {"dkim": "none", "dmarc": dmarc}
    assert (found.spf, found.client_name) == (None, "")
    assert {name for name, _ in names.asked if "_dmarc" not in name} == set()
