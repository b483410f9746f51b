"""Counting Received lines, and finding our own."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.state import Recipient, Stage
from pipeline.trace import received_line
from tests.support.examples import ANNA, BEN, message_in
from workers.receiver.hops import looping, received_lines

GATEWAY = "gateway.test"
OTHER = b"Received: from a ([192.0.2.1])\r\n\tby other.test with ESMTP id 1 for <anna@example.test>; Tue, 1 Jan 2030 00:00:00 +0000\r\n"


def passed(*recipients: str, hostname: str = GATEWAY) -> bytes:
    """Our own line, for these recipients."""
    return received_line(message_in(Stage.QUEUED, *recipients), hostname)


def found(head: bytes, *recipients: str) -> tuple[str, ...]:
    return looping(head + b"Subject: x\r\n\r\n" + passed(ANNA) * 5, GATEWAY, recipients or (ANNA,))


def test_the_third_time_for_the_same_recipient_is_a_loop():
    assert found(passed(ANNA) * 2 + OTHER * 40) == ()
    assert found(passed(ANNA) + OTHER + passed(ANNA) + OTHER + passed(ANNA)) == (ANNA,)


def test_passes_for_others_do_not_count():
    assert found(passed(BEN) * 3) == ()
    assert found(passed(BEN) * 3, ANNA, BEN) == (BEN,)
    assert found(passed(ANNA, hostname="other.gateway.test") * 5) == ()
    assert found(passed(ANNA, hostname="gateway.test.evil.test") * 5) == ()


def test_a_pass_for_several_counts_for_everybody_at_the_domain():
    assert found(passed(ANNA, BEN) * 2 + passed(ANNA)) == (ANNA,)
    assert found(passed(ANNA, BEN) * 3, "cleo@example.test", "x@b.test") == ("cleo@example.test",)


def test_the_case_of_the_recipient_and_of_our_name_does_not_matter():
    assert found(passed("Anna@example.test", hostname="GATEWAY.test") * 3, "aNNA@example.test") == (
        "aNNA@example.test",
    )


def test_a_recipient_that_our_line_cannot_name_counts_by_the_domain():
    message = msgspec.structs.replace(
        message_in(Stage.QUEUED), recipients=(Recipient(address="\xfcrsel@example.test", stage=Stage.QUEUED),)
    )
    assert found(received_line(message, GATEWAY) * 3, "\xfcrsel@example.test") == ("\xfcrsel@example.test",)


@given(
    st.lists(
        st.sampled_from(
            [b"Received:", b" by gateway.test ", b"(to 1 at ", b"for <", b">", b")", b"\r\n\t", b"\r\n", b"x" * 99]
        )
    )
)
def test_whatever_a_header_holds_it_is_looked_through(parts):
    looping(b"".join(parts), GATEWAY, [ANNA])


@pytest.mark.parametrize("head", [b"", b"\r\n", b"Received: by gateway.test", b"gateway.test" * 5000])
def test_a_header_without_an_end_or_a_beginning_is_no_trouble(head):
    assert looping(head, GATEWAY, [ANNA]) == ()


def test_only_lines_of_the_header_count_in_any_case():
    head = b"Received: a\r\n\tReceived: folded\r\nrECEIVED : b\r\nX-Received: c\r\nSubject: Received: d\r\n\r\nReceived: body\r\n"
    assert received_lines(head) == 2


def test_a_header_without_an_end_counts_as_far_as_it_goes():
    assert received_lines(b"Received: a\r\n" * 3) == 3


def test_a_message_without_a_header_has_none():
    assert received_lines(b"\r\nReceived: a\r\n") == 0
    assert received_lines(b"") == 0
