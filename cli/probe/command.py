"""The command."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from pipeline.address import Address
    from workers.probing import DeliveryTest, Happening


async def probe(
    domain: Annotated[str, Parameter(help="The domain.")],
    /,
    *,
    to: Annotated[
        str, Parameter(help="An address of the domain that should be there; otherwise a listed one is taken.")
    ] = "",
    send: Annotated[bool, Parameter(help="Send one real message, marked as a test, to that address.")] = False,
    from_each_source: Annotated[
        bool, Parameter(help="From each of our source addresses, not only from the first one of each family.")
    ] = False,
    quick: Annotated[bool, Parameter(help="Leave out the ten connections in quick succession.")] = False,
    common: Common = DEFAULT,
) -> int:
    """See whether a domain's servers take its mail, and what to mend.

    Looks at the names in the DNS, and talks to each address of each server of
    the domain's route (of its MX, when the domain is not configured here):
    greeting, what it offers, size, encryption and certificate, a known and an
    unknown recipient, bounces, postmaster, and ten connections in quick
    succession. What is said is shown as it is said. No message is sent without
    --send, and the queue is not touched. It takes a minute at most; Ctrl-C ends
    it with what was found until then. Exit code 1 when something is bad.

    For example:

      gatepost test example.com
      gatepost test example.com --quick
      gatepost test example.com --to anna@example.com --send
      gatepost test example.com --from-each-source
      gatepost test example.com --json
    """
    from cli.probe.form import report_form
    from cli.probe.show import Watcher
    from cli.render import Screen, document
    from pipeline.probing import Weight, judge, worst

    wanted, recipient = _names(domain, to)
    ready = await _prepared(common, wanted, recipient, send=send, quick=quick, each_source=from_each_source)
    watcher = None if common.json else Watcher(Screen(), wanted)
    if watcher is not None:
        watcher.begin(ready.plan)
    interrupted = await _watched(ready, watcher.see if watcher is not None else lambda _: None)
    report = ready.report()
    findings = judge(report)
    if watcher is None:
        document(report_form(report, findings))
    else:
        watcher.conclude(report, findings)
    if interrupted:
        raise asyncio.CancelledError
    return 1 if worst(findings) is Weight.BAD else 0


def _names(domain: str, to: str) -> tuple[str, Address | None]:
    """Raises ConfigurationError."""
    from cli.names import domain_of
    from pipeline.address import AddressError, parse
    from pipeline.faults import ConfigurationError

    try:
        return domain_of(domain), parse(to) if to else None
    except AddressError as error:
        raise ConfigurationError(f"{to}: {error}", remedy="Write it as anna@example.com.") from None


async def _prepared(
    common: Common, domain: str, recipient: Address | None, *, send: bool, quick: bool, each_source: bool
) -> DeliveryTest:
    """Nobody waits for the store while servers are talked to, so all that is needed of it is read first."""
    import secrets

    from cli.acted import acted
    from cli.domain.mx import own_gateways
    from cli.session import session
    from pipeline.resolver import Resolver
    from workers.probing import DeliveryTest
    from workers.probing.planning import login_for, plan_for

    async with session(common) as opened:
        plan = await plan_for(
            opened.wiring,
            domain,
            token=secrets.token_hex(6),
            to=recipient,
            send=send,
            quick=quick,
            each_source=each_source,
        )
        login = login_for(opened.wiring, domain)
        gateways = await own_gateways(opened)
        if send:
            await acted(opened, "delivery_tested", str(recipient or ""), domain=domain)
        resolver = Resolver(opened.wiring.settings.resolver)
    return DeliveryTest(plan, resolver, gateways, login=login)


async def _watched(ready: DeliveryTest, see: Callable[[Happening], None]) -> bool:
    """Run the test and show what happens; whether somebody interrupted it."""
    try:
        async with contextlib.aclosing(ready.run()) as happenings:
            async for happening in happenings:
                see(happening)
    except asyncio.CancelledError:
        return True
    return False
