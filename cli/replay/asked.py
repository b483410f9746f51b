"""What `gatepost replay` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projections.base import Projection


@dataclass(frozen=True)
class Asked:
    mend: bool
    domain: str
    jobs: int


def chosen(known: tuple[Projection, ...], view: str) -> Projection:
    """Raises ConfigurationError."""
    from pipeline.faults import ConfigurationError

    for projection in known:
        if projection.name == view:
            return projection
    raise ConfigurationError(f"no view {view!a}", remedy=f"There are {', '.join(one.name for one in known)}.")
