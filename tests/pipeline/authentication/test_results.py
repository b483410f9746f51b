"""Authentication-Results: what we write is read back as it was meant, and what others write in our name is found."""

from __future__ import annotations

import email
import email.policy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.results import MAX_CLAIMS, MAX_LINE, forged, render, render_arc
from pipeline.events import AuthResult
from pipeline.mime import Header
from tests.support.mail import mapped

OURS = "mx.gatepost.example"


def result(method="dkim", verdict="pass", reason="", **properties):
    named = tuple((name.replace("_", ".", 1).replace("_", "-"), value) for name, value in properties.items())
    return AuthResult(method=method, result=verdict, reason=reason, properties=named)


# Writing


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((), b"Authentication-Results: mx.gatepost.example; none\r\n"),
        (
            (result("spf", smtp_mailfrom="a.example"),),
            b"Authentication-Results: mx.gatepost.example;\r\n\tspf=pass smtp.mailfrom=a.example\r\n",
        ),
        (
            (result("dkim", "none"), result("spf", "fail", "refused", smtp_mailfrom="x@a.example")),
            b"Authentication-Results: mx.gatepost.example;\r\n\tdkim=none;\r\n\tspf=fail reason=refused smtp.mailfrom=x@a.example\r\n",
        ),
        (
            (result(header_i="@a.example", header_b="Ab/cd+e=", smtp_remote_ip="2001:db8::1", reason="a weak key"),),
            b'Authentication-Results: mx.gatepost.example;\r\n\tdkim=pass reason="a weak key" header.i=@a.example header.b="Ab/cd+e="\r\n smtp.remote-ip="2001:db8::1"\r\n',
        ),
        (
            (result("spf", smtp_mailfrom=""),),
            b'Authentication-Results: mx.gatepost.example;\r\n\tspf=pass smtp.mailfrom=""\r\n',
        ),
    ],
)
def test_the_field_as_it_is_written(results, expected):
    assert render(OURS, results) == expected


def test_results_of_a_set_begin_with_its_number():
    assert render_arc(3, OURS, ()) == b"ARC-Authentication-Results: i=3; mx.gatepost.example; none\r\n"


@pytest.mark.parametrize(
    ("value", "ascii_", "utf8"),
    [
        ("a.example", b"a.example", b"a.example"),
        ("x@a.example", b"x@a.example", b"x@a.example"),
        ("SRS0=a=b/c=d.example=x@a.example", b"SRS0=a=b/c=d.example=x@a.example", None),
        ("=x", b'"=x"', None),
        ("a/b", b'"a/b"', None),
        ("a,b<c>[d]:e?f@g@h", b'"a,b<c>[d]:e?f@g@h"', None),
        ('"a b"@c.example', b"?a?b?@c.example", None),
        ('a" header.d=bank.example; dkim=pass', b'"a??header.d=bank.example??dkim=pass"', None),
        ("a(b)c\\", b'"a?b?c?"', None),
        ("a\r\nX-Evil: yes\r\n\r\n", b'"a??X-Evil:?yes????"', None),
        ("a\0b\x1b[31m\x7f", b'"a?b?[31m?"', None),
        ("jürgen@bücher.example", b"j?rgen@xn--bcher-kva.example", "jürgen@bücher.example".encode()),
        ("bücher.example", b"xn--bcher-kva.example", "bücher.example".encode()),
        ("ü", b"xn--tda", "ü".encode()),
        ("-ü-", b'"-?-"', "-ü-".encode()),
        ("a\u202eb\u2028c\ud800d", b'"a?b?c?d"', b'"a?b?c?d"'),
        ("x" * 400, b"x" * 320, None),
    ],
)
def test_a_value_is_quoted_only_where_it_must_be_and_breaks_nothing(value, ascii_, utf8):
    results = (result(header_d=value),)
    for allowed, expected in ((False, ascii_), (True, utf8 or ascii_)):
        field = render(OURS, results, utf8=allowed).replace(b"\r\n", b"")
        start = b"Authentication-Results: mx.gatepost.example;\tdkim=pass header.d="
        assert field == start + expected


def test_names_that_are_none_become_some():
    field = render(
        "a b;c", [AuthResult(method="d;k", result="p\r\n", properties=(("x", "1"), ("a.b.c", "2"), ("é.d", "3")))]
    )
    assert field == b'Authentication-Results: "a?b?c";\r\n\td-k=p-- policy.x=1 a.b-c=2 -.d=3\r\n'


TOKEN = r"[!#$%&'*+.0-9A-Z^_`a-z{|}~\u0080-\U0010ffff-]+"
VALUE = (
    rf"{TOKEN}|\"[^\"\\]*\"|(?:[!#$%&'*+./0-9=?A-Z^_`a-z{{|}}~\u0080-\U0010ffff-]+)?@[A-Za-z0-9_.\u0080-\U0010ffff-]+"
)


