"""Reports as they are written: golden ones of fixed events, hostile text in every column, and rows without number."""

from __future__ import annotations

import csv
import datetime as dt
import email
import html.parser
import io
import json
import re
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from email import policy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.render import Screen
from cli.report.table import COLUMNS as TABLE
from cli.report.table import TableWriter, _fitting
from pipeline.events import Attempt, Delivered, Failed, Recorded
from pipeline.zones import begins
from projections.reports.csv_rows import COLUMNS, CsvWriter, cell
from projections.reports.json_rows import JsonLinesWriter, JsonWriter
from projections.reports.model import Heading, Row, Wanted
from projections.reports.page import PageWriter
from projections.reports.totals import Totals
from projections.reports.writing import Writer, span
from tests.support import outbound
from tests.support.outbound import BERLIN, DOMAIN, GOLDEN, REPORTS, Source, heading, written

WRITERS: dict[str, Callable[[Heading], Writer]] = {
    "table": lambda head: TableWriter(head, Screen()),
    "csv": lambda head: CsvWriter(head.zone),
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "html": PageWriter,
}
FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
HOSTILE = (
    "\x1b[2J\x1b]0;title\x07", '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "a\r\nb: c",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;", "</title></style>", "'; drop", "\u202eabc", "\u2028x",
    "\ud800", "\x00", "a,b", 'a"b', "x" * 5000, "größe@例え.test",
)  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_the_same_events_is_the_same_for_ever(name: str):
    assert REPORTS[name]() == (GOLDEN / name).read_bytes().decode()


def test_formats_agree_on_the_rows_and_keep_replies_whole():
    found = json.loads(written(heading(), JsonWriter(heading())))
    lines = [json.loads(line) for line in written(heading(), JsonLinesWriter(heading())).splitlines()]
    assert [{**one, "type": "attempt"} for one in found["rows"]] == [one for one in lines if one["type"] == "attempt"]
    assert {**found["totals"], "type": "totals"} == lines[-1]
    table = list(csv.DictReader(io.StringIO(written(heading(), CsvWriter(BERLIN)), newline="")))
    assert [(one["time"], one["reply"]) for one in table] == [(one["at"], one["reply"]) for one in found["rows"]]
    assert [one["at"][-6:] for one in found["rows"][:4]] == ["+02:00", "+02:00", "+02:00", "+01:00"]
    assert outbound.FULL.reply in [one["reply"] for one in found["rows"]]


def test_an_empty_report_is_one():
    head = heading()
    for name, make in WRITERS.items():
        text = written(head, make(head), Source([]))
        if name == "json":
            assert json.loads(text)["rows"] == []
        assert ("Nothing was tried" in text) == (name in ("table", "html"))


def hostile(text: str) -> Row:
    return Row(
        at=heading().start, domain=text, status="failed", message=text, sender=text, recipients=(text, text), size=1, tries=1,
        server=text, address=text, tls=text, stage=text, code=550, enhanced=text, reply=text, about=text, reason=text,
    )  # fmt: skip


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes.update(name for name, _ in attrs)


def tags(text: str) -> Tags:
    parser = Tags()
    parser.feed(text)
    return parser


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_stranger_does_anything_in_any_column(text: str):
    head = msgspec.structs.replace(
        heading(), domains=("a.test", "b.test"), wanted=Wanted(sender=text, classes=frozenset([text]))
    )
    plain = tags(PageWriter(heading()).row(hostile("x")))
    page = PageWriter(head)
    totals = Totals(BERLIN)
    totals.add(hostile(text))
    for piece in (page.head(), page.row(hostile(text)), page.tail(totals)):
        assert piece.encode("utf-8")
        assert not tags(piece).found.count("script") + tags(piece).found.count("img")
        assert "\x1b" not in piece
    assert tags(page.row(hostile(text))).attributes == plain.attributes
    (cells,) = csv.reader(io.StringIO(CsvWriter(BERLIN).row(hostile(text)), newline=""))
    assert len(cells) == len(COLUMNS)
    assert not any(one.lstrip(" ").startswith(FORMULAS) for one in cells)
    for writer in (TableWriter(head, Screen()), JsonLinesWriter(head)):
        row = writer.row(hostile(text))
        assert row.count("\n") == 1
        assert row[:-1].isprintable() or row.isascii()
        assert "\x1b" not in row
    assert JsonLinesWriter(head).row(hostile(text)).isascii()
    assert "\x1b" not in TableWriter(head, Screen()).tail(totals)


@pytest.mark.parametrize(
    "text",
    [
        "no;=cmd()",
        "no; =cmd()",
        '5.1.1;"=cmd()',
        "550 no\n=cmd()",
        "a\n @SUM(A1)",
        "x;\t=1",
        '"=1',
        '" "=1;;;+1',
        "\n\n-1",
    ],
)
def test_a_spreadsheet_that_cuts_at_semicolons_and_lines_finds_no_formula_either(text: str):
    written_cell = cell(text)
    for part in re.split("[;\n]", written_cell):
        assert not part.lstrip(' "').startswith(FORMULAS)
    (row,) = csv.reader(io.StringIO(f"{written_cell},x\r\n", newline=""))
    assert len(row) == 2


