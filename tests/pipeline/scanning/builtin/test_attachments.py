"""What runs when it is opened, whatever it is called."""

from __future__ import annotations

import io
import zipfile

import msgspec
import pytest

from pipeline.mime import Header, walk
from pipeline.scanning.builtin.names import endings, shown
from pipeline.scanning.files.listing import MAX_ENTRIES
from pipeline.scanning.files.octets import octets_of
from pipeline.scanning.files.zips import read_zip
from tests.support.mail import HEAD, PROGRAM, SETTINGS, attachment, look, multipart, part, verdict, with_parts


def zipped(*names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"x" * 100, method)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", ("", "txt")),
        ("invoice.pdf.exe", ("pdf", "exe")),
        ("Invoice.PDF.EXE", ("pdf", "exe")),
        ("invoice.pdf          .exe", ("pdf", "exe")),
        ("invoice.exe. . ", ("", "exe")),
        ("invoice.exe\t\r\n", ("", "exe")),
        ("invoice.exe'\"", ("", "exe")),
        ("folder.d/invoice.exe", ("", "exe")),
        ("C:\\folder.d\\invoice.exe", ("", "exe")),
        ("invoice\uff0eexe", ("", "exe")),
        ("invoice.\uff45\uff58\uff45", ("", "exe")),
        ("invoice.e\u200bxe", ("", "exe")),
        ("invoice.exe\u202c", ("", "exe")),
        ("x" * 5000 + ".exe", ("", "exe")),
        ("exe", ("", "")),
        (".exe", ("", "exe")),
        ("exe/", ("", "")),
        ("www.example.com/", ("", "")),
        ("", ("", "")),
        (". . .", ("", "")),
    ],
)
def test_endings_are_read_as_windows_would(name, expected):
    assert endings(name) == expected


@pytest.mark.parametrize("name", ["a.exe", "A.SCR", "a.js", "a.exe. ", "a.e\u200bxe", "a.exe\u202c"])
def test_a_blocked_ending_quarantines(name):
    content = with_parts(attachment(b"data", name))
    assert look(content) == ["BLOCKED_EXTENSION"]
    assert verdict(content).verdict == "content"


def test_a_name_that_ends_at_a_nul_for_some_is_judged_there():
    content = with_parts(
        attachment(b"data").replace(b"\r\n\r\n", b"\r\nContent-Disposition: x; filename*=utf-8''a.exe%00.txt\r\n\r\n")
    )
    assert look(content) == ["BLOCKED_EXTENSION"]


@pytest.mark.parametrize("name", ["a.txt", "a.pdf", "exe", "aexe", "a.exe.pdf", "exe.txt", "a.exe/b"])
def test_other_names_pass(name):
    assert look(with_parts(attachment(b"data", name))) == []


def test_a_program_that_pretends_to_be_a_document_is_called_so():
    content = with_parts(attachment(b"data", "invoice.pdf.exe"))
    assert look(content) == ["DOUBLE_EXTENSION"]
    assert (
        verdict(content).actions[0].reason == "blocked content: invoice.pdf.exe: a .exe file that pretends to be .pdf"
    )


def test_a_name_written_backwards_is_blocked_and_shown_with_the_trick_made_visible():
    content = with_parts(attachment(b"data", "invoice\u202efdp.txt"))
    assert look(content) == ["BIDI_NAME"]
    assert "invoice\ufffdfdp.txt" in verdict(content).actions[0].reason


def test_the_operator_chooses_what_is_blocked():
    settings = msgspec.structs.replace(SETTINGS, blocked_extensions=(".Foo",))
    assert look(with_parts(attachment(b"data", "a.exe")), settings) == []
    assert look(with_parts(attachment(b"data", "a.foo")), settings) == ["BLOCKED_EXTENSION"]
    nothing = msgspec.structs.replace(SETTINGS, blocked_extensions=(), blocked_types=())
    assert look(with_parts(attachment(PROGRAM, "a.exe")), nothing) == []


def test_a_name_on_a_container_or_deep_inside_counts():
    inner = HEAD + multipart([attachment(b"data", "a.exe")], "inner")
    assert look(with_parts(part("message/rfc822", inner))) == ["BLOCKED_EXTENSION"]
    assert look(with_parts(part("message/rfc822; name=a.exe", HEAD + b"\r\n"))) == ["BLOCKED_EXTENSION"]


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (PROGRAM, "application/pdf", ["EXECUTABLE"]),
        (PROGRAM, "text/plain", ["EXECUTABLE"]),
        (b"\x7fELF\x02\x01\x01", "image/png", ["EXECUTABLE"]),
        (b"#!/bin/sh\nrm -rf /\n", "image/png", ["SCRIPT_DISGUISED"]),
        (b"#!/bin/sh\necho\n", "text/x-sh", []),
        (b"MZ is how this letter begins, and it goes on for more than sixty-four octets.", "text/plain", []),
        (b"MZ", "text/plain", []),
        (b"%PDF-1.7", "application/pdf", []),
        (b"", "application/pdf", []),
    ],
)
def test_content_is_judged_by_its_first_octets(data, content_type, expected):
    assert look(with_parts(attachment(data, "file.dat", content_type))) == expected


