"""Everything here runs on both event loops: uvloop in production, asyncio's own where there is no uvloop."""

import asyncio

import pytest
import uvloop

from tests.support.receiver import receiver


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def gate(tmp_path):
    """A receiver with the default settings."""
    async with receiver(tmp_path) as running:
        yield running
        await running_is_clean(running)


async def running_is_clean(running):
    """Whatever a test did, when its clients are gone nothing of them is left."""
    for client in running.clients:
        client.vanish()
    if running.intake.gate is not None:
        running.intake.gate.set()
    await running.idle()
