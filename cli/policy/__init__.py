"""`gatepost policy`: what happens to bad mail, for whom, and who is allowed or blocked."""

from cli.policy.command import app

__all__ = ["app"]
