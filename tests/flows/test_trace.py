"""Through a whole gateway: mail is found by what its sender or recipient remembers of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.customer import Customer, customer
from tests.support.gateway import ANNA, Gateway, gateway
from tests.support.servers import wait_until

MESSAGE = (
    b"From: Maria <maria@sender.test>\r\nMessage-ID: <lunch@sender.test>\r\nSubject: Lunch on Friday?\r\n\r\nhello\r\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Customer]:
    with customer() as started:
        yield started


@pytest.fixture(scope="module")
def running(server: Customer) -> Iterator[Gateway]:
    with gateway() as started:
        started.add(server.route)
        yield started


def test_a_message_is_found_by_what_people_remember_of_it_and_told_whole(running):
    running.send(MESSAGE, ANNA, sender="maria@sender.test")

    def found(*words: str) -> list[dict[str, object]]:
        messages: list[dict[str, object]] = running.json("trace", *words)["messages"]
        return [one for one in messages if one["state"] == "delivered"]

    (one,) = wait_until(lambda: found("--sender", "maria@sender.test"), what="its delivery")
    for words in (
        ("--recipient", ANNA), ("--subject", "friday lunch"), ("<lunch@sender.test>",), ("maria@sender.test",),
        ("@sender.test", "--subject", "lunch", "--client", "127.0.0.1", "--days", "1"),
    ):  # fmt: skip
        assert [other["id"] for other in found(*words)] == [one["id"]]
    told = running.cli("trace", "--subject", "lunch friday").stdout
    for words in (str(one["id"]), "received", "scanned", "queued", "delivered", "author: Maria <maria@sender.test>"):
        assert words in told
