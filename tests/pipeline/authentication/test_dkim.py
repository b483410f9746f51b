"""DKIM: what real signers make passes, what was altered or is hostile does not, and both agree with dkimpy."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.authentication import canonical, dkim, domainkey, signature
from pipeline.authentication.dkim import MAX_SIGNATURES, Signature
from pipeline.events import AuthResult
from pipeline.mime import Header
from pipeline.resolver import Resolver
from pipeline.units import SECOND
from tests.support.dns import Names
from tests.support.mail import crlf, mapped, noise
from tests.support.signing import Published, comparable, crafted, ed25519_signer, rsa_signer, sign, verified_by_dkimpy

NAME = "s1._domainkey.a.example"
MAIL = crlf(b"""\
Received: from a.example by mx.example
\twith ESMTPS; Mon, 23 Nov 2026 09:58:00 +0000
From: Some  One <some.one@a.example>
To: x@example.test
Subject: a subject\t in
  two lines
Date: Mon, 23 Nov 2026 09:58:00 +0000
Message-ID: <1@a.example>

Hello,  world \t
.

  the end


""")
SIGNERS = {"rsa": rsa_signer, "ed25519": ed25519_signer, "rsa1024": lambda: rsa_signer(1024)}
FORMS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]


async def verified(content, names=None, *, now=None) -> tuple[Signature, ...]:
    names = names or Published({NAME: rsa_signer().record})
    return await dkim.verify(content, Header(content), names, now=time.time_ns() if now is None else now)


async def outcome(content, names=None, *, now=None) -> tuple[str, str]:
    (found,) = await verified(content, names, now=now)
    return found.result, found.reason


# Real signatures


RFC6376 = crlf(b"""\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
""")
"""RFC 6376 A.2, with one space between the sentences (erratum 3192) and b= folded as it was when it was made."""
RFC6376_KEY = (
    b"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4j"
    b"YfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)
RFC8463 = crlf(b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.

""")
RFC8463_KEYS = {
    "brisbane._domainkey.football.example.com": b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test._domainkey.football.example.com": b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id"
    b"Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2"
    b"EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}


async def test_the_message_of_rfc_6376_verifies():
    (found,) = await verified(RFC6376, Published({"brisbane._domainkey.example.com": RFC6376_KEY}))
    assert found == Signature(
        result="pass", domain="example.com", selector="brisbane", identity="joe@football.example.com",
        algorithm="rsa-sha256", mark="AuUoFEfD",
    )  # fmt: skip


async def test_both_signatures_of_rfc_8463_verify():
    found = await verified(RFC8463, Published(RFC8463_KEYS))
    assert [(one.result, one.algorithm, one.selector, one.mark) for one in found] == [
        ("pass", "ed25519-sha256", "brisbane", "/gCrinpc"),
        ("pass", "rsa-sha256", "test", "F45dVWDf"),
    ]


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("kind", SIGNERS)
async def test_what_dkimpy_signs_verifies(kind, forms):
    signer = SIGNERS[kind]()
    message = sign(MAIL, signer, forms=forms)
    names = Published({NAME: signer.record})
    assert verified_by_dkimpy(message, names)
    (found,) = await verified(message, names)
    assert (found.result, found.reason) == ("pass", "")
    assert (found.domain, found.selector, found.identity) == ("a.example", "s1", "@a.example")
    assert found.unsigned_octets == 0
    assert not found.testing


async def test_the_keys_come_from_a_real_dns_server():
    pieces = re.findall(r".{1,200}", rsa_signer().record.decode())
    record = " ".join(f'"{piece}"' for piece in pieces)
    async with Names({(NAME, "TXT"): [record]}, failing={"s2._domainkey.a.example"}) as dns:
        resolver = Resolver(f"127.0.0.1:{dns.port}")
        message = sign(sign(MAIL, rsa_signer(), selector="s2"), rsa_signer(), selector="s3")
        found = await verified(sign(message, rsa_signer()), resolver)
        assert [one.result for one in found] == ["pass", "permerror", "temperror"]
        assert found[1].reason == "the domain has no such key"


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b"x", b" \r\n"])
@pytest.mark.parametrize("forms", FORMS)
async def test_bodies_that_are_hardly_there(forms, body):
    message = sign(MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body, rsa_signer(), forms=forms)
    assert await outcome(message) == ("pass", "")


