"""Reading a real OpenLDAP server."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from pipeline.sources.definitions import Query
from pipeline.sources.faults import (
    DeniedError,
    ForbiddenError,
    ImplausibleError,
    LimitedError,
    MissingError,
    UnreachableError,
    UntrustedError,
)
from pipeline.sources.model import Entry, Listing, Unchanged
from pipeline.sources.opening import open_source
from tests.pipeline.sources.conftest import PEOPLE, kinds, listing, opened, openldap
from tests.support.ldap import ADMIN, BASE, PASSWORD, entry, person
from tests.support.servers import free_port


async def test_everybody_is_listed_page_by_page(many):
    shown = []
    found = await listing(openldap(many.url, profile="generic"), progress=shown.append)
    assert len(found.entries) == 2 * PEOPLE
    assert found.entries[0] == Entry("user.0", "example.test", "mailbox", (), f"uid=u0,{BASE}")
    assert (found.problems, found.problem_count, found.catch_all) == ((), 0, ())
    assert shown == list(range(1000, 2 * PEOPLE + 1, 1000))


@pytest.mark.parametrize("page", [1, 7, 4999, 5000, 5001])
async def test_the_size_of_a_page_makes_no_difference(many, page):
    narrow = "" if page > 7 else "(|(uid=u1*)(uid=u4999))"
    found = await listing(openldap(many.url, page=page, filter=narrow))
    assert len(found.entries) == (2 * PEOPLE if page > 7 else 2 * 1112)


@pytest.mark.parametrize("security", ["starttls", "ldaps"])
async def test_encrypted_connections_are_verified(many, ca_file, security):
    url = many.url if security == "starttls" else many.tls_url
    found = await listing(openldap(url, starttls=True, ca_file=ca_file, filter="(uid=u17)"))
    assert kinds(found) == {"user.17@example.test": "mailbox", "alias.17@example.test": "mailbox"}


@pytest.mark.parametrize("security", ["starttls", "ldaps"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_is_the_same_on_both_event_loops(many, ca_file, security, loop):
    url = many.url if security == "starttls" else many.tls_url
    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(listing(openldap(url, starttls=True, ca_file=ca_file)))
        assert len(found.entries) == 2 * PEOPLE
        with pytest.raises(UntrustedError, match="not trusted"):
            runner.run(listing(openldap(url, starttls=True)))


@pytest.mark.parametrize("security", ["starttls", "ldaps"])
async def test_a_certificate_of_nobody_we_know_is_refused_before_the_password_is_sent(many, security):
    url = many.url if security == "starttls" else many.tls_url
    with pytest.raises(UntrustedError, match="is not trusted: ") as caught:
        await listing(openldap(url, starttls=True), secret="wrong")
    assert "ca_file" in caught.value.remedy


@pytest.mark.parametrize("security", ["starttls", "ldaps"])
async def test_a_certificate_of_another_host_is_refused(directory, ca, ca_file, security):
    server = directory(person("anna", "mail: anna@example.test"), tls=ca, names=("ldap.example.test",))
    url = server.url if security == "starttls" else server.tls_url
    with pytest.raises(UntrustedError, match="IP address mismatch"):
        await listing(openldap(url, starttls=True, ca_file=ca_file))
    found = await listing(openldap(url, starttls=True, verify=False))
    assert len(found.entries) == 1


async def test_starttls_where_the_server_has_no_certificate_is_an_error_and_not_a_plain_connection(directory):
    server = directory(person("anna", "mail: anna@example.test"))
    with pytest.raises(DeniedError, match="does not encrypt"):
        await listing(openldap(server.url, starttls=True))


async def test_a_server_that_wants_encryption_says_so(directory, ca):
    server = directory(person("anna", "mail: anna@example.test"), tls=ca, database=("security ssf=1",))
    with pytest.raises(DeniedError, match="wants an encrypted connection") as caught:
        await listing(openldap(server.url))
    assert "starttls" in caught.value.remedy


async def test_ldaps_to_a_port_that_does_not_speak_it_is_explained(many):
    with pytest.raises((UntrustedError, UnreachableError)) as caught:
        await listing(openldap(many.url.replace("ldap:", "ldaps:")))
    assert many.url.replace("ldap:", "ldaps:") in str(caught.value)


async def test_a_wrong_password_is_refused_and_no_other_server_is_tried_with_it(many):
    with pytest.raises(DeniedError, match=r"refuses our name and password\Z|Invalid") as caught:
        await listing(openldap(many.url, f"ldap://127.0.0.1:{free_port()}"), secret="hunter2")
    assert "hunter2" not in f"{caught.value} {caught.value.remedy} {caught.value!r}"
    assert not caught.value.temporary


async def test_a_base_that_is_not_there_is_an_error_and_not_an_empty_list(many):
    with pytest.raises(MissingError, match="'ou=nowhere,dc=example,dc=test'; there is dc=example,dc=test"):
        await listing(openldap(many.url, base=f"ou=nowhere,{BASE}"))
    with pytest.raises(MissingError):
        await listing(openldap(many.url, base="this is no DN"))


async def test_a_list_without_anybody_is_an_error(many):
    with pytest.raises(ImplausibleError, match="no address at all"):
        await listing(openldap(many.url, filter="(uid=nobody)"))


async def test_what_the_account_may_not_see_is_an_error_when_that_is_everything(directory):
    closed = directory(person("anna", "mail: anna@example.test"), database=("access to * by anonymous auth by * none",))
    with pytest.raises(DeniedError, match="does not let us read the list") as caught:
        await listing(openldap(closed.url, bind_dn=""))
    assert caught.value.remedy == "Give bind_dn and a password."
    veiled = directory(
        person("anna", "mail: anna@example.test"), database=("access to attrs=mail by * none", "access to * by * read")
    )
    with pytest.raises(ImplausibleError, match="no address at all") as caught:
        await listing(openldap(veiled.url, bind_dn=""))
    assert "may see" in caught.value.remedy


async def test_reading_without_a_name_works_where_the_server_lets_anybody_read(many):
    assert len((await listing(openldap(many.url, bind_dn=""))).entries) == 2 * PEOPLE


@pytest.mark.parametrize("limit", ["size.soft=20 size.hard=20 size.pr=noEstimate", "size.prtotal=700"])
async def test_a_size_limit_is_an_error_and_never_a_short_list(directory, limit):
    """As an account that is not the server's own administrator; paging does not lift every limit."""
    ldif = "".join(person(f"p{n}", f"mail: p{n}@example.test") for n in range(1000))
    server = directory(ldif, database=(f"limits users {limit}", f"limits anonymous {limit}"))
    with pytest.raises(LimitedError, match="before its end") as caught:
        await listing(openldap(server.url, bind_dn="", page=500))
    assert "limit" in caught.value.remedy


