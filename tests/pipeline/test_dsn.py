import email
import email.message
import email.policy
import quopri
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dsn import Failure, render
from pipeline.dsn_words import WORDS, Words
from pipeline.events import Attempt
from pipeline.ids import new_id
from pipeline.state import Message, Recipient, Stage

SECOND = 1_000_000_000
FIELDS = [
    "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date",
    "Will-Retry-Until",
]  # fmt: skip
"""In the order of RFC 3464 2.3."""
AT = 1_700_000_000_000_000_000
ID, BOUNCE = new_id(AT, 3, 1), new_id(AT, 3, 2)
HEADER = b"From: s@example.org\r\nTo: a@example.com\r\nSubject: Hello\r\n"


def message(**changes: object) -> Message:
    fields: dict[str, object] = {
        "id": ID, "version": 3, "domain": "example.com", "sender": "s@example.org", "size": 100, "received_at": AT,
        "expires": AT + 1, "recipients": (), "subject": "Hello", "message_id": "<m1@example.org>",
    }  # fmt: skip
    return Message(**(fields | changes))  # type: ignore[arg-type]


def recipient(address: str = "a@example.com", notify: str = "", orcpt: str = "") -> Recipient:
    return Recipient(address=address, stage=Stage.QUEUED, notify=notify, orcpt=orcpt)


def refused(address: str = "a@example.com", orcpt: str = "", **changes: object) -> Failure:
    fields: dict[str, object] = {
        "server": "mx.example.com:25", "address": "192.0.2.1", "stage": "rcpt", "code": 550, "enhanced": "5.1.1",
        "reply": "550-5.1.1 no such user\n550 5.1.1 here",
    }  # fmt: skip
    attempt = Attempt(**(fields | changes))  # type: ignore[arg-type]
    return Failure(recipient=recipient(address, orcpt=orcpt), reason="refused", attempt=attempt)


def bounce(*failures: Failure, header: bytes = HEADER, language: str = "en", **changes: object) -> bytes:
    return render(
        message=message(**changes),
        failures=failures,
        header=header,
        hostname="gw.example.net",
        now=AT,
        bounce_id=BOUNCE,
        language=language,
    )


def parsed(data: bytes) -> tuple[email.message.Message, list[email.message.Message]]:
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    whole = email.message_from_bytes(data, policy=email.policy.compat32)
    assert whole.defects == []
    parts = whole.get_payload()
    assert isinstance(parts, list)
    assert [part.get_content_type() for part in parts] in (
        ["text/plain", "message/delivery-status", "text/rfc822-headers"],
        ["text/plain", "message/global-delivery-status", "message/global-headers"],
    )
    return whole, parts


def fields(parts: list[email.message.Message], group: int) -> dict[str, str]:
    return {name: " ".join(value.split()) for name, value in parts[1].get_payload()[group].items()}


def text(part: email.message.Message) -> str:
    return part.get_payload(decode=True).decode(part.get_content_charset() or "ascii")


def test_the_report_is_a_multipart_report_to_the_sender_from_nobody():
    whole, _ = parsed(bounce(refused()))
    assert whole.get_content_type() == "multipart/report"
    assert whole.get_param("report-type") == "delivery-status"
    assert {name: whole[name] for name in ("From", "To", "Auto-Submitted", "Message-ID", "In-Reply-To", "Date")} == {
        "From": "Mail Delivery System <MAILER-DAEMON@gw.example.net>",
        "To": "<s@example.org>",
        "Auto-Submitted": "auto-replied",
        "Message-ID": f"<{BOUNCE}@gw.example.net>",
        "In-Reply-To": "<m1@example.org>",
        "Date": "Tue, 14 Nov 2023 22:13:20 +0000",
    }


def test_the_status_part_has_the_fields_of_rfc_3464():
    failure = msgspec.structs.replace(refused(orcpt="rfc822;o+2Bx@example.com"), at=AT + 90 * SECOND)
    _, parts = parsed(bounce(failure, envid="a+2Bb"))
    assert fields(parts, 0) == {
        "Original-Envelope-Id": "a+b",
        "Reporting-MTA": "dns; gw.example.net",
        "Arrival-Date": "Tue, 14 Nov 2023 22:13:20 +0000",
    }
    assert fields(parts, 1) == {
        "Original-Recipient": "rfc822; o+x@example.com",
        "Final-Recipient": "rfc822; a@example.com",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.com",
        "Diagnostic-Code": "smtp; 550-5.1.1 no such user 550 5.1.1 here",
        "Last-Attempt-Date": "Tue, 14 Nov 2023 22:14:50 +0000",
    }
    assert list(fields(parts, 1)) == FIELDS[:-1]


