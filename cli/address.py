"""`gatepost address`: who mail is accepted for. What is given is checked as a whole before anything is changed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.address import Address

app = noun(
    "address",
    """Add, list, import and remove addresses.

For example:

  gatepost address add anna@example.com ben@example.com
  gatepost address import staff.csv
  gatepost address list example.com
  gatepost address remove ben@example.com
""",
)

CHUNK = 1000
LINE = 4096
LONG_WORK = 2000
"""Addresses from which on a progress bar is shown."""


@app.command
async def add(
    *addresses: Annotated[str, Parameter(help="One or more, each local@domain. Those that are listed already stay.")],
    common: Common = DEFAULT,
) -> int:
    """Add addresses to domains that were added before.

    For example:

      gatepost address add anna@example.com ben@example.com
    """
    from cli.render import Screen, count, document
    from cli.session import session

    wanted = _parsed(addresses)
    async with session(common, create=True) as opened:
        added = await _add(opened, wanted)
    if common.json:
        document({"given": len(addresses), "added": added})
    else:
        Screen().say(f"{count(added, 'address', 'addresses')} added", _listed_already(_total(wanted) - added))
    return 0


@app.command(name="list")
async def list_(domain: Annotated[str, Parameter(help="The domain.")], /, *, common: Common = DEFAULT) -> int:
    """List the addresses of a domain.

    For example:

      gatepost address list example.com
    """
    from cli.domain import existing
    from cli.names import domain_of, written
    from cli.render import Screen, clean, count, document
    from cli.session import session

    name = domain_of(domain)
    async with session(common) as opened:
        found = await existing(opened, name)
        locals_ = sorted([address.local async for address in opened.wiring.directory.addresses(name)], key=str.casefold)
    if common.json:
        document(
            {"domain": name, "catch_all": found.catch_all, "addresses": [written(local, name) for local in locals_]}
        )
        return 0
    screen = Screen()
    # Straight out: there may be a million of them.
    sys.stdout.writelines(clean(written(local, name)) + "\n" for local in locals_)
    if locals_:
        screen.say()
    rest = "; every other one is accepted too (catch-all)" if found.catch_all else ""
    screen.say((count(len(locals_), "address", "addresses") + rest, "dim"))
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

    wanted = _parsed(addresses)
    removed = 0
    async with session(common) as opened:
        await _require(opened, wanted)
        for domain, locals_ in wanted.items():
            removed += await opened.wiring.directory.remove_addresses(
                domain, list(locals_), by=actor(), now=opened.now()
            )
    missing = _total(wanted) - removed
    if common.json:
        document({"given": len(addresses), "removed": removed})
    else:
        words = f", {missing:,} were not listed" if missing else ""
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

    All lines are checked first. If one is bad, each bad one is shown with its
    number, and nothing is changed.

    For example:

      gatepost address import staff.csv
      cut -d: -f1 accounts | gatepost address import - --domain example.com
    """
    from cli.lists import read
    from cli.names import domain_of
    from cli.render import Screen, count, document
    from cli.session import session

    with _opened(file) as stream:
        listed = read(_lines(stream), domain_of(domain) if domain else "")
    wanted: dict[str, dict[str, None]] = {}
    for address in listed.addresses:
        wanted.setdefault(address.domain, {})[address.local] = None
    _refuse_bad(file, listed.bad)
    async with session(common, create=True) as opened:
        added = await _add(opened, wanted)
    if common.json:
        document({"given": len(listed.addresses), "added": added, "domains": sorted(wanted)})
    else:
        words = f"{count(added, 'address', 'addresses')} added to {count(len(wanted), 'domain')}"
        Screen().say(words, _listed_already(len(listed.addresses) - added))
    return 0


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    from pipeline.faults import ConfigurationError

    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}", remedy="Give a file that exists, or - for standard input."
        ) from None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines; one without an end comes in pieces, each too long to be an address, so nothing grows."""
    while line := stream.readline(LINE):
        yield line


def _refuse_bad(file: str, bad: Mapping[int, str]) -> None:
    from cli.lists import SHOWN
    from cli.render import complain, count
    from pipeline.faults import ConfigurationError

    if not bad:
        return
    complain(*(f"{file}:{number}: {reason}" for number, reason in list(bad.items())[:SHOWN]))
    if len(bad) > SHOWN:
        complain(f"... and {len(bad) - SHOWN:,} more")
    raise ConfigurationError(
        f"{count(len(bad), 'bad line')} in {file}", remedy="Mend them and import again; nothing was changed."
    )


def _parsed(addresses: Iterable[str]) -> dict[str, dict[str, None]]:
    """Domain -> local parts. Raises ConfigurationError naming every bad one."""
    from cli.names import address_of
    from pipeline.address import AddressError
    from pipeline.faults import ConfigurationError

    found: dict[str, dict[str, None]] = {}
    bad = []
    for text in addresses:
        try:
            address: Address = address_of(text)
        except AddressError as error:
            bad.append(f"{text}: {error}")
        else:
            found.setdefault(address.domain, {})[address.local] = None
    if bad:
        raise ConfigurationError("; ".join(bad), remedy="Nothing was changed.")
    if not found:
        raise ConfigurationError("no address given", remedy="Give one or more, such as anna@example.com.")
    return found


async def _require(opened: Session, domains: Iterable[str]) -> None:
    """Raises NotFoundError naming every domain that there is not."""
    from pipeline.faults import NotFoundError

    missing = [domain for domain in domains if await opened.wiring.directory.find(domain) is None]
    if missing:
        raise NotFoundError(
            f"no domain {', '.join(missing)}",
            remedy=f"Add it first: gatepost domain add {missing[0]} --route HOST:PORT. Nothing was changed.",
        )


async def _add(opened: Session, wanted: Mapping[str, Mapping[str, None]]) -> int:
    """How many were new."""
    from cli.progress import Progress
    from cli.session import actor
    from pipeline.directory import Address as Listed

    await _require(opened, wanted)
    added = 0
    with Progress("adding addresses", _total(wanted), shown=_total(wanted) >= LONG_WORK) as progress:
        for domain, locals_ in wanted.items():
            names = list(locals_)
            for start in range(0, len(names), CHUNK):
                chunk = [Listed(local=local) for local in names[start : start + CHUNK]]
                added += await opened.wiring.directory.add_addresses(domain, chunk, by=actor(), now=opened.now())
                progress.advance(len(chunk))
    return added


def _total(wanted: Mapping[str, Mapping[str, None]]) -> int:
    return sum(len(locals_) for locals_ in wanted.values())


def _listed_already(number: int) -> str:
    return f", {number:,} {'was' if number == 1 else 'were'} listed already" if number else ""
