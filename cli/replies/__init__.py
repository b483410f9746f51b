"""`gatepost replies`: what servers' answers mean, and what is done about each."""

from cli.replies.command import app

__all__ = ["app"]