def delayed(**changes: object) -> Failure:
    attempt = refused(stage="connect", code=0, enhanced="4.4.1", reply="Connection refused", **changes).attempt
    return Failure(
        recipient=recipient(), reason="delayed", attempt=attempt, at=AT + SECOND, until=AT + 7 * 86400 * SECOND
    )


def test_a_delay_is_no_failure_and_says_until_when_it_is_tried():
    whole, parts = parsed(bounce(delayed()))
    assert whole["Subject"] == "Delayed mail: not delivered yet, you need not send it again"
    assert fields(parts, 1) == {
        "Final-Recipient": "rfc822; a@example.com",
        "Action": "delayed",
        "Status": "4.4.1",
        "Remote-MTA": "dns; mx.example.com",
        "Diagnostic-Code": "x-gatepost; Connection refused",
        "Last-Attempt-Date": "Tue, 14 Nov 2023 22:13:21 +0000",
        "Will-Retry-Until": "Tue, 21 Nov 2023 22:13:20 +0000",
    }
    said = " ".join(text(parts[0]).split())
    assert "could not be delivered yet" in said
    assert "until Tue, 21 Nov 2023 22:13:20 +0000" in said
    assert "It will not be tried again" not in said


@pytest.mark.parametrize(
    ("reason", "enhanced", "status"),
    [
        ("refused", "5.1.1", "5.1.1"),
        ("refused", "", "5.0.0"),
        ("returned", "4.2.1", "5.0.0"),
        ("expired", "4.4.1", "4.4.7"),
        ("delayed", "5.7.1", "4.7.1"),
        ("delayed", "", "4.0.0"),
        ("relayed", "2.1.5", "2.1.5"),
        ("relayed", "", "2.0.0"),
    ],
)
def test_the_status_is_of_the_class_that_the_action_says(reason, enhanced, status):
    attempt = Attempt(server="mx.example.com:25", stage="dot", code=250, enhanced=enhanced, reply="words")
    _, parts = parsed(bounce(Failure(recipient=recipient(), reason=reason, attempt=attempt, until=AT)))
    found = fields(parts, 1)
    assert found["Status"] == status
    action = reason if reason in ("delayed", "relayed") else "failed"
    assert found["Action"] == action
    assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status)
    assert ("Will-Retry-Until" in found) is (action == "delayed")


def test_what_the_words_mean_and_what_the_postmaster_can_do_is_said_in_the_readers_language():
    _, english = parsed(bounce(refused()))
    assert "What this means: There is no such recipient." in text(english[0])
    assert "For the postmaster of example.com: Ask your provider whether the mailbox exists" in " ".join(
        text(english[0]).split()
    )
    whole, german = parsed(bounce(refused(), language="de"))
    said = " ".join(text(german[0]).split())
    assert german[0]["Content-Language"] == "de"
    assert whole["Subject"] == "Nicht zugestellt: Ihre Nachricht kam nicht an"
    assert "Das heißt: Diesen Empfänger gibt es nicht." in said
    assert "Für den Postmaster von example.com: Fragen Sie Ihren Anbieter" in said
    assert "550-5.1.1 no such user" in said
    assert parsed(bounce(refused(), language="tlh"))[1][0]["Content-Language"] == "tlh"


def test_of_words_that_nobody_knows_nothing_is_made_up():
    _, parts = parsed(bounce(refused(code=599, enhanced="5.0.0", reply="599 the moon is wrong")))
    assert "What this means" not in text(parts[0])
    assert "the moon is wrong" in text(parts[0])


def test_the_same_is_said_in_every_language():
    placeholders = re.compile(r"\{[^}]*\}")
    for name in Words.__struct_fields__:
        found = {tuple(placeholders.findall(getattr(words, name))) for words in WORDS.values()}
        assert len(found) == 1, name
    for words in WORDS.values():
        for name in ("subject_failed", "subject_delayed", "subject_relayed", "preamble"):
            assert getattr(words, name).isascii()
            assert len(getattr(words, name)) < 70


