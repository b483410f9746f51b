"""Reading mail: what mail programs send, what attackers send, and any octets at all."""

from __future__ import annotations

import base64
import email
import email.policy
import mmap
import quopri
import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mime import Flaw, Header, Mailbox, date_of, decode_words, mailboxes, parameters, plain, walk, words
from pipeline.mime import header as header_module
from pipeline.mime import structure as structure_module
from pipeline.mime.transfer import base64_octets, decode, head
from tests.support.mail import HEAD, attachment, mapped, multipart, part, with_parts


def parts_of(content: bytes):
    return walk(content, Header(content)).parts


def body_of(piece):
    return b"".join(piece.decoded())


# Header


def test_fields_come_in_order_with_lower_case_names_and_raw_values():
    header = Header(b"Received: from a\r\n\tby b\r\nSUBJECT : x\r\nreceived: c\r\n\r\nbody: no\r\n")
    assert header.fields == ((b"received", b"from a\r\n\tby b"), (b"subject", b"x"), (b"received", b"c"))
    assert header.content[header.end : header.body] == b"\r\n"
    assert header.content[header.body :] == b"body: no\r\n"
    assert header.count(b"received") == 2
    assert header.values(b"received") == [b"from a\r\n\tby b", b"c"]
    assert header.value(b"received") == b"from a\tby b"
    assert header.value(b"to") == b""
    assert not header.malformed
    assert not header.cut


@pytest.mark.parametrize("before", [b"", b"--b\r\n"])
@pytest.mark.parametrize(
    ("end", "rest"), [(b"\r\n", b"\r\nbody"), (b"\r\n", b""), (b"", b""), (b"\n", b"\nbody"), (b"\r\n", b"\r\n")]
)
def test_spans_are_whole_fields_as_they_were_received(before, end, rest):
    fields = [b"A : x\r\n", b"b:\r\n\ty \r\n z\r\n", b"A:\r\n", b"C: last" + end]
    header = Header(before + fields[0] + b"no field\r\n" + b"".join(fields[1:]) + rest, len(before))
    assert [name for name, _, _ in header.spans] == [name for name, _ in header.fields] == [b"a", b"b", b"a", b"c"]
    assert [header.content[start:stop] for _, start, stop in header.spans] == fields


@given(
    st.lists(st.sampled_from([b"a: b", b"A:", b" c", b"\td", b"x", b"y :z", b"", b"\r"]), max_size=12),
    st.sampled_from([b"\r\n", b"\n"]),
)
def test_spans_tell_where_fields_are(lines, newline):
    content = newline.join(lines)
    header = Header(content)
    assert len(header.spans) == len(header.fields)
    for (name, start, end), (same, value) in zip(header.spans, header.fields, strict=True):
        field = content[start:end]
        assert name == same == field.partition(b":")[0].rstrip(b" \t").lower()
        assert field.partition(b":")[2].strip() == value
        assert end == header.end or field.endswith(b"\n")


@pytest.mark.parametrize(
    "content",
    [b"X: y\r\n" * 5000, b"A: b\r\nX: " + b"y" * (300 << 10) + b"\r\nZ: z\r\n", b"X: yyyyyyyyyyy\r\n" * 40_000],
)
def test_spans_are_bounded_as_fields_are(content):
    header = Header(content)
    assert [name for name, _, _ in header.spans] == [name for name, _ in header.fields]
    assert all(content[start:end].endswith(b"\r\n") for _, start, end in header.spans)
    assert header.cut


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"", b""),
        (b"\r\nbody", b"body"),
        (b"\nbody", b"body"),
        (b"a: b\n\nbody", b"body"),
        (b"a: b\r\n\nbody", b"body"),
        (b"a: b\r\n\r\n", b""),
        (b"a: b", b""),
        (b"no header at all\r\n\r\nbody", b"body"),
    ],
)
def test_the_body_begins_behind_the_first_empty_line(content, body):
    assert content[Header(content).body :] == body


@pytest.mark.parametrize(
    "block",
    [
        b"a: b\r\nno field\r\n",
        b"no field\r\na: b\r\n",
        b"a: b\0\r\n",
        b"a\xe4: b\r\n",
        b": b\r\n",
        b"two words: b\r\n",
        b" continues nothing\r\n",
        b"\t\r\na: b\r\n",
    ],
)
def test_a_line_that_is_no_field_is_passed_over_and_remembered(block):
    header = Header(block + b"Subject: s\r\n\r\n")
    assert header.malformed
    assert header.subject == "s"


