"""Whether files with secrets can be read by whoever has no business there. Nothing raises, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote
from typing import TYPE_CHECKING, Final

from cli.check.finding import WARNING, Finding

if TYPE_CHECKING:
    from pipeline.settings import Settings

SETTINGS: Final = ("redis_password_file", "rspamd_password_file", "alert_webhook_secret_file", "redis_tls_key")


def about_secrets(settings: Settings) -> list[Finding]:
    named = ((name, str(getattr(settings, name))) for name in SETTINGS)
    return [finding for name, file in named for finding in about_secret(name, file)]


def about_secret(named: str, file: str) -> Iterable[Finding]:
    """`named`: where the file is named."""
    from pipeline.sources.secrets import readers

    who = readers(file) if file else ""
    if who:
        text = f"{named}: {who} may read {file}"
        yield Finding(WARNING, "secrets", text, f"chmod 600 {quote(file)}, if others are on this machine.")
