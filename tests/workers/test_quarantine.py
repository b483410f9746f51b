"""People at the quarantine: what they may see, what they do, and that it is done once and written down."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from pipeline import keys
from pipeline.configuration import load
from pipeline.directory.lists.changes import Lists
from pipeline.directory.lists.entries import ALLOW, BLOCK
from pipeline.events import (
    Attempt,
    Deferred,
    Discarded,
    Finding,
    Learned,
    Looked,
    Quarantined,
    Received,
    RecipientSpec,
    Redirected,
    Released,
    Reported,
    Scanned,
)
from pipeline.faults import ConfigurationError, GatepostError, NotFoundError, RefusedError, StoreFullError
from pipeline.ids import new_id, partition_for, partition_of
from pipeline.resolver import Resolver
from pipeline.scanning.bayes.tokens import unpacked
from pipeline.state import Stage
from pipeline.steps import message_step, received_step
from pipeline.store import Store
from pipeline.units import SECOND
from projections.readers.quarantine import Query
from projections.views import projections
from tests.support.dns import Names
from tests.support.examples import CLIENT, DOMAIN
from tests.workers.conftest import PARTITION, Parts
from workers.janitor import Janitor
from workers.learning import Learning
from workers.misjudged import Reporting
from workers.projector import Projector
from workers.quarantine import Quarantine
from workers.releasing import Done, Following, Release
from workers.scanner import Scanner

ANNA, BEN = f"anna@{DOMAIN}", f"ben@{DOMAIN}"
MAIL = (
    b"From: Max <max@partner.test>\r\nSubject: Cheap watches\r\nMessage-ID: <1@partner.test>\r\n\r\n"
    b"Cheap watches and more of them for you today\r\n"
)


@pytest.fixture
async def wiring(parts):
    made = await parts()
    await made.customer("mx.example.test:25")
    return made


async def kept(wiring: Parts, *recipients: str, content: bytes = MAIL, verdict: str = "spam") -> str:
    to = recipients or (ANNA, BEN)
    message_id = await wiring.accept(content, *to)
    message = await wiring.head(message_id)
    assert message is not None
    now = wiring.clock()
    events = (
        Scanned(
            at=now, domain=DOMAIN, verdict=verdict, score=9.0, subject="Cheap watches", message_id="<1@partner.test>",
            header_from="Max <max@partner.test>", findings=(Finding(name="GTUBE", score=9.0),),
        ),
        Quarantined(at=now, domain=DOMAIN, recipients=to, reason=verdict, expires=now + wiring.retention_of(DOMAIN)),
    )  # fmt: skip
    await wiring.log.commit(message_step(message, events, now=now)[0])
    return message_id


async def fold(wiring: Parts) -> None:
    blocking = wiring.store.blocking()
    await Projector(
        wiring.store.redis, blocking, wiring.log, range(8), projections(wiring.settings), clock=wiring.clock
    ).catch_up()
    await blocking.aclose()


def at(wiring: Parts, recipients: frozenset[str] | None = None, by: str = "web:anna") -> Quarantine:
    return Quarantine(wiring, by=by, recipients=recipients)


# Looking


async def test_each_look_is_in_the_history_and_in_the_head_with_who_looked(wiring):
    message_id = await kept(wiring)
    shown = await at(wiring).show(message_id)
    assert shown.scanned is not None
    assert (shown.scanned.score, shown.recipients) == (9.0, (ANNA, BEN))
    _, seen = await at(wiring, by="web:ben").preview(message_id)
    assert "Cheap watches" in seen.pieces[0].text
    message, content = await at(wiring).download(message_id)
    assert bytes(content) == MAIL
    assert [(look.by, look.how) for look in message.looks] == [
        ("web:anna", "show"), ("web:ben", "preview"), ("web:anna", "download"),
    ]  # fmt: skip
    looks = [row.event for row in await wiring.events(message_id) if isinstance(row.event, Looked)]
    assert [(look.recipients, look.how) for look in looks] == [
        ((ANNA, BEN), "show"), ((ANNA, BEN), "preview"), ((ANNA, BEN), "download"),
    ]  # fmt: skip


async def test_a_list_is_no_look(wiring):
    message_id = await kept(wiring)
    await fold(wiring)
    assert [one.id for one in (await at(wiring).search(Query())).messages] == [message_id]
    assert (await wiring.kinds(message_id))[-1] == "Quarantined"


async def test_a_look_disturbs_nobody_who_acts_at_the_same_time(wiring):
    message_id = await kept(wiring)
    looks = [at(wiring, by=f"web:{number}").preview(message_id) for number in range(10)]
    results = await asyncio.gather(*looks, at(wiring).release(message_id), return_exceptions=True)
    assert not [one for one in results if isinstance(one, Exception) and not isinstance(one, RefusedError)]
    kinds = await wiring.kinds(message_id)
    assert kinds.count("Released") == 1
    assert kinds.index("Released") == len(kinds) - 1


async def test_what_was_looked_at_is_still_discarded_when_its_time_is_over(wiring):
    message_id = await kept(wiring)
    await at(wiring).preview(message_id)
    wiring.forward(31 * 86400)
    await Janitor(wiring).expire()
    assert (await wiring.kinds(message_id))[-1] == "Discarded"


async def test_who_is_bound_to_recipients_sees_and_moves_their_copies_only(wiring):
    message_id, others = await kept(wiring), await kept(wiring, BEN)
    await fold(wiring)
    anna = at(wiring, frozenset({ANNA}))
    (one,) = (await anna.search(Query())).messages
    assert (one.id, one.recipients) == (message_id, (ANNA,))
    assert (await anna.show(message_id)).recipients == (ANNA,)
    for call in (anna.show, anna.preview, anna.download, anna.release, anna.delete):
        with pytest.raises(NotFoundError):
            await call(others)
    with pytest.raises(NotFoundError, match=f"is not for {BEN}"):
        await anna.release(message_id, Release(recipients=(BEN,)))
    with pytest.raises(RefusedError):
        await anna.stats()
    with pytest.raises(RefusedError, match="postmaster"):
        await anna.release(message_id, Release(virus=True))
    assert (await anna.release(message_id)).changed
    message = await wiring.head(message_id)
    assert message.addresses(Stage.QUEUED) == (ANNA,)
    assert message.addresses(Stage.QUARANTINED) == (BEN,)
    with pytest.raises(RefusedError):
        await anna.show(message_id)
    assert await wiring.kinds(others) == ["Received", "Scanned", "Quarantined"]


async def test_who_is_bound_to_recipients_does_not_learn_of_the_others(wiring):
    """Not who else got it, not who of them looked, not what else is there."""
    message_id, others = await kept(wiring), await kept(wiring, BEN)
    await fold(wiring)
    await at(wiring, by="web:ben").preview(message_id)
    await at(wiring, frozenset({BEN}), by="web:ben").show(others)
    await at(wiring).delete(others)
    anna = at(wiring, frozenset({f"Anna@{DOMAIN}"}))
    shown = await anna.show(message_id)
    assert [one.address for one in shown.message.recipients] == [ANNA]
    assert [look.by for look in shown.message.looks] == ["web:ben", "web:anna"]
    message, _ = await anna.preview(message_id)
    assert ([one.address for one in message.recipients], message.looks) == ([ANNA], ())
    for call in (anna.show, anna.release, anna.delete):
        with pytest.raises(NotFoundError, match="no message"):
            await call(others)
    assert (await anna.release(message_id)).changed
    assert await wiring.kinds(others) == ["Received", "Scanned", "Quarantined", "Looked", "Discarded"]


async def test_a_look_of_a_neighbour_at_his_own_copy_is_not_told(wiring):
    message_id = await kept(wiring)
    await at(wiring, frozenset({BEN}), by="web:ben").show(message_id)
    shown = await at(wiring, frozenset({ANNA})).show(message_id)
    assert [look.by for look in shown.message.looks] == ["web:anna"]


async def test_a_look_leaves_the_place_in_the_queue_alone(wiring):
    """Of a message in a deliverer's hands that place is the lease: without it another would deliver it as well."""
    message_id = await kept(wiring)
    await at(wiring).release(message_id, Release(recipients=(ANNA,)))
    message = await wiring.head(message_id)
    now = wiring.clock()
    attempt = Attempt(server="mx.example.test:25", stage="rcpt", code=451, reply="later")
    deferred = Deferred(
        at=now, domain=DOMAIN, recipients=(ANNA,), sender=message.sender, size=1, tries=1, attempt=attempt,
        next_try=now + 20 * SECOND,
    )  # fmt: skip
    await wiring.log.commit(message_step(message, [deferred], now=now)[0])
    assert await wiring.store.redis.zscore(keys.queue(PARTITION, DOMAIN), message_id) == (now + 20 * SECOND) // 10**6
    wiring.forward(1)
    lease = wiring.clock() // 10**6 + 60_000
    await wiring.store.redis.zadd(keys.queue(PARTITION, DOMAIN), {message_id: lease})
    await at(wiring).preview(message_id)
    await at(wiring).release(message_id, Release(recipients=(BEN,)))
    assert await wiring.store.redis.zscore(keys.queue(PARTITION, DOMAIN), message_id) == lease


