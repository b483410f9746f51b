"""`gatepost replay`: a view is what the events say, or it is wrong; this finds out which, and shows how it once was."""

from cli.replay.command import replay

__all__ = ["replay"]