@given(st.text())
def test_a_cell_is_read_back_as_it_was_or_with_an_apostrophe_in_front(text: str):
    written_cell = cell(text)
    (row,) = csv.reader(io.StringIO(f"{written_cell},x\r\n", newline=""))
    assert len(row) == 2
    if text.isprintable():
        assert re.sub("(^|;)'", r"\1", row[0]) == re.sub("(^|;)'", r"\1", text)


def endless(count: int) -> Iterator[Recorded]:
    """Of a year, each of its own sender."""
    start, length = begins(dt.date(2026, 1, 1), BERLIN), 360 * 86400 * 10**9
    for number in range(count):
        at = start + length * number // count
        attempt = Attempt(
            server=f"mx{number % 7}.test:25", stage="rcpt", code=550, reply=f"550 5.1.1 no such user {number % 9}"
        )
        fields = {
            "at": at, "domain": DOMAIN, "recipients": (f"r{number}@{DOMAIN}",), "sender": f"s{number}@x.test", "size": number,
            "tries": 1, "attempt": attempt,
        }  # fmt: skip
        event = (
            Delivered(**fields, waited=number * 10**6) if number % 3 else Failed(**fields, reason="refused", bounce="b")
        )
        yield Recorded(3, f"{at // 10**6}-0", "0k3x9v2qd7m1c0f5tz8a03", 1, event)


@pytest.mark.parametrize("name", WRITERS)
def test_memory_does_not_grow_with_the_rows(name: str):
    head = msgspec.structs.replace(heading(), start=0, end=begins(dt.date(2027, 1, 1), BERLIN))

    def peak(count: int) -> int:
        length = 0

        def put(text: str) -> None:
            nonlocal length
            length += len(text)

        tracemalloc.start()
        try:
            outbound.streamed(head, WRITERS[name](head), Source(endless(count)), put)
            assert length > 100 * count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1_000)  # what is made once
    # Kept rows would be a kilobyte each.
    assert peak(8_000) - peak(2_000) < 512 << 10


def test_a_hundred_thousand_rows_are_one_document_that_nobody_holds():
    head = msgspec.structs.replace(heading(), start=0, end=begins(dt.date(2027, 1, 1), BERLIN))
    rows, tail = 0, ""

    def put(text: str) -> None:
        nonlocal rows, tail
        rows, tail = rows + text.count('"at":'), text

    outbound.streamed(head, JsonWriter(head), Source(endless(1_000)), put)
    rows, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outbound.streamed(head, JsonWriter(head), Source(endless(100_000)), put)
    assert rows == 100_000
    assert json.loads("{" + tail[tail.index('"totals"') :])["totals"]["attempts"] == rows
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


@pytest.mark.parametrize("width", [40, 80, 100, 120, 160, 200, 300])
def test_a_table_is_never_wider_than_the_window(width: int):
    fitted = _fitting(list(TABLE), width)
    total = sum(size for _, size in fitted) + 2 * (len(fitted) - 1)
    assert total <= max(width, 60)
    assert width < 80 or {column.name: size for column, size in fitted}["answer"] >= 16
    assert {"time", "status", "answer"} <= {column.name for column, _ in fitted}


def test_a_period_within_days_is_told_by_its_moments():
    head = heading()
    assert span(head) == ("2026-10-24", "2026-10-25")
    later = msgspec.structs.replace(head, start=head.start + 1, end=head.end)
    assert span(later) == ("2026-10-24 00:00:00+02:00", "2026-10-26 00:00:00+01:00")


def test_the_page_says_in_words_what_the_chart_shows():
    page = written(heading(), PageWriter(heading()))
    assert 'role="img" aria-labelledby="chart-title chart-desc"' in page
    assert "<desc" in page
    assert tags(page).found.count("svg") == 1
    assert "script" not in tags(page).found
    assert not {"src", "onload"} & tags(page).attributes
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_the_mail_is_readable_by_what_reads_mail():
    found = email.message_from_string(REPORTS["outbound.de.eml"](), policy=policy.default)
    bodies, attached = found.iter_parts()
    assert found["Subject"] == "Ausgehende Mail von example.test, 2026-10-24 bis 2026-10-25"
    text, page = (part.get_content() for part in bodies.iter_parts())
    assert "zugestellt" in text
    assert "<svg" not in page
    assert "#b3261e" in page
    assert attached.get_payload(decode=True).startswith(b"\xef\xbb\xbftime,")


def test_rows_can_be_asked_for_by_status_class_sender_and_recipient():
    def statuses(**wanted: object) -> list[str]:
        head = heading(wanted=Wanted(**wanted))
        return [one["status"] for one in json.loads(written(head, JsonWriter(head)))["rows"]]

    assert statuses(statuses=frozenset({"no_server", "failed"})) == ["failed", "no_server", "no_server"]
    assert statuses(sender="<>") == ["deferred"]
    assert statuses(sender="maria") == ["delivered", "deferred", "delivered", "failed", "undeliverable"]
    assert statuses(recipient="ben@") == ["delivered", "undeliverable"]
    assert statuses(classes=frozenset({"mailbox-full"})) == ["deferred"]
