"""Small changes that show the reader the same and a filter another thing: what must be found is found all the same."""

from __future__ import annotations

import base64
import re

import pytest

from pipeline.scanning.builtin.phishing import Phishing
from pipeline.scanning.builtin.tables import brands, words
from pipeline.scanning.engine import Report
from pipeline.scanning.policy import judge
from pipeline.settings import Settings
from tests.support.deceiving import mail

LOOK = Phishing().look
TEXT = "Please verify your account within 24 hours, it will be suspended otherwise."
BAIT = f'<p>{TEXT}</p><p><a href="https://www.evil.example/x">Sign in</a></p>'
FAILED = "spf=fail evil.example; dmarc=none"


def content(
    body: bytes | str,
    sender: str = "PayPal Service <x@evil.example>",
    kind: str = "text/html; charset=utf-8",
    more: str = "",
) -> bytes:
    header = f"From: {sender}\r\nTo: x@y.example\r\nSubject: hello\r\n{more}Content-Type: {kind}\r\n\r\n"
    return header.encode() + (body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))


def names(octets: bytes) -> set[str]:
    return {finding.name for finding in LOOK(mail(octets, FAILED))}


def within(inserted: str) -> str:
    """The text with something in each of its longer words."""
    return re.sub(r"\b(\w{2})(\w{2,})", lambda match: f"{match[1]}{inserted}{match[2]}", TEXT)


@pytest.mark.parametrize(
    "inserted",
    [
        "\u00ad", "\u034f", "\u061c", "\u180e", "\u200b", "\u200c", "\u2060", "\u2062", "\u2066\u2069", "\u202a\u202c", "\u3164", "\ufe0f", "\ufeff", "\uffa0",
        "\U000e0020", "&shy;", "&zwnj;", "&#8203;", "<wbr>", "<b></b>", "<!-- x -->", "<!x>", "<i hidden>qx</i>", '<span style="display:none">qx</span>',
        '<span style="visibility:collapse">qx</span>', '<span style="font-size:0.1px">qx</span>', '<span style="opacity:0.001">qx</span>',
        '<span style="position:absolute;left:-9999px">qx</span>', '<span style="text-indent:-999em;display:inline-block">qx</span>',
        '<span style="display:/**/none">qx</span>', '<span style="display:/* x *//* y */none">qx</span>', "<span style='d\\69splay:none'>qx</span>",
        "<span style='d\\000069 splay:none'>qx</span>", "<span style='display:n\\one'>qx</span>", '<span style="clip:rect(0,0,0,0);position:absolute">qx</span>',
        '<span style="max-height:0;overflow:hidden">qx</span>',
    ],
)  # fmt: skip
def test_what_is_not_seen_within_words_does_not_hide_them(inserted):
    assert {"SAYS_CREDENTIALS", "SAYS_URGENCY"} <= names(content(f"<p>{within(inserted)}</p>"))


@pytest.mark.parametrize(
    "page",
    [
        "<style>.a{display:none}</style><div class=a style='display:block!important'>%s</div>",
        "<style>.a{display:none} .a{display:block}</style><div class=a>%s</div>",
        "<style>.a{display:none} #b{display:block}</style><div id=b class=a>%s</div>",
        "<div style='display:none;display:block'>%s</div>", "<div style='height:0;overflow:visible'>%s</div>", "<div style='mso-hide:all'>%s</div>",
        "<div style='color:#fff;background:#fff url(dark.png)'>%s</div>", "<noscript>%s</noscript>", "<!--[if gte mso 9]>%s<![endif]-->",
    ],
)  # fmt: skip
def test_words_that_only_seem_to_be_hidden_count(page):
    assert "SAYS_CREDENTIALS" in names(content(page % BAIT))


