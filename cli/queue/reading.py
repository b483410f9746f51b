"""What waits and how fast it moves, read for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cli.names import domain_of
from pipeline.servers import names
from projections.readers.queue import QueueReport, read_queue
from projections.readers.rates import Rate, Rates, read_rates

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.directory import Hold


class Seen(NamedTuple):
    report: QueueReport
    rates: Rates
    now: int
    domain: str | None = None
    """Only this one was asked for."""

    @property
    def moved(self) -> tuple[Rate | None, ...]:
        """How much comes and goes of all that was asked for."""
        return self.rates.total if self.domain is None else self.rates.of([one.domain for one in self.report.domains])

    @property
    def draining(self) -> tuple[int, Rate | None]:
        """Messages that are not held, and how fast the domains deliver that they wait for."""
        free = [one for one in self.report.domains if one.messages and one.state != "held"]
        return sum(one.messages - one.held for one in free), self.rates.of([one.domain for one in free])[0]


async def read(opened: Session, domain: str | None = None, *, history: int = 0) -> Seen:
    """`history`: as many counts of what waited before."""
    report = await read_report(opened, domain)
    now = opened.now()
    rates = await read_rates(opened.wiring.store.redis, now, history=history)
    return Seen(report, rates, now, domain)


async def read_report(opened: Session, domain: str | None) -> QueueReport:
    wiring, directory = opened.wiring, opened.wiring.directory
    await directory.refresh()
    now = opened.now()
    homes = {name: home for name in directory.domains() if (home := directory.home(name)) is not None}
    return await read_queue(
        wiring.store.redis,
        wiring.store.partitions,
        domain_of(domain) if domain is not None else None,
        routes={name: names(home.route) for name, home in homes.items()},
        holds={name: home.hold for name, home in homes.items() if home.hold is not None and home.hold.holds(now)},
        held_servers=held_servers(opened),
        now=now,
    )


def held_servers(opened: Session) -> dict[str, Hold]:
    now = opened.now()
    return {server: hold for server, hold in opened.wiring.directory.held_servers().items() if hold.holds(now)}