async def test_more_addresses_than_we_take_are_an_error(many):
    with pytest.raises(LimitedError, match="more than 9,999 addresses"):
        await listing(openldap(many.url), limit=9999)
    assert len((await listing(openldap(many.url), limit=10_000)).entries) == 10_000


async def test_the_servers_are_tried_in_order(many):
    away = f"ldap://127.0.0.1:{free_port()}"
    assert len((await listing(openldap(away, many.url, filter="(uid=u1)"))).entries) == 2
    with pytest.raises(UnreachableError) as caught:
        await listing(openldap(away, away.replace("127.0.0.1", "localhost")))
    assert str(caught.value).count("connection refused") == 2
    assert caught.value.temporary


async def test_a_network_that_is_not_allowed_is_not_dialled(many):
    """A name that leads there is judged when it is looked up; an address as such already when the source is opened."""
    definition = openldap(many.url.replace("127.0.0.1", "localhost"))
    source = open_source(definition, allowed=(), environ={"SECRET": PASSWORD})
    with pytest.raises(ForbiddenError, match="loopback address") as caught:
        await source.fetch()
    assert "allow_networks" in caught.value.remedy


async def test_an_entry_with_a_broken_address_is_a_problem_and_the_others_go_on(directory):
    long = "x" * 3000
    server = directory(
        person("anna", "mail: anna@example.test", "mail: not an address", "mail: an na@example.test")
        + person("ben", f"mail: {long}@example.test", "mail: ben@example.test")
        # 0xFF 0xFE is no UTF-8; an IA5 string may hold no umlaut, an octet string may.
        + person("eve", "anyOctets:: //4=", "anyOctets: eve@example.test", classes=("inetOrgPerson", "octetHolder"))
    )
    query = Query(addresses=("mail", "anyOctets"))
    found = await listing(openldap(server.url, queries=(query,)))
    assert kinds(found) == dict.fromkeys(("anna@example.test", "ben@example.test", "eve@example.test"), "mailbox")
    assert sorted(found.problems) == [
        f"uid=anna,{BASE}: an na@example.test: not an address; expected local@domain",
        f"uid=anna,{BASE}: not an address: not an address; expected local@domain",
        f"uid=ben,{BASE}: mail: 3,013 octets are too many for an address",
        f"uid=eve,{BASE}: anyoctets: not UTF-8",
    ]
    assert found.problem_count == 4


