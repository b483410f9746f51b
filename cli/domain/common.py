"""What several commands about domains do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory import Domain
    from pipeline.servers import Server


async def existing(opened: Session, name: str) -> Domain:
    """Raises NotFoundError."""
    from pipeline.directory.directory import existing as look

    await opened.wiring.directory.refresh()
    return look(opened.wiring.directory.domains(), name)


class Moved:
    """`messages`: how many are due at once because of a change."""

    messages = 0


@contextlib.asynccontextmanager
async def rerouted(opened: Session) -> AsyncIterator[Moved]:
    """What waits follows the change of the directory that is made inside."""
    from pipeline.rerouting import follow, ways

    wiring = opened.wiring
    await wiring.directory.refresh()
    before = ways(wiring.directory.domains())
    moved = Moved()
    yield moved
    after = ways(wiring.directory.domains())
    moved.messages = await follow(before, after, wiring.schedule, wiring.store.partitions, opened.now())


def arrow(routes: Iterable[str]) -> str:
    """A route in words: what is asked first, then what; servers of the same priority with `or` between them."""
    from pipeline.servers import by_priority, parsed

    return ", then ".join(" or ".join(map(_weighed, group)) for group in by_priority(parsed(routes)))


def _weighed(server: Server) -> str:
    return server.name if server.weight == 1 else f"{server.name} (weight {server.weight})"
