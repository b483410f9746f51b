"""`gatepost domain`: whose mail is accepted, and where it goes."""

from cli.domain.command import app

__all__ = ["app"]