@pytest.mark.parametrize("block", [b"", b"a: b\r\n", b"a:\r\n", b"a: b\r\n c\r\n\td\r\n", b"A-1_x.y :b\r\n"])
def test_well_formed_headers_are_not_called_malformed(block):
    assert not Header(block + b"\r\n").malformed
    assert not Header(block).malformed


def test_no_more_than_2000_fields_are_looked_at_and_it_says_so():
    header = Header(b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"Subject: late\r\n\r\n")
    assert len(header.fields) == header_module.MAX_FIELDS
    assert header.cut
    assert header.subject == ""


def test_no_more_than_256_kib_of_header_are_looked_at_and_it_says_so():
    header = Header(b"Subject: early\r\nA: " + b"x" * (300 << 10) + b"\r\nFrom: late\r\n\r\n")
    assert header.cut
    assert header.fields == ((b"subject", b"early"),)


def test_a_type_at_the_limit_of_what_is_looked_at_is_read_whole():
    field = b"Content-Type: multipart/mixed;\r\n boundary=outer\r\n"
    for before in range(header_module.MAX_OCTETS - len(field) - 2, header_module.MAX_OCTETS + 2, 7):
        content = b"A: " + b"x" * (before - 5) + b"\r\n" + field + b"X: y\r\n\r\n--outer\r\n\r\nhidden\r\n--outer--\r\n"
        assert body_of(parts_of(content)[-1]) == b"hidden"


@pytest.mark.parametrize("wall", [b"X: y\r\n" * 2500, b"X: y\r\n" * 60_000, b"X: " + b"y" * (300 << 10) + b"\r\n"])
def test_what_decides_the_structure_is_found_behind_a_wall_of_fields(wall):
    content = wall + b"Content-Type: multipart/mixed;\r\n boundary=b\r\n\r\n--b\r\n\r\nhidden\r\n--b--\r\n"
    assert [body_of(piece) for piece in parts_of(content)[1:]] == [b"hidden"]


def test_control_characters_of_a_subject_do_not_get_through():
    text = Header(b"Subject: a\x1b[31mb\x07\xc2\x9b\xe2\x80\xa8 =?utf-8?q?c=0D=0Ad=00?=\r\n\r\n").subject
    assert text == "a [31mb  c d "


def test_a_text_is_cut_and_says_so():
    assert Header(b"Subject: " + b"x" * 5000 + b"\r\n\r\n").subject == "x" * 499 + "…"
    assert plain("abc", 3) == "abc"
    assert plain("abcd", 3) == "ab…"


def test_lone_surrogates_cannot_reach_the_log():
    assert plain("a\ud800b", 10) == "a b"


# Words


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= here", "Grüße here"),
        (b"=?UTF-8?b?w7Y=?=", "ö"),
        (b"=?iso-8859-1?q?a?= =?iso-8859-1?q?b?=", "ab"),
        (b"=?utf-8?B?w7Y=?=\r\n =?utf-8?B?w7Y=?=", "öö"),
        (b"=?utf-8?B?ww==?= =?utf-8?B?tg==?=", "ö"),
        (b"=?utf-8?q?a_b?=", "a b"),
        (b"=?utf-8*en?q?x?=", "x"),
        (b"=?koi8-r?B?8NLJ18XU?=", "Привет"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        ("Grüße".encode(), "Grüße"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?B?!!!?=", ""),
        (b"a =?utf-8?q?b?= c", "a b c"),
        (b"=?utf-8?q?=zz=4?=", "=zz=4"),
    ],
)
def test_encoded_words_are_read(raw, text):
    assert decode_words(raw) == text


@pytest.mark.parametrize(
    "charset", ["hz", "zlib_codec", "idna", "undefined", "rot13", "base64", "punycode", "unicode_escape", "x" * 59]
)
def test_a_charset_that_is_not_listed_never_reaches_a_codec(charset):
    assert decode_words(b"=?%s?q?+AGE-?=" % charset.encode()) == "+AGE-"


def test_every_listed_charset_has_a_codec():
    for name, codec in words._CODECS.items():
        if codec not in ("utf-16", "utf-32"):
            assert decode_words(b"=?%s?q?ab=FF=81?=" % name).startswith("ab")


