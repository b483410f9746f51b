"""`gatepost queue`: what waits, for whom, why, and until when; as tables, as a document, and as a screen that goes on."""

from cli.queue.command import app

__all__ = ["app"]
