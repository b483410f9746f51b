"""Senders from elsewhere who have the name of one of the domain's own people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.address import local_key
from pipeline.directory.model import Address, Kind
from pipeline.faults import StoreAwayError
from pipeline.scanning.people import LONGEST, MOST, REMEMBERED, People, candidates
from tests.support.deceiving import mail, rows

LOCALS = (
    "anna.schmidt",
    "annaschmidt",
    "aschmidt",
    "a.schmidt",
    "anna_schmidt",
    "anna-schmidt",
    "schmidt.anna",
    "schmidta",
    "schmidt.a",
)


async def scan(sender: str, auth: str = "", more: str = "", body: str = "hello", ask=rows) -> list[tuple[str, float]]:
    content = f"From: {sender}\r\n{more}Subject: hi\r\n\r\n{body}\r\n".encode()
    return [(finding.name, finding.score) for finding in await People(ask).scan(mail(content, auth))]


@pytest.mark.parametrize(
    "display", ["Anna Schmidt", "Schmidt, Anna", "Dr. Anna Schmidt", "ANNA SCHMIDT", "Anna  Schmidt (CEO)"]
)
def test_the_local_parts_that_somebody_would_have(display):
    assert set(LOCALS) <= set(candidates(display))


def test_umlauts_are_written_in_three_ways():
    found = set(candidates("Jürgen Größl"))
    assert {"juergen.groessl", "j.groessl"} <= found
    assert local_key("jürgen.größl") in found
    assert set(candidates("Jürgen Müller")) == set(candidates("Ju\u0308rgen Mu\u0308ller"))
    assert {"juergen.mueller", "jurgen.muller", "jürgen.müller"} <= set(candidates("Jürgen Müller"))


def test_names_of_more_than_two_words():
    assert {"annalena.berg", "anna-lena.berg", "a.berg", "anna.berg"} <= set(candidates("Anna-Lena Berg"))
    assert "jan.vandamm" in set(candidates("Jan van Damm"))


@pytest.mark.parametrize(
    "display",
    [
        "",
        "Anna",
        "Customer Service",
        "Kunden Service",
        "Abteilung 7",
        "One Two Three Four Five",
        "Anna 3000",
    ],
)
def test_what_is_no_persons_name_asks_nothing(display):
    assert list(candidates(display)) == []


async def test_a_person_of_the_domain_who_writes_from_elsewhere_is_found():
    assert await scan("Jonas Weber <jonas@freemail.example>") == [("FROM_PERSON", 2.0)]
    assert await scan("Jonas Weber <x@evil.example>", "spf=none; dmarc=fail") == [("FROM_PERSON", 2.0)]


async def test_a_namesake_whose_company_stands_behind_him_weighs_less():
    assert await scan("Jonas Weber <j.weber@other.example>", "spf=pass other.example; dmarc=pass") == [
        ("FROM_PERSON", 1.0)
    ]


async def test_it_weighs_more_beside_other_signs():
    more = "Reply-To: office@third.example\r\n"
    assert await scan("Jonas Weber <x@freemail.example>", "", more, "It is urgent.") == [("FROM_PERSON", 4.0)]


@pytest.mark.parametrize(
    "sender",
    [
        "Jonas Weber <jonas.weber@mueller-bau.test>",
        "Jonas Weber <jonas.weber@mail.mueller-bau.test>",
        "Jonas Weber",
        "Somebody Else <x@freemail.example>",
        "Thomas Müller <x@freemail.example>",
    ],
)
async def test_our_own_domain_and_strangers_are_no_finding(sender):
    """Protected names are found by the engine that computes."""
    assert await scan(sender) == []


async def test_groups_addresses_that_are_gone_and_ones_own_forwarding_do_not_count():
    async def answer(row: Address) -> list[tuple[str, float]]:
        async def ask(domain, wanted):
            return {row.local: row} if row.local in wanted else {}

        return await scan("Jonas Weber <jonas@freemail.example>", ask=ask)

    assert await answer(Address(local="jonas.weber", kind=Kind.GROUP)) == []
    assert await answer(Address(local="jonas.weber", gone=1)) == []
    assert await answer(Address(local="jonas.weber", kind=Kind.FORWARDER, targets=("jonas@freemail.example",))) == []
    assert await answer(Address(local="jonas.weber")) != []


async def test_a_store_that_is_away_is_no_answer():
    async def ask(domain, wanted):
        raise StoreAwayError("away")

    with pytest.raises(StoreAwayError):
        await scan("Jonas Weber <x@freemail.example>", ask=ask)


async def test_whom_was_asked_for_is_remembered_until_the_directory_changes():
    asked = []

    async def ask(domain, wanted):
        asked.append(domain)
        return {"jonas.weber": Address(local="jonas.weber")} if "jonas.weber" in wanted and len(asked) < 3 else {}

    people = People(ask)
    for sender, found in (("Jonas Weber <x@evil.example>", 1), ("Eva Lind <x@evil.example>", 0)):
        content = mail(f"From: {sender}\r\nSubject: hi\r\n\r\nhello\r\n".encode(), "")
        assert people.at_once(content) is None
        first = await people.scan(content)
        assert len(first) == found
        assert list(people.at_once(content)) == list(first)
    own = mail(b"From: Jonas Weber <jonas.weber@mueller-bau.test>\r\n\r\nhello\r\n", "")
    assert not people.at_once(own)
    people.changed(None)
    assert people.at_once(own) is None
    other = mail(b"From: Jonas Weber <x@evil.example>\r\n\r\nhello\r\n", "")
    assert not await people.scan(other)
    assert len(asked) == 3


async def test_what_was_asked_before_a_change_is_not_remembered_after_it():
    async def ask(domain, wanted):
        people.changed(None)
        return {}

    people = People(ask)
    content = mail(b"From: Jonas Weber <x@evil.example>\r\n\r\nhello\r\n", "")
    await people.scan(content)
    assert people.at_once(content) is None


async def test_a_bounded_number_of_short_names_is_remembered():
    people = People(rows)
    for number in range(REMEMBERED + 10):
        await people.scan(mail(f"From: {'Jo' + 'o' * (number % 50)} W{number} <x@evil.example>\r\n\r\n".encode(), ""))
    assert len(people._known) <= REMEMBERED
    await people.scan(long := mail(f"From: Jonas {'W' * LONGEST} <x@evil.example>\r\n\r\n".encode(), ""))
    assert people.at_once(long) is None


@given(st.text(max_size=300))
def test_any_name_gives_few_and_short_questions(display):
    found = list(candidates(display))
    assert len(found) == len(set(found)) <= 3 * MOST


@pytest.mark.parametrize(
    "sender",
    [
        "Eva Lind <x@friend.example>, Jonas Weber <x@evil.example>",
        "Eva Lind <x@friend.example>\r\nFrom: Jonas Weber <x@evil.example>",
        "Jo\u200bnas We\u2060ber <x@evil.example>",
    ],
)
async def test_a_person_who_is_named_second_or_in_pieces_is_found(sender):
    assert [name for name, _ in await scan(sender)] == ["FROM_PERSON"]
