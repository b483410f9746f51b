"""What each profile reads from a directory with its schema, served by a real slapd."""

from __future__ import annotations

import pytest

from pipeline.sources.checking import check
from pipeline.sources.definitions import LdapSource
from pipeline.sources.ldap.messages import filter_fault
from pipeline.sources.ldap.profiles import PROFILES
from pipeline.sources.model import Listing
from tests.pipeline.sources.conftest import kinds, listing, openldap
from tests.support.ldap import BASE, entry, person


def targets(found: Listing) -> dict[str, tuple[str, ...]]:
    """Of those that have some."""
    return {f"{entry.local}@{entry.domain}": entry.targets for entry in found.entries if entry.targets}


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_a_good_definition(name):
    check(LdapSource(servers=("ldap://ldap.example.test",), base=BASE, profile=name))
    for query in PROFILES[name].queries:
        assert filter_fault(query.filter) == ""
        assert all(condition.count("=") == 1 for condition in query.unless)


async def test_openldap_knows_mailboxes_groups_and_forwarders(directory):
    """Of the attributes and classes in the profile, this directory knows only some; the others change nothing."""
    qmail = ("inetOrgPerson", "qmailUser")
    server = directory(
        person("anna", "mail: anna@example.test", "mailAlternateAddress: a@example.test", classes=qmail)
        + person("ben", "mail: ben@example.test", "accountStatus: noaccess", classes=qmail)
        + person("gone", "mail: gone@example.test", "accountStatus: DISABLED", classes=qmail)
        + person("nobody")
        + entry("cn=team", ("groupOfNames", "mailGroup"), f"member: uid=anna,{BASE}", "mail: team@example.test",
                "mgrpRFC822MailMember: anna@example.test", "mgrpRFC822MailMember: guest@elsewhere.test",
                "mgrpRFC822MailMember: local")
        + entry("cn=secret", ("groupOfNames",), f"member: uid=anna,{BASE}")
        + entry("ou=sales", ("organizationalUnit", "CourierMailAlias"), "mail: sales@example.test",
                "maildrop: ben@example.test", "maildrop: boss@elsewhere.test")
    )  # fmt: skip
    found = await listing(openldap(server.url))
    assert kinds(found) == {
        "anna@example.test": "mailbox",
        "a@example.test": "alias",
        "ben@example.test": "mailbox",
        "team@example.test": "group",
        "sales@example.test": "forwarder",
    }
    assert targets(found) == {
        "a@example.test": ("anna@example.test",),
        "team@example.test": ("anna@example.test", "guest@elsewhere.test"),
        "sales@example.test": ("ben@example.test", "boss@elsewhere.test"),
    }
    assert found.problems == ()


async def test_zimbra_lists_accounts_that_get_mail_with_aliases_lists_and_catch_alls(directory):
    def account(name: str, status: str, *lines: str) -> str:
        own = (f"zimbraMailDeliveryAddress: {name}@example.test", f"mail: {name}@example.test")
        return person(name, f"zimbraAccountStatus: {status}", *own, *lines, classes=("inetOrgPerson", "zimbraAccount"))

    server = directory(
        account("anna", "active", "mail: a.mueller@example.test", "zimbraMailAlias: a.mueller@example.test",
                "zimbraMailAlias: office@example.test")
        + entry("uid=a.mueller", ("zimbraAlias",), "zimbraAliasTargetId: 1")
        + account("locked", "locked") + account("lockout", "lockout") + account("moving", "maintenance")
        + account("closed", "closed", "zimbraMailAlias: closed.too@example.test") + account("new", "pending")
        + account("off", "active", "zimbraMailStatus: disabled")
        + account("all", "active", "zimbraMailCatchAllAddress: @example.test")
        + entry("uid=team", ("zimbraDistributionList",), "mail: team@example.test", "zimbraMailAlias: team@example.test",
                "zimbraMailAlias: crew@example.test", "zimbraMailForwardingAddress: anna@example.test")
        + entry("cn=dynamic", ("device", "zimbraGroup"), "mail: dynamic@example.test")
        + entry("uid=mute", ("zimbraDistributionList",), "mail: mute@example.test", "zimbraMailStatus: disabled")
        + entry("dc=other", ("domain", "zimbraDomain"), "zimbraDomainName: other.test",
                "zimbraMailCatchAllAddress: @other.test", "zimbraMailCatchAllForwardingAddress: @example.test"),
        schemas=("zimbra",),
    )  # fmt: skip
    found = await listing(openldap(server.url, profile="zimbra"))
    assert kinds(found) == {
        "anna@example.test": "mailbox",
        "a.mueller@example.test": "alias",
        "office@example.test": "alias",
        "locked@example.test": "mailbox",
        "lockout@example.test": "mailbox",
        "moving@example.test": "mailbox",
        "all@example.test": "mailbox",
        "team@example.test": "group",
        "crew@example.test": "alias",
        "dynamic@example.test": "group",
    }
    assert targets(found) == {
        "a.mueller@example.test": ("anna@example.test",),
        "office@example.test": ("anna@example.test",),
        "team@example.test": ("anna@example.test",),
        "crew@example.test": ("team@example.test",),
    }
    assert found.catch_all == (("example.test", "all@example.test"), ("other.test", "@example.test"))
    assert found.problems == ()


async def test_domino_lists_persons_mail_in_databases_and_groups_that_get_mail(directory):
    def group(name: str, kind: int) -> str:
        return entry(f"cn={name}", ("dominoGroup",), f"mail: {name}@example.test", f"groupType: {kind}")

    server = directory(
        person("anna", "mail: anna@example.test", "internetAddress: anna.mueller@example.test", classes=("dominoPerson",))
        + person("made", "mail: Made Up/Sales/Example%Example@example.test", classes=("dominoPerson",))
        + entry("cn=orders", ("dominoServerMailInDatabase",), "mail: orders@example.test")
        + group("team", 0) + group("mail", 1) + group("access", 2) + group("deny", 3) + group("servers", 4),
        schemas=("domino",),
    )  # fmt: skip
    found = await listing(openldap(server.url, profile="domino"))
    assert kinds(found) == {
        "anna@example.test": "mailbox",
        "anna.mueller@example.test": "mailbox",
        "orders@example.test": "mailbox",
        "team@example.test": "group",
        "mail@example.test": "group",
    }
    # A name that Domino made up for want of an address is none.
    assert found.problems == (
        f"uid=made,{BASE}: Made Up/Sales/Example%Example@example.test: not an address; expected local@domain",
    )


async def test_a_profile_asks_any_directory_without_harm(directory):
    """Its classes and attributes may be unknown there: then nothing is found, or what is known."""
    server = directory(person("anna", "mail: anna@example.test"))
    for name in ("openldap", "generic", "domino"):
        assert kinds(await listing(openldap(server.url, profile=name))) == {"anna@example.test": "mailbox"}
