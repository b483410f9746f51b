"""Pages of HTML, the worst of them: read as in the plainest way, and parsed within bounds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipeline.mime import Header, Part
from pipeline.scanning.page import lines, page_document
from pipeline.scanning.source import COPIES, DEEP, MAX_ATTRIBUTES, MAX_COPIES, RUN, condensed, tame
from tests.support.plainest import Straight

TAGS = [
    "a", "area", "b", "base", "blockquote", "body", "br", "button", "caption", "col", "colgroup", "dd", "desc", "div", "dl", "dt", "em", "embed", "font",
    "foreignObject", "form", "frame", "frameset", "h1", "head", "hr", "html", "i", "iframe", "image", "img", "input", "isindex", "keygen", "li", "link",
    "listing", "marquee", "math", "meta", "mi", "nobr", "noframes", "noscript", "object", "ol", "optgroup", "option", "p", "param", "plaintext", "pre",
    "rb", "rp", "rt", "ruby", "s", "script", "section", "select", "source", "span", "strong", "style", "sub", "svg", "table", "tbody", "td", "template",
    "textarea", "tfoot", "th", "title", "tr", "tt", "u", "ul", "v:rect", "video", "wbr", "x", "xmp",
]  # fmt: skip
SPACE = st.sampled_from(["", " ", "\n", "\r\n", "\t", "\f", "\0", "/", "\u00a0", "  \n "])
WORDS = st.one_of(
    st.sampled_from(["word", "&nbsp;", "&lt;b&gt;", "&#0;", "&#x1f600;", "&notanentity", "&amp", "\0", "\x1c", "\u2003", "\ufeff", "é", "<", ">", "</", "<!", "]]>"]),
    st.text(max_size=6),
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        "display:none", "color:#fff", "background:#fff", "color:#FFFFFF; background-color: white", "font-size:0", "d\\69 splay:none", "h", "h v", "#fff", "white", "black", "//e.example/a b", " javascript:x()",
        "0; url=//r.example/", "refresh", "password", "cid:1", "<b>", '"', "'", ">", "&quot;", "a, b",
    ]),
    st.text(max_size=5),
)  # fmt: skip
ATTRIBUTES = st.tuples(
    SPACE,
    st.sampled_from([
        "style", "class", "bgcolor", "color", "background", "hidden", "href", "xlink:href", "src", "srcset", "onclick", "ONLOAD", "on", "action", "formaction", "name", "id", "type", "content",
        "http-equiv", "data", "STYLE", "x<y", '"', "=",
    ]),
    SPACE,
    VALUES,
    st.sampled_from(['"', "'", ""]),
).map(lambda made: f"{made[0]}{made[1]}{made[2]}={made[4]}{made[3]}{made[4]}")  # fmt: skip
OPENING = st.tuples(
    st.sampled_from(TAGS), st.lists(ATTRIBUTES, max_size=3), st.sampled_from([">", "/>", " >", ""])
).map(lambda made: f"<{made[0]} {' '.join(made[1])}{made[2]}")
CLOSING = st.sampled_from(TAGS).map(lambda tag: f"</{tag}>")
OTHER = st.sampled_from([
    "<!doctype html>", "<!-- a -->", "<!--", "-->", "<!--[if mso]><a href=//m.example>x &amp; y</a><![endif]-->", "<!--[IF x]>z", "<?xml?>", "<![CDATA[x]]>", "<style>.h{display:none}</style>",
    "<STYLE>.v{color:red}", "<script>document.write('<p>')</script>", "<script src=' x.js '>", "</ x>", "<b\0>",
])  # fmt: skip
PAGES = st.lists(st.one_of(OPENING, OPENING, CLOSING, WORDS, OTHER, SPACE), max_size=30).map("".join)


def document(source):
    return page_document(Part(b"", Header(b""), 0, "text/html"), source, attached=False)


@given(PAGES)
def test_a_page_is_read_as_in_the_plainest_way(source):
    """Addresses in its text that are no links are read by other code, and pages within it by the same: none are made here."""
    read = document(source)
    straight = Straight(source).found()
    assert {name: getattr(read, name) for name in straight} == straight


@given(
    st.lists(st.sampled_from(["a", "bc", " ", "  ", "\0", "\0 ", "\n", "\t\r\n", "\u00a0", "\x1d", "é"])).map("".join)
)
def test_lines_are_those_with_something_in_them_and_one_space_for_each_run(text):
    assert lines(text) == "\n".join(" ".join(line.split()) for line in text.split("\0") if line.strip())


RUNS = st.lists(
    st.tuples(st.sampled_from(["<", ">", "a", " ", "\n\t", "\u2003", "<p>"]), st.sampled_from([1, 2, 30, 63, 64, 65, RUN - 1, RUN, RUN + 1, 3 * RUN])),
    max_size=8,
).map(lambda runs: "".join(piece * number for piece, number in runs))  # fmt: skip


@given(RUNS)
def test_runs_between_tags_and_runs_of_white_space_are_cut(text):
    clipped = re.sub(r"(?<![^<>])([^<>]{4000})[^<>]+", r"\1", text)
    assert condensed(text) == re.sub(r"\s{64,}", " ", clipped)


def times(piece: str, number: int) -> str:
    """It again and again, each time with another attribute: elements that are the same are opened anew three times at most."""
    return "".join(piece.replace("@", f"a{count:x}") for count in range(number))


AMPLIFIED = {
    "bold and paragraphs": "<p>" + times("<b @>", 1000) + "<p>x" * 4000,
    "in capitals": "<p>" + times("<B @>", 1000) + "<P>x" * 4000,
    "many kinds": "<p>" + times("<b @><i @><font @><u @><s @><tt @>", 200) + "<div></p>x" * 3000,
    "closed where nobody sees it": "<p>" + times("<b @><!--</b>-->", 1000) + "<p>x" * 4000,
    "closed in an attribute": "<p>" + times("<b @='</b>'>", 1000) + "<p>x" * 4000,
    "closed behind a mark": "<p>"
    + times("<b @>", 1000)
    + "<table><td><object>"
    + "</b>" * 1000
    + "</table><p>x" * 4000,
    "in list items": times("<li><code @>", 2000) + "<li>x" * 2000,
    "few tags": "<p>" + times("<b @>", 290) + "<p>x" * 300,
    "hardly any": "<p>" + times("<b @>", 50) + "<p>x" * 90,
}


@pytest.mark.parametrize("name", AMPLIFIED)
def test_what_is_left_open_is_not_opened_anew_without_end(name):
    source = AMPLIFIED[name]
    root = LexborHTMLParser(tame(source)).root
    assert root is not None
    assert sum(1 for _ in root.traverse(include_text=True)) < min(COPIES * len(source), MAX_COPIES) + 3 * source.count(
        "<"
    )
    assert set(document(source).text.split()) == {"x"}


def test_elements_that_are_nothing_special_hold_what_was_in_those_that_were():
    source = "<b>one</b> <FONT color=white>two</FONT> <bdo>three</bdo> " * 1000
    assert document(source).text == " ".join(["one two three"] * 1000)
    assert tame(source).count("<x-b>") == tame(source).count("<x-FONT color=white>") == 1000
    assert tame(source).count("<bdo>") == 1000


def test_drawings_full_of_links_do_not_nest_them():
    source = "<svg>" + '<a href="https://e.example">x' * 3000 + "</x>" * 3000
    root = LexborHTMLParser(tame(source)).root
    assert root is not None
    last = [node for node in root.traverse(include_text=True) if node.is_text_node][-1]
    depth, above = 0, last.parent
    while above is not None:
        depth, above = depth + 1, above.parent
    assert depth < 10
    assert len(document(source).links) == 1000


def test_taking_a_tag_out_makes_none_of_what_stands_around_it():
    source = "<div>" * DEEP + "<<div>script>x</script>" + "<p>" * 1000
    assert "<script" not in tame(source)


@pytest.mark.parametrize("piece", ["@ ", "@=x ", "@ = 'y' ", '@="z" ', "@/", "@< ", "@=<br "])
def test_a_tag_has_a_bounded_number_of_attributes_and_nothing_of_it_is_lost(piece):
    made = times(piece, 5000)
    for source in (f"<p {made}>x", f"<p {made}", f"<p>a</p><p {made}><i {made}>"):
        tamed = tame(source)
        assert tamed.replace(">", "") == source.replace(">", "")
        root = LexborHTMLParser(tamed).root
        assert root is not None
        assert max(len(node.attributes) for node in root.traverse()) <= MAX_ATTRIBUTES
    assert tame(times("<html @>", 2000)).startswith("<x-html a0><x-html a1>")


def test_one_long_attribute_is_left_as_it_is():
    source = (
        f"<p>{'word ' * 2000}<img alt='{'word ' * 2000}' src='data:image/png;base64,{'abc/' * 9000}'>{'a < b ' * 2000}"
    )
    assert tame(source) == source


def test_honest_pages_are_parsed_as_they_are():
    rows = "<tr><td style='color:#333'><a href=x><span>one</span></a><br><img src=y></td></tr>"
    for source in (
        "<table>" + rows * 50 + "</table>",
        "<div><p>text</p></div>" * 150,
        "<svg><path/></svg>" + rows * 40,
    ):
        assert tame(source) == source
