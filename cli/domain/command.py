"""The commands: add, set, list, show, remove, hold, resume, move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.domain.common import Moved, arrow, existing, rerouted
from cli.domain.merge import merge
from cli.domain.options import DomainOptions
from cli.domain.show import list_, show
from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.session import Session
    from pipeline.directory import Domain

app = noun(
    "domain",
    """Add, change, list, show, hold, move, merge and remove domains.

For example:

  gatepost domain add example.com --route mail.example.com:25
  gatepost domain add example.de --alias-of example.com
  gatepost domain set example.com --timezone Europe/Berlin --language de
  gatepost domain list
  gatepost domain show example.com
  gatepost domain hold example.com --reason "their server moves today"

Every change is kept with who, when, before and after, and can be taken back:
see `gatepost directory history`.
""",
)

NAME = Parameter(help="The domain.")
NOTHING = DomainOptions()


@app.command
async def add(
    name: Annotated[str, NAME],
    /,
    *,
    options: DomainOptions = NOTHING,
    yes: Annotated[bool, Parameter(help="Take the present MX as its route without asking.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Add a domain.

    Without --route its present MX is read and proposed: mail goes on to where
    it goes today. The MX is kept on record, so that you know what to put back
    when the domain leaves. Routes into loopback, link-local and private networks
    need the setting allow_networks; one that leads back here is refused.

    For example:

      gatepost domain add example.com --route mail.example.com:25
      gatepost domain add example.com
      gatepost domain add example.com --route mx1.example.com:25 --route mx2.example.com:25
      gatepost domain add shop.example.com --parent example.com
      gatepost domain add example.de --alias-of example.com
      gatepost domain add example.org --route 192.0.2.10:2525 --catch-all
      gatepost domain add example.org --route "10/3 a.example.com:25" --route "10/1 b.example.com:25"
      gatepost domain add example.org --route mx:mail.example.com --tls verified
    """
    from cli.domain.options import applied, domain_form
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.directory import Domain
    from pipeline.faults import RefusedError

    wanted = domain_of(name)
    said = options.said(common)
    async with session(common, create=True) as opened:
        if await opened.wiring.directory.find(wanted) is not None:
            raise RefusedError(f"{wanted} is there already", remedy=f"Change it with: gatepost domain set {wanted}")
        former = await _former(opened, wanted, said, yes=yes)
    if former is None:
        return 1
    # Nobody else waits for the store while somebody thinks about the answer.
    async with session(common, create=True) as opened:
        domain = applied(Domain(name=wanted, created_at=opened.now()), {**former, **said})
        await opened.wiring.directory.set_domain(domain, by=actor(), now=opened.now())
        listed = await opened.wiring.directory.count_addresses(wanted)
        home = opened.wiring.directory.home(wanted)
    if common.json:
        document({**domain_form(domain, listed), "changed": False})
        return 0
    screen = Screen()
    screen.say((wanted, "bold"), " added: ", _where(domain, home))
    if domain.former_mx:
        screen.say("  Its MX until now is kept on record: ", ", ".join(domain.former_mx))
    if not listed and not domain.catch_all and not domain.alias_of:
        screen.say("  No address is listed yet: gatepost address add ", (f"someone@{wanted}", "bold"))
    return 0


async def _former(opened: Session, name: str, said: dict[str, Any], *, yes: bool) -> dict[str, Any] | None:
    """What the domain's present MX adds to what was said; None when it was not taken. Raises ConfigurationError, RefusedError."""
    from cli.domain.mx import present, refuse_circle
    from cli.names import confirm
    from pipeline.directory.inherit import effective
    from pipeline.directory.model import Domain
    from pipeline.faults import ConfigurationError

    if said.get("alias_of"):
        return {}
    found = await present(opened, name)
    fields: dict[str, Any] = {"former_mx": found.records} if found.records else {}
    if said.get("route"):
        await refuse_circle(opened, said["route"])
        return fields
    inherited = effective(opened.wiring.directory.domains(), Domain(name=name, parent=said.get("parent", ""))).route
    if inherited:
        return fields
    if not found.route:
        raise ConfigurationError(
            f"where does the mail of {name} go? {found.problem}",
            remedy="Say it with --route HOST:PORT, --parent DOMAIN or --alias-of DOMAIN.",
        )
    if not yes and not await confirm(f"The MX of {name} is {', '.join(found.records)}. Forward its mail there?"):
        return None
    return {**fields, "route": found.route}


@app.command(name="set")
async def set_(name: Annotated[str, NAME], /, *, options: DomainOptions = NOTHING, common: Common = DEFAULT) -> int:
    """Change what is said of a domain; what is not mentioned stays.

    Mail that is waiting already takes a changed route at once. The word `none`
    takes a value away, 0 a limit: then the parent's holds, or the setting.

    For example:

      gatepost domain set example.com --route new.example.com:25
      gatepost domain set example.com --max-size 20MiB --contact-outside ops@example.net
      gatepost domain set example.com --no-catch-all --delimiter +
      gatepost domain set example.com --tls always --auth-user relay --auth-secret-file /etc/gatepost/relay
      gatepost domain set shop.example.com --route none --parent example.com
    """
    from cli.domain.mx import refuse_circle
    from cli.domain.options import applied, domain_form
    from cli.domain.way import way_line
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.faults import ConfigurationError

    wanted = domain_of(name)
    said = options.said(common)
    if not said:
        raise ConfigurationError("nothing to change", remedy="See `gatepost domain set --help`.")
    async with session(common) as opened:
        directory = opened.wiring.directory
        await existing(opened, wanted)
        await refuse_circle(opened, said.get("route", ()))
        if said.get("alias_of") and await directory.count_addresses(wanted):
            raise ConfigurationError(
                f"{wanted} has addresses of its own",
                remedy=f"Merge it: gatepost domain merge {wanted} {said['alias_of']}",
            )
        async with rerouted(opened) as moved:
            before, after = await directory.update_domain(
                wanted, lambda domain: applied(domain, said), by=actor(), now=opened.now()
            )
        listed = await directory.count_addresses(wanted)
        home = directory.home(wanted)
    if common.json:
        document({**domain_form(after, listed), "changed": before != after})
        return 0
    screen = Screen()
    if before == after:
        screen.say((wanted, "bold"), " is so already")
        return 0
    screen.say((wanted, "bold"), " changed: ", _where(after, home))
    if before.route != after.route and after.route_options and before.route_options == after.route_options:
        screen.say("  The options of its route stay: ", way_line(after.route_options))
    _tell_moved(screen, moved)
    return 0