async def test_a_message_that_is_a_header_only():
    message = sign(MAIL.partition(b"\r\n\r\n")[0] + b"\r\n", rsa_signer(), forms="simple/simple")
    assert await outcome(message) == ("pass", "")


async def test_names_in_unicode_are_asked_for_in_a_labels():
    """RFC 8616."""
    message = sign(
        MAIL, rsa_signer(), domain="bücher.example", selector="sélecteur", identity="jürgen@mail.bücher.example"
    )
    name = "xn--slecteur-b1a._domainkey.xn--bcher-kva.example"
    names = Published({name: rsa_signer().record})
    (found,) = await verified(message, names)
    assert (found.result, found.domain, found.selector) == ("pass", "xn--bcher-kva.example", "xn--slecteur-b1a")
    assert found.identity == "jürgen@mail.xn--bcher-kva.example"
    assert names.asked == [name]


async def test_what_was_added_behind_l_is_told_apart_from_a_whole_pass():
    message = sign(MAIL, rsa_signer(), length=True)
    (found,) = await verified(message)
    assert (found.result, found.reason, found.unsigned_octets) == ("pass", "", 0)
    (found,) = await verified(message + b"buy this\r\n")
    # Two empty lines, which count as soon as something follows them, and ten octets.
    assert (found.result, found.reason, found.unsigned_octets) == ("pass", "14 octets at the end are not signed", 14)
    assert verified_by_dkimpy(message + b"buy this\r\n", Published({NAME: rsa_signer().record}))


async def test_l_may_not_say_more_than_the_body_has():
    assert await outcome(crafted(MAIL, rsa_signer(), l="0")) == ("pass", "29 octets at the end are not signed")
    assert await outcome(crafted(MAIL, rsa_signer(), l="30")) == (
        "permerror",
        "the signature covers more than the body",
    )
    assert await outcome(crafted(MAIL, rsa_signer(), l="9" * 76)) == (
        "permerror",
        "the signature covers more than the body",
    )


async def test_each_of_several_signatures_is_judged_by_itself():
    other = ed25519_signer()
    broken = sign(MAIL, rsa_signer(number=1), selector="s2").replace(b"Subject: a", b"Subject: b")
    message = sign(sign(broken, rsa_signer()), other, domain="b.example", forms="simple/relaxed")
    names = Published(
        {
            NAME: rsa_signer().record,
            "s2._domainkey.a.example": rsa_signer(number=1).record,
            "s1._domainkey.b.example": other.record,
        }
    )
    found = await verified(message, names)
    assert [(one.domain, one.selector, one.result) for one in found] == [
        ("b.example", "s1", "pass"),
        ("a.example", "s1", "pass"),
        ("a.example", "s2", "fail"),
    ]


async def test_ten_signatures_cost_one_question_and_one_look_at_the_body(monkeypatch):
    passes = []
    real = canonical.body_hashes
    monkeypatch.setattr(canonical, "body_hashes", lambda *args: passes.append(args[2]) or real(*args))
    message = MAIL
    for _ in range(MAX_SIGNATURES + 3):
        message = sign(message, rsa_signer())
    names = Published({NAME: rsa_signer().record})
    found = await verified(message, names)
    assert [one.result for one in found] == ["pass"] * MAX_SIGNATURES
    assert names.asked == [NAME]
    assert passes == [{canonical.Wanted(relaxed=True)}]


async def test_the_keys_of_a_message_are_asked_for_at_once():
    waiting = []
    both = asyncio.Event()

    class Slow(Published):
        async def txt(self, name):
            waiting.append(name)
            if len(waiting) == 2:
                both.set()
            await both.wait()
            return await super().txt(name)

    message = sign(sign(MAIL, rsa_signer()), rsa_signer(), selector="s2")
    names = Slow({NAME: rsa_signer().record, "s2._domainkey.a.example": rsa_signer().record})
    async with asyncio.timeout(10):
        assert [one.result for one in await verified(message, names)] == ["pass", "pass"]


