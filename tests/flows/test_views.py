"""Views of a running gateway: they follow what happens, and the books are checked by themselves."""

from __future__ import annotations

import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.customer import customer
from tests.support.gateway import DOMAIN, Gateway, gateway, send_on
from tests.support.servers import wait_until

SENDERS, EACH = 8, 60
CONTENT = b"Subject: hello\r\n\r\nhello\r\n"


def send_many(running: Gateway, number: int) -> None:
    with smtplib.SMTP("127.0.0.1", running.port, timeout=60) as client:
        client.ehlo("sender.test")
        for _ in range(EACH):
            send_on(client, CONTENT, f"r{number}@{DOMAIN}")


@pytest.mark.timeout(300)
def test_after_a_load_no_view_is_behind_and_the_books_are_found_to_balance():
    with customer() as server, gateway() as running:
        running.add(server.route, *(f"r{number}@{DOMAIN}" for number in range(SENDERS)))
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(lambda number: send_many(running, number), range(SENDERS)))

        def caught_up() -> bool:
            done = running.json("views", ok=False)
            counted = running.json("queue")
            return not any(one["events_behind"] for one in done["views"]) and counted["waiting"]["messages"] == 0

        wait_until(caught_up, within=60, what="all views to have seen everything")
        assert running.cli("views").returncode == 0
        books = running.json("books")
        (domain,) = books["domains"]
        assert (domain["received"], domain["delivered"]) == (SENDERS * EACH, SENDERS * EACH)

        def checked() -> bool:
            found = running.json("books")["continuous"]
            return found is not None and found["walked_at"] is not None and found["balanced"]

        wait_until(checked, within=90, what="the watcher to have walked through all messages")
