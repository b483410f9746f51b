"""`gatepost domain`: whose mail is accepted, and where it goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory import Domain

app = noun(
    "domain",
    """Add, list, show and remove domains.

For example:

  gatepost domain add example.com --route mail.example.com:25
  gatepost domain list
  gatepost domain show example.com
  gatepost domain remove example.com
""",
)


@app.command
async def add(
    name: Annotated[str, Parameter(help="The domain.")],
    /,
    *,
    route: Annotated[
        tuple[str, ...],
        Parameter(help="HOST:PORT of the customer's server; repeat it for more, the preferred one first."),
    ],
    catch_all: Annotated[bool, Parameter(help="Accept mail for every address of the domain.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Add a domain, or change where its mail goes.

    Mail that is waiting already takes a changed route at once. Routes into
    loopback, link-local and private networks need the setting allow_networks.

    For example:

      gatepost domain add example.com --route mail.example.com:25
      gatepost domain add example.com --route mx1.example.com:25 --route mx2.example.com:25
      gatepost domain add example.org --route 192.0.2.10:2525 --catch-all
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.directory import Domain
    from pipeline.route import check_route

    domain = domain_of(name)
    allowed = common.settings().allow_networks
    routes = tuple(check_route(one, allowed) for one in route)
    async with session(common, create=True) as opened:
        before = await opened.wiring.directory.find(domain)
        since = before.created_at if before is not None else opened.now()
        wanted = Domain(name=domain, route=routes, catch_all=catch_all, created_at=since)
        await opened.wiring.directory.set_domain(wanted, by=actor(), now=opened.now())
        moved = await _retry(opened, wanted, before) if before is not None and before.route != routes else 0
        listed = await opened.wiring.directory.count_addresses(domain)
    if common.json:
        document({**domain_form(wanted, listed), "changed": before is not None})
        return 0
    screen = Screen()
    screen.say((domain, "bold"), " added" if before is None else " changed", f": mail goes to {arrow(routes)}")
    if moved:
        screen.say(f"  {moved:,} waiting messages take the new route now.")
    if not listed and not catch_all:
        screen.say("  No address is listed yet: gatepost address add ", (f"someone@{domain}", "bold"))
    return 0


async def _retry(opened: Session, domain: Domain, before: Domain) -> int:
    """Mail that waits for the old route need not wait for the old route's next attempt."""
    from pipeline.ids import partition_for

    partition = partition_for(domain.name, opened.wiring.store.partitions)
    return await opened.wiring.schedule.retry_now(partition, domain.name, opened.now(), (*before.route, *domain.route))


@app.command(name="list")
async def list_(*, common: Common = DEFAULT) -> int:
    """List the domains with their routes and the number of their addresses.

    For example:

      gatepost domain list
      gatepost domain list --json
    """
    from cli.render import Screen, count, document
    from cli.session import session

    async with session(common) as opened:
        await opened.wiring.directory.refresh()
        domains = sorted(opened.wiring.directory.domains().values(), key=lambda domain: domain.name)
        counts = [await opened.wiring.directory.count_addresses(domain.name) for domain in domains]
    if common.json:
        document({"domains": [domain_form(domain, listed) for domain, listed in zip(domains, counts, strict=True)]})
        return 0
    screen = Screen()
    if not domains:
        screen.say("No domain yet, so no mail is accepted. Add one: gatepost domain add NAME --route HOST:PORT")
        return 0
    screen.table(
        ["domain", ">addresses", "route"],
        [
            [domain.name, _listed(domain, listed), arrow(domain.route)]
            for domain, listed in zip(domains, counts, strict=True)
        ],
    )
    screen.say()
    screen.say((count(len(domains), "domain"), "dim"))
    return 0


@app.command
async def show(name: Annotated[str, Parameter(help="The domain.")], /, *, common: Common = DEFAULT) -> int:
    """Show one domain: route, addresses, what waits.

    For example:

      gatepost domain show example.com
    """
    from cli.names import domain_of
    from cli.render import Screen, document, local
    from cli.session import session
    from pipeline import keys
    from pipeline.ids import partition_for

    wanted = domain_of(name)
    async with session(common) as opened:
        wiring = opened.wiring
        domain = await existing(opened, wanted)
        listed = await wiring.directory.count_addresses(wanted)
        partition = partition_for(wanted, wiring.store.partitions)
        waiting = int(await wiring.store.redis.zcard(keys.queue(partition, wanted)))
        state = await wiring.schedule.route(partition, wanted)
    if common.json:
        document({**domain_form(domain, listed), "queued": waiting, "partition": partition, "down": state.since > 0})
        return 0
    screen = Screen()
    screen.heading(domain.name)
    screen.facts([
        ("mail goes to", arrow(domain.route)),
        ("accepts", "every address" if domain.catch_all else _listed(domain, listed) + " listed addresses"),
        ("waiting", f"{waiting:,} messages to be forwarded" if waiting else "nothing"),
        ("destination", (f"cannot be reached since {local(state.since)}; see `gatepost queue {wanted}`", "yellow") if state.since else ""),
        ("added", local(domain.created_at) if domain.created_at else ""),
        ("partition", str(partition)),
    ])  # fmt: skip
    return 0


@app.command
async def remove(
    name: Annotated[str, Parameter(help="The domain.")],
    /,
    *,
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Remove a domain and its addresses; refused while mail of it is waiting.

    Mail in quarantine stays where it is until it is released, deleted or expires.

    For example:

      gatepost domain remove example.com
    """
    from cli.names import confirm, domain_of
    from cli.render import Screen, count, document
    from cli.session import actor, session

    wanted = domain_of(name)
    async with session(common) as opened:
        await existing(opened, wanted)
        listed = await opened.wiring.directory.count_addresses(wanted)
    # Nobody else waits for the store while somebody thinks about the answer.
    if not yes and not await confirm(f"Remove {wanted} and its {count(listed, 'address', 'addresses')}?"):
        return 1
    async with session(common) as opened:
        await opened.wiring.directory.remove_domain(wanted, by=actor(), now=opened.now())
    if common.json:
        document({"domain": wanted, "removed": True, "addresses": listed})
    else:
        Screen().say((wanted, "bold"), f" removed, with {count(listed, 'address', 'addresses')}")
    return 0


async def existing(opened: Session, name: str) -> Domain:
    """Raises NotFoundError."""
    from pipeline.faults import NotFoundError

    domain = await opened.wiring.directory.find(name)
    if domain is None:
        raise NotFoundError(f"no domain {name}", remedy="See `gatepost domain list`.")
    return domain


def arrow(routes: Iterable[str]) -> str:
    return ", then ".join(routes)


def _listed(domain: Domain, listed: int) -> str:
    return "all" if domain.catch_all else f"{listed:,}"


def domain_form(domain: Domain, listed: int) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "domain": domain.name,
        "route": list(domain.route),
        "catch_all": domain.catch_all,
        "addresses": listed,
        "created_at": rfc3339(domain.created_at),
    }