async def test_of_many_problems_the_first_hundred_are_kept_and_all_are_counted(directory):
    broken = "".join(person(f"p{n}", "mail: broken") for n in range(150))
    found = await listing(openldap(directory(broken + person("anna", "mail: anna@example.test")).url))
    assert (len(found.problems), found.problem_count, len(found.entries)) == (100, 150, 1)


async def test_an_attribute_may_have_ten_thousand_values(directory):
    values = [f"mail: a{n}@example.test" for n in range(10_000)]
    found = await listing(openldap(directory(person("anna", *values)).url))
    assert len(found.entries) == 10_000


async def test_addresses_are_normalised_as_everywhere_else(directory):
    """Quotes that are not needed go, domains become A-labels in lower case, case makes no second address."""
    query = Query(addresses=("mail", "cn"))
    server = directory(person("anna", 'mail: "Anna"@EXAMPLE.test', "mail: anna@example.test", "cn: jörg@büro.example"))
    found = await listing(openldap(server.url, queries=(query,), filter="(uid=anna)"))
    assert [(entry.local, entry.domain) for entry in found.entries][:2] == [
        ("Anna", "example.test"),
        ("jörg", "xn--bro-hoa.example"),
    ]


async def test_values_without_a_domain_get_the_one_given(directory):
    server = directory(person("anna") + person("ben"))
    found = await listing(openldap(server.url, queries=(Query(addresses=("uid",)),), domain="example.test"))
    assert sorted(kinds(found)) == ["anna@example.test", "ben@example.test"]


async def test_more_attributes_of_mailboxes_can_be_named(directory):
    server = directory(
        person("anna", "mail: anna@example.test", "o: a@example.test") + person("ben", "o: b@example.test")
    )
    assert sorted(kinds(await listing(openldap(server.url)))) == ["anna@example.test"]
    found = await listing(openldap(server.url, more=("o",)))
    assert kinds(found) == {"anna@example.test": "mailbox", "a@example.test": "alias", "b@example.test": "mailbox"}


async def test_referrals_are_reported_and_not_followed(directory):
    away = entry("ou=away", ("referral", "extensibleObject"), "ref: ldap://127.0.0.1:9/ou=away,dc=example,dc=test")
    server = directory(person("anna", "mail: anna@example.test") + away)
    found = await listing(openldap(server.url))
    assert kinds(found) == {"anna@example.test": "mailbox"}
    assert found.problems == (
        "a part of the directory is on another server and was not read: ldap://127.0.0.1:9/ou=away,dc=example,dc=test??sub",
    )
    with pytest.raises(MissingError, match=r"is elsewhere, on ldap://127.0.0.1:9/"):
        await listing(openldap(server.url, base=f"ou=away,{BASE}"))


async def test_a_referral_that_leads_back_here_is_harmless(directory):
    port = free_port()
    loop = entry("ou=loop", ("referral", "extensibleObject"), f"ref: ldap://127.0.0.1:{port}/{BASE}")
    server = directory(person("anna", "mail: anna@example.test") + loop)
    found = await listing(openldap(server.url))
    assert (len(found.entries), found.problem_count) == (1, 1)


async def test_the_base_and_the_scope_may_be_a_querys_own(directory):
    server = directory(
        entry("ou=staff", ("organizationalUnit",))
        + entry("ou=deep,ou=staff", ("organizationalUnit",)).replace("ou: deep,ou=staff", "ou: deep")
        + person("anna", "mail: anna@example.test").replace(f"uid=anna,{BASE}", f"uid=anna,ou=staff,{BASE}")
        + person("ben", "mail: ben@example.test").replace(f"uid=ben,{BASE}", f"uid=ben,ou=deep,ou=staff,{BASE}")
        + person("eve", "mail: eve@example.test")
    )
    staff = f"ou=staff,{BASE}"
    assert sorted(kinds(await listing(openldap(server.url, base=staff)))) == ["anna@example.test", "ben@example.test"]
    assert sorted(kinds(await listing(openldap(server.url, base=staff, scope="one")))) == ["anna@example.test"]
    queries = (Query(base=staff, scope="one"), Query(base=f"uid=eve,{BASE}", scope="base", kind="group"))
    found = await listing(openldap(server.url, queries=queries))
    assert kinds(found) == {"anna@example.test": "mailbox", "eve@example.test": "group"}