@app.command
async def remove(
    name: Annotated[str, NAME],
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
        domain = await existing(opened, wanted)
        listed = await opened.wiring.directory.count_addresses(wanted)
    # Nobody else waits for the store while somebody thinks about the answer.
    if not yes and not await confirm(f"Remove {wanted} and its {count(listed, 'address', 'addresses')}?"):
        return 1
    async with session(common) as opened:
        listed = await opened.wiring.directory.remove_domain(wanted, by=actor(), now=opened.now())
    if common.json:
        document({"domain": wanted, "removed": True, "addresses": listed, "former_mx": list(domain.former_mx)})
        return 0
    screen = Screen()
    screen.say((wanted, "bold"), f" removed, with {count(listed, 'address', 'addresses')}")
    if domain.former_mx:
        screen.say("  Its MX before it came here: ", ", ".join(domain.former_mx))
    screen.say("  A mistake? See `gatepost directory history`, then `gatepost directory revert NUMBER`.")
    return 0


@app.command
async def hold(
    name: Annotated[str, NAME],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why, in a few words; it is shown wherever the domain is.")],
    common: Common = DEFAULT,
) -> int:
    """Accept and keep a domain's mail, and forward none, until it is resumed.

    Nothing bounces meanwhile, until a message has waited as long as it may (queue_lifetime).

    For example:

      gatepost domain hold example.com --reason "their server moves today"
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.faults import RefusedError

    wanted = domain_of(name)
    async with session(common) as opened:
        if not await opened.wiring.directory.hold(wanted, reason, by=actor(), now=opened.now()):
            raise RefusedError(f"{wanted} is held already", remedy=f"See `gatepost domain show {wanted}`.")
    if common.json:
        document({"domain": wanted, "held": True, "reason": reason})
    else:
        Screen().say(
            (wanted, "bold"),
            " is held: its mail is accepted and kept. Let it flow again: ",
            f"gatepost domain resume {wanted}",
        )
    return 0


@app.command
async def resume(name: Annotated[str, NAME], /, *, common: Common = DEFAULT) -> int:
    """Let a held domain's mail flow again; what waits is tried at once.

    For example:

      gatepost domain resume example.com
    """
    from cli.names import domain_of
    from cli.render import Screen, age, count, document
    from cli.session import actor, session
    from pipeline.faults import RefusedError

    wanted = domain_of(name)
    async with session(common) as opened:
        async with rerouted(opened) as moved:
            before = await opened.wiring.directory.resume(wanted, by=actor(), now=opened.now())
        if before is None:
            raise RefusedError(f"{wanted} is not held")
        held = opened.now() - before.since
    if common.json:
        document({"domain": wanted, "held": False, "waiting": moved.messages})
    else:
        screen = Screen()
        screen.say(
            (wanted, "bold"), f" flows again, after {age(held)}; {count(moved.messages, 'message')} to be forwarded now"
        )
    return 0


@app.command
async def move(
    name: Annotated[str, NAME],
    /,
    *,
    under: Annotated[str, Parameter(help="The domain that becomes its parent.")] = "",
    top: Annotated[bool, Parameter(help="It has no parent any more.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Put a domain, with all that is below it, under another parent.

    What it has not itself (route, limits, time zone, language, contacts) it takes from there.

    For example:

      gatepost domain move shop.example.com --under example.com
      gatepost domain move shop.example.com --top
    """
    import msgspec

    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import actor, session
    from pipeline.faults import ConfigurationError

    if bool(under) == top:
        raise ConfigurationError("where to?", remedy="Say --under DOMAIN or --top.")
    wanted, parent = domain_of(name), domain_of(under) if under else ""
    async with session(common) as opened, rerouted(opened) as moved:
        before, _ = await opened.wiring.directory.update_domain(
            wanted, lambda domain: msgspec.structs.replace(domain, parent=parent), by=actor(), now=opened.now()
        )
    if common.json:
        document({"domain": wanted, "parent": parent, "before": before.parent})
        return 0
    screen = Screen()
    screen.say(
        (wanted, "bold"),
        f" is under {parent} now" if parent else " stands by itself now",
        f"; it was under {before.parent}" if before.parent else "",
    )
    _tell_moved(screen, moved)
    return 0


app.command(list_, name="list")
app.command(show)
app.command(merge)


def _where(domain: Domain, home: Domain | None) -> str:
    if domain.alias_of:
        return f"its mail is mail for {domain.alias_of}"
    return f"mail goes to {arrow(home.route if home is not None else domain.route)}"


def _tell_moved(screen: Screen, moved: Moved) -> None:
    if moved.messages:
        screen.say(f"  {moved.messages:,} waiting messages take the new route now.")