@pytest.mark.parametrize(
    ("charset", "octets"),
    [
        ("utf-16", "\ufeffGr\u00fc\u00dfe".encode("utf-16-le")), ("utf-16", "\ufeffGr\u00fc\u00dfe".encode("utf-16-be")),
        ("utf-16", "Gr\u00fc\u00dfe".encode("utf-16-be")), ("utf-16le", "Gr\u00fc\u00dfe".encode("utf-16-le")),
        ("utf-16be", "Gr\u00fc\u00dfe".encode("utf-16-be")), ("unicode", "Gr\u00fc\u00dfe".encode("utf-16-le")),
        ("ucs-2", "Gr\u00fc\u00dfe".encode("utf-16-be")), ("utf-32", "\ufeffGr\u00fc\u00dfe".encode("utf-32-be")),
        ("utf-32le", "Gr\u00fc\u00dfe".encode("utf-32-le")), ("utf-8", "\ufeffGr\u00fc\u00dfe".encode("utf-16-le")),
        ("", "\ufeffGr\u00fc\u00dfe".encode("utf-16-be")), ("utf-7", b"Gr+APwA3w-e"), ("unicode-1-1-utf-7", b"Gr+APwA3w-e"),
    ],
)  # fmt: skip
def test_wide_charsets_are_read_as_programs_read_them_whatever_they_are_called(charset, octets):
    assert words.text_of(octets, charset.encode()) == "Gr\u00fc\u00dfe"


@given(st.binary(max_size=60), st.sampled_from(["utf-16", "utf-32", "utf-7", "utf-8", ""]))
def test_any_octets_are_some_text_in_any_charset(octets, charset):
    assert isinstance(words.text_of(octets, charset.encode()), str)


# Parameters and names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"attachment; filename=a.txt", "a.txt"),
        (b"attachment; FileName = a.txt ; x=y", "a.txt"),
        (b'attachment; filename="a b;c.txt"', "a b;c.txt"),
        (b"attachment; filename=a b.txt", "a b.txt"),
        (rb'attachment; filename="a\"b.txt"', 'a"b.txt'),
        (b'attachment; filename="open.exe', "open.exe"),
        (b'attachment; filename="a\r\n b.txt"', "a b.txt"),
        (b"attachment; filename*=UTF-8'de'%e2%82%ac.exe", "€.exe"),
        (b"attachment; filename*0*=UTF-8''ev; filename*1*=il%2E; filename*2=exe", "evil.exe"),
        (b"attachment; filename*2=exe; filename*0=evi; filename*1=l.", "evil.exe"),
        (b"attachment; filename*1=evil; filename*5=.exe", "evil.exe"),
        (b"attachment; filename*=evil.exe", "evil.exe"),
        (b"attachment; filename*=undefined''evil.exe", "evil.exe"),
        (b'attachment; filename="=?utf-8?B?ZXZpbC5leGU=?="', "evil.exe"),
        (b'attachment; filename="=?utf-8?Q?ev?= =?utf-8?Q?il.exe?="', "evil.exe"),
        ('attachment; filename="Grüße.txt"'.encode(), "Grüße.txt"),
        (b'attachment; filename="Gr\xfc\xdfe.txt"', "Grüße.txt"),
        (b'attachment; note="; filename=no.exe"; filename=a.txt', "a.txt"),
        (b"attachment;filename=a.txt", "a.txt"),
    ],
)
def test_a_file_name_is_found_however_it_is_written(value, name):
    content = b"Content-Disposition: " + value + b"\r\n\r\n"
    assert parts_of(content)[0].names == (name,)


def test_all_names_of_a_part_are_known_because_programs_differ():
    content = (
        b'Content-Type: a/b; name="1.exe"; name=2.exe\r\n'
        b"Content-Disposition: attachment; filename=3.exe; filename*=utf-8''4.exe; filename=3.exe\r\n"
        b"Content-Disposition: attachment; filename=5.exe\r\n\r\n"
    )
    assert parts_of(content)[0].names == ("3.exe", "4.exe", "5.exe", "1.exe", "2.exe")


def test_the_number_of_parameters_is_bounded():
    assert len(parameters(b"a/b" + b"; x=y" * 100_000)) == 200


# Dates and mailboxes