async def test_a_message_without_a_signature_has_none():
    assert await verified(MAIL) == ()
    assert dkim.as_results(()) == (AuthResult(method="dkim", result="none"),)


async def test_results_say_what_was_looked_at():
    found = await verified(sign(MAIL, rsa_signer(), identity="me@sub.a.example"))
    (result,) = dkim.as_results(found)
    assert (result.method, result.result, result.reason) == ("dkim", "pass", "")
    assert dict(result.properties) == {
        "header.d": "a.example",
        "header.i": "me@sub.a.example",
        "header.s": "s1",
        "header.a": "rsa-sha256",
        "header.b": found[0].mark,
    }


async def test_marks_are_as_long_as_it_takes_to_tell_signatures_apart():
    """RFC 6008 3."""
    names = Published({NAME: rsa_signer().record})
    for beginning, length in ((b"AAAAAAA", 8), (b"A" * 8, 16), (b"A" * 20, 32)):
        fields = [
            b"DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s1; h=from; bh=AAAA; b=" + beginning + end + b"A" * (79 - len(beginning))
            for end in (b"B", b"C", b"D")
        ]  # fmt: skip
        found = await verified(b"\r\n".join([*fields, MAIL]), names)
        assert {len(one.mark) for one in found} == {length}
        assert len({one.mark for one in found}) == 3
    same = sign(MAIL, rsa_signer())
    field = same[: -len(MAIL)]
    assert {len(one.mark) for one in await verified(field + same, names)} == {8}


# What was altered


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"some.one@", b"some.two@", "the signature does not verify"),
        (b"To: x", b"To: y", "the signature does not verify"),
        (b"two lines\r\n", b"two lines!\r\n", "the signature does not verify"),
        (b"Message-ID: <1@a.example>\r\n", b"", "the signature does not verify"),
        (b"Subject: a subject", b"subject2: a subject", "the signature does not verify"),
        (b"To: x@example.test\r\n", b"To: x@example.test\r\nTo: z@example.test\r\n", "the signature does not verify"),
        (b"Hello", b"hello", "the body was altered"),
        (b"the end\r\n", b"the end\r\nmore\r\n", "the body was altered"),
        (b"\r\n.\r\n", b"\r\n", "the body was altered"),
        (b"\r\n\r\n  the end", b"\r\n  the end", "the body was altered"),
        (b"s=s1", b"s=s1; z=From:x", "the signature does not verify"),
        (b"q=dns/txt; ", b"", "the signature does not verify"),
        (b"i=@a.example", b"i=x@a.example", "the signature does not verify"),
    ],
)
async def test_an_altered_message_fails(kind, forms, old, new, reason):
    signer = SIGNERS[kind]()
    message = sign(MAIL, signer, forms=forms)
    assert message.count(old) == 1
    names = Published({NAME: signer.record})
    altered = message.replace(old, new)
    assert await outcome(altered, names) == ("fail", reason)
    assert not verified_by_dkimpy(altered, names)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Received: from a", b"Received: from b"),  # not signed
        (b"From:", b"FROM :\t"),
        (b"Some  One", b"Some\t\tOne"),
        (b"subject\t in\r\n  two", b"subject in two"),
        (b"To: x@example.test\r\n", b"To:x@example.test  \r\n"),
        (b"Hello,  world \t\r\n", b"Hello, world\r\n"),
        (b"the end\r\n\r\n\r\n", b"the end\r\n"),
        (b"the end\r\n\r\n\r\n", b"the end\r\n \r\n\t\r\n\r\n"),
    ],
)
async def test_what_the_relaxed_form_allows_still_verifies(old, new):
    message = sign(MAIL, rsa_signer())
    assert message.count(old) == 1
    assert await outcome(message.replace(old, new)) == ("pass", "")