@pytest.mark.parametrize(
    "link",
    [
        '<form action="{0}"><button>Go</button></form>', '<form action="{0}"><input type=submit></form>', '<form><button formaction="{0}">Go</button></form>',
        '<form><input type=image src=x formaction="{0}"></form>', '<svg><a xlink:href="{0}"><text>Go</text></a></svg>', '<map name=m><area href="{0}"></map>',
        "<a href={0}>Go</a>", "<a/href={0}>Go</a>", "<A\fHREF='{0}'>Go</A>", "<p>Go to {0} now</p>", "<!--[if mso]><v:rect href='{0}'></v:rect><![endif]-->",
        "<a href='#' href='{0}'></a><a href='{0}'>Go</a>", '<a href="ht&#10;tps://www.paypal.com.evil.example/x">Go</a>', '<a href="&#1;&#14; {0}">Go</a>',
    ],
)  # fmt: skip
@pytest.mark.parametrize("host", ["https://www.paypal.com.evil.example/x", "HTTPS:\\\\www.paypal.com.evil.example\\x"])
def test_a_link_is_found_wherever_a_reader_can_follow_it(link, host):
    assert "LINK_BEGINS_LIKE" in names(content(f"<p>hello</p>{link.format(host)}"))


@pytest.mark.parametrize(
    "target",
    [
        "https:/www.paypal.com.evil.example", "https:www.paypal.com.evil.example", "https:///www.paypal.com.evil.example", "//www.paypal.com.evil.example",
        "/\\www.paypal.com.evil.example", "https://www.paypal.com.evil.example.", "https://www.paypal.com.evil.example:443/", "https://x:y@www.paypal.com.evil.example",
        "https://www.paypal\t.com.evil.example", "https://www%2epaypal%2ecom.evil.example", "https://www\u3002paypal\uff0ecom.evil.example",
        "https://\uff57\uff57\uff57.\uff50\uff41\uff59\uff50\uff41\uff4c.com.evil.example", "https://www.pay\u00adpal.com.evil.example",
        "https://www.pay\u034fpal.com.evil.example", "https://www.pay\u2064pal.com.evil.example", "https://www.paypal.com.evil.example?x", "https://www.paypal.com.evil.example#x",
    ],
)  # fmt: skip
def test_a_host_is_read_however_it_is_written(target):
    assert "LINK_BEGINS_LIKE" in names(content(f'<p>hello <a href="{target}">Go</a></p>'))


@pytest.mark.parametrize("many", [220, 600])
def test_links_that_nobody_can_click_hide_no_other(many):
    clutter = "".join(f"<a href='https://a{number}.example/'></a>" for number in range(many))
    assert "LINK_BEGINS_LIKE" in names(content(clutter + "<a href='https://www.paypal.com.evil.example/'>Go</a>"))


@pytest.mark.parametrize(
    "sender",
    [
        '"PayPal" <x@evil.example>', "x@evil.example (PayPal)", "=?utf-8?b?UGF5?= =?utf-8?b?UGFs?= <x@evil.example>", '"=?utf-8?q?PayPal?=" <x@evil.example>',
        "=?utf-16be?b?{utf16}?= <x@evil.example>", "=?utf-7?q?PayPal?= <x@evil.example>", "PayPal: <x@evil.example>;", "<>, PayPal <x@evil.example>",
        "Friend <x@friend.example>, PayPal <x@evil.example>", "PayPal <x@evil.example>\r\nFrom: Friend <x@friend.example>",
        "Friend <x@friend.example>\r\nFrom: PayPal <x@evil.example>", "P\u200ba\u034fy\u2066P\ufe0fa\u00adl <x@evil.example>", "P a y P a l <x@evil.example>", "P.a.y.P.a.l <x@evil.example>",
        "PayPalService <x@evil.example>", "PayPal-Sicherheit <x@evil.example>", "\U0001d40f\U0001d41a\U0001d432\U0001d40f\U0001d41a\U0001d425 <x@evil.example>", "\uff30\uff41\uff59\uff30\uff41\uff4c <x@evil.example>",
        "\u1d18\u1d00\u028f\u1d18\u1d00\u029f <x@evil.example>", "\u0420\u0430y\u0420\u0430l <x@evil.example>", "PayPal\u2705 <x@evil.example>", "PayPal <@relay.example:x@evil.example>",
        "\u24c5\u24d0\u24e8\u24c5\u24d0\u24db <x@evil.example>",
    ],
)  # fmt: skip
def test_a_brands_name_is_read_however_it_is_written(sender):
    utf16 = base64.b64encode("PayPal".encode("utf-16-be")).decode()
    assert "FROM_BRAND" in names(content("<p>x</p>", sender.replace("{utf16}", utf16)))


