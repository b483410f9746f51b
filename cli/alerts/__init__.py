"""`gatepost alerts`."""

from cli.alerts.command import app

__all__ = ["app"]
