"""`gatepost learn`: teaching the classifier what is spam, and what is not."""

from cli.learn.command import app

__all__ = ["app"]
