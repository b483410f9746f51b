"""What is stored: domains, work that is set aside, views. Nothing raises, and nothing is changed.

A store that does not exist yet is not made, and an embedded Redis that does not run is started only when its data are there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Final

from cli.check.alerts import about_alerts
from cli.check.finding import FATAL, GOOD, WARNING, Finding
from cli.check.secrets import about_secret
from pipeline.faults import ClockError, GatepostError, NotFoundError

if TYPE_CHECKING:
    from cli.options import Common
    from cli.session import Session
    from pipeline.directory import Domain
    from pipeline.settings import Settings

STANDS_STILL: Final = 60_000_000_000
"""ns: a projector is a second behind at most, and is replaced within seconds when it dies."""


async def about_store(common: Common, settings: Settings) -> AsyncIterator[tuple[Finding | None, bool]]:
    """Findings, each with whether the gateway answers."""
    from cli.session import session
    from workers.embedded import find_server

    try:
        if not settings.redis_url:
            find_server(settings.redis_binary)
        async with session(common) as opened:
            where = "outside" if settings.redis_url else "offline" if opened.offline else "running"
            yield None, not opened.offline
            async for finding in _examine_store(opened, where):
                yield finding, not opened.offline
    except NotFoundError:
        yield Finding(GOOD, "redis", "the embedded one will be made at the first start"), False
    except GatepostError as fault:
        yield Finding(FATAL, "redis", str(fault), fault.remedy), False


async def _examine_store(opened: Session, where: str) -> AsyncIterator[Finding]:
    from pipeline import clock
    from pipeline.store import dangers

    found = await dangers(opened.wiring.store.redis)
    for danger in found:
        yield Finding(FATAL if danger.fatal else WARNING, "redis", danger.found, danger.remedy)
    if not found:
        words = {"outside": "answers", "offline": "its data can be read", "running": "answers"}[where]
        yield Finding(GOOD, "redis", f"{words}, and keeps everything on disk")
    ahead = await clock.difference(opened.wiring.store.redis, opened.wiring.settings, opened.wiring.clock)
    if ahead:
        fault = ClockError(ahead)
        yield Finding(WARNING, "clock", str(fault), fault.remedy)
    async for finding in _about_domains(opened):
        yield finding
    async for finding in _about_syncs(opened):
        yield finding
    async for finding in _about_work(opened):
        yield finding


async def _about_syncs(opened: Session) -> AsyncIterator[Finding]:
    """Secrets of sources that others may read as well."""
    from pipeline.syncing.memory import Memory

    for name, sync in (await Memory(opened.wiring.store).syncs()).items():
        for finding in about_secret(f"sync {name}: secret_file", getattr(sync.source, "secret_file", "")):
            yield finding


async def _about_domains(opened: Session) -> AsyncIterator[Finding]:
    """Domains whose mail would be refused or go nowhere."""
    wiring = opened.wiring
    await wiring.directory.refresh()
    domains = wiring.directory.domains()
    if not domains:
        yield Finding(
            WARNING, "domains", "there is none, so no mail is accepted", "gatepost domain add NAME --route HOST:PORT"
        )
        return
    wrong = 0
    for name, domain in domains.items():
        if domain.hold is not None:
            wrong += 1
            text = f"{name} is held: {domain.hold.reason}"
            yield Finding(WARNING, "domains", text, f"gatepost domain resume {name}")
        if domain.alias_of:
            continue
        if not domain.catch_all and not await wiring.directory.count_addresses(name):
            wrong += 1
            text = f"{name} has no address, so its mail is refused"
            yield Finding(WARNING, "domains", text, f"gatepost address add someone@{name}")
        for finding in _about_way(name, domain, wiring.settings):
            wrong += 1
            yield finding
    for server, hold in wiring.directory.held_servers().items():
        wrong += 1
        yield Finding(
            WARNING,
            "domains",
            f"the server {server} is held: {hold.reason}",
            f"gatepost queue resume --server {server}",
        )
    if not wrong:
        yield Finding(GOOD, "domains", f"{len(domains):,} with addresses and routes")
    homes = [wiring.directory.home(name) or domain for name, domain in domains.items() if not domain.alias_of]
    for finding in about_alerts(wiring.settings, homes):
        yield finding


def _about_way(name: str, domain: Domain, settings: Settings) -> Iterable[Finding]:
    """Where a route may not go, and what its options name and this machine has not."""
    from pipeline.route import check_route
    from pipeline.sources import secrets
    from pipeline.sources.dialling import context

    for route in domain.route:
        try:
            check_route(route, settings.allow_networks)
        except GatepostError as fault:
            yield Finding(WARNING, "domains", f"{name}: {fault}", fault.remedy)
    options = domain.route_options
    if options is None:
        return
    try:
        if options.ca_file:
            context(options.ca_file, verify=True)
        if options.auth_secret_file:
            secrets.read(options.auth_secret_file, "", quiet=True)
    except GatepostError as fault:
        yield Finding(WARNING, "domains", f"{name}: {fault}", fault.remedy)
    yield from about_secret(f"{name}: auth_secret_file", options.auth_secret_file)
    known = {source.address for source in settings.source_addresses}
    if options.sources and not known.intersection(options.sources):
        text = f"{name}: none of its source addresses is in the setting source_addresses, so its mail waits"
        yield Finding(WARNING, "domains", text, f"gatepost domain set {name} --source none")


async def _about_work(opened: Session) -> AsyncIterator[Finding]:
    """Work that is set aside, and views that are damaged or stand still."""
    from pipeline.parked import listed
    from projections.readers import read_health
    from projections.views import projections

    store = opened.wiring.store
    parked = await listed(store)
    if parked:
        yield Finding(WARNING, "work", f"{len(parked):,} pieces are set aside", "gatepost parked list")
    names = [projection.name for projection in projections(opened.wiring.settings)]
    health = await read_health(store.redis, opened.wiring.history, store.partitions, names, opened.now())
    for one in health:
        if one.broken or one.damaged:
            text = f"{one.view}, partition {one.partition}: {one.damaged} events could not be read, {one.broken} writes failed"
            yield Finding(WARNING, "views", text, f"gatepost replay {one.view} --mend")
    behind = max((one.behind for one in health), default=0)
    if behind > STANDS_STILL and not opened.offline:
        from cli.render import age

        yield Finding(
            WARNING, "views", f"are {age(behind)} behind", "See whether the projector runs; its log says why not."
        )
    async for finding in _about_waiting(opened):
        yield finding
    if not parked and not any(one.broken or one.damaged for one in health):
        yield Finding(GOOD, "work", "nothing is set aside, and the views are whole")


async def _about_waiting(opened: Session) -> AsyncIterator[Finding]:
    """Messages that wait for an engine."""
    from pipeline.rescan import Rescans

    waiting = await Rescans(opened.wiring.store).waiting()
    if waiting.messages:
        yield Finding(WARNING, "work", f"{waiting.messages:,} messages wait for {waiting.engines}", "gatepost engines")