# Releasing


async def test_twenty_who_release_at_once_release_once(wiring):
    message_id = await kept(wiring)
    done = await asyncio.gather(*(at(wiring, by=f"web:{number}").release(message_id) for number in range(20)))
    assert sum(one.changed for one in done) == 1
    assert {one.words for one in done if not one.changed} == {"was released before, and waits to leave"}
    assert (await wiring.kinds(message_id)).count("Released") == 1


async def test_a_copy_is_released_and_the_others_stay(wiring):
    message_id = await kept(wiring)
    assert (await at(wiring).release(message_id, Release(recipients=(BEN.upper(),)))).changed
    message = await wiring.head(message_id)
    assert message.addresses(Stage.QUARANTINED) == (ANNA,)
    with pytest.raises(NotFoundError, match="is not for nobody"):
        await at(wiring).release(message_id, Release(recipients=("nobody@x.test",)))


async def test_a_virus_leaves_only_when_somebody_says_that_they_know(wiring):
    message_id = await kept(wiring, verdict="virus")
    with pytest.raises(RefusedError, match="virus"):
        await at(wiring).release(message_id)
    with pytest.raises(RefusedError, match="virus"):
        await at(wiring).release_to(message_id, BEN, reason="x")
    assert (await at(wiring).release(message_id, Release(virus=True))).changed
    released = (await wiring.events(message_id))[-1].event
    assert isinstance(released, Released)
    assert (released.virus, released.by) == (True, "web:anna")


