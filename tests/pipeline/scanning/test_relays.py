"""Behind relays that we trust: who the client was, by what they wrote on top."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Client
from pipeline.mime import Header
from pipeline.scanning.relays import MAX_RELAYS, UNKNOWN, Hop, read_hop, taken_from, true_client

TRUSTED = (ipaddress.ip_network("198.51.100.0/24"), ipaddress.ip_network("2001:db8:5::/48"))
RELAY = Client(address="198.51.100.1", port=4711, helo="out.relay.example", protocol="ESMTPS", tls="TLSv1.3 X")
A = "192.0.2.7"


@pytest.mark.parametrize(
    ("line", "hop"),
    [
        ("from h.example (r.example [192.0.2.7]) by mx.b.example (Postfix) with ESMTP id 1; x", Hop(A, "h.example", "r.example", "mx.b.example")),
        ("from h.example (unknown [192.0.2.7]) by MX.b.example (Postfix)", Hop(A, "h.example", "", "mx.b.example")),
        ("from [10.0.0.1] (r.example [192.0.2.7])\r\n\t(using TLSv1.3 with cipher X (256/256 bits)\r\n\t key-exchange X25519)\r\n\t(No client certificate requested)\r\n\tby mx (Postfix)", Hop(A, "[10.0.0.1]", "r.example", "mx")),
        ("from h (unknown [IPv6:2001:DB8::7]) by mx", Hop("2001:db8::7", "h", "", "mx")),
        ("from h.example ([192.0.2.7]) by gate.example with ESMTPS", Hop(A, "h.example", "", "gate.example")),
        ("from h.example (IDENT:root@r.example [192.0.2.7] (may be forged)) by mx (8.9.3/8.9.3)", Hop(A, "h.example", "r.example", "mx")),
        ("from h.example (root@r.example [192.0.2.7]) by mx (8.9.3/8.9.3)", Hop(A, "h.example", "r.example", "mx")),
        ("from r.example ([192.0.2.7] helo=h.example) by mx with esmtp (Exim 4.98)", Hop(A, "h.example", "r.example", "mx")),
        ("from r.example ([192.0.2.7]:2525 helo=[10.0.0.1] ident=x) by mx with esmtp (Exim 4.98)", Hop(A, "[10.0.0.1]", "r.example", "mx")),
        ("from [192.0.2.7] (helo=h.example) by mx with esmtp (Exim 4.98)", Hop(A, "h.example", "", "mx")),
        ("from [192.0.2.7] (port=1234 helo=h.example) by mx with esmtp (Exim)", Hop(A, "h.example", "", "mx")),
        ("from [192.0.2.7] by mx with esmtp (Exim)", Hop(A, "", "", "mx")),
        ("from EX1.a.example (192.0.2.7) by EX2.b.example (10.1.1.1) with Microsoft SMTP Server id 15.1", Hop(A, "EX1.a.example", "", "ex2.b.example")),
        ("from A.example (2001:db8::7)\r\n by B.example (2001:db8::8) with Microsoft SMTP Server", Hop("2001:db8::7", "A.example", "", "b.example")),
        ("from h (::ffff:192.0.2.7) by mx", Hop(A, "h", "", "mx")),
        ("from unknown (HELO h.example) (192.0.2.7) by 0 with SMTP; 1", Hop(A, "h.example", "", "0")),
        ("by 10.1.2.3 with SMTP id abc", None),
        ("by mx.b.example (Postfix, from userid 65534) id 1; x", None),
        ("(qmail 123 invoked by uid 0); 1", None),
        ("from h.example by mx.example", None),
        ("from h.example (r.example [999.0.2.7]) by mx", None),
        ("from h.example (r.example [192.0.2.7]) for <a@b.example>", None),
        ("x from h.example (r.example [192.0.2.7]) by mx", None),
        ("from h (x [192.0.2.9]) (y [192.0.2.7]) for mx", None),
        ("", None),
    ],
)  # fmt: skip
def test_who_handed_it_over_is_read_from_the_forms_of_common_servers(line, hop):
    assert read_hop(line.encode()) == hop


def received(*lines: str) -> Header:
    return Header("".join(f"Received: {line}\r\n" for line in lines).encode() + b"Subject: x\r\n\r\n")


def postfix(address: str, helo: str = "h.example") -> str:
    return f"from {helo} (unknown [{address}]) by out.relay.example (Postfix) with ESMTP id 1; x"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([postfix("203.0.113.9")], Client(address="203.0.113.9", helo="h.example")),
        ([postfix("198.51.100.2"), postfix("2001:db8:5::3"), postfix("203.0.113.9"), postfix("192.0.2.1")], Client(address="203.0.113.9", helo="h.example")),
        # Its filter: the message went through the relay itself.
        ([postfix("127.0.0.1"), postfix("203.0.113.9")], Client(address="203.0.113.9", helo="h.example")),
        # What the stranger wrote below is nobody's word.
        ([postfix("203.0.113.9"), postfix("198.51.100.2")], Client(address="203.0.113.9", helo="h.example")),
        ([], UNKNOWN),
        (["by out.relay.example (Postfix, from userid 0) id 1; x", postfix("203.0.113.9")], UNKNOWN),
        ([postfix("198.51.100.2")], UNKNOWN),
        ([postfix("198.51.100.2")] * MAX_RELAYS + [postfix("203.0.113.9")], UNKNOWN),
    ],
)  # fmt: skip
def test_the_client_of_the_outermost_trusted_relay_is_the_client(lines, client):
    assert true_client(RELAY, received(*lines), TRUSTED) == client


def test_a_client_that_is_no_trusted_relay_is_the_client_whatever_stands_below():
    stranger = Client(address="203.0.113.1", helo="me")
    assert true_client(stranger, received(postfix("192.0.2.1")), TRUSTED) is stranger
    assert true_client(RELAY, received(postfix("192.0.2.1")), ()) is RELAY


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"from ", b"from h ([192.0.2.1] helo=", b"from a (b [192.0.2.7]) "])
)
def test_no_field_raises(value, beginning):
    read_hop(beginning + value)
    true_client(RELAY, Header(b"Received: " + beginning + value + b"\r\n\r\n"), TRUSTED)


@pytest.mark.parametrize("piece", [b"(", b"()", b"a@", b"[1.1.1.1]", b" ", b"helo=a ", b"(a)(", b"\\"])
def test_a_long_field_takes_no_longer_than_its_length(piece):
    for beginning in (b"from ", b"from a (", b"from a (b [1.1.1.1]) ", b"from [1.1.1.1] (helo=a "):
        assert read_hop(beginning + piece * (1 << 20)) is None


OURS = "from h.example ([192.0.2.7]) by MX.gate.example with ESMTPS id 1; x"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([OURS], Client(address="192.0.2.7", helo="h.example")),
        ([postfix("10.0.0.1"), OURS, OURS.replace("192.0.2.7", "203.0.113.9")], Client(address="192.0.2.7", helo="h.example")),
        ([postfix("203.0.113.9")], UNKNOWN),
        ([postfix("10.0.0.1")] * MAX_RELAYS + [OURS], UNKNOWN),
        ([], UNKNOWN),
    ],
)  # fmt: skip
def test_from_whom_we_took_what_we_passed_on_is_what_our_own_field_says(lines, client):
    assert taken_from(received(*lines), "mx.gate.example") == client
