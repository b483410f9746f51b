"""kill -9 while mail is judged: recipients who want different things, an engine that goes and comes back, releases and lessons meanwhile.

Every copy ends in exactly one way, and in the one that its recipient's policy says; what only the engine knows to be a virus reaches
nobody; what was released leaves once; and views built anew say what the live ones say.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping

import pytest

from pipeline.directory import Address, Domain
from pipeline.directory.policy import Policy
from pipeline.events import Failed, Learned, MessageEvent, Postponed, Released
from pipeline.faults import GatepostError
from pipeline.state import Stage
from projections.readers.quarantine import Query
from tests.faults import accounts
from tests.faults.accounts import Fault, Senders, killed, wait_settled
from tests.support import engines
from tests.support.customer import Customer, customer
from tests.support.engines import BAD_LETTER, EngineServer
from tests.support.gateway import DOMAIN, Gateway, gateway
from tests.support.mail import GTUBE, attachment, multipart
from tests.support.servers import wait_until
from workers.quarantine import Quarantine
from workers.releasing import Release
from workers.wiring import Wiring

KILLS = int(os.environ.get("GATEPOST_TEST_KILLS", "12"))
MESSAGES = int(os.environ.get("GATEPOST_TEST_MESSAGES", "300"))
ANNA, BEN, CARL, DORA, GONE = PEOPLE = tuple(f"{name}@{DOMAIN}" for name in ("anna", "ben", "carl", "dora", "gone"))
WISHES = {"ben": "tag", "carl": "discard", "dora": "deliver"}
"""What they want done with spam; anna's is kept."""
DOWN = 1.5
"""Seconds that the engine is away, at least."""


def _letter() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("letter.txt", BAD_LETTER)
    return file.getvalue()


LETTER = _letter()


def kind(number: int) -> str:
    return ("ham", "spam", "letter", "spam", "large", "ham", "gone", "letter", "spam", "ham")[number % 10]


def message(number: int) -> tuple[bytes, *tuple[str, ...]]:
    head = b"Subject: number %d\r\nMessage-ID: <%d@elsewhere.test>\r\nMIME-Version: 1.0\r\n" % (number, number)
    bodies = {
        "spam": b"\r\n" + GTUBE + b"\r\n", "letter": multipart([attachment(LETTER, "letter.zip", "application/zip")]),
        "large": b"\r\n" + (b"x" * 70 + b"\r\n") * 4200,
    }  # fmt: skip
    recipients = (ANNA, GONE) if kind(number) == "gone" else PEOPLE[:4]
    return head + bodies.get(kind(number), b"\r\nAt noon?\r\n"), *recipients


async def prepare(running: Gateway, server: Customer) -> None:
    wiring = await Wiring.connect(running.settings())
    try:
        now = wiring.clock()
        await wiring.directory.set_domain(Domain(name=DOMAIN, route=(server.route,)), by="test", now=now)
        await wiring.directory.set_domain(Domain(name="elsewhere.test", route=(server.route,)), by="test", now=now)
        people = [
            Address(local=name, policy=Policy(spam=WISHES[name]) if name in WISHES else None)
            for name in (address.partition("@")[0] for address in PEOPLE)
        ]
        await wiring.directory.set_addresses({DOMAIN: people}, by="test", now=now)
        await wiring.directory.set_addresses({"elsewhere.test": [Address(local="sender")]}, by="test", now=now)
    finally:
        await wiring.close()


class Postmaster:
    """Looks at what is kept, and releases some of it: two clicks at once, and a lesson. Whatever dies meanwhile, nothing else goes wrong."""

    def __init__(self, running: Gateway) -> None:
        self._running = running
        self._stop = threading.Event()
        self.released: set[str] = set()
        self.troubles: list[BaseException] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    async def _work(self) -> None:
        chance = random.Random(7)
        wiring: Wiring | None = None
        while not self._stop.wait(0.1):
            try:
                wiring = wiring or await Wiring.connect(self._running.settings())
                await self._round(wiring, chance)
            except GatepostError:
                continue  # whoever was killed just now; asked again
            except BaseException as error:  # noqa: BLE001 - the test fails with it
                self.troubles.append(error)
        if wiring is not None:
            await wiring.close()

    async def _round(self, wiring: Wiring, chance: random.Random) -> None:
        anna = Quarantine(wiring, by="web:anna", recipients=frozenset({ANNA}))
        page = await anna.search(Query(class_="spam"), limit=200)
        if not page.messages:
            return
        wanted = chance.choice(page.messages).id
        how = Release(learn=chance.random() < 0.5)
        clicks = await asyncio.gather(
            anna.preview(wanted), anna.release(wanted, how), anna.release(wanted), return_exceptions=True
        )
        done = [one for one in clicks[1:] if not isinstance(one, BaseException)]
        assert sum(one.changed for one in done) <= 1
        if done:
            self.released.add(wanted)
        for one in clicks:
            if isinstance(one, BaseException) and not isinstance(one, GatepostError):
                raise one


