"""A long history of ordinary mail, made up: entries as a partition's log holds them, in order and over many days."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any, Final

from pipeline.archive.rows import Row
from pipeline.events import (
    AnyEvent,
    Attempt,
    Client,
    Deferred,
    Delivered,
    Finding,
    Queued,
    Received,
    RecipientSpec,
    Scanned,
    encode,
)
from pipeline.ids import new_id

MS: Final = 1_000_000
TLS: Final = "TLSv1.3 TLS_AES_256_GCM_SHA384"
PER_MESSAGE: Final = 4.1
"""Events, about: one message in ten waits once."""


class Vocabulary:
    """Words, domains and people that a history is about."""

    def __init__(self, seed: int, domains: int) -> None:
        rng = random.Random(seed)
        letters = "abcdefghijklmnoprstuvwz"
        self.rng = rng
        self.words = ["".join(rng.choices(letters, k=rng.randrange(3, 11))) for _ in range(20_000)]
        self.domains = [f"{rng.choice(self.words)}{number}.example" for number in range(domains)]
        self.senders = [f"{rng.choice(self.words)}@{rng.choice(self.words[:3000])}.test" for _ in range(50_000)]

    def often(self, values: list[str]) -> str:
        """A few are met again and again, most are rare."""
        return values[int(len(values) * self.rng.random() ** 3)]


def message(vocabulary: Vocabulary, partition: int, ms: int) -> Iterator[Row]:
    """What is written down of one message, from `ms` on. Sequences are 0."""
    rng, often = vocabulary.rng, vocabulary.often
    at, domain, sender = ms * MS + rng.randrange(MS), often(vocabulary.domains), often(vocabulary.senders)
    recipient, size = f"{often(vocabulary.words)}@{domain}", int(rng.lognormvariate(9.5, 1.4))
    name = new_id(at, partition, rng.getrandbits(55))
    client = Client(
        address=f"198.51.{rng.randrange(64)}.{rng.randrange(256)}", port=rng.randrange(65536),
        helo="mail." + sender.partition("@")[2], protocol="ESMTPS", tls=TLS,
    )  # fmt: skip
    found = tuple(
        Finding(name=one, score=0.5, text="as the header says")
        for one in rng.sample(("SPF_PASS", "DKIM_VALID", "HTML_ONLY", "SHORT_URL"), 2)
    )
    tried = Attempt(
        server=f"mx.{domain}:25", address="203.0.113.7", tls=TLS, stage="dot", code=250, enhanced="2.0.0",
        reply=f"250 2.0.0 Ok: queued as {rng.getrandbits(44):X}", took=3 * MS,
    )  # fmt: skip
    common: dict[str, Any] = {"domain": domain, "recipients": (recipient,), "size": size}
    events: list[tuple[int, AnyEvent]] = [
        (0, Received(
            at=at, domain=domain, sender=sender, recipients=(RecipientSpec(address=recipient),), size=size,
            client=client, expires=at + 7 * 86400 * 1000 * MS,
        )),
        (30, Scanned(
            at=at + 30 * MS, domain=domain, verdict="clean", score=1.0, findings=found, header_from=f"X <{sender}>",
            subject=" ".join(often(vocabulary.words) for _ in range(rng.randrange(2, 9))),
            message_id=f"<{rng.getrandbits(80):x}@{sender.partition('@')[2]}>",
        )),
        (30, Queued(at=at + 30 * MS, **common)),
    ]  # fmt: skip
    end = 90
    if rng.random() < 0.1:
        late = Attempt(
            server=f"mx.{domain}:25",
            address="203.0.113.7",
            tls=TLS,
            stage="rcpt",
            code=451,
            enhanced="4.7.1",
            reply="451 4.7.1 Please try again later",
        )
        events.append(
            (90, Deferred(at=at + 90 * MS, sender=sender, tries=1, attempt=late, next_try=at + 900_000 * MS, **common))
        )
        end = 900_090
    events.append((end, Delivered(at=at + end * MS, sender=sender, tries=1, attempt=tried, waited=end * MS, **common)))
    for version, (after, event) in enumerate(events, 1):
        yield Row(ms + after, 0, name, version, encode(event))


def history(vocabulary: Vocabulary, partition: int, messages: int, start: int, pace: float) -> Iterator[Row]:
    """`pace`: ms between two messages, on average. In order, with sequences."""
    late: list[Row] = []
    ms = float(start)
    for _ in range(-(-messages // 500)):
        rows = late
        for _ in range(min(500, messages)):
            ms += vocabulary.rng.expovariate(1 / pace)
            rows += message(vocabulary, partition, int(ms))
        rows.sort(key=lambda row: row.ms)
        border = int(ms)
        ready = [row for row in rows if row.ms < border]
        late = rows[len(ready) :]
        yield from _numbered(ready)
    yield from _numbered(late)


def _numbered(rows: list[Row]) -> Iterator[Row]:
    for _, together in itertools.groupby(rows, key=lambda row: row.ms):
        for number, row in enumerate(together):
            yield row._replace(seq=number)
