"""To whom no bounce is sent, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import AuthResult
from pipeline.ids import new_id
from pipeline.state import Message, Recipient, Stage
from pipeline.unsent import MAX_HEADER, header_only, unsent, unwarned

AT = 1_700_000_000_000_000_000
HEADER = b"From: s@example.org\r\nTo: a@example.com\r\nSubject: Hello\r\n"


def message(**changes: object) -> Message:
    fields: dict[str, object] = {
        "id": new_id(AT, 3, 1), "version": 3, "domain": "example.com", "sender": "s@example.org", "size": 100,
        "received_at": AT, "expires": AT + 1, "recipients": (), "verdict": "clean",
    }  # fmt: skip
    return Message(**(fields | changes))  # type: ignore[arg-type]


def recipient(notify: str = "") -> Recipient:
    return Recipient(address="a@example.com", stage=Stage.QUEUED, notify=notify)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", ""),
        (b"Subject: x\r\n", ""),
        (b"Auto-Submitted: no\r\n", ""),
        (b"Auto-Submitted: auto-replied\r\n", "automatic"),
        (b"Subject: x\r\nauto-submitted:\r\n\tauto-generated; x=y\r\n", "automatic"),
        (b"Precedence: bulk\r\n", "bulk"),
        (b"PRECEDENCE: List\r\n", "bulk"),
        (b"Precedence: junk\r\n", "bulk"),
        (b"Precedence: first-class\r\n", ""),
        (b"A: b\r\nList-Id: <x.example.org>\r\n", "list"),
        (b"A: b\r\nlist-unsubscribe : <x>\r\n", "list"),
        (b"Mailing-List: list x@example.org; contact x-help@example.org\r\n", "list"),
        (b"X-List-Id: y\r\nSubject: List-Id: no\r\n", ""),
        (b"X-Auto-Response-Suppress: All\r\n", "asks for none"),
        (b"X-Auto-Response-Suppress: OOF,\r\n\tNDR, DR\r\n", "asks for none"),
        (b"X-Auto-Response-Suppress: OOF, AutoReply, DR, RN\r\n", ""),
        (b"Subject: x\r\n\r\nList-Id: <in.the.body>\r\nPrecedence: bulk\r\n", ""),
        (b"\r\nPrecedence: bulk\r\n", ""),
    ],
)
def test_no_bounce_answers_a_machine_or_a_list(header, why):
    reason = unsent(message(), recipient(), header)
    assert (why in reason) if why else reason == ""


def test_who_wants_no_delivery_reports_is_not_told_of_a_delay():
    header = b"X-Auto-Response-Suppress: DR\r\n"
    assert unwarned(message(), header)
    assert not unsent(message(), recipient(), header)


@pytest.mark.parametrize(
    ("sender", "notify", "bounces"),
    [
        ("s@example.org", "", True),
        ("", "", False),
        ("MAILER-DAEMON@example.org", "", False),
        ("mailer-daemon-fan@example.org", "", True),
        ("owner-friends@example.org", "", False),
        ("friends-owner@example.org", "", False),
        ("friends-request@example.org", "", False),
        ("friends-bounces+a=example.com@example.org", "", False),
        ("friends-bounces@example.org", "", False),
        ("owner@example.org", "", True),
        ("anna.owner@example.org", "", True),
        ("Majordomo@example.org", "", False),
        ("s@example.org", "NEVER", False),
        ("s@example.org", "SUCCESS,DELAY", False),
        ("s@example.org", "success,failure", True),
    ],
)
def test_a_bounce_goes_only_to_a_person_who_wants_it(sender, notify, bounces):
    assert (unsent(message(sender=sender), recipient(notify), HEADER) == "") is bounces


@pytest.mark.parametrize(
    ("spf", "dmarc", "bounces"),
    [
        ("pass", "pass", True),
        ("pass", "none", True),
        ("none", "none", True),
        ("neutral", "none", True),
        ("temperror", "temperror", True),
        ("permerror", "none", True),
        ("fail", "none", False),
        ("fail", "pass", False),
        ("softfail", "none", False),
        ("softfail", "pass", True),
        ("pass", "fail", False),
        ("none", "fail", False),
        ("", "", True),
    ],
)
def test_a_sender_that_failed_authentication_gets_no_bounce(spf, dmarc, bounces):
    results = (("spf", spf), ("dkim", "fail"), ("dmarc", dmarc))
    auth = tuple(AuthResult(method=method, result=result) for method, result in results if result)
    reason = unsent(message(auth=auth), recipient(), HEADER)
    assert (reason == "") is bounces
    assert bounces or reason.startswith("sender failed authentication")


@pytest.mark.parametrize("verdict", ["spam", "phishing", "virus", "content", "spoof"])
def test_mail_that_was_not_judged_clean_and_was_released_is_not_bounced(verdict):
    assert unsent(message(verdict=verdict), recipient(), HEADER) == f"message was judged to be {verdict}"


def test_bulk_mail_is_told_by_its_header_and_not_by_its_class():
    assert unsent(message(verdict="bulk"), recipient(), HEADER) == ""
    assert unsent(message(verdict="bulk"), recipient(), b"List-Id: <x>\r\n\r\n") == "message is from a list"


def test_what_was_released_to_somebody_else_is_not_bounced():
    assert unsent(message(origin="release"), recipient(), HEADER) == "it was released from the quarantine"


def test_our_own_bounce_is_never_bounced_whatever_it_says():
    assert unsent(message(origin="bounce"), recipient(), HEADER) == "null sender"


@given(st.binary(max_size=400))
def test_any_header_is_answered_with_words(header):
    assert unsent(message(), recipient(), header).isprintable()


def test_a_long_header_is_cut_at_a_line_end():
    cut = header_only(b"X-Filler: 0123456789\r\n" * 10_000)
    assert len(cut) <= MAX_HEADER
    assert cut.endswith(b"9\r\n")