def kill_some(running: Gateway, engine: EngineServer) -> list[Fault]:
    """At random; and the engine goes for a while, twice."""
    chance = random.Random(20261130)
    faults: list[Fault] = []
    pause = threading.Event()
    while len(faults) < KILLS:
        pause.wait(chance.uniform(0.2, 0.8))
        children = running.children()
        role = chance.choice(sorted({"scanner", "deliverer", "background", "redis"} & set(children.values())))
        os.kill(chance.choice([pid for pid, name in children.items() if name == role]), signal.SIGKILL)
        faults.append(killed(role))
        if len(faults) in (KILLS // 4, KILLS * 3 // 4):
            engine.kill()
            pause.wait(DOWN)
            engine.start()
    return faults


@pytest.mark.timeout(600)
def test_every_copy_ends_as_its_recipient_wants_whoever_is_killed_and_whatever_is_released_meanwhile():
    settings = {
        "lease": "3s", "retry_interval": "1s", "deliverers": 2, "scanners": 2, "scan_budget": "10s",
        "clamav_deadline": "5s", "engines_missing": "wait", "engines_retry": "500ms",
    }  # fmt: skip
    with engines.clamd() as engine, customer() as server, gateway(clamav=engine.address, **settings) as running:
        server.refuse[GONE] = "550 5.1.1 no such user"
        asyncio.run(prepare(running, server))
        senders = Senders(running.port, MESSAGES, message)
        postmaster = Postmaster(running)
        for thread in senders.threads:
            thread.start()
        faults = kill_some(running, engine)
        wait_until(lambda: senders.done, within=240, what="all messages accepted")
        postmaster.stop()
        assert not postmaster.troubles, postmaster.troubles

        wait_settled(running)
        account(running, server, senders, postmaster, faults)
        replayed = running.cli("replay", "--all", ok=False)
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def account(running: Gateway, server: Customer, senders: Senders, postmaster: Postmaster, faults: list[Fault]) -> None:
    ledger = accounts.account(running, senders.acknowledged, server.arrived, faults)
    histories, heads = ledger.histories, ledger.heads
    for name, number in senders.acknowledged.items():
        found = {recipient.address: recipient.stage for recipient in heads[name].recipients}
        assert found == expected(number, histories[name]), f"{kind(number)} {name}: {found}\n{histories[name]}"
    assert {
        name for name in postmaster.released if any(isinstance(e, Released) for e in histories[name])
    } == postmaster.released
    postponed = sum(any(isinstance(event, Postponed) for event in events) for events in histories.values())
    lessons = sum(isinstance(recorded.event, Learned) for recorded in running.events())
    assert postponed, "nothing waited for the engine"
    print(
        f"\n{len(faults)} kills ({dict(Counter(fault.what for fault in faults))}), {len(senders.acknowledged)} acknowledged, "
        f"{postponed} waited for the engine, {len(postmaster.released)} released, {lessons} lessons; {ledger}"
    )


def expected(number: int, history: list[MessageEvent]) -> Mapping[str, Stage]:
    everybody = dict.fromkeys(PEOPLE[:4], Stage.DELIVERED)
    released = [event.recipients for event in history if isinstance(event, Released)]
    assert len(released) <= 1
    match kind(number):
        case "letter":
            # A virus, whatever anybody wants of spam.
            return dict.fromkeys(PEOPLE[:4], Stage.QUARANTINED)
        case "gone":
            # Who got enough bounces in this hour gets no more; then it is kept for the postmaster.
            told = any(isinstance(event, Failed) for event in history)
            return {ANNA: Stage.DELIVERED, GONE: Stage.FAILED if told else Stage.QUARANTINED}
        case "spam":
            assert released in ([], [(ANNA,)])
            kept = Stage.DELIVERED if released else Stage.QUARANTINED
            return {**everybody, ANNA: kept, CARL: Stage.DISCARDED}
        case _:
            return everybody
