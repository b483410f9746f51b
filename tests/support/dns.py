"""A DNS server of the test's own, on UDP and a free port.

    async with Names({("example.org", "MX"): ["10 mx.example.org"], ("mx.example.org", "A"): ["192.0.2.1"]}) as names:
        Resolver(f"127.0.0.1:{names.port}")

A name that has no record at all does not exist. `failing` names get SERVFAIL, `silent` ones no answer. Answers about `signed` names
have the AD bit, for who asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Self

from dnslib import QTYPE, RCODE, RR, DNSRecord

from tests.support.network import Host


class Names(asyncio.DatagramProtocol):
    def __init__(
        self,
        records: Mapping[tuple[str, str], Sequence[str]],
        *,
        failing: Collection[str] = (),
        silent: Collection[str] = (),
        signed: Collection[str] = (),
    ) -> None:
        self.records = dict(records)
        self.failing = set(failing)
        self.silent = set(silent)
        self.signed = set(signed)
        self.asked: list[tuple[str, str]] = []
        self.port = 0
        self.place = ("127.0.0.1", 0)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.place)
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = DNSRecord.parse(data)
        name, kind = str(query.q.qname).rstrip(".").lower(), QTYPE[query.q.qtype]
        self.asked.append((name, kind))
        if name in self.silent or f"{name} {kind}" in self.silent:
            return
        reply = query.reply()
        if name in self.failing or f"{name} {kind}" in self.failing:
            reply.header.rcode = RCODE.SERVFAIL
        else:
            alias = self.records.get((name, "CNAME"), ())
            for target in alias:
                reply.add_answer(*RR.fromZone(f"{name}. 60 CNAME {target}."))
            for owner in [name, *alias]:
                for value in self.records.get((owner, kind), ()):
                    reply.add_answer(*RR.fromZone(f"{owner}. 60 {kind} {value}"))
            if not any(owner == name for owner, _ in self.records):
                reply.header.rcode = RCODE.NXDOMAIN
            reply.header.ad = int(query.header.ad and name in self.signed)
        self._transport.sendto(reply.pack(), addr)


@contextlib.contextmanager
def names_in_a_thread(records: Mapping[tuple[str, str], Sequence[str]], host: Host | None = None) -> Iterator[Names]:
    """For programs that are not part of the test's event loop. With a host of tests/support/network.py: there, on port 53."""
    loop = asyncio.new_event_loop()
    names = Names(records)
    if host is None:
        loop.run_until_complete(names.__aenter__())
    else:
        names.place = (host.address, 53)
        host.call(lambda: loop.run_until_complete(names.__aenter__()))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield names
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(names.__aexit__())
        loop.close()
