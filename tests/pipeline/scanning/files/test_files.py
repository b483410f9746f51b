"""What files hold and what runs when they are opened."""

from __future__ import annotations

import bz2
import errno
import functools
import gzip
import lzma
import random
import tarfile
import tracemalloc
import zipfile

import msgspec
import olefile
import pytest

from pipeline.events import Finding
from pipeline.scanning.builtin.attachments import Attachments
from pipeline.scanning.engine import Mail
from pipeline.scanning.files import octets
from pipeline.scanning.files.kinds import kind_of, program_text
from tests.support import files
from tests.support.mail import (
    EICAR,
    HEAD,
    PROGRAM,
    SETTINGS,
    attachment,
    look,
    message,
    multipart,
    part,
    with_parts,
)

gzipped = functools.partial(gzip.compress, mtime=0)
NOTHING = msgspec.structs.replace(SETTINGS, blocked_extensions=(), blocked_types=())


def findings(data: bytes, name: str = "a.dat", settings=SETTINGS, text: bytes = b"hello") -> list[Finding]:
    content = HEAD + multipart([part("text/plain", text), attachment(data, name)])
    return Attachments(settings).look(Mail(message(), content))


def names(data: bytes, name: str = "a.dat", settings=SETTINGS, text: bytes = b"hello") -> list[str]:
    return [finding.name for finding in findings(data, name, settings, text)]


def only(data: bytes, name: str = "a.dat", settings=SETTINGS) -> Finding:
    (finding,) = findings(data, name, settings)
    return finding


# Kinds

LINK = b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46"
RUNNING = {
    "a Windows program": PROGRAM,
    "a Linux program": b"\x7fELF\x02\x01\x01",
    "a macOS program": b"\xcf\xfa\xed\xfe\x07\0\0\x01",
    "a macOS program for two processors": b"\xca\xfe\xba\xbe\0\0\0\x02\0\0\0\x07",
    "a Java class": b"\xca\xfe\xba\xbe\0\0\0\x34\0\x10",
    "an Android program": b"dex\n035\0",
    "a shortcut": LINK + bytes(60),
    "a help file": b"ITSF\x03\0\0\0" + bytes(60),
    "a CD": files.iso("a.txt"),
    "a DVD": bytes(0x8000) + b"\0BEA01" + bytes(100),
    "a virtual disk": b"conectix" + bytes(500),
    "a newer virtual disk": b"vhdxfile" + bytes(500),
    "an HTML application": b"<html><head><HTA:APPLICATION id=x></head><script>x</script></html>",
    "a Windows script": b"<job id='x'><script language='VBScript'>x</script></job>",
    "a library": b"<?xml version='1.0'?><libraryDescription xmlns='x'></libraryDescription>",
    "a search": b"<?xml version='1.0'?><persistedQuery version='1.0'></persistedQuery>",
    "a settings link": b"<?xml version='1.0'?><PCSettings><SearchableContent/></PCSettings>",
    "a console": b"<?xml version='1.0'?><MMC_ConsoleFile ConsoleVersion='3.0'/>",
    "an installer": files.compound({"x": b"y" * 5000}, bytes.fromhex("84100c0000000000c000000000000046")),
}  # fmt: skip


@pytest.mark.parametrize("name", ["photo.jpg", "notes.txt", ""])
@pytest.mark.parametrize("what", RUNNING)
def test_what_runs_is_found_whatever_it_is_called(what, name):
    found = names(RUNNING[what], name)
    assert {"EXECUTABLE", "BLOCKED_TYPE"} & set(found)
    assert set(found) <= {"EXECUTABLE", "BLOCKED_TYPE", "TYPE_DISGUISED"}
    assert "EXECUTABLE" not in names(RUNNING[what], name, NOTHING)


@pytest.mark.parametrize(
    "data",
    [
        b"MZ is how this letter begins", b"\xca\xfe\xba\xbe", b"<html><body>hello</body></html>", b"<svg xmlns='x'><path/></svg>",
        b"GIF89a" + bytes(50), b"%PDF-1.4\n", b"", b"L\0\0\0", b"PK", b"<job>we have a job for you</job>", b"\x60\xea" + bytes(50), b"BM" + bytes(50),
    ],
)  # fmt: skip
def test_what_does_not_run_is_left_alone(data):
    assert names(data) == []