NOON = 1_795_435_200 * 10**9


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Mon, 23 Nov 2026 12:00:00 +0000", NOON),
        (b"23 Nov 2026 12:00 GMT", NOON),
        (b"Mon, 23 Nov 2026 13:00:00 +0100 (CET)", NOON),
        (b"Mon, 23 Nov 26 07:00:00 EST", NOON),
        (b"Mon, 23 Nov 126 12:00:00 -0000", NOON),
        (b"mon, 23-nov-2026 12:00:00", NOON),
        (b"Mon, 23 Nov 2026 12:00:60 Z", NOON + 59 * 10**9),
        (b"Mon, 32 Nov 2026 12:00:00 +0000", None),
        (b"Mon, 23 Foo 2026 12:00:00 +0000", None),
        (b"Mon, 23 Nov 2026 25:00:00 +0000", None),
        (b"Mon, 23 Nov 0000 12:00:00 +0000", None),
        (b"yesterday", None),
        (b"", None),
    ],
)
def test_dates_are_read_and_nonsense_is_none(value, expected):
    assert date_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b.c", [("", "a@b.c")]),
        (b"<a@b.c>", [("", "a@b.c")]),
        (b"A B <a@b.c>", [("A B", "a@b.c")]),
        (b'"B, A" <a@b.c>', [("B, A", "a@b.c")]),
        (rb'"A \"x\" B" <a@b.c>', [('A "x" B', "a@b.c")]),
        (b"=?utf-8?q?=C3=B6?= <a@b.c>", [("ö", "a@b.c")]),
        (b"a@b.c (A B)", [("A B", "a@b.c")]),
        (b"A <a@b.c>, d@e.f", [("A", "a@b.c"), ("", "d@e.f")]),
        (b"team: A <a@b.c>, d@e.f;", [("team: A", "a@b.c"), ("", "d@e.f")]),
        (b"A <@x,@y:a@b.c>", [("A", "a@b.c")]),
        (b"Nobody", [("Nobody", "")]),
        (b"undisclosed-recipients:;", [("undisclosed-recipients:", "")]),
        (b"A <>", [("A", "")]),
        (b"", []),
        (b'"open <a@b.c>', [("open", "a@b.c")]),
    ],
)
def test_mailboxes_are_read(value, expected):
    assert mailboxes(value) == [Mailbox(*pair) for pair in expected]


# Structure


def test_a_message_without_mime_is_one_part_of_plain_text():
    (only,) = parts_of(b"Subject: x\r\n\r\nhello\r\n")
    assert (only.content_type, only.encoding, only.names, only.depth, only.container) == (
        "text/plain",
        "7bit",
        (),
        0,
        False,
    )
    assert body_of(only) == b"hello\r\n"


def test_the_parts_of_a_multipart_are_offsets_without_the_line_break_before_the_boundary():
    content = with_parts(attachment(b"\x00\x01", "a.bin"), part("text/html", b""))
    root, text, binary, html = parts_of(content)
    assert root.container
    assert (text.content_type, body_of(text), text.depth) == ("text/plain", b"hello", 1)
    assert (binary.encoding, binary.name, body_of(binary)) == ("base64", "a.bin", b"\x00\x01")
    assert (html.start, body_of(html)) == (html.end, b"")
    assert walk(content, Header(content)).flaws == frozenset()


def test_a_message_within_a_message_is_entered():
    inner = HEAD + multipart([attachment(b"inner", "i.bin")], "inner")
    content = with_parts(part("message/rfc822", inner), part("text/plain", b"after"))
    assert [(p.content_type, p.depth) for p in parts_of(content)] == [
        ("multipart/mixed", 0), ("text/plain", 1), ("message/rfc822", 1), ("multipart/mixed", 2),
        ("application/octet-stream", 3), ("text/plain", 1),
    ]  # fmt: skip
    assert [body_of(p) for p in parts_of(content)[-2:]] == [b"inner", b"after"]


def test_the_parts_of_a_digest_are_messages():
    content = multipart([b"\r\nSubject: one\r\n\r\nfirst", b"\r\nSubject: two\r\n\r\nsecond"], kind="digest")
    assert [body_of(p) for p in parts_of(content) if not p.container] == [b"first", b"second"]


def test_an_encoded_message_is_decoded_and_entered():
    inner = with_parts(attachment(b"deep", "x.bin"))
    for encoding, octets in (("base64", base64.encodebytes(inner)), ("quoted-printable", quopri.encodestring(inner))):
        content = with_parts(part("message/rfc822", octets, f"Content-Transfer-Encoding: {encoding}"))
        structure = walk(content, Header(content))
        assert body_of(structure.parts[-1]) == b"deep"
        assert structure.flaws == {Flaw.ENCODED}


