"""Each sign of phishing by itself, and what it weighs by who sent it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.faults import ConfigurationError
from pipeline.scanning.builtin.links import followed_target, shown_host
from pipeline.scanning.builtin.phishing import MAX_FINDINGS, Phishing
from pipeline.scanning.builtin.tables import Brands, Phrases, brands, freemail, hosts, phrases, standing, words
from pipeline.scanning.builtin.targets import target_of
from pipeline.scanning.builtin.view import Proof, proof_of
from tests.support.deceiving import authentication, mail

LOOK = Phishing().look
SHOP = "shop.example"


def found(
    html: str, auth: str = "", sender: str = f"Shop <post@{SHOP}>", subject: str = "hello", more: str = ""
) -> dict[str, float]:
    """Finding -> score."""
    header = f"From: {sender}\r\nTo: x@y.example\r\nSubject: {subject}\r\n{more}Content-Type: text/html; charset=utf-8\r\n\r\n"
    return {finding.name: finding.score for finding in LOOK(mail((header + html).encode(), auth))}


def link(target: str, text: str = "here") -> str:
    return f'<p>Hello, this is what we spoke of: <a href="{target}">{text}</a></p>'


PROVEN = f"spf=pass {SHOP}; dmarc=pass"
FAILED = f"spf=fail {SHOP}; dmarc=fail"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("https://www.shop.example/x", "shop.example"),
        ("https://other.example/x", "read more"),
        ("https://other.example/x", "report.pdf"),
        ("https://other.example/x", "built with Node.js"),
        ("https://click.tracker.example/x", "https://www.shop.example"),
        ("https://www.google.de/x", "google.com"),
        ("https://bigsite.example/url?q=https://partner.example", "partner.example"),
        ("https://mueller-bau.test/x", "https://www.shop.example"),
        ("https://192.168.1.1/", "https://portal.example"),
    ],
)
def test_texts_that_do_not_contradict_their_target(target, text):
    assert "LINK_MISMATCH" not in found(link(target, text))


def test_a_mismatch_weighs_by_who_sent_it_and_what_is_shown():
    def weigh(auth: str, shown: str, sender: str = f"post@{SHOP}") -> float:
        return found(link("https://other.example/x", shown), auth, sender)["LINK_MISMATCH"]

    assert weigh(PROVEN, "www.shop.example") < weigh("", "www.shop.example") < weigh(FAILED, "www.shop.example")
    assert weigh(PROVEN, "www.third.example") < weigh(PROVEN, "www.paypal.com") < weigh(FAILED, "www.paypal.com")
    assert weigh("", "https://mueller-bau.test/login") >= 2.5


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("http://192.0.2.9/x", "LINK_ADDRESS"),
        ("http://3221226029/", "LINK_DISGUISED"),
        ("https://www.paypal.com@evil.example/", "LINK_USER"),
        ("https://evil.example:7777/", "LINK_PORT"),
        ("https://short.example/a", "LINK_SHORTENED"),
        ("https://me.builder.example/", "LINK_BUILDER"),
        ("https://bigsite.example/url?x=1&q=https%3A%2F%2Fevil.example", "LINK_REDIRECTED"),
        ("https://paypal.com.evil.example/", "LINK_BEGINS_LIKE"),
        ("https://www.paypal.com-login.example/", "LINK_BEGINS_LIKE"),
        ("https://mueller-bau.test.evil.example/", "LINK_BEGINS_LIKE"),
        ("https://paypal.evil.example/", "LINK_NAMES_BRAND"),
        ("https://paypal-login.example/", "LINK_LIKE_BRAND"),
        ("https://rnueller-bau.example/", "LINK_LIKE_OURS"),
        ("https://p\u0430ypal.example/", "LINK_SCRIPTS"),
        ("data:text/html,<form>", "LINK_DATA"),
        ("javascript:window.location='https://evil.example/x'", "LINK_SCRIPT"),
        ("https://evil.example/#anna.schmidt@mueller-bau.test", "LINK_FILLED_IN"),
        ("https://evil.example/?u=anna.schmidt%40mueller-bau.test", "LINK_FILLED_IN"),
        ("https://evil.example/YW5uYS5zY2htaWR0QG11ZWxsZXItYmF1LnRlc3Q=", "LINK_FILLED_IN"),
    ],
)  # fmt: skip
def test_links_that_are_odd(target, name):
    names = found(link(target))
    assert name in names
    assert names[name] < 5


@pytest.mark.parametrize(
    "target",
    [
        "https://www.shop.example/", "https://www.paypal.com/x", "https://10.0.0.1:9443/", "https://a.example:8443/", "javascript:void(0)", "#top",
        "mailto:a@b.example", "https://www.google.com/search?q=a.b", "https://m\u00fcller.example/", "https://shop.example/newsletter/abmelden?u=anna.schmidt@mueller-bau.test",
        "https://paypal.com", "https://mueller-bau.test/x", "https://amazon.cz/",
    ],
)  # fmt: skip
def test_links_that_are_not(target):
    assert found(link(target)) == {}


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://www.a.example/x", "www.a.example"),
        ("www.a.example", "www.a.example"),
        ("a.example", "a.example"),
        ("a.example/path/of?x", "a.example"),
        ("Visit https://a.example/x now", "a.example"),
        ("(a.example)", "a.example"),
        ("report.pdf", ""),
        ("Visit a.example now", ""),
        ("1.2.3", ""),
        ("post@a.example", ""),
        ("and so on...", ""),
        ("", ""),
    ],
)
def test_the_host_that_a_text_shows(text, host):
    assert shown_host(text) == host


def test_redirections_of_big_sites_are_followed():
    followed = followed_target(target_of("https://www.google.com/url?sa=D&q=https%3A%2F%2Fx.example%2F"))
    assert followed is not None
    assert followed.host == "x.example"
    assert followed_target(target_of("https://www.google.com/search?q=https://x.example")) is None


@pytest.mark.parametrize(
    ("sender", "names"),
    [
        ("PayPal <x@evil.example>", {"FROM_BRAND"}),
        ("PayPal Service-Team <x@evil.example>", {"FROM_BRAND"}),
        ("=?utf-8?b?UGF5UNCwbA==?= <x@evil.example>", {"FROM_BRAND"}),
        ("P4yPal <x@evil.example>", set()),
        ("PayPa1 <x@evil.example>", {"FROM_BRAND"}),
        ("Otto <x@evil.example>", {"FROM_BRAND"}),
        ("Otto <otto@gmail.com>", set()),
        ("PayPal <paypal@gmail.com>", {"FROM_BRAND"}),
        ("Microsoft Support <ms.help.77@outlook.com>", {"FROM_BRAND"}),
        ("WEB.DE Kundenservice <service@web.de>", set()),
        ("Otto Weber <x@evil.example>", set()),
        ("Rechnung <paypal.zahlung.77@gmail.com>", {"FROM_BRAND"}),
        ("Apple Support <x@evil.example>", {"FROM_BRAND"}),
        ("Apple Growers of Kent <x@growers.example>", set()),
        ("PayPal <service@paypal.com>", set()),
        ("PayPal <service@mail.paypal.de>", set()),
        ("PayPal <service@paypal.cz>", set()),
        ("Google via Microsoft <no-reply@microsoft.com>", set()),
        ("x@paypal-security.example", {"FROM_LIKE_BRAND"}),
        ("Mueller-Bau Support <x@evil.example>", {"FROM_NAMES_US"}),
        ("mueller-bau.test <x@evil.example>", {"FROM_NAMES_US"}),
        ("Mueller Bau <x@mueller-bau.example>", {"FROM_OTHER_SUFFIX"}),
        ("Thomas Müller <x@evil.example>", {"FROM_PROTECTED_NAME"}),
        ("Müller, Thomas <x@evil.example>", {"FROM_PROTECTED_NAME"}),
        ('"Müller, Thomas" <x@evil.example>', {"FROM_PROTECTED_NAME"}),
        ("Dr. Thomas Mueller <x@evil.example>", {"FROM_PROTECTED_NAME"}),
        ("Thomas Müllermann <x@evil.example>", set()),
        ("Anna <anna.schmidt@mueller-bau.test>", set()),
    ],
)
def test_who_a_message_says_to_be_from(sender, names):
    assert set(found("<p>hello</p>", sender=sender)) == names


def test_a_domain_of_our_own_that_proves_nothing():
    ours = "Anna <anna.schmidt@mueller-bau.test>"
    assert found("x", "spf=pass mueller-bau.test; dmarc=pass", ours) == {}
    assert found("x", "spf=none; dmarc=none", ours) == {"FROM_OURS_FORGED": 2.0}
    assert found("x", "spf=fail; dmarc=fail reject", ours) == {"FROM_OURS_FORGED": 2.0}
    listed = "List-Id: <dev.lists.example>\r\n"
    assert found("x", "spf=fail; dmarc=fail", ours, more=listed) == {"FROM_OURS_FORGED": 0.5}
    assert found("x", "spf=temperror; dmarc=temperror", ours) == {}
    assert found("x", "", ours) == {}


@pytest.mark.parametrize(
    ("reply", "auth", "names"),
    [
        (f"x@{SHOP}", "", set()),
        (f"x@answers.{SHOP}", "", set()),
        ("x@other.example", "", set()),
        ("x@gmail.com", "", {"REPLY_FREEMAIL"}),
        ("x@rnueller-bau.example", "", {"REPLY_LIKE_OURS"}),
        ("x@paypal-login.example", "", {"REPLY_LIKE_BRAND"}),
    ],
)
def test_answers_that_go_elsewhere(reply, auth, names):
    assert set(found("x", auth, more=f"Reply-To: {reply}\r\n")) == names


def test_answers_in_a_brands_or_our_own_name_that_go_elsewhere():
    more = "Reply-To: x@gmail.com\r\n"
    assert found("x", FAILED, "service@paypal.com", more=more)["REPLY_ELSEWHERE"] == 3.0
    assert found("x", "spf=pass paypal.com; dmarc=pass", "service@paypal.com", more=more)["REPLY_ELSEWHERE"] < 0.5
    assert found("x", FAILED, "anna.schmidt@mueller-bau.test", more=more)["REPLY_ELSEWHERE"] == 0.5


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("", Proof.UNKNOWN),
        ("dmarc=pass", Proof.YES),
        ("dmarc=fail; spf=pass b.example", Proof.NO),
        ("dmarc=none; spf=pass mail.a.example", Proof.YES),
        ("dmarc=none; dkim=pass a.example", Proof.YES),
        ("dmarc=none; dkim=fail a.example; spf=none", Proof.NO),
        ("dmarc=none; spf=pass b.example", Proof.NO),
        ("dmarc=temperror; spf=temperror", Proof.UNKNOWN),
    ],
)
def test_whether_a_domain_stands_behind_its_mail(auth, expected):
    assert proof_of(authentication(auth), "a.example") is expected


def test_the_tables_are_whole():
    ours = brands()
    assert len(set(ours.organisations.values())) >= 100
    assert {"paypal", "microsoft", "sparkasse", "telekom"} <= set(ours.labels)
    assert "gmail.com" in freemail()
    assert {"bit.ly", "short.example"} <= hosts().shorteners
    assert standing("me.github.io").builder == "github.io"
    assert phrases().found(words("Please VERIFY  your Account!")) == {"credentials": "verify your account"}


@pytest.mark.parametrize("text", ["PayPal", "PayPal =", "= paypal.com", "PayPal = paypal", "~ = x.example"])
def test_a_line_of_the_table_that_is_not_understood_is_named(text):
    with pytest.raises(ConfigurationError, match="line 2"):
        Brands(f"# brands\n{text}\n")


@pytest.mark.parametrize(
    ("host", "owned"),
    [
        ("kasse.example", True), ("www.kasse-nord.example", True), ("kasse-bad-homburg.example", True), ("kasse-login.example", False),
        ("kasse-kundenlogin.example", False), ("kasse-push-tan.example", False), ("kasse-nord.test", False), ("xkasse-nord.example", False),
    ],
)  # fmt: skip
def test_members_of_a_federation_are_named_like_it(host, owned):
    table = Brands("Kasse = kasse.example kasse-*.example")
    claim = table.claimed("Kasse Service")
    assert claim is not None
    assert claim.brand.owns(host) is owned


@pytest.mark.parametrize(
    ("text", "brand"),
    [
        ("PayPal", "PayPal"), ("your PayPal account", "PayPal"), ("max@web.de", ""), ("see https://www.paypal.com/x", ""), ("version 1.1", ""),
        ("WEB.DE Kundenservice", "Web.de"), ("Sparkasse Hannover", "Sparkasse"), ("Deutsche Bank AG", "Deutsche Bank"), ("the bank", ""), ("Anna Chase", ""),
    ],
)  # fmt: skip
def test_the_brand_that_a_text_names(text, brand):
    claim = brands().claimed(text)
    assert (claim.brand.name if claim else "") == brand


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Phishing(str(tmp_path / "none.txt"))
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        Phishing(str(tmp_path / "odd.txt"))


def test_ones_own_table_takes_the_place_of_ours(tmp_path):
    (tmp_path / "brands.txt").write_text("Stadtwerke Muster = stadtwerke-muster.example\n")
    look = Phishing(str(tmp_path / "brands.txt")).look
    names = [finding.name for finding in look(mail(b"From: Stadtwerke Muster <x@evil.example>\r\n\r\n"))]
    assert names == ["FROM_BRAND"]
    assert look(mail(b"From: PayPal <x@evil.example>\r\n\r\n")) == []


@given(st.lists(st.sampled_from(["verify", "your", "account", "now", "x"]), max_size=12))
def test_a_phrase_is_found_where_its_words_stand_together(spoken):
    there = "verify your account" in " ".join(spoken)
    assert bool(Phrases({"a": ["verify your account"]}).found(spoken)) == there


PIECES = st.sampled_from([
    b"From: PayPal <a@b>\r\n", b"Reply-To: <@>, x@[1]\r\n", b"Content-Type: text/html\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n", b"\r\n\r\n", b"--b\r\n",
    b'<a href="', b"http://", b"https://paypal.com@", b"\\\\", b"0x7f.1", b'">', b"www.paypal.com", b"</a>", b"<form action=//x><input type=password>", b"<script>atob(", b"<meta http-equiv=refresh content='0;url=",
    b"<base href=x>", b"<!--[if mso]><a href=//y><![endif]-->", b"xn--\xff", b"%65", b"data:text/html,", b"<svg><script>", b'<style>.a{display:none}</style><p class="a">', b"verify your account urgent gift card",
    b'Content-Disposition: attachment; filename="a.html"\r\n', "p\u0430y\u0440al ".encode(), b'style="color:#fff;background:white"',
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=30)), max_size=40), st.sampled_from(["", PROVEN, FAILED]))
def test_any_octets_give_findings_and_no_exception(pieces, auth):
    findings = LOOK(mail(b"".join(pieces), auth))
    assert len(findings) <= MAX_FINDINGS
    assert all(finding.text.isprintable() and finding.score > 0 and len(finding.text) <= 300 for finding in findings)


def test_words_in_two_alphabets_are_read_and_found():
    names = found("<p>V\u0435rify y\u043eur acc\u043eunt now</p>")
    assert {"SAYS_MIXED", "SAYS_CREDENTIALS"} <= set(names)
    assert (
        found(
            "<p>IP-\u0430\u0434\u0440\u0435\u0441, SMS-\u043a\u043e\u0434, Windows \u0438 USB, 10 k\u03a9, 5 \u03bcm</p>"
        )
        == {}
    )


def test_a_text_with_characters_that_are_not_seen_shows_its_host_all_the_same():
    assert "LINK_MISMATCH" in found(link("https://evil.example/", "https://www.pay\u200bpal.com"))
