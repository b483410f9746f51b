"""`gatepost audit`: what happened and who did what, in a form that proves itself."""

from cli.audit.command import app

__all__ = ["app"]
