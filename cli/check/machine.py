"""The settings, and this machine: data directory, limits, certificate, port. Nothing raises, and nothing is changed."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import resource
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cli.check.finding import FATAL, GOOD, WARNING, Finding
from cli.render import size
from pipeline.faults import ConfigurationError
from pipeline.settings import Settings

SOON: Final = dt.timedelta(days=21)
"""Before its end, a certificate is worth a word: a renewal at 30 days has failed by then."""
NOT_SETTINGS: Final = frozenset({"GATEPOST_CONFIG", "GATEPOST_DEBUG"})
DESCRIPTORS: Final = 512
"""File descriptors besides the sessions: the log of requests to Redis, DNS, bodies."""


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