def test_a_sender_that_is_not_ascii_gets_the_forms_of_rfc_6533():
    header = "Subject: Grüße\r\n".encode()
    failure = refused("jos\u00e9@example.com", orcpt="utf-8;jos+5Cx{E9}@example.com")
    data = bounce(failure, sender="jürgen@example.org", header=header)
    whole = email.message_from_bytes(data, policy=email.policy.compat32)
    parts = whole.get_payload()
    assert whole.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in parts] == [
        "text/plain", "message/global-delivery-status", "message/global-headers",
    ]  # fmt: skip
    assert "To: <jürgen@example.org>\r\n".encode() in data
    status = data.partition(b"message/global-delivery-status")[2]
    plain = quopri.decodestring(status.partition(b"\r\n\r\n")[2].partition(b"\r\n--=_")[0]).decode()
    assert "Original-Recipient: utf-8; josé@example.com\r\n" in plain
    assert "Final-Recipient: utf-8; josé@example.com\r\n" in plain
    headers = data.partition(b"message/global-headers")[2]
    assert quopri.decodestring(headers.partition(b"\r\n\r\n")[2].partition(b"\r\n--=_")[0]) == header


def test_a_person_reads_who_what_and_the_exact_words_of_the_server():
    _, parts = parsed(bounce(refused(), refused("b@example.com", code=552, reply="552 5.2.2 full", enhanced="5.2.2")))
    said = text(parts[0]).replace("\r\n", "\n")
    assert "<a@example.com>\n  was refused by the server" in said
    assert "The server mx.example.com:25 [192.0.2.1] said:\n\n    550-5.1.1 no such user\n    550 5.1.1 here\n" in said
    assert "<b@example.com>" in said
    assert "    552 5.2.2 full\n" in said
    assert "Hello" in said
    assert [fields(parts, group)["Final-Recipient"] for group in (1, 2)] == [
        "rfc822; a@example.com",
        "rfc822; b@example.com",
    ]


def test_an_expired_message_says_so_and_what_happened_last():
    attempt = Attempt(server="mx.example.com:25", stage="connect", enhanced="4.4.1", reply="Connection refused")
    _, parts = parsed(bounce(Failure(recipient=recipient(), reason="expired", attempt=attempt)))
    assert "we have given up" in text(parts[0])
    assert "was tried last, and this happened:\r\n\r\n    Connection refused" in text(parts[0])
    assert fields(parts, 1)["Status"] == "4.4.7"
    assert fields(parts, 1)["Diagnostic-Code"] == "x-gatepost; Connection refused"


def test_a_recipient_without_any_attempt_is_reported_too():
    _, parts = parsed(bounce(Failure(recipient=recipient(), reason="expired")))
    assert fields(parts, 1) == {"Final-Recipient": "rfc822; a@example.com", "Action": "failed", "Status": "4.4.7"}


def test_a_route_that_does_not_exist_names_no_server():
    attempt = Attempt(server="example.com", stage="route", enhanced="5.1.10", reply="example.com accepts no mail")
    _, parts = parsed(bounce(Failure(recipient=recipient(), reason="refused", attempt=attempt)))
    assert "No server could be chosen for it:\r\n\r\n    example.com accepts no mail" in text(parts[0])
    assert "Remote-MTA" not in fields(parts, 1)
    assert fields(parts, 1)["Status"] == "5.1.10"


def test_only_the_header_of_the_message_is_returned():
    _, parts = parsed(bounce(refused(), header=HEADER + b"\r\nsecret body\r\n"))
    assert parts[2].get_payload(decode=True) == HEADER
    assert b"secret" not in bounce(refused(), header=b"\r\nsecret body\r\n")


def test_a_huge_header_is_cut_at_a_line_end():
    _, parts = parsed(bounce(refused(), header=b"X-Filler: 0123456789\r\n" * 10_000))
    returned = parts[2].get_payload(decode=True)
    assert 65_000 < len(returned) <= 65_536
    assert returned.endswith(b"9\r\n")


def test_an_eight_bit_or_long_lined_header_travels_as_quoted_printable():
    header = b"Subject: \xfcber\r\nX-Long: " + b"x" * 2000 + b"\r\n"
    data = bounce(refused(), header=header)
    assert data.isascii()
    assert parsed(data)[1][2].get_payload(decode=True) == header


def test_a_recipient_that_is_not_ascii_has_the_form_of_rfc_6533():
    data = bounce(refused("jos\u00e9@example.com"))
    assert data.isascii()
    _, parts = parsed(data)
    assert fields(parts, 1)["Final-Recipient"] == "utf-8; jos\\x{E9}@example.com"
    assert "<jos\u00e9@example.com>" in text(parts[0])


def test_a_boundary_in_the_header_of_the_message_does_not_end_a_part():
    header = f"X-A: 1\r\n--=_{BOUNCE}--\r\n--=_{BOUNCE}\r\nX-B: 2\r\n".encode()
    assert parsed(bounce(refused(), header=header))[1][2].get_payload(decode=True) == header


