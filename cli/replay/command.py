"""The command: what it is given, and who does it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common


async def replay(
    view: Annotated[str | None, Parameter(help="One of those that are listed without it.")] = None,
    /,
    *,
    all_: Annotated[bool, Parameter(name="--all", help="Every view.")] = False,
    at: Annotated[
        str, Parameter(help="Show the view as it was then, such as 2026-11-20T03:00Z or 2026-11-20T04:00 in --tz.")
    ] = "",
    tz: Annotated[
        str, Parameter(help="The time zone of --at, such as Europe/Berlin; this machine's unless said.")
    ] = "",
    domain: Annotated[str, Parameter(help="Only this domain's events, and its part of the view.")] = "",
    mend: Annotated[bool, Parameter(help="Where they differ, the rebuilt view becomes the live one.")] = False,
    last: Annotated[bool, Parameter(help="What the last nightly self-check found.")] = False,
    jobs: Annotated[int, Parameter(help="Processes at the same time; unless said, one for each processor.")] = 0,
    common: Common = DEFAULT,
) -> int:
    """Rebuild a view from the first event and compare it with the live one, or show it as it was.

    Everything that Gatepost shows is computed from the events. Without a view
    this lists what there is. With one it is made anew, from the archive and the
    log, beside the live one: mail goes on meanwhile, and each difference is named.
    Exit code 1 when they differ.

    With --at it is made up to that moment, and shown in the way of its own
    command. What is made for this is removed afterwards.

    For example:

      gatepost replay
      gatepost replay books
      gatepost replay --all
      gatepost replay queue --domain example.com
      gatepost replay queue --at 2026-11-20T03:00Z
      gatepost replay failures --at 2026-11-20T04:00 --tz Europe/Berlin --json
      gatepost replay queue --mend
      gatepost replay --last
    """
    from cli.names import domain_of
    from cli.replay.asked import Asked
    from cli.replay.comparing import compare
    from cli.replay.listing import list_views, show_last
    from cli.replay.moment import show_moment

    _agree(view, all_=all_, at=at, tz=tz, mend=mend, last=last, domain=domain, jobs=jobs)
    asked = Asked(mend, domain_of(domain) if domain else "", jobs)
    if last:
        return await show_last(common)
    if view is None and not all_:
        return await list_views(common)
    if at:
        return await show_moment(view or "", at, tz, asked, common)
    return await compare(view, asked, common)


def _agree(view: str | None, *, all_: bool, at: str, tz: str, mend: bool, last: bool, domain: str, jobs: int) -> None:
    """Raises ConfigurationError for words that make no sense together."""
    from pipeline.faults import ConfigurationError

    wrong = ""
    if view is not None and (all_ or last):
        wrong = "name a view, or say --all or --last"
    elif all_ and last:
        wrong = "--last is about what was done already"
    elif view is None and at:
        wrong = "--at shows one view: name it"
    elif view is None and not all_ and (mend or domain):
        wrong = "name a view, or say --all"
    elif at and mend:
        wrong = "--at shows a view as it was, and --mend replaces the one of now"
    elif tz and not at:
        wrong = "--tz is the time zone of --at"
    elif domain and mend:
        wrong = "--domain makes a part of a view, which cannot take the place of the whole"
    elif jobs < 0 or jobs > 256:
        wrong = f"--jobs is {jobs}; expected 1 to 256"
    if wrong:
        raise ConfigurationError(wrong, remedy="See `gatepost replay --help`.")