@pytest.mark.parametrize(
    ("offset", "value", "text"),
    [
        (0, b"", "a Windows program"),
        (22, b"\x02\x21", "a Windows library"),
        (24 + 96 + 112, b"\x08\x20", "a .NET program"),
    ],
)
def test_a_windows_program_is_named_more_closely(offset, value, text):
    head = bytearray(b"MZ".ljust(0x3C, b"\0") + b"\x40\0\0\0" + b"PE\0\0" + bytes(300))
    head[0x40 + offset : 0x40 + offset + len(value)] = value
    assert program_text(bytes(head)) == text


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("photo.jpg", files.zipped({"a.txt": b"x"}), ["TYPE_DISGUISED"]),
        ("voice.wav", b"<html><script>x</script></html>", ["TYPE_DISGUISED"]),
        ("invoice.pdf", b"<!DOCTYPE html><html></html>", ["TYPE_DISGUISED"]),
        ("invoice.pdf", files.zipped({"a.txt": b"x"}), ["TYPE_DISGUISED"]),
        ("notes.txt", files.rar5("a.txt"), ["TYPE_DISGUISED"]),
        ("letter.doc", b"{\\rtf1 hello}", []),
        ("table.xls", b"<html><table></table></html>", []),
        ("photo.png", b"\xff\xd8\xff\xe0" + bytes(50), []),
        ("photo.jpg", b"\x89PNG\r\n\x1a\n" + bytes(50), []),
        ("letter.docx", files.docx(), []),
        ("letter.odt", files.zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<x/>"}), []),
        ("a.pdf", b"\r\n%PDF-1.7\n", []),
        ("page.html", b"<html></html>", []),
        ("photo" + " " * 60 + ".jpg", b"\xff\xd8\xff", ["NAME_PADDED"]),
    ],
)  # fmt: skip
def test_a_name_that_lies_about_its_content(name, data, expected):
    assert names(data, name) == expected


# Archives

EVIL = {"readme.txt": b"hello", "folder/invoice.pdf.exe": b"data"}
ARCHIVES = {
    "zip": files.zipped(EVIL),
    "zip, stored": files.zipped(EVIL, zipfile.ZIP_STORED),
    "zip, bzip2": files.zipped(EVIL, zipfile.ZIP_BZIP2),
    "tar": files.tarred(EVIL),
    "tar, GNU": files.tarred(EVIL, form=tarfile.GNU_FORMAT),
    "tar.gz": files.tarred(EVIL, "w:gz"),
    "tar.bz2": files.tarred(EVIL, "w:bz2"),
    "tar.xz": files.tarred(EVIL, "w:xz"),
    "7z": files.sevenzip(*EVIL),
    "7z, plain header": files.sevenzip(*EVIL, packed=False),
    "rar 4": files.rar4("folder/invoice.pdf.exe"),
    "rar 5": files.rar5("folder/invoice.pdf.exe"),
    "cab": files.cabinet(*EVIL),
    "iso": files.iso("readme.txt", "folder/invoice.pdf.exe"),
    "winmail.dat": files.tnef(("readme.txt", b"x"), ("folder/invoice.pdf.exe", b"x")),
    "a zip in a zip": files.zipped({"inner.zip": files.zipped(EVIL)}),
    "a tar.gz in a zip": files.zipped({"inner.tgz": files.tarred(EVIL, "w:gz")}),
    "a zip in a tar": files.tarred({"inner.zip": files.zipped(EVIL)}),
    "a zip in a tar.gz": gzipped(files.tarred({"a.txt": b"x", **EVIL})),
    "a rar in a zip": files.zipped({"inner.rar": files.rar5("folder/invoice.pdf.exe")}),
    "a zip in winmail.dat": files.tnef(("inner.zip", files.zipped(EVIL))),
    "a zip in a zip in a zip": files.zipped({"a.zip": files.zipped({"b.zip": files.zipped(EVIL)})}),
    "a zip in xz": lzma.compress(files.zipped(EVIL)),
    "a zip in bzip2": bz2.compress(files.zipped(EVIL)),
    "a long name in a tar": files.tarred({"x" * 200 + "/invoice.pdf.exe": b"x"}, form=tarfile.GNU_FORMAT),
    "a long name in a pax tar": files.tarred({"\u00fc" * 200 + "/invoice.pdf.exe": b"x"}),
}