@pytest.mark.parametrize("forms", FORMS)
async def test_the_signature_may_be_folded_anew(forms):
    """White space in b= is no part of what is signed (RFC 6376 3.5)."""
    message = sign(MAIL, rsa_signer(), forms=forms)
    value = re.search(rb"\sb=((?:[A-Za-z0-9+/=]|\r\n\s)+\r\n)", message)
    compact = b"".join(value[1].split())
    for other in (compact + b"\r\n", b"\r\n\t" + b"\r\n ".join(re.findall(b".{1,20}", compact)) + b" \t\r\n"):
        assert await outcome(message.replace(value[1], other)) == ("pass", "")


OCTETS = st.sampled_from(b" \tAa:;=,.@<>\xff1/+")


@pytest.mark.parametrize("forms", FORMS)
@settings(max_examples=150)
@given(data=st.data())
def test_an_octet_more_less_or_other_is_judged_as_dkimpy_judges_it(forms, data):
    message = SIGNED[forms]
    at = data.draw(st.integers(0, len(message) - 1).filter(lambda place: message[place : place + 1] not in b"\r\n"))
    octet = bytes((data.draw(OCTETS),))
    altered = data.draw(
        st.sampled_from(
            [
                message[:at] + octet + message[at:],
                message[:at] + octet + message[at + 1 :],
                message[:at] + message[at + 1 :],
            ]
        )
    )
    names = Published({NAME: rsa_signer().record})
    assume(comparable(message, altered, at))
    mine = [found.result for found in asyncio.run(verified(altered, names))] == ["pass"]
    assert verified_by_dkimpy(altered, names) is mine


SIGNED = {forms: sign(MAIL, rsa_signer(), forms=forms) for forms in FORMS}


