"""How fast the quarantine is listed and searched, and how much memory a kept message takes: `python -m bench.quarantine --help`.

Messages are kept as in life: their events go through the projection and its script into a Redis server of their own, which keeps
nothing on disk. Then each question is asked again and again, and the time of its first page counts: the call as the command line and
the console make it, on one clock.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import uvloop

from bench.report import machine
from bench.systems import BenchError
from pipeline.events import Client, Finding, Quarantined, Received, RecipientSpec, Recorded, Scanned
from pipeline.ids import new_id, partition_for
from pipeline.store import Client as Redis
from pipeline.store import open_client
from projections.base import START, Portion, advance
from projections.builds import to_fold
from projections.quarantine import SECOND, Quarantine
from projections.readers.quarantine import Query, read_kept
from workers.embedded import find_server

PARTITIONS: Final = 8
BATCH: Final = 1000
BEGAN: Final = 1_790_000_000 * SECOND
RETENTION: Final = 30 * 86400 * SECOND
PAGE: Final = 50
RARE: Final = 5000
"""One message in so many has what is looked for in vain elsewhere: a virus, a rare test, a rare word."""
TESTS: Final = (
    "SPF_FAIL", "DKIM_MISSING", "DMARC_FAIL", "DNSBL_LISTED", "LINK_TEXT_DIFFERS", "NO_MESSAGE_ID", "DATE_IN_FUTURE",
    "REPLY_TO_DIFFERS", "SHORTENER", "TOKENS_SPAM", "NAME_LOOKS_LIKE_OURS", "HTML_ONLY",
)  # fmt: skip
COUNTRIES: Final = ("US", "CN", "RU", "BR", "IN", "DE", "VN", "NL", "FR", "TR")


class Mail:
    """Bad mail as it comes: few words in many subjects and many in few, senders that come once, recipients that get some."""

    def __init__(self, domains: int, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self.domains = [f"d{number}.example" for number in range(domains)]
        self._vocabulary = [f"word{number}" for number in range(20_000)]

    def events(self, number: int, at: int) -> tuple[str, list[Received | Scanned | Quarantined]]:
        rng = self._rng
        domain = rng.choice(self.domains)
        recipient, sender = (
            f"user{rng.randrange(200)}@{domain}",
            f"s{rng.randrange(500_000)}@h{self._common(9999)}.example",
        )
        client = Client(address=f"203.0.{rng.randrange(114)}.{rng.randrange(256)}")
        rare = number % RARE == 7
        verdict = "virus" if rare else rng.choices(["spam", "phishing", "bulk", "content"], [70, 15, 10, 5])[0]
        names = rng.sample(TESTS, rng.randrange(2, 7)) + (["RARE_TEST"] if rare else [])
        subject = " ".join(self._vocabulary[self._common(20_000)] for _ in range(rng.randrange(3, 9)))
        return new_id(at, partition_for(domain, PARTITIONS), rng.getrandbits(55)), [
            Received(
                at=at, domain=domain, sender=sender, recipients=(RecipientSpec(address=recipient),), size=rng.randrange(2000, 90_000),
                expires=at, client=client,
            ),
            Scanned(
                at=at, domain=domain, verdict=verdict, score=rng.randrange(50, 200) / 10, subject=subject + (" unheard" if rare else ""),
                header_from=f"Somebody <{sender}>", country=COUNTRIES[self._common(len(COUNTRIES))],
                findings=tuple(Finding(name=name, score=1.0) for name in names),
            ),
            Quarantined(
                at=at, domain=domain, recipients=(recipient,), reason=f"{verdict} (score 9.5): {names[0].lower()}",
                expires=at + RETENTION,
            ),
        ]  # fmt: skip

    def _common(self, most: int) -> int:
        """A number below `most`, small ones far more often."""
        return min(int(self._rng.paretovariate(0.8)) - 1, most - 1) % most


@contextlib.contextmanager
def server(directory: Path) -> Iterator[str]:
    """A Redis server that keeps nothing on disk."""
    socket = directory / "redis.sock"
    words = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--loglevel", "warning"]
    process = subprocess.Popen([find_server(""), *words], cwd=directory, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError("the Redis server did not start")
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(20)


async def fill(redis: Redis, mail: Mail, count: int) -> float:
    """Keep so many messages; seconds that the projection took for it."""
    views, reached, took = {}, dict.fromkeys(range(PARTITIONS), START), 0.0
    for partition in range(PARTITIONS):
        views[partition], _ = await to_fold(redis, partition, Quarantine())
    waiting: dict[int, list[Recorded]] = {partition: [] for partition in range(PARTITIONS)}
    for number in range(count):
        at = BEGAN + number * (RETENTION // count)
        message_id, events = mail.events(number, at)
        partition = partition_for(events[0].domain, PARTITIONS)
        entries = waiting[partition]
        entries += [
            Recorded(partition, f"{at // 1_000_000 + 1}-{number * 3 + place}", message_id, place + 1, event)
            for place, event in enumerate(events)
        ]
        last = number == count - 1
        for full in [one for one, rows in waiting.items() if rows and (last or len(rows) >= BATCH)]:
            began = time.perf_counter()
            portion = Portion([views[full]], reached[full], waiting[full])
            if await advance(redis, [portion]) != [True]:
                raise BenchError("somebody else writes the view")
            took += time.perf_counter() - began
            reached[full] = waiting[full][-1].entry
            waiting[full] = []
    return took


def questions(mail: Mail) -> Mapping[str, Query]:
    day = 86400 * SECOND
    middle = BEGAN + 15 * day
    return {
        "everything": Query(),
        "a domain": Query(domain=mail.domains[0]),
        "a recipient": Query(recipient=f"user7@{mail.domains[3]}"),
        "a sender's domain": Query(sender="@h42.example"),
        "a common class": Query(class_="spam"),
        "a rare class": Query(class_="virus"),
        "a rare test": Query(test="RARE_TEST"),
        "a rare word": Query(subject="unheard"),
        "a country and a word": Query(country="FR", subject="word17"),
        "a day": Query(since=middle, until=middle + day),
        "domain, class, country, test, day": Query(
            domain=mail.domains[1], class_="phishing", country="RU", test="SPF_FAIL", since=middle, until=middle + day
        ),
        "class and country, a month": Query(class_="content", country="TR"),
        "a rare class in a common country": Query(class_="virus", country="US"),
        "part of a sender, many have it": Query(sender="s12"),
        "part of a sender, nobody has it (one call)": Query(sender="nobody-has-this"),
    }


async def ask(redis: Redis, query: Query, times: int) -> tuple[float, float, int, int]:
    """(median and least ms of the first page, messages on it, entries looked at)."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        page = await read_kept(redis, PARTITIONS, query, limit=PAGE)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), min(took), len(page.messages), page.looked


