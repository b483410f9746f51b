"""kill -9 of every role and of the embedded Redis, at random, while mail flows: exact accounts afterwards.

Every message that got a 250 ends in exactly one outcome; what arrives twice is only what was between its final dot and
the record of it when its deliverer was killed. `GATEPOST_TEST_KILLS` and `GATEPOST_TEST_MESSAGES` set the length: the full
run is 1,000 kills and 50,000 messages.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from collections import Counter

import pytest

from pipeline.events import Failed
from tests.faults import accounts
from tests.faults.accounts import Fault, Senders, killed, wait_settled
from tests.support.customer import customer
from tests.support.gateway import gateway
from tests.support.servers import wait_until

KILLS = int(os.environ.get("GATEPOST_TEST_KILLS", "12"))
MESSAGES = int(os.environ.get("GATEPOST_TEST_MESSAGES", "600"))
VIRUS = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def message(number: int) -> tuple[bytes, str]:
    """One in ten is a virus, one in twenty for somebody the customer refuses; sizes vary over all places that bodies are in."""
    size = 300_000 if number % 40 == 7 else 60_000 if number % 4 == 1 else number % 4000
    body = VIRUS if number % 10 == 3 else b"x" * size
    lines = b"\r\n".join(body[start : start + 900] for start in range(0, len(body), 900))
    recipient = "gone@example.test" if number % 20 == 5 else "anna@example.test"
    return b"Subject: number %d\r\nX-Number: %d\r\n\r\n" % (number, number) + lines + b"\r\n", recipient


@pytest.mark.timeout(600 + MESSAGES)
def test_every_acknowledged_message_ends_exactly_once_whoever_is_killed():
    chance = random.Random(20261123)
    settings = {"lease": "3s", "retry_interval": "1s", "receivers": 2, "deliverers": 2, "scanners": 2}
    with customer() as server, gateway(**settings) as running:
        server.refuse["gone@example.test"] = "550 5.1.1 no such user"
        running.add(server.route, "anna@example.test", "gone@example.test")
        running.add(server.route, "sender@elsewhere.test", domain="elsewhere.test")
        people = running.data.parent / "people.csv"
        people.write_text("listed@example.test\n")
        running.cli(
            "sync", "add", "csv", "list", "--file", str(people), "--every", "1m"
        )  # or there is no syncer to kill
        senders = Senders(running.port, MESSAGES, message)
        senders.start()
        faults: list[Fault] = []
        pause = threading.Event()
        while len(faults) < KILLS:
            pause.wait(chance.uniform(0.1, 0.7))
            children = running.children()
            if not children:
                continue  # all of them wait to be started again
            role = chance.choice(sorted(set(children.values())))
            pid = chance.choice([pid for pid, name in children.items() if name == role])
            os.kill(pid, signal.SIGKILL)
            faults.append(killed(role))
        wait_until(lambda: senders.done, within=120 + MESSAGES / 10, what="all messages accepted")

        wait_settled(running)
        account(running, server, senders, faults)


def account(running, server, senders, faults):
    found = accounts.account(running, senders.acknowledged, server.arrived, faults)
    assert not found.ends["waiting"]
    for history in found.histories.values():
        for event in history:
            assert not isinstance(event, Failed) or event.bounce
    failed = accounts.bounces_arrived(found)
    for mail in server.arrived:
        number = re.search(rb"X-Number: (\d+)", mail.content)
        if number and mail.sender:
            assert mail.original == message(int(number[1]))[0]
    print(
        f"\n{len(faults)} kills ({dict(Counter(fault.what for fault in faults))}), {len(senders.acknowledged)} acknowledged, "
        f"{senders.unanswered} transactions without an answer; {failed} bounces; {found}"
    )