def test_an_unterminated_multipart_ends_with_the_message():
    content = with_parts(attachment(b"kept", "x.bin")).replace(b"--=_b--\r\n", b"")
    structure = walk(content, Header(content))
    assert body_of(structure.parts[-1]) == b"kept"
    assert structure.flaws == {Flaw.UNTERMINATED}


def test_a_multipart_whose_boundary_never_comes_is_one_part():
    content = b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n"
    (only,) = parts_of(content)
    assert (only.container, body_of(only)) == (False, b"hello")


def test_an_outer_boundary_ends_what_is_within():
    inner = multipart([part("text/plain", b"in")], "inner").removesuffix(b"--inner--\r\n")
    content = with_parts(inner, part("text/plain", b"out"))
    structure = walk(content, Header(content))
    assert [body_of(p) for p in structure.parts if not p.container] == [b"hello", b"in\r\n", b"out"]
    assert structure.flaws == {Flaw.UNTERMINATED}


def test_a_boundary_that_begins_another_is_told_apart_from_it():
    inner = multipart([part("text/plain", b"in")], "=_bb")
    content = with_parts(inner, part("text/plain", b"out"))
    assert [body_of(p) for p in parts_of(content) if not p.container] == [b"hello", b"in", b"out"]
    outer = HEAD + multipart([multipart([part("text/plain", b"in")], "x"), part("text/plain", b"out")], "x--")
    assert b"out" in [body_of(p) for p in parts_of(outer)]


def test_a_part_behind_the_closing_boundary_is_still_seen():
    content = with_parts(part("text/plain", b"in")) + b"--=_b\r\n\r\nbehind\r\n--=_b--\r\n"
    assert body_of(parts_of(content)[-1]) == b"behind"


def test_white_space_behind_a_boundary_does_not_hide_it():
    content = with_parts(part("text/plain", b"in")).replace(b"--=_b\r\n", b"--=_b \t\r\n")
    assert [body_of(p) for p in parts_of(content)[1:]] == [b"hello", b"in"]


def test_a_part_whose_header_runs_into_the_next_boundary_keeps_its_name():
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b; name=x.exe\r\n--b\r\n\r\nnext\r\n--b--"
    assert [(p.name, body_of(p)) for p in parts_of(content)[1:]] == [("x.exe", b""), ("", b"next")]


@pytest.mark.parametrize(
    "value", [b"multipart/mixed", b'multipart/mixed; boundary=""', b"multipart/mixed; boundary=" + b"x" * 2000]
)
def test_a_multipart_without_a_usable_boundary_is_one_part(value):
    content = b"Content-Type: " + value + b"\r\n\r\n--\r\n\r\ntext\r\n----\r\n"
    structure = walk(content, Header(content))
    assert len(structure.parts) == 1
    assert structure.flaws == {Flaw.NO_BOUNDARY}


def test_two_types_or_boundaries_are_ambiguous():
    for extra in (b"Content-Type: text/plain\r\n", b""):
        content = extra + b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n--a\r\n\r\n--a--\r\n"
        assert Flaw.AMBIGUOUS in walk(content, Header(content)).flaws


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"TEXT/HTML; charset=x", "text/html"),
        (b"text / html", "text/html"),
        (b"(comment) text/html (x)", "text/html"),
        (b"text", "text/plain"),
        (b"", "text/plain"),
        (b"\xff\xfe/\x00", "ÿþ/\x00"),
    ],
)
def test_a_type_is_read_or_plain_text(value, expected):
    assert parts_of(b"Content-Type: " + value + b"\r\n\r\n")[0].content_type == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"BASE64", "base64"),
        (b'"base64"', "base64"),
        (b"(x) base64 (y)", "base64"),
        (b"base64;", "base64"),
        (b"?", "7bit"),
    ],
)
def test_an_encoding_is_read_through_its_disguise(value, expected):
    assert parts_of(b"Content-Transfer-Encoding: " + value + b"\r\n\r\n")[0].encoding == expected


