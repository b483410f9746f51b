"""One way to account for mail, whatever was done to the gateway meanwhile.

Every recipient of every message that got a 250 ends in exactly one of delivered, quarantined, failed, discarded, or waits; each message's
history is one that the state machine allows; what the events say was delivered is what arrived; and what arrived twice was between its
final dot and the record of it when something happened that can lose a final reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
import redis

from pipeline import keys
from pipeline.events import Delivered, Failed, MessageEvent, Received
from pipeline.state import Message, Stage, replay
from pipeline.store import Client, open_client
from tests.support.customer import Arrived
from tests.support.gateway import Gateway, send_on
from tests.support.servers import wait_until
from workers.wiring import redis_address

RECORDING = 1.5
"""Seconds that may pass on a busy machine between the customer's 250 and its record."""
SENDERS = 6
WAITING = frozenset({Stage.RECEIVED, Stage.SCANNED, Stage.QUEUED, Stage.HELD})


class Fault(msgspec.Struct, frozen=True):
    """What was done, from when until when (seconds since 1970), and whether a final reply may have been lost by it."""

    what: str
    at: float
    until: float = 0.0
    loses_replies: bool = False


class Senders:
    """Threads that send numbered messages until each got a 250, as a real client's queue would."""

    def __init__(
        self, port: int, count: int, make: Callable[[int], tuple[bytes, *tuple[str, ...]]], *, threads: int = SENDERS
    ) -> None:
        """`make`: the content of a number's message, and whom it is for."""
        self.port = port
        self.make = make
        self.numbers = iter(range(count))
        self.lock = threading.Lock()
        self.acknowledged: dict[str, int] = {}
        self.unanswered = 0
        self.put_off: Counter[int] = Counter()
        """Replies of 4xx, by code."""
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """No more numbers; what is under way is sent."""
        with self.lock:
            self.numbers = iter(())

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
                except (OSError, smtplib.SMTPException, AssertionError) as error:
                    with self.lock:
                        self.unanswered += 1
                        if isinstance(error, smtplib.SMTPResponseException):
                            self.put_off[error.smtp_code] += 1
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


def fold(histories: Mapping[str, Sequence[MessageEvent]]) -> dict[str, Message]:
    found = {}
    for name, events in histories.items():
        head = replay([(name, event) for event in events])
        assert head is not None
        found[name] = head
    return found


def waits(running: Gateway) -> int:
    """How much is still to be done, as the store has it: scans, scans again, promised mail, domains with waiting mail."""
    return asyncio.run(_waits(open_client(redis_address(running.settings()))))


async def _waits(client: Client) -> int:
    try:
        partitions = range(int(await client.hget(keys.STORE, "partitions") or 0))
        pipe = client.pipeline(transaction=False)
        for partition in partitions:
            pipe.xlen(keys.scan(partition))
            pipe.zcard(keys.rescan(partition))
            pipe.xlen(keys.outbox(partition))
            pipe.zcard(keys.due(partition))
        return sum(await pipe.execute())
    finally:
        await client.aclose()


def wait_settled(running: Gateway, *, within: float = 120) -> None:
    """Until nothing waits any more, and the books balance."""

    def settled() -> bool:
        with contextlib.suppress(redis.RedisError):  # killed a moment ago
            return not waits(running)
        return False

    wait_until(settled, within=within, what="everything to end")
    wait_until(lambda: running.cli("books", ok=False).returncode == 0, within=within / 2, what="balanced books")


class Account(msgspec.Struct):
    """What came of everything that was acknowledged."""

    histories: dict[str, list[MessageEvent]]
    heads: dict[str, Message]
    ends: Counter[str]
    """Recipients, by how they ended."""
    twice: list[tuple[str, str]]

    def __str__(self) -> str:
        return f"{len(self.heads)} messages in the log: {dict(self.ends)}; arrived twice: {len(self.twice)}"


def account(
    running: Gateway,
    acknowledged: Iterable[str],
    arrived: Sequence[Arrived],
    faults: Sequence[Fault],
    before: Collection[str] = (),
) -> Account:
    """`before`: messages that others have accounted for."""
    histories = {name: events for name, events in running.message_events().items() if name not in before}
    heads = fold(histories)
    lost = set(acknowledged) - set(heads)
    assert not lost, f"acknowledged, and not in the log: {lost}"
    ends: Counter[str] = Counter()
    for name, history in histories.items():
        assert [index for index, event in enumerate(history) if isinstance(event, Received)] == [0], name
        outcomes = Counter(
            address for event in history if isinstance(event, Delivered | Failed) for address in event.recipients
        )
        assert all(count == 1 for count in outcomes.values()), f"{name} ended more than once: {outcomes}"
        ends.update(
            "waiting" if recipient.stage in WAITING else recipient.stage.name.lower()
            for recipient in heads[name].recipients
        )
    copies = Counter((mail.id, recipient) for mail in arrived for recipient in mail.recipients)
    delivered = {
        (name, address) for name, events in histories.items() for event in events if isinstance(event, Delivered)
        for address in event.recipients
    }  # fmt: skip
    waiting = {
        (name, recipient.address) for name, head in heads.items() for recipient in head.recipients
        if recipient.stage in WAITING
    }  # fmt: skip
    assert delivered <= set(copies), f"recorded, and never arrived: {delivered - set(copies)}"
    assert set(copies) <= delivered | waiting, f"arrived, and recorded otherwise: {set(copies) - delivered}"
    twice = [one for one, count in copies.items() if count > 1]
    for name, address in twice:
        excused(f"{name} to {address}", [mail.at for mail in arrived if mail.id == name], faults)
    return Account(histories, heads, ends, twice)


def excused(name: str, arrivals: Sequence[float], faults: Sequence[Fault]) -> None:
    """What arrived twice was between its final dot and the record of it when something happened that loses replies."""
    first = min(arrivals)
    assert any(
        fault.at - RECORDING <= first <= max(fault.at, fault.until) + 0.1 for fault in faults if fault.loses_replies
    ), f"{name} arrived {len(arrivals)} times at {arrivals}, without a fault that excuses it"


def killed(role: str) -> Fault:
    now = time.time()
    return Fault(f"kill {role}", now, now, loses_replies=role in ("deliverer", "redis"))


def bounces_arrived(found: Account) -> int:
    """Every promised bounce is a message of its own, delivered, or kept where nobody may be told; how many were promised."""
    promised = [event for history in found.histories.values() for event in history if isinstance(event, Failed)]
    names = [event.bounce for event in promised if event.bounce]
    assert len(set(names)) == len(names)
    for name in names:
        assert isinstance(found.histories[name][-1], Delivered), "a promised bounce did not arrive"
    return len(names)
