"""All built-in tests as one engine."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from pipeline.events import Finding
from pipeline.scanning.builtin.attachments import Attachments
from pipeline.scanning.builtin.authenticity import Authenticity
from pipeline.scanning.builtin.bulk import bulk
from pipeline.scanning.builtin.fields import fields
from pipeline.scanning.builtin.headers import Headers
from pipeline.scanning.builtin.path import Path
from pipeline.scanning.builtin.phishing import Phishing
from pipeline.scanning.builtin.programs import programs
from pipeline.scanning.builtin.signatures import signatures
from pipeline.scanning.engine import Mail
from pipeline.settings import Settings


class BuiltIn:
    """A LocalEngine. `hostname`: our name in Received; from the settings, or this machine's, when empty."""

    name: Final = "builtin"
    version: Final = "1"

    def __init__(self, settings: Settings, hostname: str = "") -> None:
        name = hostname or settings.hostname or socket.gethostname()
        self._tests = (
            signatures,
            Attachments(settings).look,
            Headers(name).look,
            fields,
            programs,
            Path(name).look,
            Authenticity(settings.trusted_sealers).look,
            Phishing(settings.brands).look,
            bulk,
        )

    def look(self, mail: Mail) -> Sequence[Finding]:
        return [finding for test in self._tests for finding in test(mail)]