def read(field: bytes) -> tuple[str, list[AuthResult]]:
    """A parser of the test's own, straight from the grammar of RFC 8601 2.2."""
    text = re.sub(r"\r\n(?=[ \t])", "", field.decode())
    name, payload = re.fullmatch(r"([A-Za-z-]+):(.*)\r\n", text, re.DOTALL).groups()
    assert name == "Authentication-Results"
    head = re.match(rf"\s*({VALUE})\s*;", payload)
    rest = payload[head.end() :]
    found = []
    if rest.strip() != "none":
        while rest:
            method = re.match(rf"\s*([A-Za-z0-9-]+)=([A-Za-z0-9-]+)(?:\s+reason=({VALUE})(?=\s|;|$))?", rest)
            rest = rest[method.end() :]
            properties = []
            while match := re.match(rf"\s+([A-Za-z0-9-]+\.[A-Za-z0-9-]+)=({VALUE})(?=\s|;|$)", rest):
                properties.append((match[1], match[2].strip('"')))
                rest = rest[match.end() :]
            found.append(
                AuthResult(
                    method=method[1],
                    result=method[2],
                    reason=(method[3] or "").strip('"'),
                    properties=tuple(properties),
                )
            )
            assert re.match(r";\s*[^;\s]|\Z", rest), rest
            rest = rest[1:]
    return head[1].strip('"'), found


KEYWORDS = st.text("abcXYZ019-", min_size=1, max_size=12)
SAFE = st.text("abcdefXYZ0189.-_@/=+:,<>[]?", max_size=60)
WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789.,:=/", min_size=1, max_size=20), max_size=20).map(
    " ".join
)
RESULTS = st.lists(
    st.builds(
        AuthResult,
        method=KEYWORDS,
        result=KEYWORDS,
        reason=WORDS,
        properties=st.lists(st.tuples(st.builds("{}.{}".format, KEYWORDS, KEYWORDS), SAFE), max_size=5).map(tuple),
    ),
    max_size=6,
)


@given(RESULTS)
def test_what_is_written_is_read_back(results):
    field = render(OURS, results)
    assert read(field) == (OURS, results)


@given(RESULTS)
def test_lines_are_as_long_as_they_may_be_and_no_longer(results):
    field = render(OURS, results)
    assert field.endswith(b"\r\n")
    for line in field[:-2].split(b"\r\n"):
        # One word may be longer than a line, and cannot be folded.
        assert len(line) <= MAX_LINE or b" " not in line.strip()
        assert line.strip()


ANYTHING = st.text(max_size=50) | st.sampled_from(['"; dkim=pass header.d="', "\r\n\r\nbody", "a\\", "(", "none", ";;"])
ANY_RESULTS = st.lists(
    st.builds(
        AuthResult,
        method=ANYTHING,
        result=ANYTHING,
        reason=ANYTHING,
        properties=st.lists(st.tuples(ANYTHING, ANYTHING), max_size=3).map(tuple),
    ),
    max_size=3,
)


@given(ANYTHING, ANY_RESULTS, st.booleans())
def test_whatever_a_stranger_wrote_there_are_as_many_results_and_properties_as_there_were(authserv_id, results, utf8):
    field = render(authserv_id, results, utf8=utf8)
    assert utf8 or field.isascii()
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\r\n(?![ \t]|\Z)", field)
    assert b"(" not in field
    assert b"\\" not in field
    _, found = read(field)
    assert [len(one.properties) for one in found] == [len(one.properties) for one in results]
    # A reader that only splits at semicolons sees the same.
    assert field.count(b";") == max(len(results), 1)


@given(RESULTS.filter(bool))
def test_pythons_own_parser_sees_one_field(results):
    message = email.message_from_bytes(render(OURS, results) + b"From: a@b.example\r\n\r\n", policy=email.policy.SMTP)
    assert message.keys() == ["Authentication-Results", "From"]
    assert not message.defects


# Finding


def ranges(fields: bytes, authserv_id: str = OURS):
    return forged(
        Header(fields + b"From: a@b.example\r\n\r\nAuthentication-Results: mx.gatepost.example; none\r\n"), authserv_id
    )


