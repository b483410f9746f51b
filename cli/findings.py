"""The examinations behind `gatepost check`. Each answers with findings; none raises, and none changes anything.

A store that does not exist yet is not made, and an embedded Redis that does not run is started only when its data are there.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import resource
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from cli.options import Common
from cli.render import size
from pipeline.faults import ConfigurationError, GatepostError, NotFoundError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory import Domain

FATAL: Final = "fatal"
WARNING: Final = "warning"
GOOD: Final = "good"
SOON: Final = dt.timedelta(days=21)
"""Before its end, a certificate is worth a word: a renewal at 30 days has failed by then."""
NOT_SETTINGS: Final = frozenset({"GATEPOST_CONFIG", "GATEPOST_DEBUG"})
DESCRIPTORS: Final = 512
"""File descriptors besides the sessions: the log of requests to Redis, DNS, bodies."""


class Finding(msgspec.Struct, frozen=True):
    weight: str
    about: str
    found: str
    remedy: str = ""


async def examine(common: Common) -> list[Finding]:
    """All findings, in the order in which they matter to a start."""
    try:
        settings = common.settings()
    except GatepostError as fault:
        return [Finding(FATAL, "settings", str(fault), fault.remedy)]
    from cli.dns_lists import about_lists

    found = [*about_settings(settings, os.environ, common.config), *about_directory(settings), *about_limits(settings)]
    found += [
        *about_replies(settings),
        *about_brands(settings),
        *about_countries(settings),
        *about_sources(settings),
        *await about_seal(settings),
        *await about_lists(settings),
        *await about_engines(settings),
    ]
    running = False
    if any(finding.weight == FATAL for finding in found):
        return [*found, *about_certificate(settings, dt.datetime.now(dt.UTC))]
    async for finding, is_running in _about_store(common, settings):
        running = running or is_running
        if finding is not None:
            found.append(finding)
    found += about_certificate(settings, dt.datetime.now(dt.UTC))
    found += await about_port(settings, running=running)
    return found


def about_settings(settings: Settings, environ: Mapping[str, str], config: Path | None) -> list[Finding]:
    """Settings that can be read and yet are not what was meant."""
    import difflib

    from workers.wiring import hostname

    found = []
    known = {f"GATEPOST_{name.upper()}" for name in Settings.__struct_fields__} | NOT_SETTINGS
    for name in sorted(environ):
        if name.startswith("GATEPOST_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            remedy = f"Did you mean {close[0]}?" if close else "See `gatepost config show` for the names there are."
            found.append(Finding(WARNING, "settings", f"{name} is in the environment and is no setting", remedy))
    name = hostname(settings)
    if "." not in name.rstrip("."):
        remedy = (
            "Set hostname to the name that MX records point at; some servers refuse mail from a name without a dot."
        )
        found.append(Finding(WARNING, "settings", f"our name would be {name!r}", remedy))
    if settings.redis_fsync != "always" and not settings.redis_url:
        text = "redis_fsync is everysec: up to a second of accepted mail is lost when the machine dies"
        found.append(Finding(WARNING, "settings", text, 'Set redis_fsync = "always", unless that is your choice.'))
    if not found:
        source = config or environ.get("GATEPOST_CONFIG") or ("gatepost.toml" if Path("gatepost.toml").exists() else "")
        found.append(Finding(GOOD, "settings", f"read from {source}" if source else "defaults and environment"))
    return found


def about_directory(settings: Settings) -> list[Finding]:
    """The data directory and its disk."""
    from pipeline.store import FORMAT

    path = settings.data.absolute()
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        remedy = "Choose another with --data, or give this user the right to write there."
        return [Finding(FATAL, "data", f"cannot write to {path}", remedy)]
    found = []
    with contextlib.suppress(OSError, ValueError):
        written = int((path / "format").read_text("ascii"))
        if written > FORMAT:
            text = f"{path} was written by a newer Gatepost (format {written}, this one knows {FORMAT})"
            found.append(Finding(FATAL, "data", text, "Install the newer version again; nothing was changed."))
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    if free < settings.min_free_disk:
        text = f"{size(free)} of disk free at {path}, less than min_free_disk ({size(settings.min_free_disk)}): senders get 452"
        found.append(Finding(FATAL, "data", text, "Free disk space, or move the data directory."))
    if path.exists() and path.stat().st_mode & 0o077:
        text = f"{path} can be looked into by others on this machine"
        found.append(Finding(WARNING, "data", text, f"chmod 700 {path}"))
    if not found:
        word = "exists" if path.exists() else "will be made at the first start"
        found.append(Finding(GOOD, "data", f"{path} {word}, {size(free)} free"))
    return found


def about_limits(settings: Settings) -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_sessions + DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        text = f"a process may have {soft:,} files and connections open, and max_sessions asks for {needed:,}"
        remedy = f"Raise the limit (systemd: LimitNOFILE={max(needed, 65536)}), or lower max_sessions."
        return [Finding(WARNING, "limits", text, remedy)]
    return []


def about_sources(settings: Settings) -> list[Finding]:
    """The addresses that mail is to go out from."""
    from pipeline.egress import check_bindable

    if not settings.source_addresses:
        return []
    try:
        check_bindable(settings.source_addresses)
    except ConfigurationError as fault:
        return [Finding(FATAL, "sources", str(fault), fault.remedy)]
    return [Finding(GOOD, "sources", ", ".join(source.address for source in settings.source_addresses))]


async def about_engines(settings: Settings) -> list[Finding]:
    """Whether the programs that are to look at mail answer."""
    import asyncio

    from pipeline.scanning.engines import outside
    from pipeline.scanning.faults import EngineFault
    from workers.wiring import hostname

    try:
        guards = outside.guards(settings, hostname(settings))
    except ConfigurationError as fault:
        return [Finding(FATAL, "engines", str(fault), fault.remedy)]
    addresses = outside.addresses(settings)
    found = []
    answers = await asyncio.gather(*(guard.visit() for guard in guards), return_exceptions=True)
    for guard, answer in zip(guards, answers, strict=True):
        guard.close()
        where = f"{guard.name} at {addresses[guard.name]}"
        if isinstance(answer, EngineFault):
            remedy = f"See that it runs and listens there; else mail goes on without it ({settings.engines_missing})."
            found.append(Finding(WARNING, "engines", f"{guard.name} {answer.whole}", remedy))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append(Finding(GOOD, "engines", f"{where} answers, version {guard.version}"))
        if guard.deadline > settings.scan_budget:
            text = f"{guard.name}_deadline is {guard.deadline}, and scan_budget ends all engines after {settings.scan_budget}"
            found.append(Finding(WARNING, "engines", text, f"Set scan_budget to {guard.deadline} or more."))
    return found


async def _about_store(common: Common, settings: Settings) -> AsyncIterator[tuple[Finding | None, bool]]:
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
    except ConfigurationError as fault:
        yield Finding(FATAL, "redis", str(fault), fault.remedy), False
    except GatepostError as fault:
        remedy = fault.remedy or "See that it runs, and that redis_url is right."
        yield Finding(FATAL, "redis", str(fault), remedy), False


async def _examine_store(opened: Session, where: str) -> AsyncIterator[Finding]:
    from pipeline.store import dangers

    found = await dangers(opened.wiring.store.redis)
    for danger in found:
        yield Finding(FATAL if danger.fatal else WARNING, "redis", danger.found, danger.remedy)
    if not found:
        words = {"outside": "answers", "offline": "its data can be read", "running": "answers"}[where]
        yield Finding(GOOD, "redis", f"{words}, and keeps everything on disk")
    async for finding in _about_domains(opened):
        yield finding
    async for finding in _about_work(opened):
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
            secrets.read(options.auth_secret_file, "")
    except GatepostError as fault:
        yield Finding(WARNING, "domains", f"{name}: {fault}", fault.remedy)
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
    health = await read_health(store.redis, opened.wiring.log, store.partitions, names, opened.now())
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


STANDS_STILL: Final = 60_000_000_000
"""ns: a projector is a second behind at most, and is replaced within seconds when it dies."""


def about_certificate(settings: Settings, now: dt.datetime) -> Iterable[Finding]:
    if not settings.tls_certificate:
        text = "a self-signed one; senders that insist on a valid certificate (MTA-STS) will not deliver"
        yield Finding(WARNING, "tls", text, "Set tls_certificate and tls_key.")
        return
    remedy = "Set tls_certificate and tls_key to PEM files that belong together and that this user may read."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
        end = _end_of(Path(settings.tls_certificate))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield Finding(FATAL, "tls", f"cannot use {settings.tls_certificate} with {settings.tls_key}: {reason}", remedy)
        return
    day = end.strftime("%Y-%m-%d")
    if end < now:
        yield Finding(WARNING, "tls", f"the certificate ended on {day}", "Renew it, and send SIGHUP to `gatepost up`.")
    elif end < now + SOON:
        yield Finding(WARNING, "tls", f"the certificate ends on {day}", "Renew it, and send SIGHUP to `gatepost up`.")
    else:
        yield Finding(GOOD, "tls", f"the certificate is good until {day}")


def _end_of(certificate: Path) -> dt.datetime:
    """Raises ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def about_replies(settings: Settings) -> list[Finding]:
    """Whether the operator's own table of replies can be read."""
    from pipeline import diagnosis

    if not settings.replies_table:
        return []
    try:
        table = diagnosis.in_force(settings.replies_table)
    except ConfigurationError as fault:
        return [Finding(FATAL, "replies", str(fault), fault.remedy)]
    return [Finding(GOOD, "replies", f"{settings.replies_table}: version {table.version}, {len(table.rules):,} rules")]