# What is no signature


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"v": None}, ("permerror", "the signature has no v tag")),
        ({"a": None}, ("permerror", "the signature has no a tag")),
        ({"d": None}, ("permerror", "the signature has no d tag")),
        ({"s": ""}, ("permerror", "the signature has no s tag")),
        ({"h": ""}, ("permerror", "the signature has no h tag")),
        ({"bh": None}, ("permerror", "the signature has no bh tag")),
        ({"b": ""}, ("permerror", "the signature has no b tag")),
        ({"v": "2"}, ("permerror", "a version that is not known")),
        ({"v": "0.5"}, ("permerror", "a version that is not known")),
        ({"a": "rsa-sha1"}, ("policy", "rsa-sha1 is no longer accepted")),
        ({"a": "rsa-sha512"}, ("neutral", "an algorithm that is not known")),
        ({"a": "ed25519-sha256"}, ("permerror", "the key is for another algorithm")),
        ({"c": "relaxed/nowsp"}, ("neutral", "a canonicalisation that is not known")),
        ({"c": "relaxed/relaxed/relaxed"}, ("neutral", "a canonicalisation that is not known")),
        ({"c": ""}, ("neutral", "a canonicalisation that is not known")),
        ({"q": "http/txt"}, ("neutral", "the key is not in the DNS")),
        ({"d": "nolabel"}, ("permerror", "the domain or the selector is not a name")),
        ({"d": "a..example"}, ("permerror", "the domain or the selector is not a name")),
        ({"d": "a.example."}, ("permerror", "the domain or the selector is not a name")),
        ({"d": "a.example x"}, ("permerror", "the domain or the selector is not a name")),
        ({"d": "a" * 64 + ".example"}, ("permerror", "the domain or the selector is not a name")),
        ({"d": "x." * 2000 + "example"}, ("permerror", "the domain or the selector is not a name")),
        ({"s": "a/b"}, ("permerror", "the domain or the selector is not a name")),
        ({"s": "x" * 300}, ("permerror", "the domain or the selector is not a name")),
        ({"h": "to:subject"}, ("permerror", "From is not signed")),
        ({"h": "fromage:to"}, ("permerror", "From is not signed")),
        ({"i": "a.example"}, ("permerror", "the identity is not an address")),
        ({"i": "me@"}, ("permerror", "the identity is not an address")),
        ({"i": "=00@a.example"}, ("permerror", "the identity is not an address")),
        ({"i": "x" * 1000 + "@a.example"}, ("permerror", "the identity is not an address")),
        ({"i": "me@b.example"}, ("permerror", "the identity is of another domain than the signature")),
        ({"i": "me@nota.example"}, ("permerror", "the identity is of another domain than the signature")),
        ({"i": "me@a.example.b.example"}, ("permerror", "the identity is of another domain than the signature")),
        ({"l": "-1"}, ("permerror", "the l tag is not a number")),
        ({"l": ""}, ("permerror", "the l tag is not a number")),
        ({"l": "9" * 77}, ("permerror", "the l tag is not a number")),
        ({"t": "now"}, ("permerror", "the t tag is not a number")),
        ({"x": "1e9"}, ("permerror", "the x tag is not a number")),
        ({"bh": "?"}, ("permerror", "the bh tag is not base64")),
        ({"bh": "AAAA"}, ("fail", "the body was altered")),
        ({"b": "?"}, ("permerror", "the b tag is not base64")),
        ({"b": "AAAA"}, ("fail", "the signature does not verify")),
        ({"b": "A" * 100_000}, ("fail", "the signature does not verify")),
        ({"x1": "a;;y=b"}, ("permerror", "the signature is malformed: not a list of tags")),
        ({"x1": "a;d=a.example"}, ("permerror", "the signature is malformed: a tag that is there twice")),
        ({"x1": "\x07"}, ("permerror", "the signature is malformed: a control character in the tag list")),
        (
            {"x1": ";".join(f"t{n}=x" for n in range(60))},
            ("permerror", "the signature is malformed: more tags than are looked at"),
        ),
    ],
)
async def test_a_signature_that_is_none_says_why(changed, expected):
    assert await outcome(crafted(MAIL, rsa_signer(), **changed)) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"c": None},
        {"c": "relaxed"},
        {"c": "simple"},
        {"c": "Relaxed/SIMPLE"},
        {"a": "RSA-SHA256"},
        {"d": "A.Example", "s": "S1"},
        {"q": "http/txt:dns/txt"},
        {"h": "From : to:\r\n\tsubject"},
        {"h": "from:to::subject:"},
        {"h": "from:from:to:subject:x-none"},
        {"i": "me@a.example"},
        {"i": "=6De@deep.sub.a.example"},
        {"t": "1", "x": "99999999999"},
        {"z": "From:me@a.example|To:=20x", "unknown": "x"},
        {"h": "from:dkim-signature"},
    ],
)
async def test_tags_in_any_form_that_the_grammar_allows(changed):
    assert await outcome(crafted(MAIL, rsa_signer(), **changed)) == ("pass", "")


async def test_a_signature_in_its_own_h_is_one_that_was_not_there():
    """RFC 6376 5.4: others may be signed, it cannot sign itself."""
    first = crafted(MAIL, rsa_signer(), h="from:dkim-signature:dkim-signature")
    second = crafted(first, rsa_signer(), h="from:dkim-signature:dkim-signature")
    assert [found.result for found in await verified(second)] == ["pass", "fail"]  # the first forbade to add one


T = 1_800_000_000


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"x": str(T + 1)}, "pass"),
        ({"x": str(T - signature.GRACE)}, "pass"),
        ({"x": str(T - signature.GRACE - 1)}, "policy"),
        ({"t": str(T + signature.FUTURE)}, "pass"),
        ({"t": str(T + signature.FUTURE + 1)}, "policy"),
        ({"t": "0", "x": str(T)}, "pass"),
        ({"t": str(T), "x": str(T)}, "permerror"),
        ({"t": str(T), "x": str(T - 1)}, "permerror"),
    ],
)
async def test_when_a_signature_counts(changed, expected):
    result, _ = await outcome(crafted(MAIL, rsa_signer(), **changed), now=T * SECOND + 999)
    assert result == expected


# From, and fields that are there more than once


