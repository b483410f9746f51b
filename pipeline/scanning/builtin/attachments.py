"""Attachments that run when they are opened: by name, by content, inside archives and inside documents.

A name is judged as Windows would act on it, content by its octets, whatever the name and the type say. What an archive or a
document holds is judged the same way, a bounded number of levels deep, and unpacked within one budget for the message: see
`inspection` and docs/attachments.md.
"""

from __future__ import annotations

from functools import partial

from pipeline.events import Finding
from pipeline.mime import Part
from pipeline.scanning.builtin.guarding import guarded
from pipeline.scanning.builtin.inspection import MAX_FINDINGS, Inspection
from pipeline.scanning.builtin.rules import Rules
from pipeline.scanning.engine import Mail
from pipeline.scanning.files.octets import octets_of
from pipeline.scanning.files.wrapped import written_in
from pipeline.settings import Settings


class Attachments:
    def __init__(self, settings: Settings) -> None:
        self._rules = Rules(
            extensions=frozenset(extension.lower().lstrip(".") for extension in settings.blocked_extensions),
            types=frozenset(settings.blocked_types),
            encrypted=settings.encrypted_archives,
            macros=settings.macros,
        )

    def look(self, mail: Mail) -> list[Finding]:
        inspection = Inspection(self._rules, lambda: mail.reading.text)
        failed: list[Finding] = []
        for part in mail.parts:
            for name in part.names:
                inspection.named(name)
            if not part.container:
                guarded("attachments", mail, partial(self._contents, inspection=inspection), part, failed)
            if len(inspection.findings) >= MAX_FINDINGS:
                break
        return [*failed[:1], *inspection.done()]

    def _contents(self, part: Part, inspection: Inspection) -> tuple[Finding, ...]:
        """What it finds goes into the inspection."""
        inspection.attachment(part.names, part.content_type, part.head, lambda: octets_of(part))
        if part.content_type.startswith("text/") and b"begin" in part.head:
            for member in written_in(part.head):
                inspection.written(member)
        return ()
