"""`gatepost directory`: who changed what of the domains and addresses, and taking it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.directory.history import Past

app = noun(
    "directory",
    """Who changed what of the domains, addresses and syncs; and taking a change back.

For example:

  gatepost directory history
  gatepost directory history --domain example.com --limit 5
  gatepost directory show 17
  gatepost directory revert 17
""",
)

MOST = 20


@app.command
async def history(
    *,
    domain: Annotated[str, Parameter(help="Only changes of this domain.")] = "",
    by: Annotated[str, Parameter(help="Only changes by this one, such as cli:root or sync:office.")] = "",
    before: Annotated[int, Parameter(help="Only changes with a smaller number.")] = 0,
    limit: Annotated[int, Parameter(help="How many at most, the newest first.")] = MOST,
    common: Common = DEFAULT,
) -> int:
    """The changes, the newest first: number, when, who, what.

    For example:

      gatepost directory history
      gatepost directory history --domain example.com
      gatepost directory history --by cli:anna --json
    """
    from cli.names import domain_of
    from cli.render import Screen, document
    from cli.session import session
    from pipeline.directory.history import changes

    wanted = domain_of(domain) if domain else ""
    found: list[Past] = []
    more = False
    async with session(common) as opened:
        async for past in changes(opened.wiring.store, before):
            if (by and past.by != by) or (wanted and all(event.domain != wanted for event in past.events)):
                continue
            if len(found) == limit:
                more = True
                break
            found.append(past)
    if common.json:
        document({"changes": [change_form(past) for past in found], "more": more})
        return 0
    screen = Screen()
    for past in found:
        _line(screen, past)
    if more:
        screen.say()
        screen.say((f"There are older ones: --before {found[-1].number}" if found else "--limit 0 shows none", "dim"))
    elif not found:
        screen.say("Nothing was changed.")
    return 0


@app.command
async def show(
    number: Annotated[int, Parameter(help="The change's number, from the history.")], /, *, common: Common = DEFAULT
) -> int:
    """One change, with what was there before and what is there now.

    For example:

      gatepost directory show 17
    """
    from cli.render import Screen, document
    from cli.session import session
    from pipeline.directory.history import find

    async with session(common) as opened:
        past = await find(opened.wiring.store, number)
    if common.json:
        document(change_form(past))
        return 0
    _line(Screen(), past, details=True)
    return 0


@app.command
async def revert(
    number: Annotated[int, Parameter(help="The change's number, from the history.")],
    /,
    *,
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Take a change back: what it touched is again as it was before.

    Refused when something that it touched was changed again since: take that
    back first. What waits follows a route that is in force again.

    For example:

      gatepost directory revert 17
    """
    from cli.domain.common import rerouted
    from cli.names import confirm
    from cli.render import Screen, count, document
    from cli.session import actor, session
    from pipeline.directory.history import find
    from pipeline.directory.history import revert as take_back

    screen = Screen()
    async with session(common) as opened:
        past = await find(opened.wiring.store, number)
    if not yes:
        if not common.json:
            _line(screen, past, details=True)
        if not await confirm(f"Take back change {number}?"):
            return 1
    async with session(common) as opened, rerouted(opened) as moved:
        await take_back(opened.wiring.directory, opened.wiring.store, number, by=actor(), now=opened.now())
    if common.json:
        document({**change_form(past), "reverted": True, "waiting": moved.messages})
        return 0
    screen.say(f"change {number} is taken back")
    if moved.messages:
        screen.say(f"  {count(moved.messages, 'waiting message')} can be forwarded now.")
    return 0


def _line(screen: Screen, past: Past, *, details: bool = False) -> None:
    from cli.changes import combined, told
    from cli.render import clean, local

    note = f" ({clean(past.note)})" if past.note else ""
    parts = [told(event) for event in combined(past.events)]
    screen.say(
        (f"{past.number:>6}", "bold"), f"  {local(past.at)}  ", (clean(past.by), "dim"), f"  {parts[0][0]}{note}"
    )
    for position, (line, more) in enumerate(parts):
        if position:
            screen.say(" " * 8, line)
        for text in more if details or len(parts) <= 3 else ():
            screen.say(" " * 10, (text, "dim"))


def change_form(past: Past) -> dict[str, Any]:
    from cli.changes import told
    from cli.forms import event_form
    from cli.render import rfc3339

    return {
        "change": past.number,
        "at": rfc3339(past.at),
        "by": past.by,
        "note": past.note,
        "events": [{**event_form(event), **_decoded(event), "text": told(event)[0]} for event in past.events],
    }


def _decoded(event: Any) -> dict[str, Any]:
    """`before` and `after` as what they are."""
    import msgspec

    def plain(data: bytes) -> Any:
        try:
            return msgspec.msgpack.decode(data) if data else None
        except msgspec.DecodeError:
            return None

    found = {}
    for name in ("before", "after"):
        value = getattr(event, name, None)
        if value is not None:
            found[name] = [plain(part) for part in value] if isinstance(value, tuple) else plain(value)
    return found