async def test_a_release_may_allow_the_sender_that_people_see_and_teach_the_classifier(wiring):
    message_id = await kept(wiring)
    done = await at(wiring).release(message_id, Release(allow_sender=True, learn=True))
    assert (done.allowed, done.learned) == ("max@partner.test", True)
    rules = (await Lists(wiring.store, DOMAIN).all_rules()).values()
    assert [(rule.entry, rule.action, rule.by) for rule in rules] == [("max@partner.test", ALLOW, "web:anna")]
    assert [row.event.spam for row in await wiring.events() if type(row.event).__name__ == "Learned"] == [False]
    again = await at(wiring).release(message_id, Release(allow_sender=True, learn=True))
    assert (again.changed, again.allowed, again.learned) == (False, "", False)


@pytest.mark.parametrize("how", ["released", "reported"])
async def test_of_what_is_released_or_reported_the_client_is_learnt_too(wiring, how):
    message_id = await kept(wiring)
    if how == "released":
        await at(wiring).release(message_id, Release(learn=True))
    else:
        await Reporting(wiring, by="web:anna").report(message_id=message_id, spam=True)
    (learned,) = [row.event for row in await wiring.events() if isinstance(row.event, Learned)]
    learning = Learning(wiring, by="web:anna")
    ours = (
        f"Received: from {CLIENT.helo} ([{CLIENT.address}])\r\n\tby {wiring.hostname} with ESMTP id 1; x\r\n".encode()
    )
    assert unpacked(learned.tokens) == await learning.tokens(ours + MAIL)
    assert unpacked(learned.tokens) != await learning.tokens(MAIL)