async def test_a_second_from_must_be_signed_too():
    other = b"From: somebody.else@bank.example\r\n"
    message = sign(MAIL, rsa_signer(), names=[b"from", b"to"])
    for altered in (other + message, message.replace(b"To:", other + b"To:")):
        assert await outcome(altered) == ("permerror", "there is a From that is not signed")
        assert not verified_by_dkimpy(altered, Published({NAME: rsa_signer().record}))
    assert await outcome(sign(other + MAIL, rsa_signer(), names=[b"from", b"from"])) == ("pass", "")


async def test_an_oversigned_field_cannot_be_added():
    message = sign(MAIL, rsa_signer(), names=[b"from", b"subject", b"subject", b"cc"])
    assert await outcome(message) == ("pass", "")
    for added in (b"Subject: another\r\n", b"Cc: somebody@else.example\r\n"):
        assert await outcome(added + message) == ("fail", "the signature does not verify")


async def test_a_field_that_is_signed_once_may_be_added_above_only():
    message = sign(b"X-Note: one\r\n" + MAIL, rsa_signer(), names=[b"from", b"x-note"])
    assert await outcome(b"X-Note: two\r\n" + message) == ("pass", "")
    assert await outcome(message.replace(b"\r\nFrom:", b"\r\nX-Note: two\r\nFrom:")) == (
        "fail",
        "the signature does not verify",
    )


# Keys


def der(*numbers: int) -> bytes:
    """An RSAPublicKey (RFC 8017 A.1.1)."""

    def item(kind: int, octets: bytes) -> bytes:
        size = len(octets)
        long = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes((size,)) if size < 128 else bytes((0x80 | len(long),)) + long
        return bytes((kind,)) + length + octets

    return item(0x30, b"".join(item(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in numbers))


def record(*numbers: int) -> bytes:
    return b"k=rsa; p=" + base64.b64encode(der(*numbers))


P = rsa_signer().record.partition(b"p=")[2]


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (b"p=" + P, ("pass", "")),
        (b" v = DKIM1 ; k = RSA ; p = " + b" \r\n".join(re.findall(b".{1,70}", P)) + b" ;", ("pass", "")),
        (b"v=DKIM1; h=sha1:sha256; s=email; t=y:s; n=note; x=y; p=" + P, ("pass", "")),
        (b"v=DKIM1; s=tlsrpt:*; p=" + P, ("pass", "")),
        (b"h=sha256; k=rsa; v=DKIM1; p=" + P, ("pass", "")),
        ([b"v=spf1 -all", b"v=DKIM1; p=" + P], ("pass", "")),
        ([b"x=1"] * 5 + [b"p=" + P], ("permerror", "the key record holds no key")),
        ((), ("permerror", "the domain has no such key")),
        (b"", ("permerror", "the key record holds no key")),
        (b"v=DKIM1; p=", ("permerror", "the key was revoked")),
        (b"v=DKIM1; k=rsa", ("permerror", "the key record holds no key")),
        (b"v=DKIM2; p=" + P, ("permerror", "the key record is of an unknown version")),
        (b"v=DKIM1\\; p=" + P, ("permerror", "the key record is of an unknown version")),
        (b"v=DKIM1; h=sha1; p=" + P, ("permerror", "the key is not for SHA-256")),
        (b"v=DKIM1; s=tlsrpt; p=" + P, ("permerror", "the key is not for mail")),
        (b"v=DKIM1; k=dsa; p=" + P, ("permerror", "the key is of an unknown kind")),
        (b"v=DKIM1; k=ed25519; p=" + P, ("permerror", "the key cannot be read")),
        (ed25519_signer().record, ("permerror", "the key is for another algorithm")),
        (ed25519_signer().record.replace(b"ed25519", b"rsa"), ("permerror", "the key cannot be read")),
        (b"v=DKIM1; p=AAAA", ("permerror", "the key cannot be read")),
        (b"v=DKIM1; p=!", ("permerror", "the key cannot be read")),
        (b"v=DKIM1; p=x; p=y", ("permerror", "the key record is malformed")),
        (b"hello", ("permerror", "the key record is malformed")),
        (b"p=" + P + b" " * 4096, ("permerror", "the key record is too long")),
        (b"\0" * 60_000, ("permerror", "the key record is too long")),
        (rsa_signer(number=1).record, ("fail", "the signature does not verify")),
        (record((1 << 1022) + 3, 65537), ("policy", "an RSA key of less than 1024 bits")),
        (record((1 << 8192) + 3, 65537), ("policy", "an RSA key that takes too long to verify")),
        (record((1 << 20_000) + 3, 65537), ("policy", "an RSA key that takes too long to verify")),
        (record((1 << 2047) + 3, (1 << 2046) + 1), ("policy", "an RSA key that takes too long to verify")),
        (record((1 << 2047) + 3, (1 << 32) + 1), ("fail", "the signature does not verify")),
        (record((1 << 2047) + 4, 65537), ("fail", "the signature does not verify")),
        (record(0, 3), ("permerror", "the key cannot be read")),
        (record((1 << 2047) + 3, 1), ("permerror", "the key cannot be read")),
    ],
    ids=lambda value: value[1] or value[0] if isinstance(value, tuple) and value else "record",
)
async def test_what_a_key_record_may_say(published, expected):
    assert await outcome(sign(MAIL, rsa_signer()), Published({NAME: published})) == expected


