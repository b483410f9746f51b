"""Looking: `address list` and `address show`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory import Address, Domain


async def list_(
    domain: Annotated[str, Parameter(help="The domain.")],
    match: Annotated[
        str, Parameter(help="Only addresses whose local part matches, such as a*; without * those that contain it.")
    ] = "",
    /,
    *,
    kind: Annotated[str | None, Parameter(help="Only mailbox, alias, group or forwarder.")] = None,
    source: Annotated[str | None, Parameter(help="Only those of this sync; `hand` for those entered by hand.")] = None,
    leaving: Annotated[bool, Parameter(help="Only those that were removed at their source and end soon.")] = False,
    long: Annotated[bool, Parameter(name=["--long", "-l"], help="With kind, targets and source.")] = False,
    common: Common = DEFAULT,
) -> int:
    """List the addresses of a domain.

    For example:

      gatepost address list example.com
      gatepost address list example.com 'sales*' --long
      gatepost address list example.com --kind alias
      gatepost address list example.com --source office --leaving
    """
    from cli.domain.common import existing
    from cli.names import domain_of
    from cli.session import session
    from pipeline.directory import Kind
    from pipeline.faults import ConfigurationError

    if kind is not None and kind not in list(Kind):
        raise ConfigurationError(f"there is no kind {kind!a}", remedy=f"One of {', '.join(Kind)}.")
    name = domain_of(domain)
    async with session(common) as opened:
        asked = await existing(opened, name)
        home = opened.wiring.directory.home(name) or asked
        rows = [
            address
            async for address in opened.wiring.directory.addresses(home.name)
            if _chosen(address, match, kind, source, leaving=leaving)
        ]
        now = opened.now()
    rows.sort(key=lambda address: address.local.casefold())
    if common.json:
        _document(home, rows)
    else:
        _print(home, rows, now, long=long, all_=not (match or kind or source or leaving))
    return 0


def _chosen(address: Address, match: str, kind: str | None, source: str | None, *, leaving: bool) -> bool:
    import fnmatch

    if match:
        local, wanted = address.local.casefold(), match.casefold()
        if not (fnmatch.fnmatchcase(local, wanted) if "*" in wanted else wanted in local):
            return False
    return (
        (kind is None or address.kind == kind)
        and (source is None or address.source == ("" if source == "hand" else source))
        and (bool(address.gone) or not leaving)
    )


def _document(home: Domain, rows: list[Address]) -> None:
    from cli.names import written
    from cli.render import document

    document({
        "domain": home.name,
        "catch_all": home.catch_all,
        "addresses": [written(address.local, home.name) for address in rows],
        "rows": [address_form(address, home.name) for address in rows],
    })  # fmt: skip


def _print(home: Domain, rows: list[Address], now: int, *, long: bool, all_: bool) -> None:
    from cli.names import written
    from cli.render import Screen, clean, count, relative

    screen = Screen()
    if long and rows:
        screen.table(
            ["address", "kind", "targets", "source", "ends"],
            [
                [
                    clean(written(address.local, home.name)), address.kind.value,
                    clean(", ".join(address.targets[:5])) + (f" and {len(address.targets) - 5} more" if len(address.targets) > 5 else ""),
                    address.source or "hand", relative(address.gone, now) if address.gone else "",
                ]
                for address in rows
            ],
        )  # fmt: skip
    else:
        # Straight out: there may be a million of them.
        sys.stdout.writelines(clean(written(address.local, home.name)) + "\n" for address in rows)
    if rows:
        screen.say()
    rest = "; every other one is accepted too (catch-all)" if home.catch_all and all_ else ""
    screen.say((count(len(rows), "address", "addresses") + rest, "dim"))


def address_form(address: Address, domain: str) -> dict[str, Any]:
    from cli.names import written
    from cli.render import rfc3339

    return {
        "address": written(address.local, domain),
        "kind": address.kind.value,
        "targets": list(address.targets),
        "source": address.source,
        "ends_at": rfc3339(address.gone),
    }


async def show(address: Annotated[str, Parameter(help="local@domain.")], /, *, common: Common = DEFAULT) -> int:
    """Show whether mail for an address is accepted, and why.

    For example:

      gatepost address show anna@example.com
    """
    from cli.render import Screen, clean, document, local
    from cli.session import session

    async with session(common) as opened:
        accepted, why, home, row = await _judge(opened, address)
    if common.json:
        document({
            "address": address, "accepted": accepted, "why": why, "domain": home.name if home else None,
            "row": address_form(row, home.name) if row is not None and home is not None else None,
        })  # fmt: skip
        return 0 if accepted else 1
    screen = Screen()
    screen.say((clean(address), "bold"), "  ", ("accepted", "green") if accepted else ("refused", "red"))
    facts: list[tuple[str, Any]] = [("because", why)]
    if row is not None:
        facts += [
            ("listed as", clean(row.local)),
            ("kind", row.kind.value),
            ("targets", clean(", ".join(row.targets))),
            ("source", row.source or "entered by hand"),
            ("ends", local(row.gone) if row.gone else ""),
            ("policy", f"of their own; see `gatepost policy show --address {clean(address)}`" if row.policy else ""),
        ]
    screen.facts(facts)
    return 0 if accepted else 1


async def _judge(opened: Session, text: str) -> tuple[bool, str, Domain | None, Address | None]:
    """Whether mail for an address is accepted, why, where, and the row that says so. Raises ConfigurationError."""
    from cli.names import address_of
    from pipeline.address import AddressError
    from pipeline.faults import ConfigurationError

    try:
        parsed = address_of(text)
    except AddressError as error:
        raise ConfigurationError(f"{text}: {error}") from None
    directory = opened.wiring.directory
    home = await directory.find_home(parsed.domain)
    if home is None:
        return False, f"{parsed.domain} is not a domain that mail is accepted for", None, None
    key = parsed.key
    name = key.partition(home.delimiter)[0] if home.delimiter else key
    rows: Mapping[str, Address] = await directory.rows(home.name, [key, name])
    row = rows.get(key) or rows.get(name)
    if row is not None and row.accepted(opened.now()):
        how = "it is listed" if key in rows else f"{row.local} is listed, and {home.delimiter} begins a detail"
        return True, how + _at(home, parsed.domain), home, row
    if key == "postmaster":
        return True, "the postmaster always is (RFC 5321 4.5.1)", home, None
    if home.catch_all:
        return True, f"{home.name} accepts every address", home, None
    return False, "it is not listed" + _at(home, parsed.domain), home, row


def _at(home: Domain, domain: str) -> str:
    return f" at {home.name}, of which {domain} is an alias" if home.name != domain else ""
