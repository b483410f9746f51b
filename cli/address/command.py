"""The commands that change something: add, remove, import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.address.show import list_, show
from cli.address.tried import tried
from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.address import Address as Parsed
    from pipeline.directory import Address
    from pipeline.sources.csv_lines import Line

app = noun(
    "address",
    """Add, list, show, import and remove addresses, and see who is missing.

For example:

  gatepost address add anna@example.com ben@example.com
  gatepost address add sales@example.com --kind group --target anna@example.com
  gatepost address import staff.csv
  gatepost address list example.com
  gatepost address tried example.com
  gatepost address remove ben@example.com
""",
)

LONG_WORK = 2000
"""Addresses from which on a progress bar is shown."""


@app.command
async def add(
    *addresses: Annotated[str, Parameter(help="One or more, each local@domain.")],
    kind: Annotated[
        str | None,
        Parameter(help="mailbox, alias, group or forwarder. With it, addresses that are listed already are changed."),
    ] = None,
    target: Annotated[
        tuple[str, ...], Parameter(help="The address behind an alias, a group or a forwarder; repeat it for more.")
    ] = (),
    common: Common = DEFAULT,
) -> int:
    """Add addresses to domains that were added before.

    Mail is accepted for all kinds alike, and forwarded to the domain's server,
    which knows what is behind them. The kind says whose mail it is: a report of
    what is in quarantine goes to the mailbox behind an alias.

    For example:

      gatepost address add anna@example.com ben@example.com
      gatepost address add a.smith@example.com --kind alias --target anna@example.com
    """
    from cli.render import Screen, count, document
    from cli.session import session

    wanted = _parsed(addresses)
    rows = _rows(wanted, kind, target)
    async with session(common, create=True) as opened:
        added = await _set(opened, rows, change=kind is not None)
    if common.json:
        document({"given": len(addresses), "added": added})
    else:
        done = "added or changed" if kind is not None else "added"
        Screen().say(f"{count(added, 'address', 'addresses')} {done}", _listed_already(_total(rows) - added))
    return 0


@app.command
async def remove(
    *addresses: Annotated[str, Parameter(help="One or more, each local@domain.")], common: Common = DEFAULT
) -> int:
    """Remove addresses; mail that was accepted for them is still delivered.

    For example:

      gatepost address remove ben@example.com
    """
    from cli.render import Screen, count, document
    from cli.session import actor, session

    wanted = {domain: [address.plain for address in parsed.values()] for domain, parsed in _parsed(addresses).items()}
    async with session(common) as opened:
        await _require(opened, wanted)
        counts = await opened.wiring.directory.remove_addresses(wanted, by=actor(), now=opened.now())
    removed = sum(counts.values())
    missing = _total(wanted) - removed
    if common.json:
        document({"given": len(addresses), "removed": removed})
    else:
        words = f", {missing:,} {'was' if missing == 1 else 'were'} not listed" if missing else ""
        Screen().say(f"{count(removed, 'address', 'addresses')} removed", words)
    return 0


@app.command(name="import")
async def import_(
    file: Annotated[str, Parameter(help="The file, or - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    domain: Annotated[str, Parameter(help="For lines without a domain; others must be of this one.")] = "",
    common: Common = DEFAULT,
) -> int:
    """Add the addresses in a file: one on each line, or CSV with a column `address`.

    Columns `kind` (mailbox, alias, group, forwarder) and `targets` count too. All
    lines are checked first. If one is bad, each bad one is shown with its number,
    and nothing is changed. An import is one change, which can be taken back.

    For example:

      gatepost address import staff.csv
      cut -d: -f1 accounts | gatepost address import - --domain example.com
    """
    from cli.files import lines, refuse_bad
    from cli.files import opened as open_file
    from cli.lists import LONGEST, read
    from cli.names import domain_of
    from cli.progress import Progress
    from cli.render import Screen, count, document
    from cli.session import session

    with open_file(file) as stream, Progress("reading lines", None) as bar:
        listed = read(lines(stream, LONGEST, bar), domain_of(domain) if domain else "")
    refuse_bad(file, listed.bad)
    rows = _rows_of(listed.lines)
    given = _total(rows)
    with Progress("adding addresses", None, shown=given >= LONG_WORK):
        async with session(common, create=True) as opened:
            added = await _set(opened, rows, change=listed.says_kinds, note=f"import of {Path(file).name}")
    if common.json:
        document({"given": given, "added": added, "domains": sorted(rows)})
    else:
        done = "added or changed in" if listed.says_kinds else "added to"
        words = f"{count(added, 'address', 'addresses')} {done} {count(len(rows), 'domain')}"
        Screen().say(words, _listed_already(given - added))
    return 0


def _rows_of(lines: Iterable[Line]) -> dict[str, list[Address]]:
    from pipeline.directory import Address, Kind

    rows: dict[str, list[Address]] = {}
    for line in lines:
        if line.address is not None:
            address = Address(local=line.address.local, kind=Kind(line.kind), targets=line.targets)
            rows.setdefault(line.address.domain, []).append(address)
    return rows


def _parsed(addresses: Iterable[str]) -> dict[str, dict[str, Parsed]]:
    """Domain -> key -> address. Raises ConfigurationError naming every bad one."""
    from cli.names import address_of
    from pipeline.address import AddressError
    from pipeline.faults import ConfigurationError

    found: dict[str, dict[str, Parsed]] = {}
    bad = []
    for text in addresses:
        try:
            address = address_of(text)
        except AddressError as error:
            bad.append(f"{text}: {error}")
        else:
            found.setdefault(address.domain, {})[address.key] = address
    if bad:
        raise ConfigurationError("; ".join(bad), remedy="Nothing was changed.")
    if not found:
        raise ConfigurationError("no address given", remedy="Give one or more, such as anna@example.com.")
    return found


def _rows(
    wanted: Mapping[str, Mapping[str, Parsed]], kind: str | None, targets: Sequence[str]
) -> dict[str, list[Address]]:
    """As the directory keeps them. Raises ConfigurationError."""
    from pipeline.address import AddressError, parse
    from pipeline.directory import Address, Kind
    from pipeline.faults import ConfigurationError

    try:
        known = Kind(kind or Kind.MAILBOX)
        behind = tuple(str(parse(target)) for target in targets)
    except AddressError as error:
        raise ConfigurationError(f"--target: {error}") from None
    except ValueError:
        raise ConfigurationError(f"there is no kind {kind!a}", remedy=f"One of {', '.join(Kind)}.") from None
    if behind and known is Kind.MAILBOX:
        raise ConfigurationError("a mailbox has no target", remedy="Say --kind alias, group or forwarder.")
    return {
        domain: [Address(local=address.local, kind=known, targets=behind) for address in parsed.values()]
        for domain, parsed in wanted.items()
    }


async def _require(opened: Session, domains: Iterable[str]) -> None:
    """Raises NotFoundError naming every domain that there is not."""
    from pipeline.faults import NotFoundError

    missing = [domain for domain in domains if await opened.wiring.directory.find(domain) is None]
    if missing:
        raise NotFoundError(
            f"no domain {', '.join(missing)}",
            remedy=f"Add it first: gatepost domain add {missing[0]} --route HOST:PORT. Nothing was changed.",
        )


async def _set(opened: Session, rows: Mapping[str, Sequence[Address]], *, change: bool = False, note: str = "") -> int:
    """How many were not so already. All of them, or none."""
    from cli.session import actor

    await _require(opened, rows)
    counts = await opened.wiring.directory.set_addresses(rows, by=actor(), now=opened.now(), note=note, add=not change)
    return sum(counts.values())


def _total(wanted: Mapping[str, Sequence[object]]) -> int:
    return sum(len(some) for some in wanted.values())


def _listed_already(number: int) -> str:
    return f", {number:,} {'was' if number == 1 else 'were'} listed already" if number else ""


app.command(list_, name="list")
app.command(show)
app.command(tried)