def about_brands(settings: Settings) -> list[Finding]:
    """Whether the operator's own table of brands can be read."""
    from pipeline.scanning.builtin.tables import brands

    if not settings.brands:
        return []
    try:
        table = brands(settings.brands)
    except ConfigurationError as fault:
        return [Finding(FATAL, "brands", str(fault), fault.remedy)]
    return [Finding(GOOD, "brands", f"{settings.brands}: {len(table.organisations):,} domains")]


def about_countries(settings: Settings) -> list[Finding]:
    """Whether the operator's own table of countries can be read."""
    from pipeline import country

    if not settings.country_table:
        return []
    try:
        built = country.in_force(settings.country_table).built
    except ConfigurationError as fault:
        return [Finding(FATAL, "countries", str(fault), fault.remedy)]
    made = dt.datetime.fromtimestamp(built, dt.UTC)
    return [Finding(GOOD, "countries", f"{settings.country_table}: made on {made:%Y-%m-%d}")]


async def about_seal(settings: Settings) -> list[Finding]:
    """Whether others can verify our ARC seals."""
    from pipeline.resolver import LookupFailed, Resolver
    from workers.wiring import key_sealer

    if not settings.arc_domain:
        return []
    try:
        sealer = key_sealer(settings, "")
    except ConfigurationError as fault:
        return [Finding(FATAL, "seal", str(fault), fault.remedy)]
    publish = f'Publish this TXT record there: "{sealer.record}"'
    try:
        records = await Resolver(settings.resolver).txt(sealer.key_name)
    except LookupFailed as failed:
        if not failed.permanent:
            return [Finding(WARNING, "seal", f"its key could not be looked up: {failed}", "Try again later.")]
        records = ()
    keys = [record.decode("latin-1").replace(" ", "").partition("p=")[2].partition(";")[0] for record in records]
    if sealer.record.partition("p=")[2] in keys:
        return [Finding(GOOD, "seal", f"its key is published at {sealer.key_name}")]
    what = "another key is" if any(keys) else "nothing is"
    return [Finding(WARNING, "seal", f"{what} published at {sealer.key_name}: nobody can verify our seals", publish)]


