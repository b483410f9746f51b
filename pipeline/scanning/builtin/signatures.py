"""Two strings everybody agrees to stop, so that anybody can see whether scanning works: EICAR (virus) and GTUBE (spam).

Both are looked for in the message as it came, anywhere, and in the first 64 KiB of each part as it reads when decoded: an
antivirus product has to find EICAR at the beginning of a file (eicar.org), so further in is of no use to anybody.
"""

from __future__ import annotations

from typing import Final

from pipeline.events import Finding
from pipeline.mime import Buffer
from pipeline.scanning.engine import Mail

# In pieces, so that no scanner stops this file.
_EICAR: Final = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + b"-ANTIVIRUS-TEST-FILE!$H+H*"
_GTUBE: Final = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD" + b"-ANTI-UBE-TEST-EMAIL*C.34X"
_BOTH: Final = b"-STANDARD" + b"-ANTI"
"""What stands in both of them."""
_CHUNK: Final = 256 << 10

EICAR: Final = Finding(name="EICAR", score=100.0, text="EICAR antivirus test file", kind="virus")
GTUBE: Final = Finding(name="GTUBE", score=1000.0, text="GTUBE spam test message")


def is_eicar(octets: bytes) -> bool:
    return _EICAR in octets


def signatures(mail: Mail) -> list[Finding]:
    virus, spam = _search(mail.content)
    for part in mail.parts:
        if not part.container and part.encoding in ("base64", "quoted-printable"):
            head = part.head
            virus = virus or _EICAR in head
            spam = spam or _GTUBE in head
    return [finding for finding, present in ((EICAR, virus), (GTUBE, spam)) if present]


def _search(content: Buffer) -> tuple[bool, bool]:
    """In all of a buffer; a mapped one a piece at a time."""
    if isinstance(content, bytes):
        return (_EICAR in content, _GTUBE in content) if _BOTH in content else (False, False)
    virus = spam = False
    for at in range(0, len(content), _CHUNK):
        piece = content[at : at + _CHUNK + len(_EICAR)]
        virus = virus or _EICAR in piece
        spam = spam or _GTUBE in piece
    return virus, spam
