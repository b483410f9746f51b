"""Mail that we write to those who run us."""

from __future__ import annotations

import email
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.address import parse
from pipeline.ids import partition_of
from pipeline.ownmail import Attachment, Letter, compose, id_of, received
from tests.support.examples import AT

ID = "1nx9s4tkh2v6c8jq0d7w03"
BOSS = "boss@elsewhere.test"


def written(letter: Letter, hostname: str = "gateway.test") -> email.message.EmailMessage:
    octets = compose(letter, hostname=hostname, now=AT, message_id=ID)
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    return email.message_from_bytes(octets, policy=policy.default)


def test_it_says_that_a_machine_wrote_it_and_has_all_its_parts():
    file = Attachment(name="Bericht Mülheim.csv", kind="text/csv", content=b"a,b\r\n\xff\x00\r\n")
    letter = Letter(
        to=BOSS, subject="Zustellungen: Größe", text="Guten Tag\n.\nFrom x", html="<p>Größe", attachments=(file,)
    )
    found = written(letter)
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Message-ID"] == f"<{ID}@gateway.test>"
    assert (found["Subject"], found["To"]) == ("Zustellungen: Größe", BOSS)
    assert found.get_content_type() == "multipart/mixed"
    bodies, attached = found.iter_parts()
    assert [part.get_content_type() for part in bodies.iter_parts()] == ["text/plain", "text/html"]
    texts = [part.get_content().replace("\r\n", "\n") for part in bodies.iter_parts()]
    assert texts == ["Guten Tag\n.\nFrom x\n", "<p>Größe\n"]
    assert (attached.get_filename(), attached.get_payload(decode=True)) == (file.name, file.content)
    assert compose(letter, hostname="gateway.test", now=AT, message_id=ID).isascii()


def test_a_text_alone_is_no_multipart():
    assert written(Letter(to=BOSS, subject="x", text="y")).get_content_type() == "text/plain"


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_a_stranger_adds_a_field_or_ends_a_part(subject: str, text: str, name: str, hostname: str):
    file = Attachment(name=f"x{name}", kind="text/csv", content=text.encode("utf-8", "replace"))
    found = written(
        Letter(to=BOSS, subject=f"x{subject}", text=text, html=f"{text}\n--=_{ID}_0--\n", attachments=(file,)), hostname
    )
    assert sorted(found.keys()) == [
        "Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To",
    ]  # fmt: skip
    assert len(list(found.walk())) == 5


@pytest.mark.parametrize(
    "to",
    [
        '"a b"@x.test', "größe@x.test", '"a\\"b"@x.test', "a@xn--bcher-kva.test", "=?utf-8?q?x?=@x.test",
        '"evil@else.test, ' + "a " * 100 + '"@x.test', "ö" * 120 + "@x.test", "a" * 255 + "@" + ".".join(["b" * 60] * 4),
        '"<x>"@x.test', '"(c)"@x.test', "a{b}%s@x.test", '"größe, "@x.test',
    ],
)  # fmt: skip
def test_every_address_that_may_be_written_to_stands_in_the_to_field(to: str):
    address = parse(to)
    octets = compose(Letter(to=str(address), subject="x", text="y"), hostname="gateway.test", now=AT, message_id=ID)
    assert f"To: {to}\r\n".encode() in octets
    if "=?" in to:
        return  # RFC 2047 5 (3): nothing is encoded within an address, which this library does not know
    (found,) = email.message_from_string(octets.decode(), policy=policy.SMTPUTF8)["To"].addresses
    assert (found.username, found.domain) == (address.plain, address.domain)


def test_it_is_a_message_of_its_recipient_s_domain_from_the_null_sender():
    event = received("größe@X.test", origin="report", size=7, now=AT, lifetime=5)
    assert (event.sender, event.domain, event.origin, event.expires) == ("", "x.test", "report", AT + 5)
    assert event.smtputf8
    assert not received(BOSS, origin="alert", size=7, now=AT, lifetime=5).smtputf8


def test_who_writes_it_a_second_time_writes_the_same():
    first = id_of(BOSS, 8, AT, "example.test 2026-11-20")
    assert first == id_of(BOSS, 8, AT, "example.test 2026-11-20")
    assert first != id_of(BOSS, 8, AT, "example.test 2026-11-21")
    assert partition_of(first) == partition_of(id_of("other@elsewhere.test", 8, AT + 1, "x"))