@pytest.mark.parametrize("archive", ARCHIVES)
def test_names_within_are_judged_in(archive):
    settings = msgspec.structs.replace(SETTINGS, blocked_types=())
    finding = only(ARCHIVES[archive], "attached.dat", settings)
    assert finding.name == "ARCHIVE_BLOCKED"
    assert "invoice.pdf.exe in" in finding.text
    assert ".exe files are blocked" in finding.text


@pytest.mark.parametrize("archive", ARCHIVES)
def test_a_cut_or_a_garbled_archive_is_no_trouble(archive):
    data = ARCHIVES[archive]
    for cut in {*range(0, min(len(data), 600), 7), len(data) // 2, len(data) - 1}:
        assert len(findings(data[:cut])) <= 10
        garbled = data[:cut] + b"\xff\xff\xff\xff" + data[cut + 4 :]
        assert len(findings(garbled)) <= 10


@pytest.mark.parametrize(
    "data",
    [files.zipped({"report": PROGRAM}), gzipped(PROGRAM), files.tarred({"report": PROGRAM}), files.tnef(("report", PROGRAM)),
     files.zipped({"a.zip": files.zipped({"report": LINK + bytes(100)})}), files.rar5("report", PROGRAM[:120])],
    ids=["zip", "gzip", "tar", "winmail.dat", "zip in zip", "rar"],
)  # fmt: skip
def test_programs_within_are_found_whatever_they_are_called(data):
    assert only(data).name == "ARCHIVE_BLOCKED"


def test_a_packed_file_that_is_damaged_at_its_end_is_looked_at_all_the_same():
    data = bytearray(files.zipped({"report": PROGRAM + bytes(range(256)) * 20}))
    packed = data.index(b"PK\x01\x02")
    data[packed - 12 : packed] = b"\xff" * 12
    assert only(bytes(data)).name == "ARCHIVE_BLOCKED"


def test_the_antivirus_test_file_is_found_within():
    for data in (
        files.zipped({"e.txt": EICAR}),
        gzipped(EICAR),
        files.zipped({"a.zip": files.zipped({"e": EICAR})}),
    ):
        assert names(data) == ["EICAR"]


LOCKED = {
    "7z": files.sevenzip("a.txt", locked=True),
    "7z with its names": files.sevenzip("a.txt", hidden=True),
    "rar 4": files.rar4("a.txt", locked=True),
    "rar 4 with its names": files.rar4("a.txt", hidden=True),
    "rar 5": files.rar5("a.txt", locked=True),
    "rar 5 with its names": files.rar5("a.txt", hidden=True),
    "a new Office document": files.compound({"EncryptedPackage": b"x" * 5000, "EncryptionInfo": b"x"}),
    "an old workbook": files.xls(locked=True),
    "an old letter": files.compound({"WordDocument": b"\xec\xa5" + bytes(9) + b"\x01" + bytes(5000)}),
}


@pytest.mark.parametrize("what", LOCKED)
def test_what_needs_a_password_is_noted_and_blocked_on_demand(what):
    finding = only(LOCKED[what])
    assert finding.name in ("ARCHIVE_ENCRYPTED", "DOCUMENT_ENCRYPTED")
    assert (finding.kind, finding.score) == ("spam", 0.5)
    strict = only(LOCKED[what], settings=msgspec.structs.replace(SETTINGS, encrypted_archives="block"))
    assert (strict.kind, strict.score) == ("content", 10.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The password is: 4711", True), ("Password 4711", True), ("Passwort: Rechnung", True), ("pw=x7y8", True), ("Mot de passe : facture", True),
        ("\u043f\u0430\u0440\u043e\u043b\u044c: 123", True), ("I send the password by telephone.", False), ("A password is required to open it.", False),
        ("hello", False), ("powder: blue", False),
    ],
)  # fmt: skip
def test_a_password_in_the_message_is_a_sign_of_its_own(text, expected):
    content = HEAD + multipart(
        [part("text/plain; charset=utf-8", text.encode()), attachment(files.rar5("a.txt", locked=True))]
    )
    assert ("ARCHIVE_PASSWORD" in look(content)) is expected


