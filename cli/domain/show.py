"""Looking: `domain list` and `domain show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.domain.common import arrow, existing
from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from pipeline.directory import Domain, Hold


async def list_(
    match: Annotated[
        str, Parameter(help="Only domains that match, such as *.example.com; without * those that contain it.")
    ] = "",
    /,
    *,
    under: Annotated[str, Parameter(help="Only the domains below this one.")] = "",
    held: Annotated[bool, Parameter(help="Only those that are held.")] = False,
    common: Common = DEFAULT,
) -> int:
    """List the domains with their routes and the number of their addresses.

    Children stand below their parent.

    For example:

      gatepost domain list
      gatepost domain list shop
      gatepost domain list --held
      gatepost domain list --json
    """
    from cli.domain.options import domain_form
    from cli.names import domain_of
    from cli.render import Screen, count, document
    from cli.session import session

    async with session(common) as opened:
        await opened.wiring.directory.refresh()
        domains = opened.wiring.directory.domains()
        below = _below(domains, domain_of(under)) if under else set(domains)
        chosen = {
            name: domain
            for name, domain in domains.items()
            if name in below and _matches(name, match) and (domain.hold is not None or not held)
        }
        counts = await opened.wiring.directory.counts(chosen)
    rows = _ordered(chosen)
    if common.json:
        document({"domains": [domain_form(domain, counts[domain.name]) for _, domain in rows]})
        return 0
    screen = Screen()
    if not domains:
        screen.say("No domain yet, so no mail is accepted. Add one: gatepost domain add NAME --route HOST:PORT")
        return 0
    if rows:
        screen.table(
            ["domain", ">addresses", "route", "remarks"],
            [_row(depth, domain, domains, counts[domain.name]) for depth, domain in rows],
        )
        screen.say()
    more = f" of {len(domains):,}" if len(rows) < len(domains) else ""
    screen.say((count(len(rows), "domain") + more, "dim"))
    return 0


def _matches(name: str, match: str) -> bool:
    import fnmatch

    wanted = match.lower()
    return fnmatch.fnmatchcase(name, wanted) if "*" in wanted else wanted in name


def _below(domains: Mapping[str, Domain], top: str) -> set[str]:
    from pipeline.directory.inherit import above

    return {name for name, domain in domains.items() if any(parent.name == top for parent in above(domains, domain))}


def _ordered(domains: Mapping[str, Domain]) -> list[tuple[int, Domain]]:
    """(depth, domain): by name, children behind their parent where that is listed too."""
    children: dict[str, list[Domain]] = {}
    for domain in sorted(domains.values(), key=lambda domain: domain.name):
        children.setdefault(domain.parent if domain.parent in domains else "", []).append(domain)
    rows: list[tuple[int, Domain]] = []
    waiting = [(0, domain) for domain in reversed(children.get("", []))]
    while waiting:
        depth, domain = waiting.pop()
        rows.append((depth, domain))
        waiting += [(depth + 1, child) for child in reversed(children.pop(domain.name, []))]
    return rows


def _row(depth: int, domain: Domain, domains: Mapping[str, Domain], listed: int) -> list[Any]:
    from cli.render import clean
    from pipeline.directory.inherit import effective

    remarks: tuple[str, str] = ("", "")
    if domain.hold is not None:
        remarks = (f"held: {clean(domain.hold.reason)}", "yellow")
    elif domain.parent and not depth:
        remarks = (f"under {domain.parent}", "dim")
    if domain.alias_of:
        return ["  " * depth + domain.name, "", f"alias of {domain.alias_of}", remarks]
    route = arrow(effective(domains, domain).route)
    return ["  " * depth + domain.name, _listed(domain, listed), (route, "" if domain.route else "dim"), remarks]


def _listed(domain: Domain, listed: int) -> str:
    return "all" if domain.catch_all else f"{listed:,}"


async def show(name: Annotated[str, Parameter(help="The domain.")], /, *, common: Common = DEFAULT) -> int:
    """Show one domain: what was said of it, what it takes from its parents, what waits.

    For example:

      gatepost domain show example.com
    """
    from cli.domain.options import domain_form
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import session
    from pipeline import keys
    from pipeline.ids import partition_for

    wanted = domain_of(name)
    async with session(common) as opened:
        wiring = opened.wiring
        domain = await existing(opened, wanted)
        domains = wiring.directory.domains()
        home = wiring.directory.home(wanted) or domain
        listed = await wiring.directory.count_addresses(home.name)
        partition = partition_for(home.name, wiring.store.partitions)
        waiting = int(await wiring.store.redis.zcard(keys.queue(partition, home.name)))
        state = await wiring.schedule.route(partition, home.name)
    aliases = sorted(other.name for other in domains.values() if other.alias_of == wanted)
    children = sorted(other.name for other in domains.values() if other.parent == wanted)
    if common.json:
        document({
            **domain_form(domain, 0 if domain.alias_of else listed), "effective": domain_form(home, listed), "aliases": aliases,
            "children": children, "queued": waiting, "partition": partition, "down": state.since > 0,
        })  # fmt: skip
        return 0
    screen = Screen()
    screen.heading(domain.name)
    screen.facts(_facts(domain, home, listed, aliases, children, waiting, state.since))
    return 0


MISSING = {
    "pass": "mail that it did not look at passes, marked",
    "wait": "mail waits for it",
    "quarantine": "mail that it did not look at is kept",
}


def _held(hold: Hold) -> str:
    from cli.render import clean, local

    until = f", until {local(hold.until)}" if hold.until else ""
    until = until or (", until its server takes a message again" if hold.probed else "")
    return f"since {local(hold.since)} by {clean(hold.by)}{until}: {clean(hold.reason)}"


def _facts(
    domain: Domain, home: Domain, listed: int, aliases: list[str], children: list[str], waiting: int, down: int
) -> list[tuple[str, Any]]:
    from cli.domain.way import way_facts
    from cli.render import age, clean, local, size

    hold = home.hold
    inherited = f" (from {domain.parent})" if home.route != domain.route and not domain.alias_of else ""
    details = f", and {home.delimiter} with a detail behind the name" if home.delimiter else ""
    return [
        ("alias of", domain.alias_of),
        ("held", (_held(hold), "yellow") if hold else ""),
        ("mail goes to", arrow(home.route) + inherited),
        *way_facts(home.route_options),
        ("accepts", "every address" if home.catch_all else f"{listed:,} listed addresses" + details),
        ("waiting", f"{waiting:,} messages to be forwarded" if waiting else "nothing"),
        ("destination", (f"cannot be reached since {local(down)}; see `gatepost queue {home.name}`", "yellow") if down else ""),
        ("under", domain.parent),
        ("aliases", ", ".join(aliases)),
        ("children", ", ".join(children)),
        ("largest message", size(home.max_message_size) if home.max_message_size else ""),
        ("recipients", f"{home.max_recipients:,} of a message at most" if home.max_recipients else ""),
        ("tried again", f"after {age(home.retry_interval)}" if home.retry_interval else ""),
        ("returned", f"when it has waited {age(home.queue_lifetime)}" if home.queue_lifetime else ""),
        ("quarantine", f"bad mail is kept for {age(home.quarantine_retention)}" if home.quarantine_retention else ""),
        ("alerts", _alerts(home)),
        ("greylisting", "suspicious clients come twice" if home.greylist else ""),
        ("SMTPUTF8", {"yes": "its servers take it", "no": "its servers do not take it"}.get(home.smtputf8, "")),
        ("engine missing", MISSING.get(home.engines_missing, "")),
        ("time zone", home.timezone),
        ("language", home.language),
        ("contact", clean(home.contact)),
        ("outside", clean(home.contact_outside)),
        ("trusted relays", ", ".join(map(clean, home.trusted_relays))),
        ("protected names", ", ".join(map(clean, home.protected_names))),
        ("reports", ", ".join(f"every {one.every} to {clean(one.to)}" for one in home.reports)),
        ("policy", f"of its own; see `gatepost policy show --domain {home.name}`" if home.policy else ""),
        ("former MX", ", ".join(domain.former_mx)),
        ("added", local(domain.created_at) if domain.created_at else ""),
    ]  # fmt: skip


def _alerts(home: Domain) -> str:
    """Where it has limits of its own."""
    from cli.render import age

    waiting = f"when more than {home.alert_waiting:,} messages wait" if home.alert_waiting > 0 else ""
    oldest = f"when one waits longer than {age(home.alert_oldest)}" if home.alert_oldest > 0 else ""
    never = [name for name in ("waiting", "oldest") if getattr(home, f"alert_{name}") < 0]
    return "; ".join(filter(None, (waiting, oldest, f"never {' or '.join(never)}" if never else "")))
