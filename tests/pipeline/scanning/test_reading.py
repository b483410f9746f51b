"""A message as its reader sees it."""

from __future__ import annotations

from pipeline.mime import Header, walk
from pipeline.scanning.document import Form, Link
from pipeline.scanning.reading import Reading, read
from pipeline.scanning.source import DEEP, tame
from tests.support.mail import HEAD, attachment, multipart, part


def reading(content: bytes) -> Reading:
    return read(walk(content, Header(content)).parts)


def page(html: str) -> Reading:
    return reading(HEAD + part("text/html; charset=utf-8", html.encode()))


def test_what_is_seen_of_a_page_is_text_in_lines():
    found = page(
        "<title>no</title><style>p{}</style><p>Dear <b>Anna</b>,</p><div>all\n is well</div><script>alert(1)</script>"
    )
    assert found.text == "Dear Anna,\nall is well"
    assert found.documents[0].scripts == ("alert(1)",)


def test_hidden_text_is_kept_apart():
    (document,) = page('<p>seen</p><p style="display: none">viagra</p><span style="font-size:0px">not</span>').documents
    assert (document.text, document.hidden) == ("seen", "viagranot")


def test_links_with_what_they_show():
    found = page(
        '<a href=" https://a.example/x ">https://bank.example</a> <a href="https://b.example"><img src="//c/d.gif"></a>'
    )
    assert found.links == (Link("https://a.example/x", "https://bank.example"), Link("https://b.example", ""))
    assert found.documents[0].images == ("//c/d.gif",)


def test_addresses_in_plain_text_are_links():
    found = reading(HEAD + part("text/plain", b"See https://a.example/x?y=1, or (www.b.example)."))
    assert found.links == (Link("https://a.example/x?y=1", ""), Link("www.b.example", ""))


def test_forms_with_their_fields():
    (document,) = page(
        '<form action="https://e.example/"><input name=User><input type=password name=p></form>'
    ).documents
    assert document.forms == (Form("https://e.example/", ("text:user", "password:p")),)
    assert document.forms[0].password


def test_an_attached_page_is_no_part_of_the_text():
    found = reading(
        HEAD
        + multipart(
            [part("text/plain", b"hello"), attachment(b"<html><body>Sign in<form></form></body></html>", "a.html")]
        )
    )
    assert [(one.attached, one.is_html) for one in found.documents] == [(False, False), (True, True)]
    assert found.text == "hello"


def test_a_page_nested_without_end_is_read_all_the_same():
    found = page("<div>" * 5000 + "deep" + "</div>" * 5000)
    assert "deep" in found.text


def test_charsets_are_respected_and_unknown_ones_do_no_harm():
    assert reading(HEAD + part("text/plain; charset=koi8-r", "привет".encode("koi8-r"))).text == "привет"
    assert reading(HEAD + part("text/plain; charset=zlib_codec", b"plain")).text == "plain"


def test_classes_that_the_pages_own_style_hides_are_hidden_and_those_of_other_screens_are_not():
    (document,) = page(
        "<style>@media (max-width:600px){.desk{display:none}} .pre{color:red;display:none!important}</style>"
        '<p class="desk">seen</p><p class="a pre">not</p>'
    ).documents
    assert (document.text, document.hidden) == ("seen", "not")


def test_letters_in_the_colour_of_what_is_behind_them_are_hidden():
    (document,) = page(
        '<body bgcolor="#FFF"><p>a</p><font color="white">b</font><p style="color: #ffffff">c</p>'
        '<div style="background-color:#003366"><p style="color:#fff">d</p></div><div class="x"><p style="color:#fff">e</p></div>'
    ).documents
    assert (document.text.split(), document.hidden) == (["a", "d", "e"], "bc")


def test_where_a_page_goes_by_itself_and_where_its_links_begin():
    (document,) = page(
        '<base href="https://b.example/"><meta http-equiv="Refresh" content="0; URL=\'https://r.example/x\'"><a href="x">go</a>'
    ).documents
    assert (document.base, document.refresh) == ("https://b.example/", "https://r.example/x")


def test_links_that_only_outlook_shows_are_links():
    assert page(
        '<p>a<!--[if mso]><v:rect href="https://m.example/">x</v:rect><![endif]--><!-- <a href="https://n.example"> --></p>'
    ).links == (Link("https://m.example/", ""),)


def test_pictures_for_screens_of_several_sizes_and_links_in_drawings():
    (document,) = page(
        '<img srcset="https://a.example/1.png 1x, https://a.example/2.png 2x"><svg><a xlink:href="https://s.example">x</a></svg>'
    ).documents
    assert document.images == ("https://a.example/1.png",)
    assert document.links == (Link("https://s.example", "x"),)


def test_a_page_behind_a_wall_of_what_nobody_sees_is_read():
    for wall in ("<!-- " + "x" * 200_000 + " -->", " " * 200_000, "<!-- a -->" * 30_000):
        found = page(wall + '<p>seen <a href="https://e.example">here</a></p>')
        assert found.text == "seen here"
        assert found.links == (Link("https://e.example", "here"),)
    assert page("<p>a</p>" + "<!--" * 100_000).text == "a"


def test_elements_deep_within_each_other_are_read_in_time_that_grows_with_the_page_alone():
    """Doubling what stands between does not change what is kept, and nothing of the text or the links is lost."""
    for piece in ("<div>", "<ul><li>", "<b></p>", "<i></q>", "<div></x>"):
        source = tame(piece * 20_000 + '<a href="https://e.example">deep</a>')
        assert len(source) < len(piece) * DEEP * 2 + 20_000 * len(piece.partition(">")[2]) + 60
        assert source.endswith('<a href="https://e.example">deep</a>')
    assert tame("<p>a<br>" * 5000) == "<p>a<br>" * 5000
    assert tame("<div><span>x</span></div>" * 5000) == "<div><span>x</span></div>" * 5000