@pytest.mark.parametrize(
    "text", ["a b c d e f", "Ihr Team", "I. T. Abteilung", "J. R. R. Tolkien", "Applebaum", "Amazonia Reisen", "DHLmann", "Metallbau Meier", "Ingo Ottomeyer"]
)  # fmt: skip
def test_other_names_are_no_brands(text):
    assert brands().claimed(text) is None


def test_capitals_of_other_alphabets_are_read_as_small_letters():
    assert words("\U0001d40f\U0001d400\U0001d418 \u24c5ay") == ["pay", "pay"]


@pytest.mark.parametrize("charset", ["utf-16", "utf-16le", "utf-16be", "utf-32", "utf-7"])
def test_a_page_in_a_wide_charset_is_read(charset):
    assert "SAYS_CREDENTIALS" in names(content(BAIT.encode(charset), kind=f"text/html; charset={charset}"))


def parts(*pieces: str, kind: str = "alternative") -> bytes:
    body = "".join(f"--zz\r\n{piece}\r\n" for piece in pieces) + "--zz--\r\n"
    return content(body, kind=f"multipart/{kind}; boundary=zz")


@pytest.mark.parametrize(
    "before",
    [
        ("Content-Type: text/plain\r\n\r\n" + "These are the minutes.\r\n" * 2000,), ("Content-Type: text/plain\r\n\r\nThe minutes.\r\n",) * 40,
        ("Content-Type: text/html\r\n\r\n<p>The minutes.</p>\r\n",) * 40, ("Content-Type: text/x-amp-html\r\n\r\n<html amp4email><p>The minutes.</p>\r\n",),
    ],
    ids=["long", "many", "pages", "amp"],
)  # fmt: skip
def test_harmless_parts_before_it_hide_no_part(before):
    assert {"SAYS_CREDENTIALS", "BRAND_PHISHING"} <= names(parts(*before, f"Content-Type: text/html\r\n\r\n{BAIT}"))


@pytest.mark.parametrize("where", ["text/x-amp-html", "text/html", "application/xhtml+xml"])
def test_a_form_in_any_page_that_is_shown_is_seen(where):
    assert "FORM_PASSWORD" in names(content("<html><form><input type=password></form></html>", kind=where))


@pytest.mark.parametrize(
    "more", ["Content-Disposition: attachment\r\n", "Content-Disposition: attachment; filename=x.html\r\n"]
)
def test_a_message_that_is_nothing_but_a_file_says_what_the_file_says(more):
    assert "SAYS_CREDENTIALS" in names(content(BAIT, more=more))


