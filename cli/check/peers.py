"""What is asked over the network: engines, and the DNS for the key of our seals. Nothing raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.check.finding import FATAL, GOOD, WARNING, Finding
from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    from pipeline.settings import Settings


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