# Bombs


def forty_two(levels: int, breadth: int = 16) -> bytes:
    """As 42.zip: archives of archives, and at the bottom a file of nothing."""
    data = files.zipped({"0.dll": bytes(4 << 20)})
    for level in range(levels):
        data = files.zipped({f"{level}-{number}.zip": data for number in range(breadth)})
    return data


BOMBS = {
    "a zip of nothing": (lambda: files.zipped_zeros(300), "ARCHIVE_BOMB"),
    "files that share their octets": (files.overlapping, "ARCHIVE_BOMB"),
    "thousands that share their octets": (lambda: files.overlapping(15_000), "ARCHIVE_BOMB"),
    "one like 42.zip": (lambda: forty_two(6, 3), "ARCHIVE_DEEP"),
    "a gzip of nothing": (lambda: files.gzipped_zeros(300), "ARCHIVE_BOMB"),
    "a gzip that lies about its size": (lambda: files.gzipped_zeros(60)[:-4] + b"\0\0\0\0", "ARCHIVE_BOMB"),
    "a bzip2 of nothing": (lambda: bz2.compress(bytes(30 << 20)), "ARCHIVE_BOMB"),
    "an xz of nothing": (lambda: lzma.compress(bytes(30 << 20)), "ARCHIVE_BOMB"),
    "a tar.gz of nothing": (lambda: files.tarred({"zeros": bytes(30 << 20)}, "w:gz"), "ARCHIVE_BOMB"),
    "a gzip in a zip": (lambda: files.zipped({"a.gz": files.gzipped_zeros(60)}), "ARCHIVE_BOMB"),
    "a tar of many": (lambda: files.tarred({f"{number}.txt": b"" for number in range(21_000)}), "ARCHIVE_CUT"),
    "a 7z that says so": (lambda: files.sevenzip("a.txt", size=1 << 40), "ARCHIVE_BOMB"),
    "a rar that says so": (lambda: files.rar4("a.txt", unpacked=0xFFFF_FFFF), "ARCHIVE_BOMB"),
}  # fmt: skip


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_found_and_not_unpacked(what):
    make, expected = BOMBS[what]
    finding = only(make())
    assert (finding.name, finding.kind) == (expected, "content")


def test_no_more_is_unpacked_than_the_budget_has():
    many = files.zipped({f"{number}.pdf": b"%PDF-1.7\n" + bytes(2 << 20) + b"/x" * number for number in range(30)})
    finding = only(many)
    assert (finding.name, finding.score) == ("ARCHIVE_UNSEEN", 0.0)


def test_honest_archives_pass():
    data = files.zipped(
        {f"{number}.txt": b"many words of the same kind, and a number: %d\n" % number * 500 for number in range(300)}
    )
    assert names(data, "a.zip") in ([], ["ARCHIVE_UNSEEN"])
    assert names(files.zipped({"letter.docx": files.docx(), "b/": b"", "b/c.pdf": files.pdf(b"")}), "a.zip") == []


# Documents

MADE = (files.doc, files.docm, files.ppt, files.word_xml)
KINDS = ("old", "new", "slides", "xml")