async def test_a_bare_rsa_public_key_is_one_too():
    """RFC 6376 3.6.1 says RSAPublicKey; everybody publishes a SubjectPublicKeyInfo."""
    published = load_der_public_key(base64.b64decode(rsa_signer().record.partition(b"p=")[2]))
    assert isinstance(published, RSAPublicKey)
    numbers = published.public_numbers()
    assert await outcome(sign(MAIL, rsa_signer()), Published({NAME: record(numbers.n, numbers.e)})) == ("pass", "")


async def test_a_key_that_is_not_an_rsa_key_is_no_key():
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    names = Published({NAME: b"p=" + base64.b64encode(octets)})
    assert await outcome(sign(MAIL, rsa_signer()), names) == ("permerror", "the key is not an RSA key, as it says")


async def test_a_signature_by_a_short_key_does_not_count():
    short = rsa_signer(1024)
    assert await outcome(sign(MAIL, short), Published({NAME: short.record})) == ("pass", "")


async def test_a_silent_dns_is_a_temporary_error():
    names = Published({}, failing=[NAME])
    assert await outcome(sign(MAIL, rsa_signer()), names) == ("temperror", "the DNS gave no answer about the key")


async def test_a_domain_that_tries_dkim_out_says_so():
    for flags, testing in ((b"y", True), (b"s:y", True), (b"s", False), (b"Y", True)):
        names = Published({NAME: b"t=" + flags + b"; p=" + P})
        (found,) = await verified(sign(MAIL, rsa_signer()), names)
        assert (found.result, found.testing) == ("pass", testing)
        (found,) = await verified(sign(MAIL, rsa_signer()).replace(b"Hello", b"Bye"), names)
        assert (found.result, found.testing) == ("fail", testing)


async def test_a_strict_key_is_not_for_identities_of_subdomains():
    names = Published({NAME: b"t=s; p=" + P})
    assert await outcome(sign(MAIL, rsa_signer(), identity="me@a.example"), names) == ("pass", "")
    assert await outcome(sign(MAIL, rsa_signer(), identity="me@sub.a.example"), names) == (
        "permerror",
        "the key is not for subdomains",
    )


def test_keys_are_read_once_and_not_without_bound():
    domainkey.read.cache_clear()
    assert domainkey.read(rsa_signer().record) is domainkey.read(rsa_signer().record)
    for number in range(2 * domainkey.CACHED):
        domainkey.read(b"n=%d" % number)
    assert domainkey.read.cache_info().currsize == domainkey.CACHED


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda octets: b"p=" + base64.b64encode(octets)))
def test_any_record_is_a_key_or_a_problem(octets):
    assert isinstance(domainkey.read(octets), domainkey.Key | domainkey.Problem)


@given(st.binary(max_size=300))
def test_no_key_takes_any_octets_for_its_signature(octets):
    for signer in (rsa_signer(), ed25519_signer()):
        assert domainkey.read(signer.record).verifies(octets, bytes(32)) is False


