"""Lists over the DNS, with a real DNS server: what counts as a listing, what never does, and what silence costs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pipeline.authentication.dkim import Signature
from pipeline.authentication.together import Authentication
from pipeline.dnslist import DnsList
from pipeline.events import Client, Finding
from pipeline.resolver import Resolver
from pipeline.scanning.dnslists import CHECKED, MAX_QUESTIONS, PATIENCE, PAUSE, DnsLists
from pipeline.scanning.domains import domains
from pipeline.scanning.engine import Mail, run
from pipeline.settings import Settings
from pipeline.units import Duration
from tests.support.dns import Names
from tests.support.mail import HEAD, message, multipart, part

BAD = "198.51.100.66"
LISTED = "66.100.51.198"
NIBBLES = ".".join(reversed("20010db8000000000000000000000066"))
ZEN = "zen.example=127.0.0.2:3,127.0.0.4-127.0.0.7:3.5,127.0.0.10-127.0.0.11:1"
RECORDS: Mapping[tuple[str, str], Sequence[str]] = {
    (f"{LISTED}.zen.example", "A"): ["127.0.0.2", "127.0.0.4"],
    (f"{LISTED}.zen.example", "TXT"): ['"see https://zen.example/?\\033[31mred"'],
    (f"{NIBBLES}.zen.example", "A"): ["127.0.0.10"],
    ("7.100.51.198.zen.example", "A"): ["127.0.0.9"],
    ("8.100.51.198.zen.example", "A"): ["127.255.255.254"],
    ("9.100.51.198.zen.example", "A"): ["203.0.113.1"],
    (f"{LISTED}.white.example", "A"): ["127.0.9.3"],
    (f"{LISTED}.all.example", "A"): ["127.0.0.2"],
    ("1.0.0.127.all.example", "A"): ["127.0.0.2"],
    ("1.0.0.127.blocked.example", "A"): ["127.255.255.254"],
    (f"{LISTED}.blocked.example", "A"): ["127.255.255.254"],
    ("bad.example.dbl.example", "A"): ["127.0.1.2"],
    ("a.example.dbl.example", "A"): ["127.0.1.99"],
    ("shop.co.uk.dbl.example", "A"): ["127.0.1.4"],
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def mail_from(address: str = BAD, content: bytes = HEAD + b"\r\nhello\r\n", *, helo: str = "", **known: object) -> Mail:
    received = msgspec.structs.replace(message(), client=Client(address=address, helo=helo))
    return Mail(received, content, Authentication(**known))


def engine(
    names: Names, *, addresses: Sequence[str] = (), of_domains: Sequence[str] = (), seconds: float = 5
) -> DnsLists:
    settings = Settings(
        address_lists=tuple(map(DnsList.parse, addresses)),
        domain_lists=tuple(map(DnsList.parse, of_domains)),
        scan_budget=Duration.parse(seconds),
    )
    return DnsLists(settings, Resolver(f"127.0.0.1:{names.port}", lifetime=seconds), Clock())


def told(findings: Sequence[Finding]) -> list[tuple[str, float]]:
    return [(finding.name, finding.score) for finding in findings]


@pytest.mark.parametrize(
    ("address", "written", "found"),
    [
        (BAD, ZEN, [("CLIENT_LISTED", 3.5)]),
        (f"::ffff:{BAD}", ZEN, [("CLIENT_LISTED", 3.5)]),
        ("2001:db8::66", ZEN, [("CLIENT_LISTED", 1.0)]),
        ("198.51.100.1", ZEN, []),
        ("198.51.100.7", ZEN, []),
        ("198.51.100.8", ZEN, [("DNS_LIST_REFUSED", 0.0)]),
        ("198.51.100.8", "zen.example=5", [("DNS_LIST_REFUSED", 0.0)]),
        ("198.51.100.9", "zen.example=5", []),
        (BAD, "white.example=127.0.*.3:-2", [("CLIENT_ALLOWED", -2.0)]),
        (BAD, "all.example=127.0.0.2:5", []),
        (BAD, "blocked.example=5", [("DNS_LIST_REFUSED", 0.0)]),
        (BAD, "gone.example=5", []),
    ],
)
async def test_what_a_list_says_of_a_client(address, written, found):
    async with Names(RECORDS) as names:
        assert told(await engine(names, addresses=[written]).scan(mail_from(address))) == found


async def test_a_listing_names_the_list_the_answer_and_the_lists_words_without_what_could_harm_a_terminal():
    async with Names(RECORDS) as names:
        (finding,) = await engine(names, addresses=[ZEN]).scan(mail_from())
    assert finding.text == (
        r"zen.example lists the client's address 198.51.100.66 (127.0.0.2, 127.0.0.4): see https://zen.example/?\x1b[31mred"
    )
    assert (finding.engine, finding.kind) == ("dnslists", "spam")


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fe80::1", "fd00::1", "100.64.0.1", "unix", ""])
async def test_of_addresses_that_are_nobodys_in_the_internet_no_list_is_asked(address):
    async with Names(RECORDS) as names:
        assert await engine(names, addresses=["zen.example=1"]).scan(mail_from(address)) == []
        assert names.asked == []


async def test_a_list_that_lists_everything_is_off_for_an_hour_and_said_in_the_log_once():
    async with Names(RECORDS) as names:
        lists = engine(names, addresses=["all.example=127.0.0.2:5"])
        with capture_logs() as logs:
            assert [told(await lists.scan(mail_from())) for _ in range(3)] == [[], [], []]
        assert [line["zone"] for line in logs] == ["all.example"]
        asked = len(names.asked)
        del names.records["1.0.0.127.all.example", "A"]
        assert told(await lists.scan(mail_from())) == []
        assert len(names.asked) == asked
        lists._clock.now += CHECKED
        lists._names._known.clear()
        assert told(await lists.scan(mail_from())) == []
        assert told(await lists.scan(mail_from())) == [("CLIENT_LISTED", 5.0)]


async def test_what_is_asked_twice_is_asked_once_of_the_dns():
    async with Names(RECORDS) as names:
        lists = engine(names, addresses=[ZEN])
        for _ in range(3):
            await lists.scan(mail_from())
        assert sorted(names.asked) == [
            ("1.0.0.127.zen.example", "A"), (f"{LISTED}.zen.example", "A"), (f"{LISTED}.zen.example", "TXT"),
        ]  # fmt: skip


async def test_a_silent_list_is_said_costs_no_more_than_the_deadline_and_the_others_still_count():
    silent = [f"{LISTED}.dead.example", "1.0.0.127.dead.example", f"{LISTED}.zen.example TXT"]
    async with Names(RECORDS, silent=silent) as names:
        lists = engine(names, addresses=["dead.example=5", ZEN], seconds=1)
        report = await run([lists], mail_from(), Duration.parse("1s"))
        assert told(report.findings) == [("DNS_LIST_SILENT", 0.0), ("CLIENT_LISTED", 3.5)]
        assert report.engines == ("dnslists/1",)


async def test_a_list_that_is_silent_for_several_messages_is_not_asked_for_a_while():
    silent = [f"{LISTED}.dead.example", "1.0.0.127.dead.example"]
    async with Names(RECORDS, silent=silent) as names:
        lists = engine(names, addresses=["dead.example=5"], seconds=0.05)
        with capture_logs() as logs:
            for _ in range(PATIENCE + 3):
                assert told(await lists.scan(mail_from())) == [("DNS_LIST_SILENT", 0.0)]
        assert [line["zone"] for line in logs] == ["dead.example"]
        asked = len(names.asked)
        await lists.scan(mail_from())
        assert len(names.asked) == asked
        lists._clock.now += PAUSE
        lists._names._known.clear()
        await lists.scan(mail_from())
        assert len(names.asked) > asked


async def test_a_listing_of_a_list_that_may_be_dead_does_not_count():
    async with Names(RECORDS, failing=["1.0.0.127.zen.example"]) as names:
        assert told(await engine(names, addresses=[ZEN]).scan(mail_from())) == [("DNS_LIST_SILENT", 0.0)]


def with_links(*links: str) -> bytes:
    page = "".join(f'<p><a href="{link}">x</a>' for link in links)
    return HEAD + multipart([part("text/html", page.encode())])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (HEAD + b"\r\nhttps://www.bad.example/x and http://bad.example:8080/\r\n", [("DOMAIN_LISTED", 2.0)]),
        (with_links("https://me@x.shop.co.uk/"), [("DOMAIN_LISTED", 4.0)]),
        (with_links("https:\\\\BAD%2eexample/", "https://x.shop.co.uk/"), [("DOMAIN_LISTED", 4.0)]),
        (with_links("mailto:x@bad.example", "#bad.example", "https://192.0.2.1/"), []),
        (HEAD.replace(b"@a.example>\r\nTo", b"@mail.bad.example>\r\nTo") + b"\r\nhi\r\n", [("DOMAIN_LISTED", 2.0)]),
    ],
)
async def test_domains_of_the_sender_and_of_links_are_asked_about_by_organisation(content, found):
    written = "dbl.example=127.0.1.2:2,127.0.1.4:4:phishing,127.0.1.99:-3"
    async with Names(RECORDS) as names:
        findings = await engine(names, of_domains=[written]).scan(mail_from(content=content))
        assert told(findings) == found
        assert len(names.asked) == len(set(names.asked))


async def test_a_good_domain_counts_only_when_it_is_proved():
    written = "dbl.example=127.0.1.99:-3"
    signed = Signature(result="pass", domain="mail.a.example")
    async with Names(RECORDS) as names:
        lists = engine(names, of_domains=[written])
        assert told(await lists.scan(mail_from())) == []
        assert told(await lists.scan(mail_from(dkim=(signed,)))) == [("DOMAIN_ALLOWED", -3.0)]
        tested = msgspec.structs.replace(signed, testing=True)
        assert told(await lists.scan(mail_from(dkim=(tested,)))) == []


async def test_of_many_links_only_so_many_are_asked_about():
    content = with_links(*(f"https://x.n{number}.example/" for number in range(200)))
    async with Names(RECORDS) as names:
        await engine(names, of_domains=["dbl.example=1", "other.example=1"]).scan(mail_from(content=content))
        assert len([name for name, kind in names.asked if kind == "A"]) == MAX_QUESTIONS + 2


def test_the_order_of_domains_is_sender_envelope_helo_signer_links_each_once_and_not_our_own():
    content = with_links("https://l1.example", "https://www.a.example", "https://x.example.test/", "https://l2.example")
    known = (Signature(result="pass", domain="s.d.example"), Signature(result="fail", domain="broken.example"))
    mail = mail_from(content=content, helo="mail.h.example", dkim=known)
    assert [name for name, _ in domains(mail)] == ["a.example", "h.example", "d.example", "l1.example", "l2.example"]


@given(st.text(max_size=100), st.text(max_size=100), st.binary(max_size=300))
def test_no_message_raises_and_what_is_asked_about_is_a_name(sender, helo, content):
    received = msgspec.structs.replace(message(), sender=f"x@{sender}", client=Client(address=BAD, helo=helo))
    page = part("text/html", b"<a href='http://" + content + b"'>x</a>")
    for name, _ in domains(Mail(received, b"From: a@" + content[:50] + b"\r\n" + multipart([page]))):
        assert re.fullmatch(r"[a-z0-9_.-]{4,253}", name)
