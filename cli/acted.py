"""Writing down what somebody did where no other event speaks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cli.session import Session

PATIENCE: Final = 5.0
"""Seconds to wait for a Redis that is away."""


async def acted(opened: Session, action: str, what: str = "", *, domain: str = "", note: str = "") -> None:
    """Raises StoreError."""
    from cli.session import actor
    from pipeline.acted import home, recorded_step
    from pipeline.events import Acted

    wiring = opened.wiring
    event = Acted(at=opened.now(), domain=domain, by=actor(), action=action, what=what, note=note)
    await wiring.log.commit(recorded_step(event, home(domain, wiring.store.partitions)), patience=PATIENCE)