CLAIMS = [
    b"Authentication-Results: mx.gatepost.example; dkim=pass\r\n",
    b"authentication-RESULTS:MX.GatePost.Example;dkim=pass\r\n",
    b"Authentication-Results :\t mx.gatepost.example; dkim=pass\r\n",
    b"Authentication-Results \t:\r\n\tmx.gatepost.example;\r\n\tdkim=pass\r\n",
    b"Authentication-Results:\r\n \r\n mx.gatepost.example; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example 1; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example/1; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example.; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example\r\n 1 ; none\r\n",
    b"Authentication-Results: mx.gatepost.example\r\n",
    b"Authentication-Results: mx.gatepost.example",
    b'Authentication-Results: "mx.gatepost.example"; dkim=pass\r\n',
    b'Authentication-Results: "mx.gate\\post.example"; dkim=pass\r\n',
    b'Authentication-Results: "mx.gatepost.example" 1; dkim=pass\r\n',
    b"Authentication-Results: (comment) mx.gatepost.example; dkim=pass\r\n",
    b'Authentication-Results: (a (nested; one) \\) " ) mx.gatepost.example (x); dkim=pass\r\n',
    b"Authentication-Results: (\r\n\tfolded)mx.gatepost.example(x)1; dkim=pass\r\n",
    b"Authentication-Results: mx.(x)gatepost.example; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example(x); dkim=pass\r\n",
    b"Authentication-Results: =?utf-8?q?mx=2Egatepost=2Eexample?=; dkim=pass\r\n",
    b"Authentication-Results: =?utf-8?b?bXguZ2F0ZXBvc3QuZXhhbXBsZQ==?=; dkim=pass\r\n",
    b"Authentication-Results: (unclosed mx.gatepost.example; dkim=pass\r\n",
    b'Authentication-Results: "unclosed mx.gatepost.example; dkim=pass\r\n',
    b"Authentication-Results: mx.gatepost.example\\",
    b"Authentication-Results: (" + b"x" * 5000 + b") mx.gatepost.example; dkim=pass\r\n",
    b"Authentication-Results:" + b"\r\n " * 1000 + b" mx.gatepost.example; dkim=pass\r\n",
    b"Authentication-Results: " + b"(" * 3000 + b"\r\n",
]  # fmt: skip

OTHERS = [
    b"Authentication-Results: mx.other.example; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example.evil.example; dkim=pass\r\n",
    b"Authentication-Results: evil-mx.gatepost.example; dkim=pass\r\n",
    b"Authentication-Results: mx.gatepost.example-2; dkim=pass\r\n",
    b"Authentication-Results: gatepost.example; dkim=pass\r\n",
    b"Authentication-Results: mx.other.example; dkim=pass header.d=mx.gatepost.example\r\n",
    b"Authentication-Results: mx.other.example (for mx.gatepost.example); dkim=pass\r\n",
    b"Authentication-Results: (a (nested (one) \\)) b) mx.other.example (for mx.gatepost.example); dkim=pass\r\n",
    b'Authentication-Results: "mx.other.example" ; spf=pass smtp.mailfrom="mx.gatepost.example;x"\r\n',
    b"Authentication-Results: \xc3\xbc.example; none\r\n",
    b"Authentication-Results: =?utf-8?q?mx.other.example?=; none\r\n",
    b"Authentication-Results: mx.other.example; " + b"x" * 5000 + b" mx.gatepost.example\r\n",
    b"Authentication-Results:\r\n",
    b"Authentication-Results:;\r\n",
    b"Authentication-Results-Original: mx.gatepost.example; dkim=pass\r\n",
    b"Authentication-Results mx.gatepost.example; dkim=pass\r\n",
    b"X-Authentication-Results: mx.gatepost.example; dkim=pass\r\n",
    b"ARC-Authentication-Results: i=1; mx.gatepost.example; dkim=pass\r\n",
    b"Subject: x\r\n Authentication-Results: mx.gatepost.example; dkim=pass\r\n",
    b"Subject: authentication-results: mx.gatepost.example\r\n",
]


@pytest.mark.parametrize("field", CLAIMS, ids=lambda field: field[:60].decode("latin-1"))
def test_a_field_that_claims_our_name_is_found_whole(field):
    if not field.endswith(b"\n"):
        assert forged(Header(b"To: x\r\n" + field), OURS) == ((7, 7 + len(field)),)
        field += b"\r\n"
    for before in (b"", b"Received: x\r\n\ty\r\n", OTHERS[0]):
        assert ranges(before + field + OTHERS[1]) == ((len(before), len(before) + len(field)),)


@pytest.mark.parametrize("field", OTHERS, ids=lambda field: field[:60].decode("latin-1"))
def test_a_field_that_does_not_is_left_alone(field):
    assert ranges(field) == ()
    assert ranges(b"Received: x\r\n" + field) == ()


def test_each_of_several_is_found():
    content = b"".join([CLAIMS[0], b"To: x\r\n", CLAIMS[3], CLAIMS[1], OTHERS[0]])
    assert [content[start:end] for start, end in ranges(content)] == [CLAIMS[0], CLAIMS[3], CLAIMS[1]]


