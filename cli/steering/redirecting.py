"""`gatepost queue redirect`: waiting mail goes to somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.steering.selecting import NONE, Filters

if TYPE_CHECKING:
    from cli.session import Session
    from cli.steering.selecting import Selection, Tally


async def redirect(
    *messages: Annotated[str, Parameter(help="Ids of messages; or say which with filters.")],
    to: Annotated[str, Parameter(help="The address that gets it instead of the recipients that wait.")] = "",
    reason: Annotated[str, Parameter(help="Why, in a few words; it is recorded.")] = "",
    filters: Filters = NONE,
    outside: Annotated[bool, Parameter(help="It may leave the gateway's own domains.")] = False,
    route: Annotated[str, Parameter(help="For a domain's mail to another server: says how.")] = "",
    yes: Annotated[bool, Parameter(help="Do not ask.")] = False,
    dry_run: Annotated[bool, Parameter(help="Only say what would happen.")] = False,
    common: Common = DEFAULT,
) -> int:
    """Send waiting mail to another address instead, at once.

    It goes there as a message of its own, unchanged, and is scanned as mail of
    that address's domain. The bounce, should there be one, goes to the sender.

    For example:

      gatepost queue redirect 1nx9s4tkh2v6c8jq0d7w03 --to ben@example.com --reason "anna left"
      gatepost queue redirect --recipient anna@example.com --to ben@example.com --reason "anna left"
    """
    from cli.names import confirm
    from cli.render import complain, count, document
    from cli.session import session
    from cli.steering.asked import destination, why
    from cli.steering.selecting import Selection
    from cli.steering.telling import preview_form, preview_lines
    from pipeline.faults import ConfigurationError

    if route:
        raise _about_routes(filters.domain, route)
    if not to:
        raise ConfigurationError("to whom?", remedy="Say it with --to ADDRESS.")
    words, total, now = why(reason), len(messages) or None, 0
    if dry_run or not yes:
        async with session(common) as opened:
            now = opened.now()
            address = await destination(opened.wiring.directory, to, outside=outside)
            found = await Selection(messages, filters, now).preview(opened)
        total = found.messages or total
        if dry_run and common.json:
            document({"dry_run": True, "to": address, **preview_form(found)})
            return 0
        complain(*(preview_lines(found, now) if found.messages else ()))
        if dry_run:
            return 0
        if total and not await confirm(f"Send {count(total, 'message')} to {address} instead?"):
            return 1
    async with session(common) as opened:
        address = await destination(opened.wiring.directory, to, outside=outside)
        return await _send(opened, Selection(messages, filters, now or opened.now()), address, words, total, common)


def _about_routes(domain: str, route: str) -> Exception:
    """A route is the domain's, and holds for mail that waits already: there is one way to change it, and it can be taken back."""
    from cli.names import domain_of
    from pipeline.faults import ConfigurationError

    name = domain_of(domain) if domain else "DOMAIN"
    return ConfigurationError(
        "mail that waits takes the route that its domain has now",
        remedy=f"Change it: gatepost domain set {name} --route {route}. "
        "Later take that back: gatepost directory history, gatepost directory revert NUMBER.",
    )


async def _send(
    opened: Session, selection: Selection, address: str, reason: str, total: int | None, common: Common
) -> int:
    from cli.render import Screen, document
    from cli.session import actor
    from cli.steering.selecting import TOLD, act_on
    from cli.steering.telling import code, tally_form, tell
    from workers.steering import Steering

    steering = Steering(opened.wiring, by=actor())
    made: dict[str, str] = {}

    async def act(message_id: str) -> bool:
        new = await steering.redirect(message_id, to=address, reason=reason)
        if len(made) < TOLD:
            made[message_id] = new
        return True

    tally: Tally = await act_on(opened, selection, act, what="redirecting", total=total, shown=not common.json)
    if common.json:
        document({"to": address, "reason": reason, "messages": made, **tally_form(tally)})
        return code(tally)
    screen = Screen()
    tell(screen, tally, f"redirected to {address}", "")
    for old, new in list(made.items())[:5]:
        screen.say(f"  {old} goes on as ", (new, "bold"))
    return code(tally)
