"""Whose hands a collected message came from: what its Received fields say, past the collector's own servers."""

from __future__ import annotations

import pytest

from bench.arrival import arrived

FETCHED = "from localhost (localhost [127.0.0.1]) by home.example (Postfix) with ESMTP; Mon, 30 Sep 2002 13:00:00 +0000"
INSIDE = "from mail.slashnull.org (mail.slashnull.org [192.0.2.80]) by home.example; Mon, 30 Sep 2002 12:00:00 +0000"
OUTSIDE = "from h.example ({name} [192.0.2.7]{said}) by mail.slashnull.org; Mon, 30 Sep 2002 10:00:00 +0000"
BELOW = "from inner.example (inner.example [203.0.113.9]) by h.example; Mon, 30 Sep 2002 09:00:00 +0000"
AT = 1_033_380_000 * 10**9
"""30 September 2002, 10:00"""


def mail(*lines: str) -> bytes:
    head = "".join(f"Received: {line}\r\n" for line in lines)
    return f"Return-Path: <s@a.example>\r\n{head}Date: Mon, 30 Sep 2002 08:00:00 +0000\r\n\r\nx".encode()


@pytest.mark.parametrize(
    ("name", "said", "confirmed"),
    [("r.example", "", "r.example"), ("unknown", "", ""), ("r.example", " (may be forged)", "")],
)
def test_the_client_is_who_handed_it_to_the_first_server_of_the_collector(name, said, confirmed):
    message, known, header = arrived(mail(FETCHED, INSIDE, OUTSIDE.format(name=name, said=said), BELOW))
    assert message.client is not None
    assert (message.client.address, message.client.helo) == ("192.0.2.7", "h.example")
    assert known.client_name == confirmed
    assert [(one.method, one.result) for one in known.results] == [("iprev", "pass" if confirmed else "fail")]
    assert (message.sender, message.received_at) == ("s@a.example", AT)
    assert (known.spf, known.dkim, known.dmarc) == (None, (), None)
    assert header.value(b"date")


@pytest.mark.parametrize("lines", [(), (FETCHED,), ("(qmail 123 invoked by uid 0); Mon, 30 Sep 2002 10:00:00 +0000",)])
def test_where_no_field_names_a_client_nothing_is_said_of_one(lines):
    message, known, _ = arrived(mail(*lines))
    assert message.client is None
    assert not known.results
    assert message.received_at > 0
