"""Opening a session to a peer, and sending one message over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pipeline.bodies import Buffer
from pipeline.directory.options import PLAIN, RouteOptions
from pipeline.outcome import Outcome
from pipeline.outgoing import Outgoing
from pipeline.route import Target
from pipeline.settings import Settings
from pipeline.state import Message, Recipient, Stage
from pipeline.units import Duration
from tests.support.peer import Peer
from workers.deliverer.session import Session

TRACE = b"Received: by gw id x; now\r\n"
CONTENT = b"Subject: test\r\n\r\n.dot\r\nline\r\n..\r\n.\r\nend\r\n"


def settings(**changes: str) -> Settings:
    names = ("connect", "greeting", "reply", "data", "block", "dot")
    times = {f"{name}_timeout": "5s" for name in names} | changes
    return Settings(**{name: Duration.parse(value) for name, value in times.items()})  # type: ignore[arg-type]


def target(peer: Peer, host: str = "peer.example") -> Target:
    server = f"[{host}]" if ":" in host else host
    return Target(server=f"{server}:{peer.port}", host=host, address=peer.host, port=peer.port)


async def opened(
    peer: Peer, options: RouteOptions = PLAIN, host: str = "peer.example", source: str = "", **changes: str
) -> Session:
    return await Session.open(
        target(peer, host), hostname="gw.example.net", settings=settings(**changes), options=options, source=source
    )


def message(**changes: object) -> Message:
    fields: dict[str, object] = {
        "id": "x", "version": 1, "domain": "example.com", "sender": "s@example.org", "recipients": (), "size": 9, "received_at": 0,
        "expires": 1,
    }  # fmt: skip
    return Message(**(fields | changes))  # type: ignore[arg-type]


async def deliver(
    session: Session,
    to: Sequence[str] = ("a@example.com",),
    content: Buffer = CONTENT,
    may_commit: Callable[[], bool] = lambda: True,
    **changes: object,
) -> dict[str, Outcome]:
    recipients = tuple(Recipient(address=address, stage=Stage.QUEUED) for address in to)
    outgoing = Outgoing(TRACE, content)
    return await session.deliver(message(recipients=recipients, **changes), recipients, outgoing, may_commit)


def summary(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """address -> "kind stage code"."""
    return {
        address: f"{outcome.kind} {outcome.attempt.stage} {outcome.attempt.code}"
        for address, outcome in outcomes.items()
    }


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds, at most 5 seconds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)
