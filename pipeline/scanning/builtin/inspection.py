"""One message's files: what each is, and what is in it, level by level, as long as the budget lasts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pipeline.events import Finding
from pipeline.scanning.builtin import documents
from pipeline.scanning.builtin.names import blocked, endings, named, place, shown
from pipeline.scanning.builtin.rules import Rules
from pipeline.scanning.builtin.signatures import EICAR, is_eicar
from pipeline.scanning.files import kinds
from pipeline.scanning.files.discs import read_cab, read_iso
from pipeline.scanning.files.kinds import Kind, kind_of
from pipeline.scanning.files.listing import BOMB_RATIO, Listing, Member, bomb_of
from pipeline.scanning.files.octets import Budget, Octets
from pipeline.scanning.files.rars import read_rar4, read_rar5
from pipeline.scanning.files.sevenzips import read_7z
from pipeline.scanning.files.tars import read_tar, read_tar_stream
from pipeline.scanning.files.unpacking import start_of, unpacked
from pipeline.scanning.files.wrapped import read_tnef
from pipeline.scanning.files.zips import read_zip

MAX_FINDINGS: Final = 10
"""After so many the message is decided, and more would only be read by nobody."""
MAX_DEPTH: Final = 5
"""Archives within archives. People nest them twice; what is nested deeper hides something or is a bomb."""
MAX_MEMBER: Final = 8 << 20
"""Octets of one file within another that are looked at."""
PEEK: Final = 4096
"""Octets of each file in an archive that say what it is."""

Whole = Callable[[], Octets]

_READERS: Final[dict[str, Callable[[Octets], Listing]]] = {
    "zip": read_zip, "tar": read_tar, "7z": read_7z, "rar4": read_rar4, "rar5": read_rar5, "cab": read_cab, "iso": read_iso,
    "tnef": read_tnef,
}  # fmt: skip
_STREAMS: Final = frozenset({"gzip", "bzip2", "xz"})
_BLOCKABLE: Final = frozenset({"program", "script", "shortcut", "help", "disk"})
# What a "#!" file has no business to call itself.
_NOT_A_SCRIPT: Final = re.compile(r"(?:image|audio|video)/|application/(?:pdf|msword|vnd\.|zip)")
_PICTURES: Final = frozenset({"jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp"})
_SOUNDS: Final = frozenset({"wav", "mp3", "ogg", "mp4", "avi", "mov"})
_FOREIGN: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(_PICTURES | _SOUNDS, frozenset({"archive", "document", "page", "program", "script", "disk"})),
    **dict.fromkeys(("docx", "xlsx", "pptx"), frozenset({"program", "script", "disk"})),
    "txt": frozenset({"archive", "program", "disk"}),
    "pdf": frozenset({"archive", "document", "page", "program", "script", "disk"}),
}  # fmt: skip
"""Groups of content that a file with this ending cannot be. An RTF called .doc, a page called .xls and a JPEG called .png are
everyday carelessness and not among them."""
_PASSWORD: Final = re.compile(
    r"(?i)(?:\b(?:pass(?:word|code|phrase)|pwd?|passwort|kennwort|mot de passe|contrase\xf1a|senha|wachtwoord|has\u0142o|heslo|"
    r"l\xf6senord|adgangskode|salasana|jelsz\xf3|parola)|\u043f\u0430\u0440\u043e\u043b\u044c|\u5bc6\u7801|\u5bc6\u78bc"
    r"|\u30d1\u30b9\u30ef\u30fc\u30c9|\uc554\ud638)"
    r"[^\S\n]{0,3}(?:(?:is|ist|est|es|\xe8)?[^\S\n]{0,3}[:=\uff1a]\s{0,3}\S{3}|(?:(?:is|ist|est|es)[^\S\n]{1,3})?[^\s\d]{0,20}\d)"
)
"""The word, and behind it what looks like one: after a colon anything, else something with a digit in it."""


class Inspection:
    def __init__(self, rules: Rules, text: Callable[[], str], budget: Budget | None = None) -> None:
        """`text`: what the message says, asked for only when a password may stand there."""
        self.rules = rules
        self.budget = budget or Budget()
        self.findings: list[Finding] = []
        self._text = text

    def done(self) -> list[Finding]:
        if self.budget.spent and not any(finding.kind == "content" for finding in self.findings):
            text = "more is packed into the attachments than is looked at"
            self.findings.append(Finding(name="ARCHIVE_UNSEEN", text=text, kind="content"))
        return self.findings[:MAX_FINDINGS]

    def add(self, findings: Iterable[Finding]) -> bool:
        """Whether one of them is enough to hold the message."""
        decided = False
        for finding in findings:
            decided = decided or (finding.kind == "content" and finding.score > 0)
            if finding not in self.findings and len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)
        return decided

    def named(self, name: str, archive: str = "") -> bool:
        return self.add(named(name, archive, self.rules.extensions))

    def attachment(self, names: Sequence[str], declared: str, head: bytes, whole: Whole) -> None:
        """A part of the message."""
        name = names[0] if names else ""
        kind = kind_of(head)
        if kind is None:
            if head[:2] == b"#!" and _NOT_A_SCRIPT.match(declared):
                text = f"a script sent as {shown(declared)}: {shown(name)}"
                self.add((Finding(name="SCRIPT_DISGUISED", score=3.0, text=text),))
            if _called_zip(names, declared):
                self._open(kinds.ZIP, name, whole, "", 0)
            return
        if kind.group not in _BLOCKABLE or not self._runs(kind, name, head, "", declared):
            self._disguised(kind, name, "")
        self._open(kind, name, whole, "", 0)
        if kind is not kinds.ZIP and _called_zip(names, ""):
            # What goes in front of an archive does not keep programs from opening it.
            self._open(kinds.ZIP, name, whole, "", 0)

    def written(self, member: Member) -> None:
        """A file that stands in a text, of which the beginning is known at most."""
        octets = member.octets
        if not self.named(member.name) and octets is not None:
            self.attachment((member.name,), "", octets.head, lambda: octets)

    def file(self, member: Member, archive: str, depth: int) -> bool:
        """One within an archive or a document. True: it is enough to hold the message."""
        if self.named(member.name, archive):
            return True
        octets = member.octets
        if not octets or member.name.endswith("/") or not self.budget.open():
            return False
        head = start_of(octets, member.method, self.budget, PEEK)
        if is_eicar(head):
            return self.add((EICAR,)) or True
        kind = kind_of(head)
        if kind is None:
            return False
        before = len(self.findings)
        if kind.group in _BLOCKABLE and self._runs(kind, member.name, head, archive):
            return True
        self._disguised(kind, member.name, archive)
        self._open(kind, member.name, lambda: self._whole(member, octets), archive, depth)
        return any(finding.kind == "content" and finding.score > 0 for finding in self.findings[before:])

    def _whole(self, member: Member, octets: Octets) -> Octets:
        if member.method == "stored":
            return octets if self.budget.take(len(octets)) else octets.window(0, PEEK)
        return Octets(start_of(octets, member.method, self.budget, MAX_MEMBER))

    def _runs(self, kind: Kind, name: str, head: bytes, archive: str, declared: str = "") -> bool:
        """A program, a script, a shortcut, a help file, a disk image."""
        if kind.group not in self.rules.types:
            return False
        text = kinds.program_text(head) if kind is kinds.PE else kind.text
        if archive:
            return self.add((blocked("ARCHIVE_BLOCKED", f"{place(name, archive)} is {text}"),))
        sent = f", sent as {shown(declared)}," if declared else ""
        said = f"{shown(name) or 'a part'}{sent} is {text}"
        return self.add((blocked("EXECUTABLE" if kind.group == "program" else "BLOCKED_TYPE", said),))

    def _disguised(self, kind: Kind, name: str, archive: str) -> None:
        extension = endings(name)[1]
        if kind.group in _FOREIGN.get(extension, ()) and kind.name != extension and kind is not kinds.SVG:
            text = f"{place(name, archive)} is called .{extension} and is {kind.text}"
            self.add((Finding(name="TYPE_DISGUISED", score=2.5, text=text),))

    def _open(self, kind: Kind, name: str, whole: Whole, archive: str, depth: int) -> None:
        label = place(name or kind.text, archive)
        if kind.name in kinds.OBSOLETE:
            text = f"{label} is {kind.text}, which hardly anybody makes any more and few can look into"
            self.add((Finding(name="ARCHIVE_OBSOLETE", score=3.0, text=text),))
        elif kind.name in _READERS or kind.name in _STREAMS:
            if depth >= MAX_DEPTH:
                self.add((blocked("ARCHIVE_DEEP", f"{label}: archives nested more than {MAX_DEPTH} deep"),))
            elif kind.name in _STREAMS:
                self._stream(kind, name, whole(), label, depth)
            else:
                self._archive(kind, _READERS[kind.name](whole()), label, depth)
        elif kind.name in documents.JUDGES:
            self.add(documents.JUDGES[kind.name](self, whole(), label, depth))

    def _archive(self, kind: Kind, listing: Listing, label: str, depth: int) -> None:
        if listing.bomb:
            self.add((blocked("ARCHIVE_BOMB", f"{label}: {listing.bomb}"),))
            return
        if listing.encrypted:
            self.encrypted("ARCHIVE_ENCRYPTED", label)
        elif listing.hidden:
            text = f"{label} cannot be looked into"
            self.add((Finding(name="ARCHIVE_HIDDEN", score=1.0, text=text),))
        decided = any(self.named(member.name, label) for member in listing.members)
        if listing.cut and not decided:
            self.add((blocked("ARCHIVE_CUT", f"{label} has more entries than are looked at"),))
        if decided:
            return
        if kind is kinds.ZIP and documents.is_package(listing):
            self.add(documents.package(self, listing, label, depth))
            return
        seen: set[tuple[int, int]] = set()
        for member in listing.members:
            if member.octets is None or (where := (member.octets.start, member.octets.end)) in seen:
                continue
            seen.add(where)
            if self.file(member, label, depth + 1) or not self.budget.left or not self.budget.files:
                break

    def _stream(self, kind: Kind, name: str, octets: Octets, label: str, depth: int) -> None:
        """A single compressed file, which may be a tar."""
        if kind is kinds.GZIP:
            bomb = bomb_of(int.from_bytes(octets.read(len(octets) - 4, 4), "little"), len(octets))
            if bomb:
                self.add((blocked("ARCHIVE_BOMB", f"{label}: {bomb}"),))
                return
        head = start_of(octets, kind.name, self.budget, PEEK)
        inner = kind_of(head)
        if inner is kinds.TAR:
            before = self.budget.left
            listing = read_tar_stream(unpacked(octets, kind.name, self.budget))
            if self.budget.spent and before > BOMB_RATIO * len(octets):
                listing = listing._replace(bomb=f"{len(octets):,} octets that unpack to more than {before:,}")
            self._archive(kinds.TAR, listing, label, depth)
            return
        if self._swells(octets, kind, label):
            return
        inside = name.rpartition(".")[0] if endings(name)[1] in ("gz", "bz2", "xz", "gzip") else ""
        self.file(Member(inside, octets, kind.name), label, depth + 1)

    def _swells(self, octets: Octets, kind: Kind, label: str) -> bool:
        """Whether it goes on and on: looked at as far as it stays suspicious."""
        if len(octets) * BOMB_RATIO > self.budget.left:
            return False
        size = 0
        for piece in unpacked(octets, kind.name, self.budget):
            size += len(piece)
        if not self.budget.spent:
            return False
        return self.add(
            (blocked("ARCHIVE_BOMB", f"{label}: {len(octets):,} octets that unpack to more than {size:,}"),)
        )

    def encrypted(self, name: str, label: str) -> None:
        """What cannot be looked into because a password is needed."""
        if self.rules.encrypted == "block":
            self.add((blocked(name, f"{label} is encrypted"),))
            return
        self.add((Finding(name=name, score=0.5, text=f"{label} is encrypted"),))
        if _PASSWORD.search(self._text()):
            text = f"{label} is encrypted, and its password stands in the message: only scanners are kept out"
            self.add((Finding(name="ARCHIVE_PASSWORD", score=2.5, text=text, kind="phishing"),))


def _called_zip(names: Sequence[str], declared: str) -> bool:
    return "zip" in declared or any(name.lower().endswith(".zip") for name in names)
