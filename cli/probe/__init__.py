"""`gatepost test`: whether a domain's servers take its mail, and what is to be mended."""

from cli.probe.command import probe

__all__ = ["probe"]
