"""One process that is looked at, in the test's own process."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import metrics
from pipeline.units import EngineAddress
from tests.support.monitoring import OPENMETRICS, look
from workers.monitoring import process
from workers.monitoring.health import LOOP
from workers.monitoring.process import shown
from workers.notify import notify


@pytest.fixture
def place(tmp_path_factory):
    return tmp_path_factory.getbasetemp() / "m.sock"


@pytest.fixture
def at(place):
    return EngineAddress(f"unix:{place}")


async def test_before_redis_was_reached_a_process_is_alive_and_not_ready(place, at):
    async with shown("scanner", at):
        assert (await asyncio.to_thread(look, place, "/healthz")).status == 200
        ready = await asyncio.to_thread(look, place, "/readyz")
        assert (ready.status, ready.json["reason"]) == (503, "Redis was not reached yet")
        assert (await asyncio.to_thread(look, place, "/metrics/store")).status == 503
        assert (await asyncio.to_thread(look, place, "/elsewhere")).status == 404
    assert not place.exists()


async def test_with_redis_and_directory_it_is_ready_until_it_is_told_to_stop(place, at, parts, own_redis):
    wiring = await parts(own_redis)
    await wiring.directory.refresh()
    notify("READY=1")
    stop = asyncio.Event()
    async with shown("scanner", at) as monitor:
        monitor.attach(wiring, stop)
        assert (await asyncio.to_thread(look, place, "/readyz")).status == 200
        assert (await asyncio.to_thread(look, place, "/metrics")).numbers().sum("gatepost_ready") == 1
        own_redis.kill()
        away = await asyncio.to_thread(look, place, "/readyz")
        assert (away.status, away.json["reason"]) == (503, "Redis cannot be used: StoreAway")
        assert (await asyncio.to_thread(look, place, "/healthz")).status == 200
        store = await asyncio.to_thread(look, place, "/metrics/store")
        assert store.numbers().sum("gatepost_store_up") == 0
        own_redis.start()
        assert (await asyncio.to_thread(look, place, "/readyz")).status == 200
        stop.set()
        assert (await asyncio.to_thread(look, place, "/readyz")).json["reason"] == "stopping"


async def test_a_loop_that_is_stuck_is_told_by_a_thread_that_is_not(place, at, parts, monkeypatch):
    monkeypatch.setattr(process, "PATIENCE", 0.1)
    wiring = await parts()
    async with shown("scanner", at) as monitor:
        monitor.attach(wiring, asyncio.Event())
        pulse = metrics.PULSES.of(LOOP, 0)
        pulse.beat()
        monkeypatch.setattr(pulse, "bound", 0)
        # Asked from the loop itself, which so stands still until there is an answer.
        alive = look(place, "/healthz")
        assert alive.status == 503
        assert alive.json["reason"].startswith("event loop has not moved for")
        assert "does not answer in time" in look(place, "/readyz").json["reason"]
        assert look(place, "/metrics").numbers().sum("gatepost_ready") == 0


async def test_a_duty_that_does_not_end_is_told(place, at, monkeypatch):
    pulse = metrics.PULSES.of("a duty of this test", 0)
    async with shown("janitor", at):
        pulse.beat()
        told = await asyncio.to_thread(look, place, "/healthz")
        assert told.status == 503
        assert "a duty of this test" in told.json["reason"]
        pulse.rest()
        assert (await asyncio.to_thread(look, place, "/healthz")).status == 200


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
async def test_a_process_shows_what_its_role_measures_and_what_the_kernel_knows_of_it(place, at, accept):
    async with shown("deliverer", at):
        page = await asyncio.to_thread(look, place, "/metrics", accept=accept)
    assert page.type.startswith("application/openmetrics-text" if accept else "text/plain; version=0.0.4")
    names = page.numbers().names()
    assert {"gatepost_delivery_bytes_total", "gatepost_process_resident_memory_bytes", "gatepost_build_info"} <= names
    assert not any(name.startswith(("gatepost_smtp", "gatepost_scan", "python_")) for name in names)
