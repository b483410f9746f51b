"""The addresses of a cPanel account."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from pipeline.faults import ConfigurationError
from pipeline.sources.cpanel import LIST_SUFFIXES, MAX_DOMAINS
from pipeline.sources.definitions import CpanelSource
from pipeline.sources.faults import (
    BusyError,
    DeniedError,
    GarbledError,
    ImplausibleError,
    LimitedError,
    MissingError,
    SlowError,
    UnreachableError,
    UntrustedError,
)
from pipeline.sources.model import Entry, Listing
from tests.pipeline.sources.conftest import kinds, listing, opened
from tests.support.cpanel import TOKEN, Cpanel
from tests.support.pages import Page
from tests.support.servers import free_port


def definition(cpanel: Cpanel, **options: Any) -> CpanelSource:
    fields = {"url": cpanel.url(""), "user": cpanel.user, "secret_env": "SECRET", "timeout": 5, **options}
    return CpanelSource(**fields)


async def read(cpanel: Cpanel, **options: Any) -> Listing:
    return await listing(definition(cpanel, **options), TOKEN)


class Naps:
    """Takes the place of sleeping, and remembers for how long."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


@pytest.mark.parametrize("nested", [False, True])
async def test_mailboxes_forwarders_and_lists_of_every_domain_are_read(nested):
    async with Cpanel(
        nested=nested,
        addon=["addon.test"],
        parked=["parked.test"],
        sub=["addon.example.test", "*.example.test"],
        mailboxes=["anna@example.test", "ben@addon.test", "Jörg@example.test"],
        suspended=["gone@example.test"],
        forwarders=[
            ("info@example.test", "anna@example.test"),
            ("info@example.test", "boss@elsewhere.test"),
            ("both@parked.test", "anna@example.test, ben@addon.test"),
            ("anna@example.test", "copy@elsewhere.test"),
            ("robot@addon.example.test", "|/usr/bin/robot"),
            ("hole@example.test", ":blackhole:"),
            ("quoted@example.test", '":blackhole:"'),
            ("refused@example.test", ":fail: nobody here"),
            ("refused2@example.test", '":fail: nobody here"'),
        ],
        lists=["news@example.test"],
    ) as cpanel:
        found = await read(cpanel)
    expected = {
        "anna@example.test": "mailbox",
        "ben@addon.test": "mailbox",
        "Jörg@example.test": "mailbox",
        "info@example.test": "forwarder",
        "both@parked.test": "forwarder",
        "robot@addon.example.test": "forwarder",
        "hole@example.test": "forwarder",
        "quoted@example.test": "forwarder",
        "news@example.test": "group",
        **{f"news-{suffix}@example.test": "alias" for suffix in LIST_SUFFIXES},
    }
    assert kinds(found) == expected
    by_local = {entry.local: entry for entry in found.entries}
    assert by_local["info"] == Entry(
        "info", "example.test", "forwarder", ("anna@example.test", "boss@elsewhere.test"), "forwarder"
    )
    assert by_local["both"].targets == ("anna@example.test", "ben@addon.test")
    assert by_local["robot"].targets == ()
    assert by_local["news-bounces"].targets == ("news@example.test",)
    assert (found.problems, found.marker, found.catch_all) == ((), b"", ())
    domains = {"example.test", "addon.test", "parked.test", "addon.example.test"}
    assert {call for call in cpanel.calls if " " in call} == {
        f"Email/{name} {domain}" for domain in domains for name in ("list_forwarders", "list_default_address")
    }


@pytest.mark.parametrize(
    ("default", "goes_to"),
    [
        ("example", "example"),
        ("anna@example.test", "anna@example.test"),
        (":blackhole:", ":blackhole:"),
        ('":blackhole:"', ":blackhole:"),
        ("|/bin/x \x1b[2J", r"|/bin/x \x1b[2J"),
        (":fail:", None),
        ('":fail: No Such User Here"', None),
        ("", None),
    ],
)
async def test_the_default_address_of_a_domain_is_reported(default, goes_to):
    async with Cpanel(mailboxes=["anna@example.test"], defaults={"example.test": default}) as cpanel:
        found = await read(cpanel)
    assert found.catch_all == ((("example.test", goes_to),) if goes_to else ())