async def test_who_names_no_sender_is_not_released_with_leave_for_it(wiring):
    message_id = await wiring.accept(b"Subject: x\r\n\r\nx\r\n", ANNA, sender="")
    message = await wiring.head(message_id)
    now = wiring.clock()
    events = (
        Scanned(at=now, domain=DOMAIN, verdict="spam", score=9.0),
        Quarantined(at=now, domain=DOMAIN, recipients=(ANNA,), reason="spam", expires=now + 10**18),
    )
    await wiring.log.commit(message_step(message, events, now=now)[0])
    with pytest.raises(RefusedError, match="no sender"):
        await at(wiring).release(message_id, Release(allow_sender=True))
    assert (await wiring.kinds(message_id))[-1] == "Quarantined"


async def test_many_of_one_sender_that_are_released_at_once_allow_it_once(wiring):
    messages = [await kept(wiring, content=MAIL + str(number).encode()) for number in range(10)]
    quarantine = at(wiring)
    done = await asyncio.gather(*(quarantine.release(one, Release(allow_sender=True, learn=True)) for one in messages))
    assert {(one.changed, one.allowed, one.learned) for one in done} == {(True, "max@partner.test", True)}
    assert len(await Lists(wiring.store, DOMAIN).all_rules()) == 1


async def test_what_cannot_follow_a_release_is_said_with_the_release(wiring):
    message_id = await kept(wiring)
    message = replace(await wiring.head(message_id), domain="gone.test")
    done = Done(changed=True, words="released, on its way")
    with pytest.raises(RefusedError, match="released, on its way, but: no domain"):
        await Following(wiring, by="x").follow(done, message, MAIL, Release(allow_sender=True))


async def test_with_the_store_full_mail_is_released_and_what_cannot_follow_is_said(own_redis, tmp_path):
    values = {"allow_networks": "127.0.0.0/8", "hostname": "gateway.test", "data": tmp_path}
    wiring = Parts(load(None, {}, values), await Store.connect(own_redis.url, 8))
    await wiring.customer("mx.example.test:25")
    message_id, other = await kept(wiring), await kept(wiring)
    await wiring.store.redis.config_set("maxmemory", "1")
    with pytest.raises(StoreFullError, match="released, on its way, but: Redis takes no more"):
        await at(wiring).release(message_id, Release(learn=True))
    await at(wiring).preview(other)
    assert (await at(wiring).delete(other)).changed
    assert (await at(wiring).release(message_id)).words == "was released before, and waits to leave"
    assert (await wiring.kinds(message_id))[-1] == "Released"
    with pytest.raises(StoreFullError):
        await wiring.accept()
    await wiring.close()


# To somebody else


@pytest.mark.parametrize("size", [10, 300_000], ids=["hot body", "cold body"])
async def test_released_to_somebody_else_it_goes_on_as_another_message_that_nobody_judges(wiring, size):
    content = (
        MAIL + b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n" + b"x\r\n" * (size // 3)
    )
    message_id = await kept(wiring, content=content)
    done = await asyncio.gather(*(at(wiring).release_to(message_id, BEN, reason="for a look") for _ in range(5)))
    (new,) = {one.message for one in done}
    assert sum(one.changed for one in done) == 1
    last = (await wiring.events(message_id))[-1].event
    assert isinstance(last, Redirected)
    assert (last.to, last.recipients, last.message) == (BEN, (ANNA, BEN), new)
    await handled(wiring, keys.outbox(PARTITION), Janitor(wiring).send_bounces)
    assert bytes(await wiring.bodies.get(new)) == content
    async with Names({}) as names:
        resolver = Resolver(f"127.0.0.1:{names.port}", lifetime=5)
        await handled(wiring, keys.scan(PARTITION), Scanner(wiring, [Never()], resolver).handle)
    born, scanned, queued = [row.event for row in await wiring.events(new)]
    assert isinstance(born, Received)
    assert (born.origin, born.cause, born.recipients) == (
        "release", message_id, (RecipientSpec(address=BEN, original=ANNA),),
    )  # fmt: skip
    assert isinstance(scanned, Scanned)
    assert (scanned.verdict, scanned.findings, type(queued).__name__) == ("clean", (), "Queued")


