"""`gatepost quarantine`: what is kept, to find, to look at, to let go, to delete."""

from cli.quarantine.command import app

__all__ = ["app"]
