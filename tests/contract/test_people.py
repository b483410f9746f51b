"""The people of a domain are found in the directory, with one question."""

from __future__ import annotations

from pipeline import keys
from pipeline.directory.model import Address, encode
from pipeline.directory.reading import Reading
from pipeline.scanning.people import People
from pipeline.store import Store
from tests.support.deceiving import mail


async def test_a_person_in_the_directory_is_found_by_name(store: Store):
    await store.redis.hset(keys.addresses("mueller-bau.test"), mapping={"j.weber": encode(Address(local="J.Weber"))})
    people = People(Reading(store).rows)
    found = await people.scan(mail(b"From: Jonas Weber <x@freemail.example>\r\n\r\n"))
    assert [finding.name for finding in found] == ["FROM_PERSON"]
    assert "J.Weber@mueller-bau.test" in found[0].text
    assert not await people.scan(mail(b"From: Karl Kunde <x@freemail.example>\r\n\r\n"))
