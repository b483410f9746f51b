"""`gatepost trace`: what happened to a message, found by its id or by anything else that is known of it."""

from cli.trace.command import trace

__all__ = ["trace"]
