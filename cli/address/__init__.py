"""`gatepost address`: who mail is accepted for. What is given is checked as a whole before anything is changed."""

from cli.address.command import app

__all__ = ["app"]
