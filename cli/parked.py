"""`gatepost parked`: work that failed again and again for a reason of our own, set aside with that reason."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common, noun

app = noun(
    "parked",
    """List and retry work that failed for a reason of our own.

Nothing is lost by it: a message that is set aside stays where it is, and goes on
from there when it is tried again.

For example:

  gatepost parked list
  gatepost parked retry scan:3:1795431600000-0
  gatepost parked retry --all
""",
)


@app.command(name="list")
async def list_(*, common: Common = DEFAULT) -> int:
    """List what is set aside, the oldest first.

    For example:

      gatepost parked list
    """
    from cli.forms import parked_form
    from cli.render import Screen, clean, count, document, relative
    from cli.session import session
    from pipeline.parked import listed

    async with session(common) as opened:
        found = await listed(opened.wiring.store)
        now = opened.now()
    if common.json:
        document({"parked": [parked_form(item) for item in found]})
        return 0
    screen = Screen()
    if not found:
        screen.say(("Nothing is set aside.", "green"))
        return 0
    for item in found:
        about = f"  message {clean(item.message_id)}" if item.message_id else ""
        when = f"  {relative(item.at, now)}" if item.at else ""
        tries = f", after {count(item.tries, 'try', 'tries')}" if item.tries else ""
        screen.say((clean(item.reference), "bold"), about, (when + tries, "dim"))
        screen.say("  ", clean(item.reason))
    screen.say()
    screen.say("Once the reason is mended: gatepost parked retry REFERENCE... or --all")
    return 0


@app.command
async def retry(
    *references: Annotated[str, Parameter(help="As `gatepost parked list` shows them.")],
    all_: Annotated[bool, Parameter(name="--all", help="Everything that is set aside.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Give work back to whom it belongs.

    For example:

      gatepost parked retry scan:3:1795431600000-0
      gatepost parked retry --all
    """
    from cli.render import Screen, clean, count, document
    from cli.session import actor, session
    from pipeline import parked
    from pipeline.faults import ConfigurationError

    if bool(references) == all_:
        raise ConfigurationError("give references, or --all", remedy="See `gatepost parked list`.")
    async with session(common) as opened:
        store = opened.wiring.store
        wanted = list(references) if references else [item.reference for item in await parked.listed(store)]
        for reference in wanted:
            await parked.retry(store, opened.wiring.log, reference, opened.now(), by=actor())
    if common.json:
        document({"retried": wanted})
        return 0
    screen = Screen()
    for reference in wanted:
        screen.say((clean(reference), "bold"), " goes on")
    screen.say((count(len(wanted), "piece") + " of work given back", "dim"))
    return 0