async def bench(url: str, count: int, domains: int, times: int) -> None:
    redis = open_client(url)
    mail = Mail(domains)
    empty = (await redis.info("memory"))["used_memory"]
    took = await fill(redis, mail, count)
    used = (await redis.info("memory"))["used_memory"] - empty
    print(f"{count:,} kept messages in {domains:,} domains, {PARTITIONS} partitions")
    print(f"{used / count:,.0f} octets of Redis's memory per message, index and row")
    print(f"{took / count * 1e6:,.0f} us to keep one, in batches of {BATCH} events\n")
    print(f"{'first page of ' + str(PAGE):46}{'median ms':>12}{'least ms':>10}{'found':>8}{'looked at':>12}")
    for name, query in questions(mail).items():
        median, least, found, looked = await ask(redis, query, times)
        print(f"{name:46}{median:>12.1f}{least:>10.1f}{found:>8}{looked:>12,}")
    await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--domains", type=int, default=1000)
    parser.add_argument("--times", type=int, default=21, help="how often each question is asked; the median counts")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpb-") as path:
        for name, value in machine(Path(path)).items():
            print(f"{name}: {value}")
        print()
        with server(Path(path)) as url:
            uvloop.run(bench(url, chosen.messages, chosen.domains, chosen.times))


if __name__ == "__main__":
    main()