@pytest.mark.parametrize("data", [make(files.OPENS) for make in MADE], ids=KINDS)
def test_a_macro_that_runs_by_itself_is_blocked_unless_the_operator_says_otherwise(data):
    finding = only(data)
    assert (finding.name, finding.kind, finding.score) == ("MACRO_AUTOMATIC", "content", 10.0)
    assert "runs by itself (AutoOpen), which use CreateObject" in finding.text
    scored = only(data, settings=msgspec.structs.replace(SETTINGS, macros="score"))
    assert (scored.kind, scored.score) == ("spam", 3.5)
    passed = only(data, settings=msgspec.structs.replace(SETTINGS, macros="pass"))
    assert passed.score == 0


@pytest.mark.parametrize("data", [make(files.WAITS) for make in MADE], ids=KINDS)
def test_a_macro_that_waits_to_be_called_is_scored(data):
    finding = only(data)
    assert (finding.name, finding.kind, finding.score) == ("MACRO", "spam", 1.5)
    assert only(data, settings=msgspec.structs.replace(SETTINGS, macros="block")).kind == "content"


def test_a_macro_whose_source_was_taken_out_is_known_by_its_compiled_names():
    streams = {"Macros/VBA/dir": b"x", "Macros/VBA/_VBA_PROJECT": b"\xcc\x61\0AutoOpen\0", "Macros/VBA/M": b"compiled"}
    assert only(files.compound(streams)).name == "MACRO_AUTOMATIC"


def test_sheets_of_macros():
    assert only(files.xls(macro_sheet=True)).name == "MACRO"
    assert only(files.xls(macro_sheet=True, automatic=True, version=5)).name == "MACRO_AUTOMATIC"
    assert only(files.xls(macro_sheet=True, automatic=True)).name == "MACRO_AUTOMATIC"
    assert names(files.xls()) == []
    book = {"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b'<definedName name="_xlnm.Auto_Open">'}
    assert only(files.zipped({**book, "xl/macrosheets/sheet1.xml": b"<x/>"})).name == "MACRO_AUTOMATIC"
    binary = {"xl/workbook.bin": "Auto_Open".encode("utf-16-le"), "xl/macrosheets/sheet1.bin": b"x"}
    assert only(files.zipped({**book, **binary})).name == "MACRO_AUTOMATIC"
    assert names(files.zipped({**book, "xl/worksheets/sheet1.xml": b"<x/>"})) == []


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("attachedTemplate", "http://evil.example/a.dotm", ("DOCUMENT_REMOTE", 3.5)),
        ("attachedTemplate", "file:///C:\\Templates\\Normal.dotm", None),
        ("attachedTemplate", "file://server/share/letter.dotx", None),
        ("oleObject", "https://evil.example/a.html!", ("DOCUMENT_EXPLOIT", 10.0)),
        ("oleObject", "mhtml:http://evil.example/a.html!x-usc:http://evil.example/a.html", ("DOCUMENT_EXPLOIT", 10.0)),
        ("oleObject", "https://intranet.example/table.xlsx", ("DOCUMENT_REMOTE", 2.0)),
        ("frame", "https://evil.example/", ("DOCUMENT_REMOTE", 2.0)),
        ("hyperlink", "https://a.example/", None),
        ("image", "https://a.example/a.png", None),
    ],
)
def test_what_a_document_fetches(kind, target, expected):
    found = findings(files.docx(files.relationship(kind, target)), "a.docx")
    assert [(finding.name, finding.score) for finding in found] == ([expected] if expected else [])


def test_fields_that_start_programs():
    split = b"".join(b"<w:instrText>%c</w:instrText><w:r/>" % octet for octet in b'DDEAUTO "c:\\\\cmd.exe" "/k calc"')
    assert only(files.docx({"word/document.xml": split}), "a.docx").score == 10
    link = {"xl/externalLinks/externalLink1.xml": b'<ddeLink ddeService="cmd" ddeTopic="/c calc">'}
    assert only(files.docx(link), "a.xlsx").score == 10
    quiet = {"word/document.xml": b"<w:instrText>DDE Excel Book1 R1C1</w:instrText>"}
    assert only(files.docx(quiet), "a.docx").score == 2
    assert names(files.docx({"word/document.xml": b"<w:instrText>PAGE</w:instrText> DDE"}), "a.docx") == []


