"""Whether the DNS lists of the settings answer as lists do (RFC 5782 5). Part of `gatepost check`; raises nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cli.check.finding import GOOD, WARNING, Finding

if TYPE_CHECKING:
    from pipeline.resolver import Resolver
    from pipeline.settings import Settings

ABOUT = "dns lists"


async def about_lists(settings: Settings) -> list[Finding]:
    """One finding for each list."""
    from pipeline.resolver import Resolver

    wanted = [(one.zone, "2.0.0.127", "1.0.0.127") for one in settings.address_lists]
    wanted += [(one.zone, "test", "invalid") for one in settings.domain_lists]
    names = Resolver(settings.resolver)
    return list(await asyncio.gather(*(_about(names, *each) for each in wanted)))


async def _about(names: Resolver, zone: str, listed: str, never: str) -> Finding:
    from pipeline.resolver import LookupFailed

    async def answers(about: str) -> tuple[str, ...]:
        try:
            return await names.a(f"{about}.{zone}")
        except LookupFailed as failed:
            if failed.permanent:
                return ()
            raise

    try:
        yes, no = await asyncio.gather(answers(listed), answers(never))
    except LookupFailed as failed:
        return Finding(WARNING, ABOUT, f"{zone} does not answer: {failed}", "Look whether it still exists.")
    if any(answer.startswith("127.255.255.") for answer in (*yes, *no)):
        remedy = (
            "Many lists do not answer public resolvers, or want a key in the zone: see its terms, and docs/lists.md."
        )
        return Finding(WARNING, ABOUT, f"{zone} refuses our questions ({', '.join(yes or no)})", remedy)
    if no:
        return Finding(
            WARNING, ABOUT, f"{zone} says yes to everything, so it is not asked", "Take it out of the settings."
        )
    if not yes:
        remedy = "Look whether it is written as it should be, and still exists."
        return Finding(WARNING, ABOUT, f"{zone} does not list {listed}, which every list does", remedy)
    return Finding(GOOD, ABOUT, f"{zone} answers as a list does")
