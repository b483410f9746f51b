"""A preview shows what is in a message, and nothing of it can do anything."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.preview import MAX_ATTACHMENTS, MAX_HIDDEN, MAX_LINKS, MAX_TEXT, Preview, preview
from pipeline.scanning.engine import Mail
from pipeline.state import Stage
from tests.support.examples import message_in

MESSAGE = message_in(Stage.QUARANTINED)


def seen(content: bytes) -> Preview:
    return preview(Mail(MESSAGE, content))


def page(html: str) -> Preview:
    return seen(b"Subject: x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html.encode())


def mixed(*parts: bytes) -> bytes:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + body + b"--b--\r\n"


def strings(found: Preview) -> list[str]:
    """Every text of it."""
    texts = [text for _, text in found.fields]
    for piece in found.pieces:
        texts += [piece.name, *piece.text.split("\n"), piece.hidden, *piece.forms]
        texts += [text for link in piece.links for text in (link.target, link.text)]
    for one in found.attachments:
        texts += [one.name, one.declared, one.found]
    return texts


def test_text_is_shown_as_it_is_with_its_header():
    found = seen(b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\r\nSubject: lunch\r\n\r\nAt noon?\r\n\r\n\r\n\r\n\tyes\r\n")
    assert dict(found.fields) == {"from": "Jürgen <j@x.test>", "subject": "lunch"}
    (piece,) = found.pieces
    assert piece.text == "At noon?\n\n    yes"
    assert (found.attachments, found.cut, found.flaws) == ((), False, ())


def test_of_a_page_only_what_is_read_is_left():
    (piece,) = page(
        "<style>p {color: red}</style><script>alert(1)</script><p>Dear <b onclick=alert(2)>Anna</b></p>"
        "<img src='https://tracker.test/1.gif'><svg onload=alert(3)></svg><p>pay &lt;now&gt;</p>"
    ).pieces
    assert piece.text == "Dear Anna\npay <now>"
    assert (piece.images, piece.scripts, piece.is_html) == (1, 1, True)


@pytest.mark.parametrize(
    "hidden",
    [
        '<div style="display:none">free prize</div>',
        '<span style="font-size:0px">free prize</span>',
        '<span style="opacity:0">free prize</span>',
        "<p hidden>free prize</p>",
        '<div style="visibility: hidden"><p>free prize</p></div>',
    ],
)
def test_text_that_is_there_and_not_seen_is_marked_as_such(hidden):
    (piece,) = page(f"<p>hello</p>{hidden}").pieces
    assert (piece.text, piece.hidden) == ("hello", "free prize")


@pytest.mark.parametrize(
    ("target", "text", "deceives"),
    [
        ("https://bank.example.evil.test/login", "https://bank.example/login", True),
        ("https://evil.test", "www.bank.example", True),
        ("https://user@evil.test", "bank.example", True),
        ("//evil.test/x", "bank.example", True),
        ("https://bank.example/login?x=1", "bank.example", False),
        ("https://www.bank.example", "https://bank.example/", False),
        ("https://evil.test", "click here", False),
        ("mailto:anna@bank.example", "anna@bank.example", False),
        ("javascript:alert(1)", "bank.example", False),
    ],
)
def test_a_link_is_shown_with_where_it_goes_and_whether_it_says_so(target, text, deceives):
    (piece,) = page(f'<a href="{target}">{text}</a>').pieces
    (link,) = piece.links
    assert (link.target, link.text, link.deceives) == (target, text, deceives)


def test_a_form_is_shown_with_what_it_asks_for():
    (piece,) = page('<form action="https://evil.test/get"><input type=password name=pin></form>').pieces
    assert piece.forms == ("https://evil.test/get: password:pin",)


def test_attachments_are_listed_by_name_size_and_both_types():
    program = base64.encodebytes(b"MZ" + bytes(100)).replace(b"\n", b"\r\n")
    found = seen(
        mixed(
            b"Content-Type: text/plain\r\n\r\nsee the invoice",
            b'Content-Type: application/pdf; name="invoice.pdf"\r\nContent-Disposition: attachment\r\n'
            b"Content-Transfer-Encoding: base64\r\n\r\n" + program,
            b'Content-Type: text/html\r\nContent-Disposition: attachment; filename="open me.html"\r\n\r\n<p>PIN?</p>',
        )
    )
    assert [(one.name, one.declared, one.found, one.size) for one in found.attachments] == [
        ("invoice.pdf", "application/pdf", "a Windows program", 102),
        ("open me.html", "text/html", "", 11),
    ]
    assert [(piece.name, piece.text) for piece in found.pieces] == [("", "see the invoice"), ("open me.html", "PIN?")]


def test_control_characters_and_reversed_text_are_made_visible():
    found = seen(
        mixed(
            b"Content-Type: text/plain; charset=utf-8\r\n\r\n\x1b[2J\x1b]0;owned\x07 \xe2\x80\xaeexe.cod\x00\x9b\xef\xbb\xbf",
            b'Content-Type: image/png; name="\x1b[31mcod\xe2\x80\xaegnp.exe"\r\n\r\nx',
        )
    )
    assert "\\x1b[2J" in found.pieces[0].text
    assert "\\u202e" in found.pieces[0].text
    assert "\\x1b" in found.attachments[0].name or "\x1b" not in found.attachments[0].name
    assert all(text.isprintable() for text in strings(found))


def test_what_is_too_much_is_cut_and_said_to_be():
    assert seen(b"\r\n" + b"line\r\n" * 100_000).cut
    links = page("".join(f"<a href=http://x.test/{number}>x</a>" for number in range(MAX_LINKS + 1)))
    assert (len(links.pieces[0].links), links.cut) == (MAX_LINKS, True)
    hidden = page(f"<p hidden>{'x' * 5000}</p>")
    assert (len(hidden.pieces[0].hidden), hidden.cut) == (MAX_HIDDEN, True)
    many = seen(mixed(*[b"Content-Type: image/png\r\n\r\nx"] * (MAX_ATTACHMENTS + 3)))
    assert (len(many.attachments), many.attachments_left_off) == (MAX_ATTACHMENTS, 3)


def test_a_large_message_is_previewed_from_its_beginning():
    content = mixed(b"\r\nthe beginning", b"Content-Type: application/zip\r\n\r\nPK\x03\x04" + b"x" * (20 << 20))
    found = seen(content)
    assert found.pieces[0].text == "the beginning"
    assert [(one.found, one.size) for one in found.attachments] == [("a ZIP archive", (20 << 20) + 4)]


def test_zero_width_characters_do_not_make_more_of_a_text_than_there_may_be():
    found = seen(b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + "\u200b".encode() * 60_000)
    assert sum(len(piece.text) for piece in found.pieces) <= MAX_TEXT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\x1b",
        b"no header at all",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n",
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000)),
        b"Content-Type: text/html; charset=nonsense\r\n\r\n" + b"<div>" * 20_000,
        b"Content-Type: text/plain; charset=utf-16\r\n\r\n\xd8\x00x",
        b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\r\n%%%=\xff",
    ],
)
def test_broken_messages_are_previewed_too(content):
    assert all(text.isprintable() for text in strings(seen(content)))


@given(st.binary(max_size=600), st.sampled_from([b"text/plain", b"text/html", b"multipart/mixed; boundary=b"]))
def test_whatever_a_message_is_nothing_that_cannot_be_seen_comes_out(body, kind):
    content = (
        b"Subject: " + body[:40].replace(b"\n", b"") + b"\r\nContent-Type: " + kind + b"\r\n\r\n--b\r\n\r\n" + body
    )
    assert all(text.isprintable() for text in strings(seen(content)))
