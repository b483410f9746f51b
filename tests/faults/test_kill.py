"""kill -9 of every role and of the embedded Redis, at random, while mail flows: exact accounts afterwards.

Every message that got a 250 ends in exactly one outcome; what arrives twice is only what was between its final dot and
the record of it when its deliverer was killed. `GATEPOST_TEST_KILLS` and `GATEPOST_TEST_MESSAGES` set the length: the full
run is 60 kills and 2,000 messages.
"""

from __future__ import annotations

import os
import random
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from pipeline.events import Delivered, Discarded, Failed, Received
from tests.support.customer import customer
from tests.support.gateway import gateway, send_on
from tests.support.servers import wait_until

KILLS = int(os.environ.get("GATEPOST_TEST_KILLS", "12"))
MESSAGES = int(os.environ.get("GATEPOST_TEST_MESSAGES", "600"))
SENDERS = 6
VIRUS = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
RECORDING = 1.5
"""Seconds that may pass on a busy machine between the customer's 250 and its record."""


class Senders:
    """Threads that send numbered messages until each got a 250, as a real client's queue would."""

    def __init__(self, port: int, count: int, make: Callable[[int], tuple[bytes, *tuple[str, ...]]]) -> None:
        """`make`: the content of a number's message, and whom it is for."""
        self.port = port
        self.make = make
        self.numbers = iter(range(count))
        self.lock = threading.Lock()
        self.acknowledged: dict[str, int] = {}
        self.unanswered = 0
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(SENDERS)]

    def work(self) -> None:
        client: smtplib.SMTP | None = None
        while True:
            with self.lock:
                number = next(self.numbers, None)
            if number is None:
                if client is not None:
                    client.close()
                return
            while True:
                try:
                    if client is None:
                        client = smtplib.SMTP("127.0.0.1", self.port, timeout=40)
                        client.ehlo("sender.test")
                    message_id = send_on(client, *self.make(number))
                except (OSError, smtplib.SMTPException, AssertionError):
                    with self.lock:
                        self.unanswered += 1
                    if client is not None:
                        client.close()
                    client = None
                    threading.Event().wait(0.05)
                else:
                    with self.lock:
                        self.acknowledged[message_id] = number
                    break

    @property
    def done(self) -> bool:
        return not any(thread.is_alive() for thread in self.threads)


def message(number: int) -> tuple[bytes, str]:
    """One in ten is a virus, one in twenty for somebody the customer refuses; sizes vary over all places that bodies are in."""
    size = 300_000 if number % 40 == 7 else 60_000 if number % 4 == 1 else number % 4000
    body = VIRUS if number % 10 == 3 else b"x" * size
    lines = b"\r\n".join(body[start : start + 900] for start in range(0, len(body), 900))
    recipient = "gone@example.test" if number % 20 == 5 else "anna@example.test"
    return b"Subject: number %d\r\nX-Number: %d\r\n\r\n" % (number, number) + lines + b"\r\n", recipient


@pytest.mark.timeout(600)
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
        for thread in senders.threads:
            thread.start()
        killed: list[tuple[float, str]] = []
        pause = threading.Event()
        while len(killed) < KILLS:
            pause.wait(chance.uniform(0.1, 0.7))
            children = running.children()
            roles = sorted(set(children.values()))
            role = chance.choice(roles)
            pid = chance.choice([pid for pid, name in children.items() if name == role])
            os.kill(pid, signal.SIGKILL)
            killed.append((time.time(), role))
        wait_until(lambda: senders.done, within=240, what="all messages accepted")

        def settled() -> bool:
            return running.cli("books", ok=False).returncode == 0 and not running.json("queue")["waiting"]["recipients"]

        wait_until(settled, within=120, what="an empty queue")
        account(running, server, senders, killed)


def excused(name, arrivals, killed):
    """What arrived twice was between its final dot and the record of it when somebody died."""
    deaths = [at for at, role in killed if role in ("deliverer", "redis")]
    first = min(arrivals)
    assert any(first - 0.1 <= at <= first + RECORDING for at in deaths), f"{name} arrived twice without a death"


def account(running, server, senders, killed):
    events = running.message_events()
    lost = set(senders.acknowledged) - set(events)
    assert not lost, f"acknowledged, and not in the log: {lost}"
    kept = {row["id"] for row in running.json("quarantine", "list", "--limit", "100000")["messages"]}
    unfinished = []
    for message_id, history in events.items():
        assert isinstance(history[0], Received)
        assert sum(isinstance(event, Received) for event in history) == 1
        last = [event for event in history if isinstance(event, Delivered | Failed | Discarded)]
        assert len(last) <= 1, f"{message_id} ended {len(last)} times"
        if not last and message_id not in kept:
            unfinished.append(message_id)
    assert not unfinished, f"neither delivered, nor kept, nor failed: {unfinished}"

    arrived = Counter(mail.id for mail in server.arrived)
    delivered = {i for i, history in events.items() if any(isinstance(event, Delivered) for event in history)}
    assert set(arrived) == delivered
    failed = {i: event for i, history in events.items() for event in history if isinstance(event, Failed)}
    for event in failed.values():
        assert isinstance(events[event.bounce][-1], Delivered), "a promised bounce did not arrive"
    assert len({event.bounce for event in failed.values()}) == len(failed)

    twice = [i for i, count in arrived.items() if count > 1]
    for message_id in twice:
        excused(message_id, [mail.at for mail in server.arrived if mail.id == message_id], killed)

    for mail in server.arrived:
        number = re.search(rb"X-Number: (\d+)", mail.content)
        if number and mail.sender:
            assert mail.original == message(int(number[1]))[0]
    print(
        f"\n{len(killed)} kills ({dict(Counter(role for _, role in killed))}), {len(senders.acknowledged)} acknowledged, "
        f"{senders.unanswered} transactions without an answer, {len(events)} messages in the log: {len(delivered)} delivered, "
        f"{len(kept)} in quarantine, {len(failed)} failed with a bounce each; arrived twice: {len(twice)}"
    )
