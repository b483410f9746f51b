"""Domains whose servers are away have each a server of their own, and mail that waits for it."""

from __future__ import annotations

from bench.outage import EACH, fill, server
from pipeline import keys
from pipeline.ids import partition_for
from pipeline.units import Endpoint
from tests.workers.conftest import parts

__all__ = ["parts"]


async def test_mail_waits_for_each_domain_and_each_is_due(parts):
    wiring = await parts()
    routes = {f"d{number}.away.example": server(number, 2525) for number in range(12)}
    await fill(wiring, routes)
    await wiring.directory.refresh()
    for domain, route in routes.items():
        partition = partition_for(domain, wiring.store.partitions)
        assert await wiring.store.redis.zcard(keys.queue(partition, domain)) == EACH
        assert await wiring.store.redis.zscore(keys.due(partition), domain) is not None
        assert wiring.directory.domains()[domain].route == (route,)


def test_no_two_domains_share_a_server():
    servers = {server(number, 2525) for number in range(1000)}
    assert len(servers) == 1000
    assert all(Endpoint(one).port == 2525 for one in servers)