async def about_port(settings: Settings, *, running: bool) -> list[Finding]:
    """Whether the port is ours to take, or answers as it should."""
    from workers.supervisor import reserve

    if running:
        return [await _greeting(settings)]
    if settings.smtp.port == 0:
        return [Finding(GOOD, "port", "a free one is taken at the start")]
    try:
        holder, _ = reserve(settings.smtp)
    except ConfigurationError as fault:
        return [Finding(FATAL, "port", str(fault), fault.remedy)]
    holder.close()
    return [Finding(GOOD, "port", f"{settings.smtp} is free")]


async def _greeting(settings: Settings) -> Finding:
    """What a running gateway says on its port. One that was started on another port than the settings say is not there."""
    import asyncio

    from pipeline.outcome import neutralise

    host = settings.smtp.host
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - asked, not bound: all addresses means that loopback is one of them
        host = "127.0.0.1" if host != "::" else "::1"
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, settings.smtp.port)
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError) as error:
        remedy = (
            "Its receivers may be dead, see its log; or it was started with another --smtp than these settings say."
        )
        return Finding(WARNING, "port", f"the store is up, and nothing answers on {settings.smtp} ({error})", remedy)
    if line.startswith(b"220 "):
        return Finding(GOOD, "port", f"{settings.smtp} answers: {neutralise(line.strip())}")
    return Finding(
        WARNING, "port", f"{settings.smtp} answers: {neutralise(line.strip()[:200])}", "Is it another program's?"
    )