class Never:
    """An engine that finds everything bad, and is not to be asked."""

    name = "never"
    version = "1"

    def look(self, mail):
        raise AssertionError("it was looked at again")


async def handled(wiring: Parts, stream: str, handle) -> None:
    """What is in a stream, handed to its worker."""
    from workers.consume import Entry  # noqa: PLC0415 - of this helper alone

    rows = await wiring.store.redis.xrange(stream)
    entries = [Entry(PARTITION, stream, entry.decode(), fields, again=False) for entry, fields in rows]
    assert not await handle(entries)


async def test_somebody_else_gets_some_copies_and_the_others_stay(wiring):
    message_id = await kept(wiring)
    done = await at(wiring).release_to(message_id, "carl@other.test", Release(recipients=(ANNA,)), reason="x")
    assert partition_of(done.message) == partition_for("other.test", 8)
    message = await wiring.head(message_id)
    assert message.addresses(Stage.QUARANTINED) == (BEN,)
    assert message.addresses(Stage.REDIRECTED) == (ANNA,)
    assert bytes(await wiring.bodies.get(message_id)) == MAIL


# Deleting


async def test_whatever_people_and_the_janitor_do_at_once_each_copy_goes_one_way(wiring):
    """Two releases of different copies, one to somebody else, a delete, looks, and the end of the retention, all at the same moment."""
    for number in range(12):
        message_id = await kept(wiring, content=MAIL + b"x" * (300_000 if number % 3 == 0 else number))
        if number % 2:
            wiring.forward(31 * 86400)
        one = at(wiring, by=f"web:{number}")
        results = await asyncio.gather(
            one.release(message_id, Release(recipients=(ANNA,))),
            one.release(message_id, Release(recipients=(BEN,))),
            one.release_to(message_id, f"max@{DOMAIN}", reason="x"),
            one.delete(message_id, (ANNA,)),
            one.preview(message_id),
            Janitor(wiring).expire(),
            return_exceptions=True,
        )
        odd = [each for each in results if isinstance(each, BaseException) and not isinstance(each, GatepostError)]
        assert not odd
        ends: dict[str, list[str]] = {ANNA: [], BEN: []}
        for row in await wiring.events(message_id):
            if isinstance(row.event, Released | Redirected | Discarded):
                for address in row.event.recipients:
                    ends[address].append(type(row.event).__name__)
        assert {len(kinds) for kinds in ends.values()} == {1}, ends
        redirected = sum("Redirected" in kinds for kinds in ends.values())
        outbox = await wiring.store.redis.xrange(keys.outbox(PARTITION))
        assert len([entry for entry, fields in outbox if fields[b"m"].decode() == message_id]) == min(redirected, 1)
        head = await wiring.head(message_id)
        assert (head is None) is ("Released" not in {kinds[0] for kinds in ends.values()})
        if head is not None:
            assert bytes(await wiring.bodies.get(message_id)).startswith(MAIL)


async def test_twenty_who_delete_at_once_delete_once(wiring):
    message_id = await kept(wiring)
    done = await asyncio.gather(*(at(wiring).delete(message_id) for _ in range(20)))
    assert sum(one.changed for one in done) == 1
    assert (await wiring.kinds(message_id)).count("Discarded") == 1
    assert await wiring.head(message_id) is None