evil = st.text(max_size=200) | st.sampled_from(
    ["a\r\nBcc: x@example.org", "a\n\n--b", "x" * 5000, "\ud800", "\x85\u2028"]
)


@given(
    sender=evil,
    subject=evil,
    to=evil,
    reply=evil,
    orcpt=evil,
    envid=evil,
    message_id=evil,
    header=st.binary(max_size=300),
)
def test_nothing_that_a_stranger_chose_changes_the_form_of_the_report(
    sender, subject, to, reply, orcpt, envid, message_id, header
):
    failure = refused(to, orcpt=orcpt + ";" + orcpt, reply=reply, server=to + ":25")
    data = bounce(failure, header=header, sender=sender, subject=subject, envid=envid, message_id=message_id)
    whole, parts = parsed(data)
    names = [name for name in whole if name not in ("In-Reply-To", "References")]
    assert names == ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    if sender.isascii():
        assert parts[1]["Content-Transfer-Encoding"] is None  # RFC 3464 2.1: 7bit and nothing else
        assert len(parts[1].get_payload()) == 2
        assert set(parts[1].get_payload()[1].keys()) <= set(FIELDS)
    else:
        status = data.partition(b"message/global-delivery-status")[2].partition(b"\r\n\r\n")
        body = status[2].partition(f"\r\n--=_{BOUNCE}".encode())[0]
        groups = (quopri.decodestring(body) if b"quoted-printable" in status[0] else body).decode().split("\r\n\r\n")
        assert len(groups) == 2
        names = {line.partition(":")[0] for line in groups[1].split("\r\n") if line and not line.startswith("\t")}
        assert names <= set(FIELDS)


def relayed(address: str = "b@example.com") -> Failure:
    attempt = Attempt(server="mx.example.com:25", stage="dot", code=250, enhanced="2.0.0", reply="250 2.0.0 taken")
    return Failure(recipient=recipient(address, notify="SUCCESS"), reason="relayed", attempt=attempt)


def test_who_asked_for_a_report_hears_that_the_next_server_sends_none():
    whole, parts = parsed(bounce(relayed()))
    assert whole["Subject"] == "Mail relayed: there will be no report of its delivery"
    assert "This is all that can be said of it" in " ".join(text(parts[0]).split())
    assert {name: fields(parts, 1)[name] for name in ("Action", "Status", "Final-Recipient")} == {
        "Action": "relayed", "Status": "2.0.0", "Final-Recipient": "rfc822; b@example.com",
    }  # fmt: skip


def test_one_report_may_tell_of_failures_and_of_what_was_relayed():
    whole, parts = parsed(bounce(refused(), relayed()))
    assert whole["Subject"] == "Undelivered mail: returned to sender"
    assert "could not be delivered to 1 of the recipients below" in " ".join(text(parts[0]).split())
    assert [fields(parts, group)["Action"] for group in (1, 2)] == ["failed", "relayed"]


def test_a_recipient_is_named_as_the_sender_named_it():
    original = Recipient(address="a@example.com", original="a@alias.example", stage=Stage.QUEUED)
    _, parts = parsed(bounce(Failure(recipient=original, reason="expired")))
    assert "<a@alias.example>" in text(parts[0])
    assert fields(parts, 1)["Final-Recipient"] == "rfc822; a@alias.example"


@given(st.text(max_size=600))
def test_what_a_postmaster_returned_says_why_and_is_final_whatever_a_server_had_said(note):
    failure = Failure(
        recipient=recipient(), reason="returned", note=note, attempt=refused(code=451, enhanced="4.7.1").attempt
    )
    _, (text, status, _) = parsed(bounce(failure))
    said = text.get_payload(decode=True).decode()
    assert "was returned by the postmaster" in said
    words = "".join(char if char.isprintable() else "?" for char in note).split()
    assert "".join(words) in "".join(said.split())
    assert "Status: 5.0.0" in status.as_string()
    assert "Status: 4." not in status.as_string()


@pytest.mark.parametrize("language", sorted(WORDS))
def test_a_strict_reader_finds_nothing_wrong_with_any_part(language):
    whole = email.message_from_bytes(bounce(refused(), delayed(), language=language), policy=email.policy.default)
    assert [part.defects for part in whole.walk() if part.defects] == []
    assert [value.defects for value in whole.values() if value.defects] == []
    assert whole["To"].addresses[0].addr_spec == "s@example.org"
    assert whole["From"].addresses[0].addr_spec == "MAILER-DAEMON@gw.example.net"
