"""Which events of the directory concern a domain."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.audit.concern import Concern
from pipeline.directory import Domain
from pipeline.directory.model import encode
from pipeline.events import (
    AddressesSet,
    AlertRaised,
    DirectoryEvent,
    DomainRemoved,
    DomainSet,
    RulesSet,
    ServerHeld,
    ServerResumed,
    SyncRan,
    SyncRemoved,
    SyncSet,
)

A, B = "a.test", "b.test"
COMMON = {"at": 1, "by": "test"}


def domain(name: str = A, *route: str, **fields: object) -> DomainSet:
    return DomainSet(**COMMON, domain=name, after=encode(Domain(name=name, route=route, **fields)))


def sync(*domains: str, name: str = "office") -> SyncSet:
    data = msgspec.msgpack.encode({"name": name, "domains": domains} if domains else {"name": name})
    return SyncSet(**COMMON, domain="", name=name, after=data)


def ran(name: str = "office", domain: str = "") -> SyncRan:
    return SyncRan(**COMMON, domain=domain, name=name, run=1, result="applied")


def held(server: str) -> ServerHeld:
    return ServerHeld(**COMMON, domain="", server=server, reason="x")


@pytest.mark.parametrize(
    ("events", "concern"),
    [
        ([domain(A)], [True]),
        ([domain(B)], [False]),
        ([domain(B, alias_of=A), domain(B)], [True, False]),
        ([DomainSet(**COMMON, domain=B, before=encode(Domain(name=B, alias_of=A)), after=encode(Domain(name=B)))], [True]),
        ([DomainRemoved(**COMMON, domain=B, before=encode(Domain(name=B, alias_of=A)))], [True]),
        ([AddressesSet(**COMMON, domain=A, locals=("x",)), AddressesSet(**COMMON, domain=B, locals=("x",))], [True, False]),
        ([RulesSet(**COMMON, domain=one, rules=("x",)) for one in (A, B, "")], [True, False, True]),
        ([sync(A, B), ran()], [True, True]),
        ([sync(B), ran()], [False, False]),
        ([sync(), ran(), ran("other")], [True, True, False]),
        ([sync(A), sync(B), ran()], [True, True, False]),
        ([sync(A), SyncRemoved(**COMMON, domain="", name="office"), ran()], [True, True, False]),
        ([sync(B), ran(domain=A)], [False, True]),
        ([held("mx.a.test:25"), domain(A, "10 mx.a.test:25"), held("mx.a.test:25"), held("x:25")], [False, True, True, False]),
        ([domain(A, "mx:a.test"), held("x:25")], [True, True]),
        ([domain(A), held("x:25"), ServerResumed(**COMMON, domain="", server="x:25")], [True, True, True]),
        ([domain(A, "x:25"), DomainRemoved(**COMMON, domain=A), held("x:25")], [True, True, False]),
        ([AlertRaised(at=1, domain="", rule="x"), AlertRaised(at=1, domain=A, rule="x")], [False, True]),
        ([DomainSet(**COMMON, domain=B, before=b"\xc1", after=b"\x01")], [False]),
    ],
)  # fmt: skip
def test_events_concern_whom_they_are_about(events: list[DirectoryEvent], concern: list[bool]):
    one, everything = Concern(A), Concern("")
    assert [one.of(event) for event in events] == concern
    assert all(everything.of(event) for event in events)


def test_what_cannot_be_read_concerns_who_asks_for_everything():
    assert (Concern("").of(None), Concern(A).of(None)) == (True, False)
