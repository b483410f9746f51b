"""Reading a real Active Directory domain: Samba's, with the attributes that Exchange adds to the schema."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.sources.definitions import LdapSource
from pipeline.sources.faults import DeniedError
from pipeline.sources.model import Listing, Unchanged
from tests.pipeline.sources.conftest import kinds, listing, opened
from tests.support.activedirectory import ADMIN, BASE, PASSWORD, USERS, DomainController, account, thing

pytestmark = pytest.mark.timeout(240)  # a domain is set up first, once for all


def definition(domain: DomainController, **options: Any) -> LdapSource:
    fields = {"servers": (domain.url,), "profile": "active-directory", "base": BASE, "starttls": False}
    return LdapSource(**{**fields, "bind_dn": ADMIN, "secret_env": "SECRET", **options})


def unit(domain: DomainController, name: str) -> str:
    """A container of one test's own."""
    domain.modify(f"dn: OU={name},{BASE}\nchangetype: add\nobjectClass: organizationalUnit\n")
    return f"OU={name},{BASE}"


async def read(domain: DomainController, base: str, **options: Any) -> Listing:
    return await listing(definition(domain, base=base, **options), PASSWORD)


async def test_users_groups_and_contacts_are_listed_as_what_they_are(domain):
    where = unit(domain, "kinds")
    domain.modify(
        account("anna", "mail: anna@example.test",
                "proxyAddresses: SMTP:anna@example.test", "proxyAddresses: smtp:a.mueller@example.test",
                "proxyAddresses: X500:/o=Example/cn=anna", "proxyAddresses: SIP:anna@sip.example.test", where=where)
        + account("ben", "proxyAddresses: SMTP:ben@example.test", "userPrincipalName: ben@ad.example.test", where=where)
        + account("nomail", "userPrincipalName: nomail@ad.example.test", where=where)
        + thing("All", "group", "sAMAccountName: all", "groupType: 2", "mail: all@example.test",
                "proxyAddresses: smtp:everybody@example.test", where=where)
        + thing("Admins", "group", "sAMAccountName: adm", "groupType: -2147483646", where=where)
        + thing("Partner", "contact", "mail: partner@elsewhere.test", "targetAddress: SMTP:partner@elsewhere.test",
                "proxyAddresses: SMTP:partner@example.test", where=where)
    )  # fmt: skip
    found = await read(domain, where)
    assert kinds(found) == {
        "anna@example.test": "mailbox",
        "a.mueller@example.test": "alias",
        "ben@example.test": "mailbox",
        "all@example.test": "group",
        "everybody@example.test": "alias",
        "partner@example.test": "forwarder",
    }
    leads_to = {entry.local: entry.targets for entry in found.entries if entry.targets}
    assert leads_to == {
        "a.mueller": ("anna@example.test",),
        "everybody": ("all@example.test",),
        "partner": ("partner@elsewhere.test",),
    }
    assert found.problems == ()


async def test_principal_names_are_listed_only_when_asked_for(domain):
    where = unit(domain, "principals")
    domain.modify(
        account("carl", "mail: carl@example.test", "userPrincipalName: carl@ad.example.test", where=where)
        + account("dora", "userPrincipalName: dora@ad.example.test", where=where)
    )
    assert sorted(kinds(await read(domain, where))) == ["carl@example.test"]
    assert kinds(await read(domain, where, more=("userPrincipalName",))) == {
        "carl@example.test": "mailbox",
        "carl@ad.example.test": "alias",
        "dora@ad.example.test": "mailbox",
    }


async def test_disabled_accounts_are_left_out_unless_they_are_shared_mailboxes_or_rooms(domain):
    where = unit(domain, "disabled")
    domain.modify(
        account("emil", "mail: emil@example.test", where=where)
        + account("gone", "mail: gone@example.test", disabled=True, where=where)
        + account("info", "mail: info@example.test", "msExchRecipientTypeDetails: 4", disabled=True, where=where)
        + account(
            "cloud", "mail: cloud@example.test", "msExchRecipientTypeDetails: 34359738368", disabled=True, where=where
        )
        + account("room", "mail: room@example.test", "msExchRecipientTypeDetails: 16", disabled=True, where=where)
        + account("left", "mail: left@example.test", "msExchRecipientTypeDetails: 1", disabled=True, where=where)
    )
    assert sorted(kinds(await read(domain, where))) == [
        "cloud@example.test",
        "emil@example.test",
        "info@example.test",
        "room@example.test",
    ]


async def test_the_whole_domain_is_read_in_pages_and_its_own_partitions_are_no_problem(domain):
    where = unit(domain, "pages")
    domain.modify("".join(account(f"page{n}", f"mail: page{n}@pages.test", where=where) for n in range(40)))
    found = await read(domain, BASE, page=7)
    assert sum(entry.domain == "pages.test" for entry in found.entries) == 40
    assert found.problems == ()


@pytest.mark.parametrize("security", ["starttls", "ldaps"])
async def test_encrypted_connections_are_verified(domain, security):
    domain.modify(account(f"enc-{security}", f"mail: {security}@encrypted.test"))
    url = domain.url if security == "starttls" else domain.tls_url
    found = await read(domain, USERS, servers=(url,), starttls=True, ca_file=str(domain.ca_file))
    assert f"{security}@encrypted.test" in kinds(found)


async def test_a_refused_password_is_explained(domain):
    with pytest.raises(DeniedError, match="refuses our name and password"):
        await listing(definition(domain), "wrong")


async def test_without_a_name_the_domain_says_nothing(domain):
    with pytest.raises(DeniedError, match=r"does not let us read the list: .*without authentication") as caught:
        await read(domain, BASE, bind_dn="", secret_env="")
    assert caught.value.remedy == "Give bind_dn and a password."


async def test_every_change_makes_it_read_again_deletions_and_moves_included(domain):
    """What an incremental run has to get right, and a full one cannot get wrong: see `changes.py`."""
    where, other = unit(domain, "changing"), unit(domain, "other")
    domain.modify(f"dn: OU=inner,{where}\nchangetype: add\nobjectClass: organizationalUnit\n")
    domain.modify(
        account("fay", "mail: fay@example.test", where=where)
        + account("gus", "mail: gus@example.test", where=where)
        + account("hal", "mail: hal@example.test", where=f"OU=inner,{where}")
    )
    source = opened(definition(domain, base=where), PASSWORD)
    found = await source.fetch()
    assert isinstance(found, Listing)
    assert sorted(kinds(found)) == ["fay@example.test", "gus@example.test", "hal@example.test"]
    assert found.marker
    assert await source.fetch(marker=found.marker) == Unchanged(marker=found.marker)

    steps = (
        (f"dn: CN=gus,{where}\nchangetype: delete\n", ["fay@example.test", "hal@example.test"]),
        (f"dn: CN=fay,{where}\nchangetype: modify\nreplace: mail\nmail: fay.new@example.test\n-\n",
         ["fay.new@example.test", "hal@example.test"]),
        # The account itself is not changed by this, its container is.
        (f"dn: OU=inner,{where}\nchangetype: moddn\nnewrdn: OU=inner\ndeleteoldrdn: 1\nnewsuperior: {other}\n",
         ["fay.new@example.test"]),
    )  # fmt: skip
    for change, expected in steps:
        domain.modify(change)
        found = await source.fetch(marker=found.marker)
        assert isinstance(found, Listing), change
        assert sorted(kinds(found)) == expected