def test_a_program_as_the_whole_message_is_found():
    assert look(HEAD + attachment(PROGRAM, "", "application/octet-stream")) == ["EXECUTABLE"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_names_within_a_zip_are_judged(method):
    content = with_parts(attachment(zipped("readme.txt", "folder/invoice.pdf.exe", method=method), "a.zip"))
    assert look(content) == ["ARCHIVE_BLOCKED"]
    assert "folder/invoice.pdf.exe in a.zip" in verdict(content).actions[0].reason
    assert look(with_parts(attachment(zipped("readme.txt", "example.com/"), "a.zip"))) == []


def test_an_archive_stored_within_an_archive_shows_its_names():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("inner.zip", zipped("evil.scr"))
    assert look(with_parts(attachment(file.getvalue(), "a.zip"))) == ["ARCHIVE_BLOCKED"]


def test_a_zip_is_known_by_its_octets_its_name_or_its_type():
    data = zipped("evil.exe")
    assert look(with_parts(attachment(data, "a.doc"))) == ["ARCHIVE_BLOCKED"]
    assert look(with_parts(attachment(b"junk" + data, "a.zip"))) == ["ARCHIVE_BLOCKED"]
    assert look(with_parts(attachment(b"junk" + data, "", "application/x-zip-compressed"))) == ["ARCHIVE_BLOCKED"]


def test_a_name_only_in_the_central_directory_counts():
    data = zipped("harmless.txt")
    at = data.index(b"PK\x01\x02")
    assert look(with_parts(attachment(data[:at] + data[at:].replace(b"harmless.txt", b"harmless.exe"), "a.zip"))) == [
        "ARCHIVE_BLOCKED"
    ]
    assert look(with_parts(attachment(data[:at].replace(b"harmless.txt", b"harmless.exe") + data[at:], "a.zip"))) == [
        "ARCHIVE_BLOCKED"
    ]


def test_an_encrypted_archive_is_noted_and_passes():
    data = bytearray(zipped("secret.txt"))
    data[6] |= 1
    content = with_parts(attachment(bytes(data), "a.zip"))
    assert look(content) == ["ARCHIVE_ENCRYPTED"]
    assert verdict(content).verdict == "clean"


def test_more_entries_than_are_looked_at_are_not_passed_unseen():
    entry = zipped("a.txt")[: 30 + 5]
    assert look(with_parts(attachment(entry * (MAX_ENTRIES + 1), "a.zip"))) == ["ARCHIVE_CUT"]


@pytest.mark.parametrize("length", [1, 255, 1024])
def test_entries_are_found_across_the_edges_of_chunks(length):
    """Names end up at every distance from the end of a 192 KiB decoded chunk."""
    name = "n" * (length - 4) + ".exe" if length > 4 else "n"
    data = b"PK\x05\x06"
    for number in range(12):
        data = data.ljust((192 << 10) * (number + 1) - 200 * number - 3, b"\0") + zipped(
            name, method=zipfile.ZIP_STORED
        )
    content = attachment(data, "a.zip")
    (only,) = walk(content, Header(content)).parts
    assert [member.name for member in read_zip(octets_of(only)).members] == [name] * 24


@pytest.mark.parametrize(
    "data",
    [b"PK\x03\x04", b"PK\x03\x04" + b"\xff" * 40, b"PK\x01\x02" * 1000, zipped("evil.exe")[:32]],
    ids=["nothing behind", "nonsense behind", "signatures only", "cut in its first name"],
)
def test_a_damaged_archive_is_no_trouble(data):
    assert look(with_parts(attachment(data, "a.zip"))) == []


def test_a_strangers_name_is_shown_short_and_harmless():
    assert shown("a\x1b[2J\u202e.txt") == "a\ufffd[2J\ufffd.txt"
    assert len(shown("x" * 100_000 + ".exe")) == 80
    assert shown("x" * 100_000 + ".exe").endswith("x.exe")


def test_findings_are_bounded():
    assert len(look(with_parts(*[attachment(b"data", f"{number}.exe") for number in range(500)]))) == 10