async def test_an_unchanged_directory_is_not_read_again(directory):
    server = directory(person("anna", "mail: anna@example.test"), sync=True)
    source = opened(openldap(server.url))
    first = await source.fetch()
    assert isinstance(first, Listing)
    assert first.marker
    assert await source.fetch(marker=first.marker) == Unchanged(marker=first.marker)
    server.modify(person("ben", "mail: ben@example.test"))
    second = await source.fetch(marker=first.marker)
    assert isinstance(second, Listing)
    assert sorted(kinds(second)) == ["anna@example.test", "ben@example.test"]
    server.modify(f"dn: uid=anna,{BASE}\nchangetype: delete\n")
    third = await source.fetch(marker=second.marker)
    assert isinstance(third, Listing)
    assert sorted(kinds(third)) == ["ben@example.test"]
    assert isinstance(await source.fetch(), Listing)


async def test_another_question_makes_a_marker_void(directory):
    server = directory(person("anna", "mail: anna@example.test"), sync=True)
    marker = (await listing(openldap(server.url))).marker
    assert isinstance(await opened(openldap(server.url)).fetch(marker=marker), Unchanged)
    for other in (
        {"profile": "generic"},
        {"filter": "(uid=*)"},
        {"bind_dn": ""},
        {"more": ("o",)},
        {"domain": "x.test"},
    ):
        assert isinstance(await opened(openldap(server.url, **other)).fetch(marker=marker), Listing), other
    for broken in (b"", b"\0", marker[:-3], b"\x93\xc4\x01a\xa1b\xc4\x01c"):
        assert isinstance(await opened(openldap(server.url)).fetch(marker=broken), Listing)


async def test_the_state_of_one_base_says_nothing_about_another(directory):
    """A second database of the server, which may be synchronised or not."""
    second = "o=second"
    ldif = f"dn: {second}\nobjectClass: organization\no: second\nmail: second@example.test\nobjectClass: qmailUser\n"
    queries = (Query(), Query(base=second))
    for overlay in ((), ("overlay syncprov",)):
        more = (f"suffix {second}", f'rootdn "{ADMIN}"', *overlay)
        server = directory(person("anna", "mail: anna@example.test"), sync=True, second=more)
        server.modify(ldif)
        source = opened(openldap(server.url, queries=queries))
        first = await source.fetch()
        assert isinstance(first, Listing)
        assert bool(first.marker) == bool(overlay)
        assert isinstance(await source.fetch(marker=first.marker), Unchanged if overlay else Listing)
        server.modify(f"dn: {second}\nchangetype: modify\nreplace: mail\nmail: other@example.test\n")
        again = await source.fetch(marker=first.marker)
        assert isinstance(again, Listing)
        assert sorted(kinds(again)) == ["anna@example.test", "other@example.test"]


async def test_a_server_that_does_not_keep_its_state_is_read_each_time(directory):
    """slapadd left a contextCSN, and the module is loaded; but nobody keeps the value current, so it stands still for ever."""
    server = directory(person("anna", "mail: anna@example.test"))
    source = opened(openldap(server.url))
    first = await source.fetch()
    assert isinstance(first, Listing)
    assert first.marker == b""
    server.modify(person("ben", "mail: ben@example.test"))
    second = await source.fetch(marker=first.marker)
    assert isinstance(second, Listing)
    assert len(second.entries) == 2


async def test_a_run_can_be_cancelled_and_the_source_asked_again(many):
    source = opened(openldap(many.url))
    reached = asyncio.Event()
    task = asyncio.create_task(source.fetch(progress=lambda _: reached.set()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await source.fetch()
    assert isinstance(found, Listing)
    assert len(found.entries) == 2 * PEOPLE


async def test_the_same_source_serves_several_at_once(many):
    source = opened(openldap(many.url, filter="(uid=u1*)"))
    for found in await asyncio.gather(*(source.fetch() for _ in range(5))):
        assert isinstance(found, Listing)
        assert len(found.entries) == 2 * 1111


async def test_the_password_is_nowhere_to_be_seen(many, caplog):
    source = opened(openldap(many.url), secret="hunter2".replace("2", "3"))  # the report below shows this line
    with pytest.raises(DeniedError) as caught:
        await source.fetch()
    said = repr(vars(source)) + caplog.text + str(caught.getrepr(showlocals=True))
    assert ADMIN in said
    assert "hunter" + "3" not in said
