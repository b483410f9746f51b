"""Programs that a message claims to be from; and mail for many."""

from __future__ import annotations

import pytest

from pipeline.authentication.dmarc import Result as DmarcResult
from pipeline.authentication.together import Authentication
from pipeline.scanning.builtin.bulk import bulk
from pipeline.scanning.builtin.programs import programs
from pipeline.scanning.engine import Mail
from tests.support.mail import message

UUID = "<8C9D7E4A-1B2C-4D5E-8F90-123456789ABC@a.example>"


def mail(*lines: str) -> Mail:
    return Mail(message(), "".join(f"{line}\r\n" for line in ("From: a@a.example", *lines)).encode() + b"\r\nhello\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Mailer: Microsoft Outlook Express 6.00.2900.2180",),
        ("X-Mailer: Microsoft Outlook 16.0",),
        ("X-Mailer: Microsoft Outlook, Build 10.0.3416",),
        ("User-Agent: Mozilla Thunderbird", "MIME-Version: 1.0", "Message-ID: <123@a.example>"),
        ("User-Agent: Mozilla Thunderbird", f"Message-ID: {UUID}"),
        ("X-Mailer: Apple Mail (2.3445.104.11)", "Mime-Version: 1.0", "Message-ID: <1@a.example>"),
        ("X-Mailer: The Bat! (v2.00.6)", "X-Priority: 3", "Message-ID: <abc@a.example>"),
        ("Message-ID: <12345@mail.gmail.com>",),
    ],
)
def test_a_program_that_does_not_write_what_it_always_writes_is_not_that_program(lines):
    assert [finding.name for finding in programs(mail(*lines))] == ["PROGRAM_FORGED"]
    assert programs(mail(*lines, "List-Id: <x.example>")) == []


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Mailer: Microsoft Outlook Express 6.00.2900.2180", "X-MimeOLE: Produced By Microsoft MimeOLE V6.00"),
        ("X-Mailer: Microsoft Outlook 16.0", "Thread-Index: AdV0", "X-MSMail-Priority: Normal"),
        ("User-Agent: Mozilla Thunderbird", "MIME-Version: 1.0", "Message-ID: <8c9d7e4a-1b2c-4d5e-8f90-123456789abc@a.example>"),
        ("User-Agent: Mozilla/5.0 (X11; Linux; rv:52.0) Gecko/20100101 Thunderbird/52.1", "MIME-Version: 1.0", "Message-ID: <4C0F8E01.8050903@a.example>"),
        ("X-Mailer: Apple Mail (2.3445)", "Mime-Version: 1.0", f"Message-ID: {UUID}"),
        ("X-Mailer: iPhone Mail (20A362)", "Mime-Version: 1.0", f"Message-ID: {UUID}"),
        ("X-Mailer: Apple Mail (2.3445)", "Mime-Version: 1.0"),
        ("Message-ID: <CAB1cdE2fGh3iJ-kLm4nO_p5qRsT6uVw7xYz8=AbCd+EfGhIjKlMn@mail.gmail.com>",),
        ("X-Mailer: My own program",),
    ],
)  # fmt: skip
def test_the_programs_themselves_are_believed(lines):
    assert programs(mail(*lines)) == []


def test_a_priority_as_outlook_writes_it_and_nothing_else_of_outlooks_is_odd():
    assert [finding.name for finding in programs(mail("X-MSMail-Priority: High"))] == ["PRIORITY_ALONE"]


@pytest.mark.parametrize(
    ("author", "right", "dmarc", "found"),
    [
        ("a@hotmail.com", "evil.example", "", ["PROVIDER_ID"]),
        ("a@Yahoo.com", "evil.example", "fail", ["PROVIDER_ID"]),
        ("a@hotmail.com", "evil.example", "pass", []),
        ("a@hotmail.com", "evil.example", "temperror", []),
        ("a@hotmail.com", "AM0PR01.eurprd01.prod.outlook.com", "", []),
        ("a@aol.com", "mail.yahoo.com", "", []),
        ("a@b.example", "evil.example", "", []),
    ],
)
def test_a_message_id_of_somebody_elses_under_a_big_providers_name_is_odd_unless_it_is_proved(
    author, right, dmarc, found
):
    known = Authentication(dmarc=DmarcResult(dmarc)) if dmarc else Authentication()
    content = f"From: {author}\r\nMessage-ID: <1@{right}>\r\n\r\nx\r\n".encode()
    assert [finding.name for finding in programs(Mail(message(), content, known))] == found


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("List-Id: Friends of mail <friends.lists.example>",), "the mailing list Friends of mail"),
        (("Mailing-List: contact x@y.example",), "from a mailing list"),
        (("List-Unsubscribe: <mailto:x@y.example>",), "can be unsubscribed from"),
        (("Precedence: Bulk",), "Precedence: bulk"),
        (("Feedback-ID: 1:2:3:x", "X-SG-EID: abc"), "a program for mass mail (feedback-id, x-sg-eid)"),
    ],
)
def test_mail_for_many_is_bulk_and_says_why(lines, why):
    (finding,) = bulk(mail(*lines))
    assert (finding.name, finding.kind, finding.score) == ("BULK", "bulk", 1.0)
    assert why in finding.text


@pytest.mark.parametrize(
    "lines", [(), ("Precedence: first-class",), ("Feedback-ID: 1:2:3:AmazonSES",), ("X-SES-Outgoing: 2026",)]
)
def test_a_single_message_is_not_bulk_even_from_a_sender_of_mass_mail(lines):
    assert bulk(mail(*lines)) == []