@given(
    st.lists(
        st.tuples(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable"]), st.text(max_size=20)),
        min_size=1,
        max_size=5,
    )
)
def test_what_the_standard_library_writes_is_read_as_it_was_meant(attachments):
    message = EmailMessage(policy=email.policy.SMTP)
    message.set_content("body\n")
    for data, encoding, name in attachments:
        message.add_attachment(
            data, maintype="application", subtype="x", cte=encoding, filename="n" + "".join(filter(str.isalnum, name))
        )
    parts = parts_of(bytes(message))
    assert [body_of(p) for p in parts[2:]] == [data for data, _, _ in attachments]
    assert [p.name for p in parts[2:]] == [a.get_filename() for a in message.iter_attachments()]


# Decoding


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"aGVsbG8=", b"hello"),
        (b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"a!G\x00V#s b-G_8", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"aGVsb", b"hel"),
        (b"=====", b""),
        (b"", b""),
    ],
)
def test_base64_is_decoded_as_far_as_it_goes(data, expected):
    assert base64_octets(data) == expected
    assert b"".join(decode(data, 0, len(data), "base64")) == expected
    assert head(data, 0, len(data), "base64", 3) == expected[:3] or len(data) <= 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a=3Db", b"a=b"),
        (b"a=\r\nb", b"ab"),
        (b"a= \t\r\nb", b"ab"),
        (b"a=zz", b"a=zz"),
        (b"a=", b"a"),
        (b"=4", b"=4"),
    ],
)
def test_quoted_printable_is_decoded_as_far_as_it_goes(data, expected):
    assert b"".join(decode(data, 0, len(data), "quoted-printable")) == expected


@given(st.binary(max_size=400), st.integers(1, 50))
def test_decoding_in_pieces_is_decoding_at_once(data, chunk):
    for encoding, octets in (
        ("base64", base64.encodebytes(data)),
        ("quoted-printable", quopri.encodestring(data)),
        ("8bit", data),
    ):
        assert b"".join(decode(octets, 0, len(octets), encoding, chunk)) == data


@given(st.binary(max_size=400), st.integers(1, 50), st.sampled_from(["base64", "quoted-printable", "8bit", "x"]))
def test_decoding_takes_any_octets(data, chunk, encoding):
    assert isinstance(b"".join(decode(data, 0, len(data), encoding, chunk)), bytes)
    assert len(head(data, 0, len(data), encoding, chunk)) <= chunk


# Any octets at all

BRICKS = st.sampled_from([
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"--", b"--b", b"--b--", b"--c", b"\r\n--b\r\n", b"\r\n--c\r\n", b"\r\n\r\n", b'"', b"\\",
    b"Content-Type: ", b"multipart/mixed; boundary=b", b"multipart/digest; boundary=c", b"message/rfc822", b"text/plain", b"application/zip",
    b"; name=", b"; filename*0*=", b"; filename=", b"utf-8''", b"%41", b"=?utf-8?B?", b"=?gb18030?Q?", b"?=", b"x.exe", b"(", b")", b"<", b">", b"@",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Disposition: attachment",
    b"From: ", b"Date: ", b"Subject: ", b"Message-ID: ", b"Received: ", b"Mon, 23 Nov 2026 10:00:00 +0000", b"PK\x03\x04", b"PK\x01\x02",
    b"MZ", b"=", b"QUJD", b",", b";", b":", b"\xff\xfe", "\u202e".encode(),
])  # fmt: skip
HOSTILE = st.binary(max_size=500) | st.lists(BRICKS | st.binary(max_size=8), max_size=80).map(b"".join)


@given(HOSTILE)
def test_any_octets_are_read_without_a_word(content):
    header = Header(content)
    assert len(header.subject) + len(header.from_) + len(header.message_id) <= 3 * header_module.MAX_TEXT
    assert header.subject.encode("utf-8").decode("utf-8") == header.subject
    assert isinstance((header.date, header.authors, header.malformed, header.cut, header.fields), tuple)
    for piece in walk(content, header).parts:
        assert 0 <= piece.start <= piece.end <= len(piece.content)
        assert len(piece.head) <= structure_module.HEAD
        assert body_of(piece).startswith(piece.head[:16])
        assert isinstance((piece.names, piece.name), tuple)


@given(HOSTILE)
def test_a_mapped_message_reads_like_one_in_memory(content):
    if not content:
        return
    with mmap.mmap(-1, len(content)) as memory:
        memory[:] = content
        read = [
            [
                (p.content_type, p.encoding, p.start, p.end, p.depth, p.names, p.head)
                for p in walk(buffer, Header(buffer)).parts
            ]
            for buffer in (content, memory)
        ]
        assert read[0] == read[1]