@pytest.mark.parametrize(("name", "content"), [("report.pdf.exe", b"x"), ("report", PROGRAM)])
def test_a_program_within_a_document_is_found(name, content):
    inside = files.package(name, content)
    ole = files.compound({"\x01Ole10Native": inside})
    for data in (
        files.compound({"WordDocument": bytes(5000), "ObjectPool/_1/\x01Ole10Native": inside}),
        files.docx({"word/embeddings/oleObject1.bin": ole}),
        files.rtf(files.ole1(b"Word.Document", ole)),
        files.rtf(files.ole1(b"Package", inside[4:])),
    ):
        assert "ARCHIVE_BLOCKED" in names(data)


def test_an_outlook_message_within_shows_its_attachments():
    data = files.compound({"__attach_version1.0_#00000000/__substg1.0_3707001F": "invoice.exe".encode("utf-16-le")})
    assert only(data, "a.msg").name == "ARCHIVE_BLOCKED"
    data = files.compound({"__attach_version1.0_#00000000/__substg1.0_37010102": PROGRAM})
    assert only(data, "a.msg").name == "ARCHIVE_BLOCKED"


def test_the_equation_editor_in_rtf():
    equation = files.ole1(b"Equation.3", bytes(100))
    assert names(files.rtf(equation)) == ["DOCUMENT_EXPLOIT"]
    assert only(files.rtf(equation, updates=False)).score == 3
    assert names(files.rtf(files.ole1(b"Excel.Sheet", bytes(100)), updates=False), "a.rtf") == []
    assert names(b"{\\rtf1 plain words}", "a.rtf") == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (files.pdf(b""), []),
        (files.pdf(b"/OpenAction [3 0 R /Fit]"), []),
        (files.pdf(b"/AcroForm << /JavaScript 3 0 R >>"), []),
        (files.pdf(b"/OpenAction << /S /JavaScript /JS (app.alert(1)) >>"), ["PDF_SCRIPT"]),
        (files.pdf(b"/Open#41ction << /S /J#61vaScript /JS (app.alert(1)) >>"), ["PDF_SCRIPT"]),
        (files.pdf(b"/OpenAction 3 0 R", b"<< /S /JavaScript /JS (app.alert(1)) >>"), ["PDF_SCRIPT"]),
        (files.pdf(b"/OpenAction << /S /Launch /Win << /F (cmd.exe) /P (/c calc) >> >>"), ["PDF_LAUNCH"]),
        (files.pdf(b"/A << /S /Launch /F (other.pdf) >>"), ["PDF_LAUNCH"]),
        (files.pdf(b"/Names << /EmbeddedFiles 4 0 R >> /EF << /F 3 0 R >> /F (setup.exe) /Type /EmbeddedFile"), ["ARCHIVE_BLOCKED"]),
        (files.pdf(b"/Type /EmbeddedFile /UF (\xfe\xff\0a\0.\0j\0s)"), ["ARCHIVE_BLOCKED"]),
        (files.pdf(b"/Type /EmbeddedFile /F (factur-x.xml)"), []),
        (files.pdf(b"/Encrypt 5 0 R"), ["PDF_ENCRYPTED"]),
    ],
)  # fmt: skip
def test_what_a_pdf_does(data, expected):
    assert names(data, "a.pdf") == expected


@pytest.mark.parametrize(
    ("data", "score"),
    [
        (PROGRAM, 10),
        (b"<job><script language=x>", 10),
        (b"@echo off\r\ncalc", 10),
        (b"<html><script>x</script>", 10),
        (b"%PDF-1.7\n", 1.5),
    ],
)
def test_files_within_onenote(data, score):
    assert only(files.onenote(data), "a.one").score == score


def test_an_honest_onenote_section_passes():
    assert names(files.onenote(b"\x89PNG\r\n\x1a\n"), "a.one") == []


