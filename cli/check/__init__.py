"""`gatepost check`: what would lose mail or refuse to start. It changes nothing."""

from cli.check.command import check

__all__ = ["check"]
