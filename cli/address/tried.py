"""`address tried`: who is missing."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common


async def tried(
    domain: Annotated[str, Parameter(help="The domain.")],
    /,
    *,
    limit: Annotated[int, Parameter(help="How many at most, the most wanted first.")] = 50,
    common: Common = DEFAULT,
) -> int:
    """Addresses that mail was sent to and that are not there: who is missing?

    Counted over the newest attempts. Floods of guesses by one client are in the
    total only.

    For example:

      gatepost address tried example.com
      gatepost address tried example.com --json
    """
    from cli.domain.common import existing
    from cli.names import domain_of
    from cli.render import Screen, clean, count, document, relative, rfc3339
    from cli.session import session
    from cli.words import path
    from projections.readers import read_tried

    name = domain_of(domain)
    async with session(common, views=True) as opened:
        await existing(opened, name)
        home = opened.wiring.directory.home(name)
        found = await read_tried(opened.wiring.store.redis, opened.wiring.store.partitions, home.name if home else name)
        now = opened.now()
    missing = found.missing[:limit]
    if common.json:
        document({
            "domain": found.domain,
            "total": found.total,
            "missing": [
                {
                    "address": one.address, "count": one.count, "first_at": rfc3339(one.first), "last_at": rfc3339(one.last),
                    "senders": list(one.senders), "clients": list(one.clients),
                }
                for one in missing
            ],
        })  # fmt: skip
        return 0
    screen = Screen()
    if not missing:
        screen.say(("Nobody is missing.", "green"))
    else:
        screen.table(
            ["address", ">tried", "last", "newest sender"],
            [[clean(one.address), f"{one.count:,}", relative(one.last, now), path(one.senders[0])] for one in missing],
        )
        screen.say()
        screen.say("  Add one: gatepost address add ", (clean(missing[0].address), "bold"))
    if found.total:
        screen.say((f"{count(found.total, 'unknown recipient')} refused in all, floods of guesses included", "dim"))
    return 0
