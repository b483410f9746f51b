"""`gatepost sources`: our own addresses that mail goes out from, and where which of them is unwanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.egress import Block, Egress

app = noun(
    "sources",
    """List our source addresses and where they are blocked; forgive a block.

When a server refuses or limits one of the addresses of the setting
source_addresses, mail for it goes out from another one, and the first one rests
there for a while (source_memory).

For example:

  gatepost sources list
  gatepost sources forgive 192.0.2.10
  gatepost sources forgive --server mx.example.com:25
""",
)


@app.command(name="list")
async def list_(*, common: Common = DEFAULT) -> int:
    """List our addresses, and the servers that do not want them.

    For example:

      gatepost sources list
      gatepost sources list --json
    """
    from cli.render import Screen, clean, document, local, relative
    from cli.session import session

    async with session(common) as opened:
        blocks = await _egress(opened).blocks()
        now = opened.now()
        sources = opened.wiring.settings.source_addresses
        hostname = opened.wiring.hostname
    if common.json:
        rows = [{"address": source.address, "ehlo": source.name or hostname} for source in sources]
        document({"sources": rows, "blocks": [_form(block) for block in blocks]})
        return 0
    screen = Screen()
    if not sources:
        screen.say("No source_addresses are set: the system chooses from which address mail goes out.")
    else:
        where = {source.address: [block for block in blocks if block.source == source.address] for source in sources}
        screen.table(
            ["address", "name", "blocked at"],
            [[source.address, source.name or hostname, _count(where[source.address])] for source in sources],
        )
    for block in blocks:
        screen.say()
        screen.say((clean(block.source), "bold"), " at ", (clean(block.server), "bold"), f" until {local(block.until)}")
        screen.say((f"  {relative(block.since, now)} it said: ", "dim"), clean(block.why.replace("\n", " ")))
    if blocks:
        screen.say()
        screen.say("Has it been settled? gatepost sources forgive ADDRESS")
    return 0


@app.command
async def forgive(
    address: Annotated[str, Parameter(help="Ours; without it all of them.")] = "",
    /,
    *,
    server: Annotated[str, Parameter(help="Only at this server, HOST:PORT.")] = "",
    all_: Annotated[bool, Parameter(name="--all", help="Every block.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Use an address again where it was blocked, from the next attempt on.

    For example:

      gatepost sources forgive 192.0.2.10
      gatepost sources forgive 192.0.2.10 --server mx.example.com:25
      gatepost sources forgive --all
    """
    from cli.acted import acted
    from cli.render import Screen, clean, count, document
    from cli.session import session
    from pipeline.faults import ConfigurationError, NotFoundError

    if all_ == bool(address or server):
        raise ConfigurationError("which one?", remedy="Say an address, --server HOST:PORT, or --all.")
    async with session(common) as opened:
        forgiven = await _egress(opened).forgive(address, server.lower())
        for block in forgiven:
            await acted(opened, "source_forgiven", f"{block.source} at {block.server}", note=block.why)
    if not forgiven and not all_:
        raise NotFoundError("nothing like that is blocked", remedy="See `gatepost sources list`.")
    if common.json:
        document({"forgiven": [_form(block) for block in forgiven]})
        return 0
    screen = Screen()
    screen.say(count(len(forgiven), "block"), " forgiven")
    for block in forgiven:
        screen.say("  ", clean(block.source), " at ", clean(block.server))
    return 0


def _egress(opened: Session) -> Egress:
    from pipeline.egress import Egress

    return Egress(opened.wiring.store.redis, opened.wiring.settings, opened.now)


def _count(blocks: list[Block]) -> Any:
    from cli.render import count

    return (count(len(blocks), "server"), "yellow") if blocks else ("none", "dim")


def _form(block: Block) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "address": block.source,
        "server": block.server,
        "since": rfc3339(block.since),
        "until": rfc3339(block.until),
        "reply": block.why,
    }
