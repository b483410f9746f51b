"""A day of mail as events: what a log holds after most was delivered, some deferred, refused, kept or returned."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from pipeline.events import (
    AnyEvent,
    Attempt,
    AuthResult,
    Client,
    Deferred,
    Delivered,
    Failed,
    Finding,
    Learned,
    Quarantined,
    Queued,
    Received,
    RecipientSpec,
    Refused,
    RouteDeferred,
    RouteOpened,
    Scanned,
)
from pipeline.ids import new_id

SECOND: Final = 1_000_000_000
BEGAN: Final = 1_790_000_000 * SECOND
STEP: Final = 10_000_000
"""ns between two messages: a hundred in a second."""
UNDER_WAY: Final = 400
"""Messages of one partition whose events are mixed: as many as are under way at once."""
TESTS: Final = (
    "SPF_PASS",
    "DKIM_VALID",
    "DMARC_PASS",
    "NAME_IS_KNOWN",
    "TOKENS_HAM",
    "HTML_ONLY",
    "SHORTENER",
    "NO_LIST_ID",
)
AUTH: Final = (
    AuthResult(method="spf", result="pass", properties=(("smtp.mailfrom", "sender.example"),)),
    AuthResult(method="dkim", result="pass", properties=(("header.d", "sender.example"), ("header.s", "s2026"))),
    AuthResult(method="dmarc", result="pass", properties=(("header.from", "sender.example"),)),
)


class Traffic:
    """The events of one partition, in the order in which a log would have them."""

    def __init__(self, partition: int, domains: int = 50, seed: int = 1) -> None:
        self._partition = partition
        self._rng = random.Random(f"{seed} {partition}")
        self._domains = [f"d{number}-{partition}.example" for number in range(domains)]

    def events(self, messages: int) -> Iterator[tuple[str, int, AnyEvent]]:
        """(subject, version, event), for so many messages."""
        rng = self._rng
        under_way: list[tuple[str, Iterator[AnyEvent]]] = []
        versions: dict[str, int] = {}
        left = messages
        while left or under_way:
            if left and len(under_way) < UNDER_WAY:
                under_way.append(self._begun(BEGAN + (messages - left) * STEP))
                left -= 1
            place = rng.randrange(len(under_way))
            subject, following = under_way[place]
            event = next(following, None)
            if event is None:
                under_way[place] = under_way[-1]
                under_way.pop()
                versions.pop(subject, None)
            else:
                versions[subject] = versions.get(subject, 0) + 1
                yield subject, versions[subject], event

    def _begun(self, at: int) -> tuple[str, Iterator[AnyEvent]]:
        rng = self._rng
        subject = new_id(at, self._partition, rng.getrandbits(55))
        domain = rng.choice(self._domains)
        drawn = rng.random()
        if drawn < 0.15:
            return subject, iter([self._refused(domain, at)])
        if drawn < 0.16:
            return "@" + domain, iter(self._outage(domain, at))
        if drawn < 0.161:
            tokens = rng.randbytes(5 * 150)
            return subject, iter(
                [Learned(at=at, domain=domain, spam=rng.random() < 0.5, tokens=tokens, by="bench", how="reported")]
            )
        return subject, self._message(domain, at, drawn)

    def _message(self, domain: str, at: int, drawn: float) -> Iterator[AnyEvent]:
        rng = self._rng
        people = tuple(
            dict.fromkeys(f"user{rng.randrange(200)}@{domain}" for _ in range(rng.choice((1, 1, 1, 1, 2, 3))))
        )
        sender, size = f"s{rng.randrange(500_000)}@h{rng.randrange(9999)}.example", rng.randrange(2000, 90_000)
        client = Client(
            address=f"203.0.113.{rng.randrange(256)}", port=rng.randrange(1024, 65536), helo="out.sender.example", protocol="ESMTPS",
            tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
        )  # fmt: skip
        yield Received(
            at=at, domain=domain, sender=sender, recipients=tuple(RecipientSpec(address=one) for one in people), size=size,
            expires=at + 7 * 86400 * SECOND, client=client,
        )  # fmt: skip
        yield self._scanned(domain, at, sender, spam=drawn < 0.22)
        if drawn < 0.22:
            yield Quarantined(
                at=at,
                domain=domain,
                recipients=people,
                reason="spam (score 9.5): shortener",
                expires=at + 30 * 86400 * SECOND,
            )
            return
        yield Queued(at=at, domain=domain, recipients=people, size=size)
        tried: dict[str, Any] = {"at": at, "domain": domain, "recipients": people, "sender": sender, "size": size}
        for tries in range(1, 4 if drawn < 0.26 else 1):
            yield Deferred(**tried, tries=tries, attempt=self._attempt(domain, 451), next_try=at + 900 * SECOND)
        if drawn < 0.28:
            yield Failed(
                **tried,
                tries=1,
                reason="refused",
                attempt=self._attempt(domain, 550),
                bounce=new_id(at, self._partition, 1),
            )
        elif drawn < 0.995:
            yield Delivered(**tried, tries=1, attempt=self._attempt(domain, 250), waited=SECOND)

    def _scanned(self, domain: str, at: int, sender: str, *, spam: bool) -> Scanned:
        names = self._rng.sample(TESTS, 4)
        return Scanned(
            at=at, domain=domain, verdict="spam" if spam else "clean", score=9.5 if spam else 0.4, auth=AUTH, country="DE",
            findings=tuple(Finding(name=name, score=0.1, text="as the sender's domain says") for name in names),
            subject="Your order of Tuesday", header_from=f"Somebody <{sender}>", message_id=f"<{at}@sender.example>",
            engines=("builtin 1",), took=4_000_000,
        )  # fmt: skip

    def _attempt(self, domain: str, code: int) -> Attempt:
        words = {250: "2.0.0 Ok: queued as ", 451: "4.7.1 Greylisted, come back later, ", 550: "5.1.1 no such user, "}
        reply = f"{code} {words[code]}{self._rng.randrange(1 << 40):X}"
        return Attempt(
            server=f"mx.{domain}:25", address="192.0.2.1", tls="TLSv1.3 TLS_AES_256_GCM_SHA384", stage="dot", code=code,
            enhanced=reply[4:9], reply=reply, took=9_000_000,
        )  # fmt: skip

    def _refused(self, domain: str, at: int) -> Refused:
        return Refused(
            at=at, domain=domain, reason="no_such_user", client=Client(address=f"198.51.100.{self._rng.randrange(256)}"), stage="rcpt",
            code=550, enhanced="5.1.1", reply="550 5.1.1 no such user here", sender="guess@sender.example",
            recipient=f"x{self._rng.randrange(9999)}@{domain}",
        )  # fmt: skip

    def _outage(self, domain: str, at: int) -> list[AnyEvent]:
        attempt = Attempt(server=f"mx.{domain}:25", address="192.0.2.1", stage="connect", reply="Connection refused")
        down = RouteDeferred(at=at, domain=domain, tries=1, since=at, next_try=at + 900 * SECOND, attempts=(attempt,))
        return [down, RouteOpened(at=at, domain=domain, server=attempt.server, since=at)]
