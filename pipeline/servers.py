"""How the servers of a route are written, and in what order they are asked. Pure.

    mail.example.com:25          a host or an address, and its port
    10 mail.example.com:25       with a priority: the lowest number first, as with MX
    10/3 mail.example.com:25     and a weight: of servers with the same priority it is asked first three times as often as one with 1
    mx:example.com               the MX of a name, looked up each time; mx:example.com:2525 for another port

Without priorities servers are asked as they are listed: so every route that an earlier release stored means what it meant.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from pipeline.units import Endpoint

SMTP_PORT: Final = 25
MAX_NUMBER: Final = 65535
"""Of a priority or a weight, as in MX and SRV records."""

# A host may be called mx: only what is followed by something else than a port is a name whose MX is meant.
_LINE: Final = re.compile(
    r"(?:(?P<priority>[0-9]{1,5})(?:/(?P<weight>[0-9]{1,5}))?[ \t]++)?(?P<mx>[mM][xX]:(?![0-9]*+\Z))?(?P<place>[^ \t]++)"
)
_PORT: Final = re.compile(r":[0-9]{1,5}\Z")


class Server(msgspec.Struct, frozen=True):
    """One line of a route."""

    place: Endpoint
    priority: int | None = None
    """None: as it is listed."""
    weight: int = 1
    mx: bool = False
    """The MX of `place.host` are meant, at `place.port`."""

    @property
    def line(self) -> str:
        """As it is stored."""
        weight = f"/{self.weight}" if self.weight != 1 else ""
        number = "" if self.priority is None else f"{self.priority}{weight} "
        return f"{number}{self.name}"

    @property
    def name(self) -> str:
        """As it is stored, without priority and weight; for a single server that is the name under which it is known everywhere."""
        if not self.mx:
            return str(self.place)
        return f"mx:{self.place.host}" if self.place.port == SMTP_PORT else f"mx:{self.place}"


@functools.lru_cache(4096)
def parse(text: str) -> Server:
    """Raises ValueError."""
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected HOST:PORT, mx:NAME, or PRIORITY HOST:PORT, such as 10 mail.example.com:25")
    priority, weight = int(match["priority"] or 0), int(match["weight"] or 1)
    if max(priority, weight) > MAX_NUMBER:
        raise ValueError(f"priorities and weights go up to {MAX_NUMBER}")
    place = match["place"]
    if match["mx"] and _PORT.search(place) is None:
        place = f"{place}:{SMTP_PORT}"
    return Server(
        place=Endpoint.parse(place),
        priority=int(match["priority"]) if match["priority"] else None,
        weight=weight,
        mx=bool(match["mx"]),
    )


def parsed(route: Iterable[str]) -> list[Server]:
    """The servers of a stored route; what cannot be read, by an older release for example, is left out."""
    found = []
    for text in route:
        try:
            found.append(parse(text))
        except ValueError:
            continue
    return found


def names(route: Iterable[str]) -> list[str]:
    """The servers of a stored route as they are known everywhere, the preferred one first."""
    return [server.name for group in by_priority(parsed(route)) for server in group]


def by_priority(servers: Sequence[Server]) -> list[list[Server]]:
    """Those to be asked first, and so on; those without a priority each by itself, behind the others."""
    if len(servers) == 1:
        return [[*servers]]
    groups: dict[tuple[int, int], list[Server]] = {}
    for place, server in enumerate(servers):
        key = (1, place) if server.priority is None else (0, server.priority)
        groups.setdefault(key, []).append(server)
    return [groups[key] for key in sorted(groups)]


def ordered(servers: Sequence[Server], chance: Callable[[], float]) -> list[Server]:
    """All of them, in the order in which to ask this time. `chance` gives numbers from 0 to below 1."""
    return [server for group in by_priority(servers) for server in _drawn(group, chance)]


def _drawn(group: list[Server], chance: Callable[[], float]) -> list[Server]:
    """Drawn one after the other, each as probable as its weight is among those that are left (RFC 2782).

    Weight 0 is drawn only when nothing else is left. RFC 2782 gives it, and whoever is listed first, a little more than its
    share, which with weights as small as people write them would not be little.
    """
    waiting = list(group)
    drawn = []
    while len(waiting) > 1:
        weights = [server.weight for server in waiting]
        sums = list(itertools.accumulate(weights if any(weights) else [1] * len(waiting)))
        drawn.append(waiting.pop(bisect.bisect_right(sums, chance() * sums[-1], hi=len(sums) - 1)))
    return drawn + waiting
