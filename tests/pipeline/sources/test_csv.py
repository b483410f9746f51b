"""A list in a file, and a list behind a URL."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources import csv_reader
from pipeline.sources.definitions import CsvSource
from pipeline.sources.faults import (
    BusyError,
    DeniedError,
    ForbiddenError,
    GarbledError,
    ImplausibleError,
    LimitedError,
    MissingError,
    SlowError,
    SourceError,
)
from pipeline.sources.model import Entry, Listing, Mark, Unchanged
from pipeline.sources.model import opened as opened_marker
from pipeline.sources.opening import open_source
from tests.pipeline.sources.conftest import kinds, listing, opened
from tests.support.pages import Page, Pages

LIST = b"address;kind;targets\nanna@example.test;;\nteam@example.test;group;anna@example.test\n"
OLD = {"Last-Modified": "Mon, 23 Nov 2026 10:00:00 GMT", "Date": "Mon, 23 Nov 2026 10:01:00 GMT"}
FRESH = {"Last-Modified": "Mon, 23 Nov 2026 10:00:00 GMT", "Date": "Mon, 23 Nov 2026 10:00:59 GMT"}


def file(tmp_path: Path, content: bytes = LIST) -> CsvSource:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    return CsvSource(path=str(path))


async def test_a_file_is_read_with_kinds_and_targets(tmp_path):
    found = await listing(file(tmp_path))
    assert found.entries == (
        Entry("anna", "example.test", "mailbox", (), "line 2"),
        Entry("team", "example.test", "group", ("anna@example.test",), "line 3"),
    )
    assert found.problems == ()


async def test_every_bad_line_is_a_problem_with_its_number(tmp_path):
    content = (
        LIST
        + b"broken\n\xff\n"
        + b"x" * 100_000
        + b"\n\x1b[2J@x\nben@example.test\na@b.test;nobody\n"
        + b"c@d.test\n" * 9
    )
    found = await listing(file(tmp_path, content + b"e@f.test\ng@h.test\ni@j.test\n"))
    assert found.problems == (
        "line 4: broken: not an address; expected local@domain",
        "line 5: not UTF-8",
        "line 6: the line is too long",
        r"line 7: \x1b[2J@x: not an address; expected local@domain",
        "line 9: a@b.test;nobody: nobody is no kind; expected mailbox, alias, group, forwarder",
    )
    assert found.problem_count == 5
    assert len(found.entries) == 7


async def test_an_address_that_is_listed_twice_is_listed_where_it_came_first(tmp_path):
    found = await listing(file(tmp_path, b'anna@example.test\nANNA@Example.Test\n"anna"@example.test\n'))
    assert found.entries == (Entry("anna", "example.test", reference="line 1"),)


@pytest.mark.parametrize("content", [b"", b"\n\n# nobody\n", b"address,kind\n", b"broken\n", b"\xff\xfe\x00"])
async def test_a_list_of_nobody_is_an_error_and_not_an_order(tmp_path, content):
    with pytest.raises(ImplausibleError, match="no address at all"):
        await listing(file(tmp_path, content))


async def test_a_list_that_is_mostly_nonsense_is_an_error(tmp_path):
    page = b"<html>\n<body>\nPlease log in\nor write to\nhelp@example.test\n</html>\n"
    with pytest.raises(ImplausibleError, match="5 lines are no addresses, and only 1 are; the first: line 1: <html>"):
        await listing(file(tmp_path, page))
    assert len((await listing(file(tmp_path, b"broken\nanna@example.test\n"))).entries) == 1


async def test_lines_without_a_domain_get_the_one_given(tmp_path):
    path = file(tmp_path, b"anna\nben@other.test\n").path
    assert sorted(kinds(await listing(CsvSource(path=path, domain="example.test")))) == [
        "anna@example.test",
        "ben@other.test",
    ]


async def test_a_file_that_has_not_changed_is_unchanged(tmp_path):
    definition = file(tmp_path)
    source = opened(definition)
    first = await source.fetch()
    assert isinstance(first, Listing)
    os.utime(definition.path)  # another time is no other list
    assert await source.fetch(marker=first.marker) == Unchanged(marker=first.marker)
    file(tmp_path, LIST.replace(b"anna@", b"anne@"))
    second = await source.fetch(marker=first.marker)
    assert isinstance(second, Listing)
    assert second.marker != first.marker
    assert isinstance(await source.fetch(), Listing)
    # The same lines mean something else where another domain is added to them.
    other = opened(CsvSource(path=definition.path, domain="example.test"))
    assert isinstance(await other.fetch(marker=second.marker), Listing)
    mark = opened_marker(second.marker)
    assert mark is not None
    for broken in (b"\0", second.marker[:-4], Mark(mark.asked, "", b"\xc1").seal()):
        assert isinstance(await source.fetch(marker=broken), Listing)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "unreadable name"])
async def test_what_is_no_file_is_an_error(tmp_path, kind):
    path = tmp_path / "list.csv"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unreadable name":
        path = Path("/" + "x" * 3000)
    with pytest.raises(MissingError):
        await listing(CsvSource(path=str(path)))


async def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_reader, "MAX_SIZE", len(LIST) - 1)
    with pytest.raises(LimitedError):
        await listing(file(tmp_path))


async def test_a_file_that_is_being_written_is_not_taken_for_complete(tmp_path, monkeypatch):
    """The first look at it and the last one differ."""
    definition = file(tmp_path)
    real, looks = os.fstat, []

    def growing(descriptor: int) -> os.stat_result:
        looks.append(descriptor)
        if len(looks) == 2:
            with Path(definition.path).open("ab") as more:
                more.write(b"ben@example.test\n")
        return real(descriptor)

    monkeypatch.setattr(csv_reader.os, "fstat", growing)
    with pytest.raises(BusyError, match="was written while it was read"):
        await listing(definition)


async def test_progress_is_told_and_the_limit_holds(tmp_path):
    definition = file(tmp_path, b"".join(b"user%d@example.test\n" % n for n in range(25_000)))
    shown: list[int] = []
    assert len((await listing(definition, progress=shown.append)).entries) == 25_000
    assert shown == [10_000, 20_000]
    with pytest.raises(LimitedError, match="more than 24,999 addresses"):
        await listing(definition, limit=24_999)


# Behind a URL


def at(pages: Pages, **options: Any) -> CsvSource:
    return CsvSource(url=pages.url("/list.csv"), **options)


async def test_a_list_is_fetched(tmp_path):
    async with Pages({"/list.csv": Page(LIST)}) as pages:
        assert kinds(await listing(at(pages))) == {"anna@example.test": "mailbox", "team@example.test": "group"}
        assert "Authorization" not in pages.requests[0].headers


@pytest.mark.parametrize(
    ("user", "header"),
    [("", "Bearer s3cret"), ("jörg", "Basic " + base64.b64encode("jörg:s3cret".encode()).decode())],
)
async def test_a_secret_is_sent_as_basic_or_bearer(user, header):
    async with Pages({"/list.csv": Page(LIST)}) as pages:
        await listing(at(pages, user=user, secret_env="SECRET"), "s3cret")
        assert pages.requests[0].headers["Authorization"] == header


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"ETag": '"v1"'}, ("If-None-Match", '"v1"')),
        ({"ETag": '"v1"', **OLD}, ("If-None-Match", '"v1"')),
        (OLD, ("If-Modified-Since", OLD["Last-Modified"])),
        # A weak tag and a time that a second change could share are no proof.
        ({"ETag": 'W/"v1"'}, None),
        (FRESH, None),
        ({"Last-Modified": "nonsense", "Date": "nonsense"}, None),
        ({}, None),
    ],
)
async def test_an_unchanged_page_is_not_read_again_where_the_server_can_tell(headers, asked):
    async with Pages({"/list.csv": Page(LIST, headers=headers)}) as pages:
        source = opened(at(pages))
        first = await source.fetch()
        assert isinstance(first, Listing)
        if asked is not None:
            pages.pages["/list.csv"] = Page(status=304)
        assert isinstance(await source.fetch(marker=first.marker), Unchanged)
        conditions = {name for name in pages.requests[1].headers if name.lower().startswith("if-")}
        assert conditions == ({asked[0]} if asked else set())
        if asked:
            assert pages.requests[1].headers[asked[0]] == asked[1]


async def test_a_page_with_the_same_contents_is_unchanged_whatever_the_server_says():
    async with Pages(
        {"/list.csv": [Page(LIST, headers={"ETag": '"1"'}), Page(LIST, headers={"ETag": '"2"'}), Page(status=304)]}
    ) as pages:
        source = opened(at(pages))
        first = await source.fetch()
        assert isinstance(first, Listing)
        second = await source.fetch(marker=first.marker)
        assert isinstance(second, Unchanged)
        assert second.marker != first.marker
        assert await source.fetch(marker=second.marker) == second
        assert pages.requests[2].headers["If-None-Match"] == '"2"'


async def test_a_page_that_changed_is_read():
    async with Pages({"/list.csv": [Page(LIST, headers={"ETag": '"1"'}), Page(b"ben@example.test\n")]}) as pages:
        source = opened(at(pages))
        first = await source.fetch()
        assert isinstance(first, Listing)
        second = await source.fetch(marker=first.marker)
        assert isinstance(second, Listing)
        assert sorted(kinds(second)) == ["ben@example.test"]


async def test_nothing_changed_is_no_answer_to_somebody_who_did_not_ask():
    async with Pages({"/list.csv": Page(status=304)}) as pages:
        with pytest.raises(GarbledError, match="was not asked"):
            await listing(at(pages))


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (Page(status=401), DeniedError),
        (Page(status=404), MissingError),
        (Page(status=302, headers={"Location": "/login"}), MissingError),
        (Page(status=500), BusyError),
        (Page(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nanna@example.test\n"), GarbledError),
        (Page(raw=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nanna@example.test\n"), GarbledError),
        (Page(b"<html>\n<body>\nlog in\n"), ImplausibleError),
        (Page(LIST, headers={"Content-Encoding": "br"}), GarbledError),
        (Page(stall=True), SlowError),
    ],
    ids=range(9),
)
async def test_what_is_no_complete_list_is_an_error(page, error):
    async with Pages({"/list.csv": page}) as pages:
        with pytest.raises(error) as caught:
            await listing(at(pages, timeout=0.5 if page.stall else 5))
        assert isinstance(caught.value, SourceError)


async def test_a_page_that_does_not_end_is_cut_at_the_limit():
    async with Pages({"/list.csv": Page(b"a@example.test\n" * 70_000, chunks=70)}) as pages:
        with pytest.raises(LimitedError, match="67,108,864 octets"):
            await listing(at(pages))


async def test_a_large_page_goes_through_a_file():
    body = b"".join(b"user%06d@example.test\n" % n for n in range(50_000))
    async with Pages({"/list.csv": Page(body, chunks=2)}) as pages:
        assert len((await listing(at(pages))).entries) == 50_000


async def test_a_network_that_is_not_allowed_is_not_dialled():
    async with Pages({"/list.csv": Page(LIST)}) as pages:
        source = open_source(CsvSource(url=pages.url("/list.csv").replace("127.0.0.1", "localhost")), allowed=())
        with pytest.raises(ForbiddenError, match=r"localhost may not be dialled: .* is a loopback address"):
            await source.fetch()
        assert pages.requests == []


async def test_a_number_that_some_read_as_an_address_is_none():
    """127.1 is 127.0.0.1 to some, and a name to others."""
    with pytest.raises(GarbledError, match="cannot be asked over HTTP"):
        await listing(CsvSource(url="http://127.1/list.csv"))


async def test_the_whole_run_has_a_time():
    async with Pages({"/list.csv": Page(stall=True)}) as pages:
        with pytest.raises(SlowError, match="not complete within 1 s"):
            await listing(at(pages, time_limit=1))


async def test_a_run_can_be_cancelled():
    async with Pages({"/list.csv": Page(stall=True)}) as pages:
        task = asyncio.create_task(opened(at(pages)).fetch())
        while not pages.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