@pytest.mark.parametrize(
    ("page", "finding"),
    [
        ("<body onload=\"location='https://evil.example/'\">Loading</body>", "HTML_REDIRECT"), ("<iframe src=https://evil.example/></iframe>", "HTML_FRAME"),
        ("<object data=https://evil.example/></object>", "HTML_FRAME"), ("<embed src='data:text/html,x'>", "HTML_FRAME"), ("<frameset><frame src=//evil.example/></frameset>", "HTML_FRAME"),
        ("<img src=x onerror='window.open(\"https://evil.example\")'>", "HTML_REDIRECT"), ("<form><input type=password></form>", "HTML_PASSWORD"),
        ("<iframe srcdoc=\"<form><input type='password'></form>\"></iframe>", "HTML_PASSWORD"), ("<p>" + "x " * 400_000 + "</p><form><input type=password></form>", "HTML_PASSWORD"),
        ("<script>" + "var a=1;" * 60_000 + "</script><form><input type=password></form>", "HTML_PASSWORD"), ("<style>" + "a{b:c} " * 60_000 + "</style><form><input type=password></form>", "HTML_PASSWORD"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.html", "a.HTM", "a.shtml", "a.xht", "a.html. .", "a.html\u200b"])
def test_an_attached_page_that_leads_away_is_found_whatever_it_is_called(page, finding, name):
    encoded = base64.b64encode(name.encode()).decode()
    piece = f'Content-Type: application/octet-stream; name="=?utf-8?b?{encoded}?="\r\nContent-Disposition: attachment\r\n\r\n{page}'
    octets = parts("Content-Type: text/plain\r\n\r\nsee the file\r\n", piece, kind="mixed")
    assert finding in names(octets)
    assert (
        judge(Report(findings=tuple(LOOK(mail(octets, FAILED)))), mail(octets).message, Settings()).verdict
        == "phishing"
    )


@pytest.mark.parametrize(
    "table",
    [str.maketrans("aeopc", "\u0430\u0435\u043e\u0440\u0441"), str.maketrans("ovin", "\u03bf\u03bd\u03b9\u03b7")],
)
def test_words_in_two_alphabets_say_what_they_seem_to_say(table):
    assert {"SAYS_CREDENTIALS", "SAYS_MIXED"} <= names(content(f"<p>{TEXT.translate(table)}</p>"))


def test_units_are_no_words_in_two_alphabets():
    assert (
        names(
            content(
                "<p>4 k\u03a9, 2 M\u03a9, 3 \u03bcm, 5 \u03bcmol, 2 \u03bcA, \u03b2-Blocker, \u03b1-Fe, k\u03a9m</p>",
                "x@y.example",
            )
        )
        == set()
    )


def test_a_threat_behind_a_long_harmless_text_is_read():
    threat = "I recorded a video with your webcam. Send bitcoin to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT"
    octets = parts(
        "Content-Type: text/plain\r\n\r\n" + "These are the minutes.\r\n" * 2000,
        f"Content-Type: text/html\r\n\r\n<p>{threat}</p>",
    )
    assert "EXTORTION" in names(octets)


@pytest.mark.parametrize(
    ("script", "finding"),
    [
        ("var f=window['at'+'ob'];f('x')", "HTML_SMUGGLING"), ("document[\"wri\" + \"te\"]('x')", "HTML_SMUGGLING"), ("self['\\x6c\\x6f\\x63\\x61']='x'", "HTML_SMUGGLING"),
        ("var l='loca'+'tion';window[l]='https://evil.example'", "HTML_SMUGGLING"), ("document.write('<inp'+'ut type=pass'+'word>')", "HTML_SMUGGLING"),
        ("</script><script src=https://evil.example/x.js>", "HTML_LOADS"), ("</script><script src=//evil.example/x.js>", "HTML_LOADS"),
    ],
)  # fmt: skip
def test_a_script_of_an_attached_page_that_hides_what_it_does_is_found(script, finding):
    page = f"<html><script>{script}</script></html>"
    piece = f"Content-Type: text/html; name=a.html\r\nContent-Disposition: attachment\r\n\r\n{page}"
    assert finding in names(parts("Content-Type: text/plain\r\n\r\nsee the file\r\n", piece, kind="mixed"))


def test_an_honest_script_of_an_attached_report_is_none():
    script = "var rows = [['a', 'b'], ['c' , 'd']]; var title = 'Sales' + ' of ' + year; el['data'] = rows; document.title = 'Report' + '!';"
    piece = f"Content-Type: text/html; name=a.html\r\nContent-Disposition: attachment\r\n\r\n<html><script>{script}</script><p>Sales</p></html>"
    assert not names(parts("Content-Type: text/plain\r\n\r\nsee the file\r\n", piece, kind="mixed")) & {
        "HTML_SMUGGLING",
        "HTML_LOADS",
    }


QUOTA = "<p>Your mailbox is full and will be suspended: <a href='https://evil.example/x'>verify your account within 24 hours</a></p>"


@pytest.mark.parametrize(
    "more",
    [
        "In-Reply-To: <1@evil.example>\r\n",
        "References: <a@b> <c@d>\r\n",
        "In-Reply-To: x\r\n",
        "References: <1@mueller-bau.test>\r\n",
    ],
)
def test_a_field_that_anybody_can_write_makes_no_answer(more):
    assert {"SAYS_CREDENTIALS", "ACCOUNT_PHISHING"} <= names(
        content(QUOTA, "mueller-bau.test Support <x@evil.example>", more=more)
    )


@pytest.mark.parametrize(
    "more",
    [
        "In-Reply-To: <1@mueller-bau.test>\r\n",
        "References: <a@b> <CA+x@mail.gmail.com>\r\n",
        "In-Reply-To: <a@b>\r\nList-Id: <x.y.example>\r\n",
    ],
)
def test_an_answer_may_repeat_what_was_said(more):
    octets = content(QUOTA, "Eva <eva@kunde.example>", more=more)
    assert not [
        finding
        for finding in LOOK(mail(octets, "spf=pass kunde.example; dmarc=pass"))
        if finding.name.startswith("SAYS")
    ]