async def test_a_broken_address_is_a_problem_and_the_others_go_on():
    async with Cpanel(mailboxes=["anna@example.test", "no address", "\x1b[2J@example.test"]) as cpanel:
        found = await read(cpanel)
    assert kinds(found) == {"anna@example.test": "mailbox"}
    assert found.problems == (
        "mailbox: no address: not an address; expected local@domain",
        r"mailbox: \x1b[2J@example.test: not an address; expected local@domain",
    )


async def test_an_account_without_addresses_is_an_error():
    async with Cpanel() as cpanel:
        with pytest.raises(ImplausibleError):
            await read(cpanel)


async def test_blank_domains_are_what_cpanel_says_when_it_cannot_read_the_account():
    async with Cpanel(main="", mailboxes=["anna@example.test"]) as cpanel:
        with pytest.raises(DeniedError, match="does not say which domains"):
            await read(cpanel)


async def test_a_wrong_token_is_refused_and_nowhere_shown():
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        with pytest.raises(DeniedError, match=r"refuses our name and secret \(HTTP 401\)") as caught:
            await listing(definition(cpanel), "WRONGTOKEN")
        assert "WRONGTOKEN" not in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize(
    "failing",
    [
        "DomainInfo/list_domains",
        "Email/list_pops",
        "Email/list_forwarders addon.test",
        "Email/list_default_address addon.test",
        "Email/list_lists",
    ],
)
async def test_if_one_question_of_one_domain_fails_the_run_fails(failing):
    async with Cpanel(addon=["addon.test"], mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.failing[failing] = "You do not have the feature \x1b[1mx"
        with pytest.raises(DeniedError, match=r"failed: You do not have the feature \\x1b\[1mx") as caught:
            await read(cpanel)
        for word in failing.split():
            assert word in str(caught.value)
        assert ("mailing_lists" in caught.value.remedy) == (failing == "Email/list_lists")


@pytest.mark.parametrize("errors", [b"null", b"[]", b'[""]', b"7", b'"x"'])
async def test_a_failure_without_a_reason_is_one_too(errors):
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.spoil["Email/list_pops"] = Page(b'{"status":0,"data":[],"errors":%b}' % errors)
        with pytest.raises(DeniedError, match="failed: no reason given"):
            await read(cpanel)


async def test_mailing_lists_are_not_asked_for_where_there_are_none():
    async with Cpanel(mailboxes=["anna@example.test"], lists=["news@example.test"]) as cpanel:
        assert kinds(await read(cpanel, mailing_lists=False)) == {"anna@example.test": "mailbox"}
        assert "Email/list_lists" not in cpanel.calls


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Login</html>",
        b"[]",
        b"null",
        b'{"status":1}',
        b'{"status":1,"data":null}',
        b'{"status":1,"data":{}}',
        b'{"status":1,"data":[{"email":7}]}',
        b'{"status":1,"data":[{"login":"x"}]}',
        b'{"status":1,"data":[{"email":"a@b.test"}',
        b'{"status":"1","data":[]}',
        b'{"status":2,"data":[]}',
        b'{"result":[]}',
        b'{"result":{"status":1,"data":7}}',
        b'{"status":1,"data":[{"email":"\xff@b.test"}]}',
        b'{"status":1,"data":' + b"[" * 100_000,
    ],
    ids=range(16),
)
async def test_what_is_no_answer_of_cpanels_is_an_error(body):
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.spoil["Email/list_pops"] = Page(body)
        with pytest.raises(GarbledError, match=r"Email/list_pops of .* gave an answer that is not cPanel's"):
            await read(cpanel)


async def test_half_of_a_surrogate_pair_is_no_text():
    """It can be written in JSON and nowhere else."""
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.spoil["Email/list_pops"] = Page(rb'{"status":1,"data":[{"email":"x\ud800@example.test"}]}')
        with pytest.raises(GarbledError):
            await read(cpanel)


