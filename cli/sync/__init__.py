"""`gatepost sync`: keeping a domain's addresses as its source has them."""

from cli.sync.command import app

__all__ = ["app"]