@pytest.mark.parametrize(
    "data",
    [
        b"<svg><script>window.location.href='https://evil.example'</script></svg>",
        b"<?xml version='1.0'?><svg onload=\"eval(atob('x'))\"></svg>",
        b"<svg><foreignObject><iframe src='https://evil.example'/></foreignObject></svg>",
    ],
)
def test_drawings_that_lead_elsewhere_are_blocked(data):
    assert only(data, "a.svg").score == 10
    assert only(files.zipped({"a.svg": data}), "a.zip").score == 10


def test_a_drawing_with_a_harmless_script_is_scored():
    data = b"<svg><script>function zoom() { location.search; }</script></svg>"
    assert only(data, "a.svg").score == 3
    assert only(files.zipped({"a.svg": data}), "a.zip").score == 3


def test_honest_drawings_pass():
    assert (
        names(
            b"<svg xmlns='http://www.w3.org/2000/svg'><a href='https://a.example'><path d='M0 0'/></a></svg>", "a.svg"
        )
        == []
    )


@pytest.mark.parametrize(
    ("target", "score"),
    [(b"https://a.example/page", 1), (b"file://192.0.2.1/share/a.exe", 10), (b"\\\\192.0.2.1@80\\a\\b.lnk", 10), (b"https://a.example/a.exe", 10)],
)  # fmt: skip
def test_links_in_files_of_their_own(target, score):
    assert only(b"[InternetShortcut]\r\nURL=" + target + b"\r\n", "a.url").score == score


# What is no part of its own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"hello\nbegin 644 invoice.exe\nM35J0``,````$````__\\``+@`````````0```````````````````````````\n`\nend\n", ["BLOCKED_EXTENSION"]),
        (b"begin 644 photo.dat\n" + b"M35J0``,````$````__\\``+@`````````0```````````````````````````\n" * 3 + b"`\nend\n", ["EXECUTABLE"]),
        (b"begin 644 notes.txt\n#86)C\n`\nend\n", []),
        (b"=ybegin line=128 size=1 name=invoice.exe\n\n=yend size=1\n", ["BLOCKED_EXTENSION"]),
        (b"let us begin 644 things.exe today", []),
    ],
)  # fmt: skip
def test_files_that_stand_in_a_text(text, expected):
    assert look(with_parts(part("text/plain", text))) == expected


# The readers


def test_the_compound_files_of_these_tests_are_read_alike_by_another_reader(tmp_path):
    (tmp_path / "a").write_bytes(files.doc(files.OPENS))
    with olefile.OleFileIO(str(tmp_path / "a")) as other:
        assert sorted("/".join(path) for path in other.listdir()) == sorted(["WordDocument", "Macros/VBA/dir", "Macros/VBA/_VBA_PROJECT", "Macros/VBA/M"])  # fmt: skip
        assert other.openstream("Macros/VBA/M").read() == files.module(files.OPENS)


def test_kinds_need_only_octets():
    assert kind_of(b"") is None
    for start in range(256):
        for second in range(256):
            kind_of(bytes((start, second)))


def large() -> bytes:
    """6 MiB that do not pack, and the name that matters behind them."""
    noise = {f"{number}.jpg": random.Random(number).randbytes(1 << 20) for number in range(6)}
    return files.zipped({**noise, "invoice.exe": b"x"}, zipfile.ZIP_STORED)


def test_a_large_attachment_is_looked_at_in_little_memory():
    content = with_parts(attachment(large(), "a.zip"))
    mail = Mail(message(), content)
    tracemalloc.start()
    try:
        assert [one.name for one in Attachments(SETTINGS).look(mail)] == ["ARCHIVE_BLOCKED"]
        assert tracemalloc.get_traced_memory()[1] < octets.IN_MEMORY + (3 << 20)
    finally:
        tracemalloc.stop()


def test_without_room_on_the_disk_the_beginning_of_a_large_attachment_is_looked_at(monkeypatch):
    def full(**_: object) -> object:
        raise OSError(errno.ENOSPC, "no space left on device")

    data = files.zipped({"invoice.exe": b"x"}) + large()
    monkeypatch.setattr(octets.tempfile, "TemporaryFile", full)
    assert names(data, "a.zip") == ["ARCHIVE_BLOCKED"]