# Reporting


async def delivered_once(wiring: Parts) -> tuple[str, bytes]:
    """A message that has left, and what its recipient has of it."""
    message_id = new_id(wiring.clock(), PARTITION)
    event = Received(
        at=wiring.clock(), domain=DOMAIN, sender="s@elsewhere.test", recipients=(RecipientSpec(address=ANNA),), size=9,
        expires=wiring.clock() + 10**15,
    )  # fmt: skip
    await wiring.log.commit(received_step(message_id, event, MAIL))
    message = await wiring.head(message_id)
    now = wiring.clock()
    scanned = Scanned(
        at=now,
        domain=DOMAIN,
        verdict="clean",
        score=0.0,
        message_id="<1@partner.test>",
        header_from="Max <max@partner.test>",
    )
    await wiring.log.commit(message_step(message, (scanned,), now=now)[0])
    line = (
        f"Received: from x ([192.0.2.1])\r\n\tby {wiring.hostname} with ESMTP id {message_id}\r\n\tfor <{ANNA}>; x\r\n"
    )
    return message_id, line.encode() + MAIL


async def reports(wiring: Parts) -> list[Reported]:
    return [row.event for row in await wiring.events() if isinstance(row.event, Reported)]


async def test_a_delivered_message_is_reported_by_what_its_recipient_has_of_it(wiring):
    message_id, content = await delivered_once(wiring)
    found = await Reporting(wiring, by="web:anna").report(
        spam=True, content=content.replace(b"\r\n", b"\n"), list_sender=True, note="again"
    )
    assert (found.message, found.domain, found.learned, found.listed) == (message_id, DOMAIN, True, "max@partner.test")
    (report,) = await reports(wiring)
    assert (report.message, report.by, report.spam, report.learned, report.note) == (
        message_id, "web:anna", True, True, "again",
    )  # fmt: skip
    rules = (await Lists(wiring.store, DOMAIN).all_rules()).values()
    assert [(rule.entry, rule.action) for rule in rules] == [("max@partner.test", BLOCK)]
    again = await Reporting(wiring, by="web:anna").report(spam=True, content=content)
    assert (again.learned, again.read) == (False, True)


async def test_by_its_id_alone_it_is_recorded_and_learned_from_only_while_there_is_a_body(wiring):
    message_id, _ = await delivered_once(wiring)
    assert (await Reporting(wiring, by="x").report(spam=True, message_id=message_id)).learned
    await wiring.store.redis.delete(keys.body(PARTITION, message_id))
    found = await Reporting(wiring, by="x").report(spam=False, message_id=message_id)
    assert (found.learned, found.read) == (False, False)
    assert len(await reports(wiring)) == 2


async def test_a_received_line_that_somebody_forged_is_not_believed(wiring):
    message_id, content = await delivered_once(wiring)
    forged = content.replace(b"<1@partner.test>", b"<2@partner.test>")
    with pytest.raises(ConfigurationError, match="whose mail"):
        await Reporting(wiring, by="x").report(spam=True, content=forged)
    found = await Reporting(wiring, by="x").report(spam=True, content=forged, domain=DOMAIN)
    assert (found.message, found.learned) == ("", True)
    with pytest.raises(NotFoundError):
        await Reporting(wiring, by="x").report(spam=True, message_id=new_id(1, 5))
    assert message_id


# Retention


async def test_a_domain_s_own_retention_holds_for_what_comes_and_not_for_what_is_there(wiring):
    before = await kept(wiring)
    await wiring.directory.update_domain(
        DOMAIN, lambda one: replace(one, quarantine_retention=3 * 86400 * 10**9), by="t", now=1
    )
    after = await kept(wiring)
    wiring.forward(4 * 86400)
    await Janitor(wiring).expire()
    assert (await wiring.kinds(after))[-1] == "Discarded"
    assert (await wiring.kinds(before))[-1] == "Quarantined"
