"""From a server's name to addresses that may be dialled."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import Any

import pytest

from pipeline.sources.dialling import MAX_ADDRESSES, context, resolve, unreachable, untrusted
from pipeline.sources.faults import ForbiddenError, SlowError, UnreachableError

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """What the system's resolver says, from here on."""

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 389)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("host", "allowed", "expected"),
    [
        ("192.0.1.5", [], ["192.0.1.5"]),
        ("2a00:1450::5", [], ["2a00:1450::5"]),
        ("127.0.0.1", LOOPBACK, ["127.0.0.1"]),
        ("::ffff:127.0.0.1", LOOPBACK, ["127.0.0.1"]),
    ],
)
async def test_an_address_is_itself(host, allowed, expected):
    assert await resolve(host, 389, allowed, 1) == expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0"]
)
async def test_an_address_of_the_operators_network_is_refused(host):
    with pytest.raises(ForbiddenError, match="may not be dialled"):
        await resolve(host, 389, [], 1)


async def test_of_a_names_addresses_only_those_are_dialled_that_may_be(monkeypatch):
    answers(monkeypatch, "10.0.0.1", "192.0.1.5", "192.0.1.5", "fe80::1%eth0", "127.0.0.1")
    assert await resolve("ldap.example.test", 389, [], 1) == ["192.0.1.5"]
    assert await resolve("ldap.example.test", 389, LOOPBACK, 1) == ["192.0.1.5", "127.0.0.1"]


async def test_a_name_that_leads_only_where_we_may_not_go_is_refused(monkeypatch):
    answers(monkeypatch, "10.0.0.1", "127.0.0.1")
    with pytest.raises(
        ForbiddenError, match=r"ldap\.example\.test may not be dialled: 10\.0\.0\.1 is a private address"
    ):
        await resolve("ldap.example.test", 389, [], 1)


async def test_a_name_with_very_many_addresses_is_not_followed_to_the_last(monkeypatch):
    answers(monkeypatch, *(f"192.0.1.{n}" for n in range(200)))
    assert len(await resolve("ldap.example.test", 389, [], 1)) == MAX_ADDRESSES


async def test_a_name_that_cannot_be_looked_up_is_unreachable(monkeypatch):
    with pytest.raises(UnreachableError, match="cannot be looked up"):
        await resolve("x" * 70 + ".test", 389, [], 1)  # no question is asked for such a name

    async def fails(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
    with pytest.raises(UnreachableError, match=r"nowhere\.test cannot be looked up"):
        await resolve("nowhere.test", 389, [], 1)


async def test_a_resolver_that_does_not_answer_is_waited_for_only_so_long(monkeypatch):
    async def stalls(*_: Any, **__: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", stalls)
    with pytest.raises(SlowError, match="could not be looked up in time"):
        await resolve("ldap.example.test", 389, [], 0.05)


def test_certificates_are_checked_unless_it_is_said_otherwise(ca_file):
    for file in ("", ca_file):
        made = context(file, verify=True)
        assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert made.minimum_version >= ssl.TLSVersion.TLSv1_2
    made = context("", verify=False)
    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_NONE, False)


def test_errors_of_the_system_and_of_tls_are_put_in_words():
    assert str(unreachable(ConnectionRefusedError(111, "x"), "s:1")) == "s:1 cannot be reached: connection refused"
    assert str(unreachable(OSError(), "s:1")) == "s:1 cannot be reached: no connection"
    assert str(untrusted(ssl.SSLError(), "s:1")) == "no encrypted connection to s:1: no tls"
