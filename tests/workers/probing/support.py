"""Running a delivery test against a server of the test's own, with less patience than people have."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.gateways import Gateway
from pipeline.probing import Finding, Plan, Report, judge
from pipeline.probing.model import Line
from pipeline.resolver import Resolver
from workers.probing import DeliveryTest, Patience

HANGS = 20.0
"""Seconds after which a test that should have ended long ago has failed."""
QUICK = Patience(
    total=15.0, names=3.0, connect=5.0, greeting=5.0, reply=5.0, handshake=5.0, dot=5.0, quit=5.0, apart=0.001
)
IMPATIENT = Patience(
    total=15.0, names=1.0, connect=2.0, greeting=0.4, reply=0.4, handshake=0.4, dot=0.4, quit=0.4, apart=0.001
)
"""For servers that stall; still enough for those that do not, on a machine that is busy with other tests."""
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def plan(*route: str, **fields: Any) -> Plan:
    usual: dict[str, Any] = {
        "domain": "example.test",
        "hostname": "gateway.example",
        "known": "anna@example.test",
        "random": "gatepost-test-1@example.test",
        "listed": True,
        "allowed": LOOPBACK,
        "quick": True,
    }
    return Plan(**{**usual, "route": route, **fields})


async def run(
    wanted: Plan,
    patience: Patience = QUICK,
    dns: int = 0,
    gateways: Sequence[Gateway] = (),
    steady: Callable[[], float] = time.monotonic,
) -> Report:
    """`dns`: the port of the DNS to ask; 0 where no name is asked for."""
    resolver = Resolver(f"127.0.0.1:{dns}" if dns else "127.0.0.1:9", lifetime=1.0)
    test = DeliveryTest(wanted, resolver, gateways, patience=patience, steady=steady)
    async with asyncio.timeout(HANGS):
        async for _ in test.run():
            pass
    return test.report()


async def visited(port: int, patience: Patience = QUICK, **fields: Any) -> Report:
    return await run(plan(f"127.0.0.1:{port}", **fields), patience)


def kinds(report: Report) -> dict[str, str]:
    """Kind of finding -> its weight, good ones left out."""
    return {one.kind: one.weight.value for one in judge(report) if one.weight.value != "good"}


def found(report: Report, kind: str) -> Finding:
    (one,) = [one for one in judge(report) if one.kind == kind]
    return one


def said(lines: Sequence[Line], who: str) -> list[str]:
    return [line.text for line in lines if line.who == who]
