"""`gatepost archive`: events outside of Redis, and whether it is what was sealed."""

from cli.archive.command import app

__all__ = ["app"]
