"""The work that a message can cause is bounded, whatever it is made of: counted, not timed."""

from __future__ import annotations

import io
import zipfile

import pytest

from pipeline.scanning import document, elements, reading, source
from pipeline.scanning.builtin import BuiltIn, papers
from pipeline.scanning.builtin.view import _MIXED
from pipeline.scanning.engine import Mail
from pipeline.scanning.files.octets import MAX_UNPACKED
from tests.support.mail import HEAD, OURS, SETTINGS, attachment, message, multipart, part


def mail(*parts: bytes) -> Mail:
    return Mail(message(), HEAD + multipart(parts))


def page(html: str) -> Mail:
    return Mail(message(), HEAD + part("text/html; charset=utf-8", html.encode()))


def test_many_small_pdfs_full_of_tokens_are_read_within_one_budget(monkeypatch):
    made: list[papers._Pdf] = []

    class Counted(papers._Pdf):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(papers, "_Pdf", Counted)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"{number}.pdf", b"%PDF-1.4 " + b"/OpenAction " * 10_000)
    BuiltIn(SETTINGS, OURS).look(mail(attachment(packed.getvalue(), "a.zip")))
    most = MAX_UNPACKED // papers._TOKEN_COST + papers._MAX_TOKENS
    assert 10_000 < sum(one.seen for one in made) <= most


@pytest.mark.parametrize(("pages", "size", "most"), [(40, 300_000, 9), (400, 100, reading.MAX_DOCUMENTS)])
def test_of_many_pages_some_are_read(pages, size, most):
    many = mail(*[part("text/html", b"<p>x</p>" * (size // 8)) for _ in range(pages)])
    assert most - 2 <= len(many.reading.documents) <= most


def test_the_text_of_links_within_links_is_read_a_bounded_number_of_times(monkeypatch):
    looked = 0
    whole = elements.islice

    def counted(items, most):
        nonlocal looked
        for item in whole(items, most):
            looked += 1
            yield item

    monkeypatch.setattr(elements, "islice", counted)
    links = page("<svg>" + "<a href=x>yy" * 5_000).reading.links
    assert len(links) == document.MAX_LINKS
    assert looked <= document.MAX_LINKS * elements.MAX_LINK_NODES + 100
    assert all(len(link.text) <= document.MAX_LINK_TEXT for link in links)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<a href=x>one</a>", "one"), ("<a href=x>one <b>two</b> <i>three<u>four</u></i></a> five", "one two threefour"),
        ("<a href=x><img src=y></a>", ""), ("<a href=x></a>", ""), (f"<a href=x>{'y' * 5000}</a>", "y" * document.MAX_LINK_TEXT),
        ("<a href=x><b>" + "y" * 1000 + "</b>" + "z" * 1000 + "</a>", "y" * document.MAX_LINK_TEXT),
    ],
)  # fmt: skip
def test_what_a_link_shows(html, text):
    assert [link.text for link in page(html).reading.links] == [text]


def test_of_a_long_run_between_tags_the_beginning_is_kept():
    condensed = source.condensed("<p>" + "a" * 9000 + "</p><p>" + "b" * 3000 + "</p>" + "<" * 5000)
    assert condensed == "<p>" + "a" * 4000 + "</p><p>" + "b" * 3000 + "</p>" + "<" * 5000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p\u0430ypal", ["p\u0430ypal"]), ("\u0430pple and \u0442\u0435\u0441\u0442", ["\u0430pple"]), ("pay \u0442\u0435\u0441\u0442", []),
        ("x\u00e4p\u0430y", ["p\u0430y"]), ("123p\u0430y", ["p\u0430y"]), ("\u0442\u0435\u0441\u0442" * 5000, []), ("a" * 20_000, []),
    ],
)  # fmt: skip
def test_words_that_change_their_alphabet(text, found):
    assert _MIXED.findall(text) == found
