"""What each kind of directory keeps where: data, not code. A definition may put queries of its own in place of these.

The order of the queries matters: an address belongs to the first entry that lists it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.sources.definitions import Query
from pipeline.sources.model import Kind


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    queries: tuple[Query, ...]
    partitions: tuple[str, ...] = ()
    """How the names begin of parts that are always elsewhere and never hold addresses: references there are no problem."""


# Active Directory. Accounts that are disabled (bit 2 of userAccountControl) are left out, unless Exchange says that they are no
# person's: the accounts of shared, linked, room and equipment mailboxes are disabled, here and in the cloud, and get mail.
_NO_PERSONS: Final = (2, 4, 16, 32, 34_359_738_368, 8_589_934_592, 17_179_869_184)
_ENABLED: Final = "(|(!(userAccountControl:1.2.840.113556.1.4.803:=2)){})".format(
    "".join(f"(msExchRecipientTypeDetails={kind})" for kind in _NO_PERSONS)
)


def _exchange(kind: Kind, condition: str, *targets: str) -> Query:
    """`proxyAddresses` holds every address, the main one with SMTP: in capitals; other kinds (X500:, SIP:) are no mail."""
    return Query(
        kind=kind,
        filter=condition,
        addresses=("mail", "SMTP:proxyAddresses"),
        aliases=("smtp:proxyAddresses",),
        targets=targets,
    )


ACTIVE_DIRECTORY: Final = Profile(
    queries=(
        _exchange("mailbox", f"(&(objectCategory=person)(objectClass=user){_ENABLED})"),
        _exchange("mailbox", "(objectClass=publicFolder)"),
        _exchange("group", "(|(objectClass=group)(objectClass=msExchDynamicDistributionList))"),
        _exchange("forwarder", "(objectClass=contact)", "smtp:targetAddress"),
    ),
    partitions=("CN=Configuration,", "CN=Schema,", "DC=DomainDnsZones,", "DC=ForestDnsZones,"),
)

# OpenLDAP and the like: whatever has an address and is neither group nor forwarder is a mailbox. Schemas in use: inetOrgPerson,
# qmail-ldap, Netscape's mail schema, sendmail's inetLocalMailRecipient, GOsa, Courier, Postfix's book.
_ALIASES: Final = (
    "mailAlternateAddress", "mailAlternativeAddress", "mailLocalAddress", "gosaMailAlternateAddress", "mailAlias",
)  # fmt: skip
_GROUP_CLASSES: Final = (
    "groupOfNames", "groupOfUniqueNames", "groupOfMembers", "groupOfURLs", "posixGroup", "mailGroup", "inetMailGroup",
    "mailDistributionList",
)  # fmt: skip
_FORWARDER_CLASSES: Final = ("CourierMailAlias", "mailAliasRedirection", "mailAliasDistribution")
_REFUSING: Final = (
    "accountStatus=disabled", "accountStatus=deleted", "mailUserStatus=deleted", "mailUserStatus=removed",
    "mailEnabled=FALSE",
)  # fmt: skip
"""Entries whose own server refuses their mail. Other states keep people out and let mail in."""

OPENLDAP: Final = Profile(
    queries=(
        Query(
            kind="group",
            filter="(|{})".format("".join(f"(objectClass={name})" for name in _GROUP_CLASSES)),
            aliases=_ALIASES,
            targets=("mgrpRFC822MailMember", "rfc822MailMember", "mailForwardingAddress"),
        ),
        Query(
            kind="forwarder",
            filter="(|{})".format("".join(f"(objectClass={name})" for name in _FORWARDER_CLASSES)),
            aliases=_ALIASES,
            targets=("maildrop", "mailForwardingAddress", "gosaMailForwardingAddress"),
        ),
        Query(kind="mailbox", aliases=_ALIASES, unless=_REFUSING),
    ),
)

# Domino makes up the value of `mail` for persons, groups, mail-in databases and resources as it answers, so it is not asked
# which of them have one. Groups for access control, denial and servers (2 to 4) get no mail; 0 and 1 do.
DOMINO: Final = Profile(
    queries=(
        Query(
            kind="group",
            filter="(objectClass=dominoGroup)",
            unless=("groupType=2", "groupType=3", "groupType=4"),
            present=False,
        ),
        Query(
            kind="mailbox",
            filter="(|(objectClass=dominoPerson)(objectClass=inetOrgPerson)(objectClass=dominoServerMailInDatabase)"
            "(objectClass=dominoResource))",
            addresses=("mail", "internetAddress"),
            present=False,
        ),
    ),
)

# Zimbra bounces mail for closed and pending accounts. Locked ones (by hand or after wrong passwords) get it, and mail for those
# in maintenance waits at its own server, so it is accepted here too. Entries of class zimbraAlias have no address in them: it
# is with the account or list that they lead to.
_DELETED: Final = ("zimbraAccountStatus=closed", "zimbraAccountStatus=pending", "zimbraMailStatus=disabled")

ZIMBRA: Final = Profile(
    queries=(
        Query(
            kind="mailbox",
            filter="(objectClass=zimbraAccount)",
            addresses=("zimbraMailDeliveryAddress", "mail"),
            aliases=("zimbraMailAlias",),
            catch_all=("zimbraMailCatchAllAddress",),
            unless=_DELETED,
        ),
        Query(
            kind="group",
            filter="(|(objectClass=zimbraDistributionList)(objectClass=zimbraGroup))",
            aliases=("zimbraMailAlias",),
            targets=("zimbraMailForwardingAddress",),
            unless=("zimbraMailStatus=disabled",),
        ),
        # A domain that is another name of a second one. It lists nobody; its mail goes where its targets say.
        Query(
            kind="alias",
            filter="(objectClass=zimbraDomain)",
            addresses=(),
            catch_all=("zimbraMailCatchAllAddress",),
            targets=("zimbraMailCatchAllForwardingAddress",),
        ),
    ),
)

GENERIC: Final = Profile(queries=(Query(),))

PROFILES: Final[Mapping[str, Profile]] = {
    "active-directory": ACTIVE_DIRECTORY,
    "openldap": OPENLDAP,
    "domino": DOMINO,
    "zimbra": ZIMBRA,
    "generic": GENERIC,
}
