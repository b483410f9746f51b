"""Whether bodies are where all workers reach them. Nothing raises, and nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli.check.finding import FATAL, GOOD, WARNING, Finding
from pipeline.faults import ConfigurationError, GatepostError
from pipeline.topology.address import parse

if TYPE_CHECKING:
    from pipeline.settings import Settings

HERE: Final = frozenset(("", "localhost", "127.0.0.1", "::1"))


async def about_bodies(settings: Settings) -> list[Finding]:
    found = await _about_waiting(settings)
    if settings.hot_bodies == "files" and _is_elsewhere(settings.redis_url):
        text = "Redis is on another machine and hot_bodies is files: workers on other machines cannot read what is received here"
        found.append(
            Finding(WARNING, "bodies", text, 'Set hot_bodies = "auto", unless all workers are on this machine.')
        )
    return found


async def _about_waiting(settings: Settings) -> list[Finding]:
    if not settings.bodies_store:
        return [_local(settings)]
    from pipeline.bodies.cloud import CloudCold

    try:
        store = CloudCold(settings.bodies_store, settings.data, _nobody, settings.bodies_timeout.seconds)
        await store.reach()
    except ConfigurationError as fault:
        return [Finding(FATAL, "bodies", str(fault), fault.remedy)]
    except GatepostError as fault:
        text = f"{fault}: large messages get 451, and what waits there goes on waiting"
        return [Finding(FATAL, "bodies", text, fault.remedy)]
    root = settings.data / "bodies"
    if any(path.name.isdigit() and any(path.glob("??/*")) for path in (root.iterdir() if root.is_dir() else ())):
        text = f"there are bodies in {root} of messages from before bodies_store was set: nobody finds them there"
        return [Finding(WARNING, "bodies", text, f"Copy all but drafts to {store.place}: the names are the same.")]
    return [Finding(GOOD, "bodies", f"in {store.place}")]


def _local(settings: Settings) -> Finding:
    place = settings.data / "bodies"
    if _is_elsewhere(settings.redis_url):
        text = (
            f"Redis is on another machine and large bodies are in {place}: workers on other machines cannot read them"
        )
        return Finding(WARNING, "bodies", text, "Set bodies_store, unless all workers are on this machine.")
    return Finding(GOOD, "bodies", f"in {place}")


def _is_elsewhere(redis_url: str) -> bool:
    """What is wrong with a URL that cannot be read is said elsewhere."""
    if not redis_url:
        return False
    try:
        address = parse(redis_url)
        hosts = {host for host, _ in address.hosts} or {urlsplit(address.url).hostname or ""}
    except (ConfigurationError, ValueError):
        return False
    return not hosts <= HERE


async def _nobody() -> str:
    return ""