def nested(levels: int) -> bytes:
    return b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(levels)
    )


OPEN = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (nested(1000), Flaw.DEEP),
        (b"Content-Type: message/rfc822\r\n\r\n" * 1000, Flaw.DEEP),
        ((OPEN + b"--b\r\n") * 5000, Flaw.MANY),
        (OPEN + b"--b\r\n\r\nx\r\n" * 100_000, Flaw.MANY),
        (OPEN + b"--b\r\nX: no end\r\n" * 100_000, Flaw.MANY),
        (OPEN + b"--b\r\n" * 100_000, Flaw.MANY),
        (OPEN + b"--b\r\n" + b"\r\n" * 1_000_000, Flaw.UNTERMINATED),
        (OPEN + b"--" + b"b" * 5_000_000, Flaw.UNTERMINATED),
        (OPEN + b"--x\r\n" * 250_000, Flaw.UNTERMINATED),
        (OPEN + b"\n--" * 5_000_000, Flaw.MANY),
    ],
    ids=["1,000 nested", "1,000 messages", "one boundary", "100,000 parts", "no empty line", "boundaries only", "empty lines", "a long line", "near misses", "millions of near misses"],
)  # fmt: skip
def test_adversarial_structures_cost_no_more_than_their_size(content, flaw):
    started = time.process_time()
    structure = walk(content, Header(content))
    took = time.process_time() - started
    assert flaw in structure.flaws
    assert len(structure.parts) <= structure_module.MAX_PARTS
    assert max(p.depth for p in structure.parts) <= structure_module.MAX_DEPTH
    # Milliseconds to some hundred on a quiet machine; what this would catch is the square of the size.
    assert took < 3


@pytest.mark.parametrize(
    "block",
    [
        b"x" * 2_000_000, b"A:" * 1_000_000, b"a: b" + b"\r\n c" * 500_000, b"From: " + b'"\\"<(,' * 50_000, b"From: " + b" " * 200_000 + b"x",
        b"Subject: " + b"=?" * 100_000, b"Subject: " + b"=?utf-8?q?a?= " * 20_000, b"Content-Type: a/b; name=" + b';x="\\"' * 30_000,
        b"Content-Type: a" + b" " * 200_000, b'Content-Disposition: x; filename="' + b"=?a?q?" * 40_000, b"Date: " + b"1 " * 100_000,
        b"Content-Type: a/b" + b"; name*1*=%41" * 20_000, b"Content-Transfer-Encoding: " + b"(" * 200_000,
    ],
    ids=lambda block: block[:24].decode(),
)  # fmt: skip
def test_adversarial_headers_cost_no_more_than_their_size(block):
    started = time.process_time()
    header = Header(block + b"\r\n\r\n")
    walk(header.content, header).parts[0].names  # noqa: B018 - reading is the work
    assert isinstance((header.subject, header.from_, header.authors, header.date, header.malformed), tuple)
    assert time.process_time() - started < 3


def test_a_mapped_message_is_read_in_place(tmp_path):
    content = mapped(tmp_path / "m", [with_parts(attachment(b"x" * 300_000, "a.bin"))])
    *_, big = walk(content, Header(content)).parts
    pieces = list(big.decoded())
    assert sum(map(len, pieces)) == 300_000
    assert max(map(len, pieces)) <= 512 << 10
    assert big.head == b"x" * structure_module.HEAD


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
@pytest.mark.parametrize("size", [1000, 120_000, 300_000])
def test_of_a_small_message_no_part_is_decoded_twice(monkeypatch, encoding, size):
    decoded = []
    monkeypatch.setattr(structure_module.transfer, "decode", lambda *words: decoded.append(words) or decode(*words))
    octets = b"Some words about lunch = at noon.\r\n" * (size // 36)
    encoded = base64.encodebytes(octets) if encoding == "base64" else quopri.encodestring(octets)
    content = b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + encoded
    (piece,) = parts_of(content)
    assert piece.head == octets[: structure_module.HEAD]
    assert body_of(piece) == octets
    half = piece.decoded()
    assert octets.startswith(next(half))
    assert body_of(piece) == octets
    assert (len(decoded) == 1) == (len(content) <= structure_module.KEPT)
