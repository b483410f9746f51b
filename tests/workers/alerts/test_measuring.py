"""What is measured is what is there, and what cannot be known is not measured."""

from __future__ import annotations

import datetime as dt

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline import gateways, keys, parked
from pipeline.alerts.model import WorkState
from pipeline.directory import Domain, Hold
from pipeline.events import RouteDeferred
from pipeline.scanning.engines.board import Board
from pipeline.scanning.engines.health import Health
from pipeline.steps import Route, route_deferred_step
from projections.readers.books_check import BooksCheck, Unbalanced
from projections.readers.selfcheck import CheckedView, SelfCheck
from projections.views import projections
from tests.support.examples import ATTEMPT, DOMAIN
from tests.workers.conftest import PARTITION
from workers.alerts.measuring import Measuring
from workers.alerts.watching import Watch
from workers.projector import Projector

MINUTE = 60 * 10**9


async def folded(wiring):
    blocking = wiring.store.blocking()
    projector = Projector(wiring.store.redis, blocking, wiring.history, range(8), projections(wiring.settings))
    await projector.renew()
    while await projector.fold():
        pass
    await projector.release()
    await blocking.aclose()


async def away(wiring, since):
    event = RouteDeferred(
        at=wiring.clock(), domain=DOMAIN, tries=3, since=since, next_try=wiring.clock() + MINUTE, attempts=(ATTEMPT,)
    )
    await wiring.log.commit(route_deferred_step(PARTITION, Route(), event, "", ()))


async def test_of_a_domain_it_is_known_what_waits_since_when_and_what_its_server_said(parts):
    wiring = await parts()
    await wiring.directory.set_domain(
        Domain(name=DOMAIN, route=("192.0.2.1:25",), alert_waiting=7), by="test", now=wiring.clock()
    )
    for _ in range(3):
        await wiring.queued()
    since = wiring.clock() - 20 * MINUTE
    await away(wiring, since)
    await folded(wiring)
    (one,) = (await Measuring(wiring).measure()).domains
    assert (one.domain, one.messages, one.down_since, one.max_waiting) == (DOMAIN, 3, since, 7)
    assert wiring.clock() - MINUTE < one.oldest < wiring.clock()
    assert one.said == ATTEMPT.reply


async def test_mail_to_strangers_and_domains_where_all_is_well_are_not_looked_at(parts):
    wiring = await parts()
    await wiring.queued()
    await wiring.customer("192.0.2.1:25", domain="quiet.example")
    await folded(wiring)
    assert (await Measuring(wiring).measure()).domains == ()


async def test_a_view_that_is_not_there_or_far_behind_says_nothing_of_domains(parts):
    wiring = await parts()
    assert (await Measuring(wiring).measure()).domains is None
    await folded(wiring)
    assert (await Measuring(wiring).measure()).domains == ()
    await wiring.queued()
    assert (await Measuring(wiring).measure()).domains == ()
    wiring.store.redis, real = Late(wiring.store.redis), wiring.store.redis
    assert (await Measuring(wiring).measure()).domains is None
    wiring.store.redis = real


class Late:
    """A Redis whose clock is two minutes ahead of what was appended."""

    def __init__(self, redis):
        self._redis = redis

    def __getattr__(self, name):
        return getattr(self._redis, name)

    async def time(self):
        seconds, micros = await self._redis.time()
        return seconds + 120, micros


async def test_only_what_gatepost_holds_by_itself_counts_as_held(parts):
    wiring = await parts()
    now = wiring.clock()
    for name, probed in (("ours.example", True), ("theirs.example", False)):
        hold = Hold(since=now - MINUTE, reason="550 relaying denied", by="x", probed=probed)
        await wiring.directory.set_domain(Domain(name=name, hold=hold, route=("192.0.2.1:25",)), by="test", now=now)
    await folded(wiring)
    (one,) = (await Measuring(wiring).measure()).domains
    assert (one.domain, one.held_since, one.held_why) == ("ours.example", now - MINUTE, "550 relaying denied")