@pytest.mark.parametrize(
    ("page", "error", "words"),
    [
        (Page(status=403), DeniedError, "HTTP 403"),
        (Page(status=404), MissingError, "no such page"),
        (Page(status=301, headers={"Location": "https://else.test/\u202e"}), MissingError, r"else\.test"),
        (Page(status=500), BusyError, "trouble of its own"),
        (Page(status=418), GarbledError, "answers HTTP 418"),
        (Page(status=204), GarbledError, "answers HTTP 204"),
        (Page(raw=b""), UnreachableError, "closed the connection before it had answered"),
        (Page(raw=b"SSH-2.0-OpenSSH\r\n"), GarbledError, "no complete HTTP answer"),
        (Page(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), GarbledError, "no complete HTTP answer"),
        (Page(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), GarbledError, "no complete HTTP answer"),
        (Page(raw=b"HTTP/1.0 200 OK\r\n\r\n{}"), GarbledError, "does not say how long"),
        (Page(b"x", headers={"Content-Encoding": "gzip"}), GarbledError, "compressed"),
        (Page(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), GarbledError, "no complete HTTP answer"),
        (Page(b" " * (1 << 20), chunks=65), LimitedError, "more than 67,108,864 octets"),
        (Page(stall=True), SlowError, r"silent for 0\.5 s"),
    ],
    ids=range(15),
)  # fmt: skip
async def test_a_server_that_does_not_answer_as_it_should_ends_the_run(page, error, words):
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.spoil["Email/list_forwarders"] = page
        with pytest.raises(error, match=words) as caught:
            await read(cpanel, timeout=0.5 if page.stall else 5)
        assert str(caught.value).isprintable()


async def test_a_busy_server_is_asked_again_when_it_says():
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        usual = Page(b'{"status":1,"data":[]}')
        cpanel.account.spoil["Email/list_pops"] = [
            Page(status=429, headers={"Retry-After": "7"}),
            Page(status=503),
            Page(status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            Page(b'{"status":1,"data":[{"email":"anna@example.test"}]}'),
        ]
        cpanel.account.spoil["Email/list_forwarders"] = usual
        naps = Naps()
        found = await opened(definition(cpanel), TOKEN, sleep=naps).fetch()
        assert isinstance(found, Listing)
        assert kinds(found) == {"anna@example.test": "mailbox"}
        assert naps.taken == [7.0, 4.0, 0.0]


@pytest.mark.parametrize(("after", "naps"), [("3600", []), ("99999999999999999999", []), ("soon", [2.0, 4.0, 8.0])])
async def test_a_server_that_stays_busy_is_left_alone(after, naps):
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.spoil["Email/list_pops"] = Page(status=429, headers={"Retry-After": after})
        taken = Naps()
        with pytest.raises(BusyError, match="is busy") as caught:
            await opened(definition(cpanel), TOKEN, sleep=taken).fetch()
        assert taken.taken == naps
        assert caught.value.temporary


async def test_the_whole_run_has_a_time():
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        cpanel.account.spoil["Email/list_forwarders"] = Page(stall=True)
        with pytest.raises(SlowError, match="not complete within 1 s"):
            await read(cpanel, timeout=60, time_limit=1)


async def test_an_account_with_too_many_domains_is_refused_before_each_is_asked():
    async with Cpanel(addon=[f"d{n}.test" for n in range(MAX_DOMAINS)]) as cpanel:
        with pytest.raises(LimitedError, match="5,000 domains"):
            await read(cpanel)
        assert cpanel.calls == ["DomainInfo/list_domains"]


async def test_a_domain_that_is_none_ends_the_run():
    async with Cpanel(addon=["not a domain"], mailboxes=["anna@example.test"]) as cpanel:
        with pytest.raises(GarbledError, match="a domain that is none: not a domain"):
            await read(cpanel)


async def test_https_is_verified(ca, ca_file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    async with Cpanel(tls=context, mailboxes=["anna@example.test"]) as cpanel:
        assert len((await read(cpanel, ca_file=ca_file)).entries) == 1
        with pytest.raises(UntrustedError, match="is not trusted"):
            await read(cpanel)
        assert len((await read(cpanel, verify=False)).entries) == 1
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("other.test").configure_cert(other)
    async with Cpanel(tls=other, mailboxes=["anna@example.test"]) as cpanel:
        with pytest.raises(UntrustedError, match="IP address mismatch"):
            await read(cpanel, ca_file=ca_file)


async def test_https_to_a_port_that_does_not_speak_it_is_explained():
    async with Cpanel(mailboxes=["anna@example.test"]) as cpanel:
        with pytest.raises(UntrustedError, match="no encrypted connection"):
            await read(cpanel, url=cpanel.url("").replace("http:", "https:"))


async def test_a_server_that_is_away_is_unreachable():
    async with Cpanel() as cpanel:
        away = definition(cpanel, url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="cannot be reached: connection refused"):
        await listing(away, TOKEN)


async def test_a_token_that_cannot_be_sent_is_refused_before_anybody_is_asked():
    async with Cpanel() as cpanel:
        with pytest.raises(ConfigurationError, match="cannot be sent"):
            opened(definition(cpanel), "tökén")
