"""`gatepost report`: what happened in a stretch of time."""

from cli.report.command import app

__all__ = ["app"]
