"""Counting Received lines."""

from __future__ import annotations

from workers.receiver.hops import received_lines


def test_only_lines_of_the_header_count_in_any_case():
    head = b"Received: a\r\n\tReceived: folded\r\nrECEIVED : b\r\nX-Received: c\r\nSubject: Received: d\r\n\r\nReceived: body\r\n"
    assert received_lines(head) == 2


def test_a_header_without_an_end_counts_as_far_as_it_goes():
    assert received_lines(b"Received: a\r\n" * 3) == 3


def test_a_message_without_a_header_has_none():
    assert received_lines(b"\r\nReceived: a\r\n") == 0
    assert received_lines(b"") == 0
