"""Which judge looks at which kind of document. Each is given the inspection, the octets, what to call it, and how deep it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pipeline.events import Finding
from pipeline.scanning.builtin import office, papers
from pipeline.scanning.builtin.rules import Inspector
from pipeline.scanning.files.octets import Octets

Judge = Callable[[Inspector, Octets, str, int], Iterable[Finding]]

JUDGES: Final[Mapping[str, Judge]] = {
    "ole": office.compound,
    "flat": office.flat,
    "rtf": papers.rtf,
    "pdf": papers.pdf,
    "onenote": papers.onenote,
    "svg": papers.svg,
    "html": papers.page,
    "url": papers.link,
}
is_package = office.is_package
package = office.package