async def test_work_that_nobody_does_has_an_age(parts):
    wiring = await parts()
    await wiring.accept()
    await wiring.accept()
    wiring.forward(600)
    scan, outbox = (await Measuring(wiring).measure()).work
    assert (scan.stream, scan.count, scan.consumers) == ("scan", 2, 0)
    assert 590 * 10**9 < wiring.clock() - scan.oldest < 660 * 10**9
    assert outbox == WorkState(stream="outbox")


async def test_engines_receivers_memory_disk_and_parked_work(parts):
    wiring = await parts(clamav="127.0.0.1:3310")
    now, redis = wiring.clock(), wiring.store.redis
    health = Health(name="clamav", failing=3, since=now - MINUTE, last_error="refused")
    await Board(wiring.store).report("p", [health], now)
    await gateways.register(redis, "mx.example", 25, now - MINUTE)
    await parked.park_message(wiring.store, 3, DOMAIN, "x" * 22, "a fault", now=now)
    found = await Measuring(wiring).measure()
    assert [(one.name, one.away_since, one.error) for one in found.engines] == [("clamav", now - MINUTE, "refused")]
    assert (found.receiver, found.parked) == (now - MINUTE, 1)
    assert found.disk_free > 0
    assert found.memory[0] > 0
    assert (found.books, found.differences, found.certificate, found.archive) == (None, None, None, (0, ""))


async def test_the_books_and_the_self_check_are_told_with_the_ids(parts):
    wiring = await parts()
    now, redis = wiring.clock(), wiring.store.redis
    check = BooksCheck(at=now, unbalanced=(Unbalanced(domain=DOMAIN, difference=2, odd=0),), unbalanced_count=1)
    await redis.set(keys.BOOKS_CHECK, msgspec.msgpack.encode(check))
    views = (
        CheckedView(view="queue", events=9, seconds=1, differences=2, named=("3 live d:x: 1, not 2", "other")),
        CheckedView(view="books", events=9, seconds=1),
        CheckedView(view="trace", events=0, seconds=0, failed="the store is away"),
    )
    night = SelfCheck(night="2026-11-30", started=now, ended=now, views=views)
    await redis.hset(keys.SELFCHECK, "last", msgspec.msgpack.encode(night))
    found = await Measuring(wiring).measure()
    assert found.books == ((DOMAIN, "2 recipients are missing"),)
    assert found.differences == (
        ("queue", "2 differences; 3 live d:x: 1, not 2"),
        ("trace", "it could not be compared: the store is away"),
    )
    wiring.forward(601)
    assert (await Measuring(wiring).measure()).books is None


async def test_an_archive_that_does_not_keep_up_is_behind_since_then(parts):
    wiring = await parts(archive=True, hot_period="2h")
    await wiring.accept()
    assert (await Measuring(wiring).measure()).archive == (0, "")
    wiring.forward(4 * 3600)
    since, why = (await Measuring(wiring).measure()).archive
    assert 59 * MINUTE < wiring.clock() - since < 61 * MINUTE
    assert "partition" in why


async def test_the_end_of_our_certificate_is_read_from_its_file(parts, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example")])
    end = dt.datetime(2027, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(end - dt.timedelta(90)).not_valid_after(end)
    path = tmp_path / "cert.pem"
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    wiring = await parts(tls_certificate=str(path), tls_key=str(path))
    assert (await Measuring(wiring).measure()).certificate == int(end.timestamp()) * 10**9
    path.write_bytes(b"no certificate")
    assert (await Measuring(wiring).measure()).certificate is None


async def test_an_alert_of_a_machine_that_is_no_more_is_over(parts):
    wiring = await parts(alert_disk="1GiB")
    watch = Watch(wiring)
    low = msgspec.structs.replace(await Measuring(wiring).measure(), host="old.example", disk_free=1)
    fine = msgspec.structs.replace(low, host="new.example", disk_free=1 << 40)
    assert await watch.judge(low) == 1
    assert await watch.judge(fine) == 0
    wiring.forward(86400 + 60)
    assert await watch.judge(msgspec.structs.replace(fine, at=wiring.clock())) == 1