# Hostile sizes


async def test_of_a_thousand_signatures_ten_are_looked_at():
    junk = b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
    names = Published()
    found = await verified(b"".join(junk % number for number in range(1000)) + MAIL, names)
    assert len(found) == len(names.asked) == MAX_SIGNATURES


@pytest.mark.parametrize(
    "field",
    [
        b"DKIM-Signature: v=1; b=" + b"A" * (1 << 20) + b"\r\n",
        b"X-Wall: " + b"x" * (300 << 10) + b"\r\n",
        b"X: y\r\n" * 2500,
    ],
    ids=["a megabyte in a tag", "a long field", "many fields"],
)
async def test_a_header_too_large_to_be_looked_at_is_not_judged(field):
    names = Published({NAME: rsa_signer().record})
    message = sign(MAIL, rsa_signer())
    for content in (field + message, message.replace(b"From:", field + b"From:")):
        assert await outcome(content, names) == ("neutral", "the header is larger than is looked at")
    assert names.asked == []


async def test_a_header_with_a_line_that_is_no_field_is_not_judged():
    """Where the header ends is then a matter of opinion: for many servers, here."""
    names = Published({NAME: rsa_signer().record})
    message = sign(MAIL, rsa_signer())
    for content in (b"no field\r\n" + message, message.replace(b"To:", b"no field\r\nTo:"), b"X: \0\r\n" + message):
        assert await outcome(content, names) == ("neutral", "the header holds a line that is no field")
    assert names.asked == []


async def test_ten_thousand_names_are_too_many():
    many = ":".join(["from", *(f"x{number}" for number in range(10_000))])
    assert await outcome(crafted(MAIL, rsa_signer(), h=many)) == ("permerror", "more signed fields than are looked at")
    some = ":".join(["from", *(f"x{number}" for number in range(999))])
    assert await outcome(crafted(MAIL, rsa_signer(), h=some)) == ("pass", "")


async def test_a_large_mapped_body_is_hashed_beside_the_event_loop(tmp_path, monkeypatch):
    threads = []
    real = canonical.body_hashes
    monkeypatch.setattr(canonical, "body_hashes", lambda *args: threads.append(threading.get_ident()) or real(*args))
    head = MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    small = sign(head + b"".join(noise(1 << 20)), rsa_signer())
    assert await outcome(small) == ("pass", "")
    content = mapped(tmp_path / "large", [small, *noise(33 << 20)])
    assert await outcome(content) == ("fail", "the body was altered")
    assert threading.get_ident() not in threads
    assert len(threads) == 2
    content.close()


# Anything at all


TOKENS = st.sampled_from(
    ["v=1;", "a=rsa-sha256;", "c=relaxed/relaxed;", "d=a.example;", "s=s1;", "h=from:to;", "bh=AAAA;", "b=AAAA;", "l=1;",
     "i=@a.example;", "t=1;", "x=2;", "q=dns/txt;", ";", "=", ":", "@", "\r\n\t", "\r\n", "\0", "\xff", "é"]
)  # fmt: skip
FIELDS = st.lists(TOKENS, max_size=25).map(" ".join)


@settings(max_examples=200)
@given(st.lists(FIELDS, max_size=4), st.binary(max_size=50))
def test_no_message_makes_it_raise(fields, body):
    header = b"".join(b"DKIM-Signature: " + field.encode() + b"\r\n" for field in fields)
    content = header + b"From: a@a.example\r\n\r\n" + body
    names = Published({NAME: rsa_signer().record})
    for found in asyncio.run(verified(content, names)):
        assert found.result in {"fail", "policy", "neutral", "permerror"}
        assert found.reason.isprintable()
        assert all(text.isprintable() for text in (found.domain, found.selector, found.identity, found.mark))


@given(st.binary(max_size=200))
def test_no_octets_make_it_raise(octets):
    for content in (octets, b"DKIM-Signature:" + octets, b"DKIM-Signature: v=1;" + octets + b"\r\n\r\n"):
        asyncio.run(verified(content))