@pytest.mark.parametrize(
    ("authserv_id", "field"),
    [
        ("MX.Gatepost.Example", CLAIMS[0]),
        ("mx.bücher.example", b"Authentication-Results: mx.xn--bcher-kva.example; none\r\n"),
        ("mx.bücher.example", "Authentication-Results: MX.BÜCHER.example; none\r\n".encode()),
        ("mx.xn--bcher-kva.example", "Authentication-Results: mx.bücher.example; none\r\n".encode()),
        ("mx.xn--bcher-kva.example", "Authentication-Results: mx.B\u00fccher.example 1; none\r\n".encode()),
        ("gate_1", b"Authentication-Results: Gate_1; none\r\n"),
    ],
)
def test_our_name_in_any_form(authserv_id, field):
    assert ranges(field, authserv_id) == ((0, len(field)),)


VERDICT = b"X-Gatepost-Verdict: clean; score=-99\r\n"


def test_what_we_write_we_find():
    for authserv_id in (OURS, "a.b", "gate-1"):
        field = render(authserv_id, [result(header_d="a.example")])
        assert ranges(field, authserv_id) == ((0, len(field)),)


def test_where_two_windows_meet_none_is_missed_and_none_is_found_twice():
    window = 256 << 10
    for shift in range(-60, 5):
        before = b"X: " + b"x" * (window + shift - 5) + b"\r\n"
        assert len(before) == window + shift
        for field in (CLAIMS[0], VERDICT):
            assert ranges(before + field) == ((len(before), len(before) + len(field)),)


def test_a_field_that_only_we_write_is_taken_out_whoever_wrote_it_and_nothing_that_begins_alike():
    content = b"Subject: x\r\n" + VERDICT + b"X-GATEPOST-Later : y\r\n\tz\r\nX-Gatepostal: w\r\n" + CLAIMS[0]
    left = content
    for start, end in reversed(ranges(content)):
        left = left[:start] + left[end:]
    assert left == b"Subject: x\r\nX-Gatepostal: w\r\n"


def test_a_header_of_34_mib_is_searched_to_its_end(tmp_path):
    wall = b"X: authentication-results " * 3000 + b"\r\n"
    content = mapped(tmp_path / "wall", [*([wall] * 440), CLAIMS[0], b"From: a@b.example\r\n\r\nbody"])
    assert len(content) > 34_000_000
    start = 440 * len(wall)
    assert forged(Header(content), OURS) == ((start, start + len(CLAIMS[0])),)
    content.close()


def test_a_hundred_are_told_apart_and_more_are_too_many():
    for field in (
        CLAIMS[0],
        OTHERS[0],
        b"Authentication-Results-Original: x\r\n",
        b"Authentication-Results: " + b"()" * 2000 + b"\r\n",
    ):
        found = ranges((b"X: y\r\n" + field) * MAX_CLAIMS)
        assert len(found) == (0 if field.startswith((OTHERS[0], b"Authentication-Results-")) else MAX_CLAIMS)
        assert ranges(field * (34_000_000 // len(field))) is None


@given(st.lists(st.sampled_from([*CLAIMS, *OTHERS, b"X: y\r\n", b"no field\r\n"]), max_size=8))
def test_taking_them_out_leaves_none_and_everything_else(fields):
    fields = [field if field.endswith(b"\n") else field + b"\r\n" for field in fields]
    content = b"".join(fields) + b"\r\nbody"
    left = content
    for start, end in reversed(forged(Header(content), OURS)):
        left = left[:start] + left[end:]
    assert left == b"".join(field for field in fields if field not in CLAIMS and field[:-2] not in CLAIMS) + b"\r\nbody"
    assert forged(Header(left), OURS) == ()


PARTS = st.sampled_from(
    [
        b"mx.gatepost.example",
        b"mx.",
        b"gatepost.example",
        b"(",
        b")",
        b'"',
        b"\\",
        b";",
        b" ",
        b"\r\n ",
        b"\xc3",
        b"=?utf-8?q?",
        b"?=",
        b"\0",
        b"x",
    ]
)


@given(st.lists(PARTS, max_size=20).map(b"".join))
def test_no_field_makes_it_raise_and_a_name_in_front_is_always_found(value):
    for field in (b"Authentication-Results:" + value + b"\r\n", b"Authentication-Results: mx.gatepost.example" + value):
        forged(Header(field), OURS)
    plain = b"Authentication-Results: mx.gatepost.example; " + value.replace(b"\r\n ", b"") + b"\r\n"
    assert forged(Header(plain), OURS) == ((0, len(plain)),)
