"""The way of a message: what a client calls itself, the name of its address, the times on the way."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.authentication.spf import Result as SpfResult
from pipeline.authentication.together import Authentication
from pipeline.events import AuthResult, Client
from pipeline.scanning.builtin.path import Path, is_dynamic
from pipeline.scanning.engine import Mail
from tests.support.mail import HEAD, OURS, message

A = "198.51.100.7"
PATH = Path(OURS)


def found(
    helo: str = "mail.a.example",
    *,
    address: str = A,
    name: str = "mail.a.example",
    spf: str = "none",
    head: bytes = HEAD,
) -> list[str]:
    received = msgspec.structs.replace(message(), client=Client(address=address, helo=helo))
    known = Authentication(
        results=(AuthResult(method="iprev", result="pass" if name else "fail"),),
        client_name=name, spf=SpfResult(spf, "a.example"),
    )  # fmt: skip
    return [finding.name for finding in PATH.look(Mail(received, head + b"\r\nhello\r\n", known))]


@pytest.mark.parametrize(
    ("helo", "names"),
    [
        ("mail.a.example", []),
        (f"[{A}]", []),
        ("[IPv6:2001:db8::1]", ["HELO_OTHER_ADDRESS"]),
        (A, ["HELO_ADDRESS"]),
        ("[10.0.0.1]", ["HELO_OTHER_ADDRESS"]),
        ("192.0.2.9", ["HELO_OTHER_ADDRESS"]),
        (OURS.upper() + ".", ["HELO_OURS"]),
        ("example.test", ["HELO_RECIPIENT"]),
        ("mail.example.test", []),
        ("friend", ["HELO_NO_DOMAIN"]),
        ("mx1.hotmail.com", ["HELO_PROVIDER"]),
        ("", []),
        ("\x1b[31m", ["HELO_NO_DOMAIN"]),
        ("999.999.999.999", []),
    ],
)
def test_what_a_client_calls_itself(helo, names):
    assert found(helo) == names


def test_a_provider_and_the_recipients_own_server_may_say_their_names():
    assert found("mta1.yahoo.com", name="mta1.mail.yahoo.com") == []
    assert found("mta1.yahoo.com", spf="pass") == []
    assert found("example.test", spf="pass") == []


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fd00::1", "", "unix"])
def test_of_a_client_in_a_private_network_or_not_known_nothing_is_said(address):
    assert found("friend", address=address, name="") == []


def test_an_address_without_a_name_and_one_with_the_name_of_a_line_at_home():
    assert found(name="") == ["NO_REVERSE_NAME"]
    assert found(name="p7.dip0.dsl.isp.example") == ["DYNAMIC_NAME"]
    unknown = msgspec.structs.replace(message(), client=Client(address=A, helo="mail.a.example"))
    late = Authentication(results=(AuthResult(method="iprev", result="temperror"),))
    assert PATH.look(Mail(unknown, HEAD + b"\r\n", late)) == []


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [
        ("7-100-51-198.isp.example", True), ("host198-51-100-007.isp.example", True), ("ppp12.isp.example", True),
        ("c-1.cable.isp.example", True), ("mail.isp.example", False), ("mail7.isp100.example", False), ("poolside.example", False),
        ("dslreports.example", False), ("a198.b51.example", False),
    ],
)  # fmt: skip
def test_names_of_lines_at_home(name, dynamic):
    assert is_dynamic(name, A) is dynamic


@given(st.text(max_size=300), st.text(max_size=50))
def test_no_name_raises(name, address):
    is_dynamic(name, address)
    found(name, address=address, name=address)


def dated(date: str) -> bytes:
    return HEAD.replace(b"Mon, 23 Nov 2026 09:58:00 +0000", date.encode())


@pytest.mark.parametrize(
    ("date", "names"),
    [
        ("Mon, 23 Nov 2026 15:30:00 +0000", []), ("Mon, 23 Nov 2026 17:00:00 +0000", ["DATE_AHEAD"]),
        ("Wed, 25 Nov 2026 17:00:00 +0000", []), ("Fri, 20 Nov 2026 10:00:00 +0000", []),
        ("Wed, 18 Nov 2026 10:00:00 +0000", ["DATE_LATE"]), ("Thu, 1 Oct 2026 10:00:00 +0000", []), ("never", []),
    ],
)  # fmt: skip
def test_a_date_far_from_when_the_message_came_in(date, names):
    assert found(head=dated(date)) == names
    listed = [name for name in names if name != "DATE_LATE"]
    assert found(head=dated(date) + b"List-Id: <x.example>\r\n") == listed


def received(*times: str) -> bytes:
    return "".join(f"Received: from a (a [192.0.2.1]) by b;\r\n\t{time}\r\n" for time in times).encode() + HEAD


def test_received_fields_whose_times_run_backwards():
    one, two, three = (
        "Mon, 23 Nov 2026 09:50:00 +0000",
        "Mon, 23 Nov 2026 08:00:00 +0000",
        "Tue, 24 Nov 2026 01:00:00 +0000",
    )
    assert found(head=received(one, two)) == []
    assert found(head=received(two, one)) == []  # a clock that is wrong
    assert found(head=received(one, "no time", three)) == ["RECEIVED_BACKWARDS"]
