"""Where addresses come from, as it is written down: structs that are stored and shown, and hold no secret.

A definition says how to come by its secret: a file or an environment variable of this machine. `checking.py` says whether a
definition is good.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from pipeline.sources.model import Kind


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One kind of directory entry, and which of its attributes hold what.

    An attribute is written NAME, or PREFIX:NAME for values that begin with PREFIX: (others are passed over). A prefix in
    lower case stands for any case.
    """

    kind: Kind = "mailbox"
    filter: str = "(objectClass=*)"
    addresses: tuple[str, ...] = ("mail",)
    """Whose values are addresses of this kind; the first one that is found is the entry's main address."""
    aliases: tuple[str, ...] = ()
    """Whose values are further addresses of the entry."""
    targets: tuple[str, ...] = ()
    """Whose values are where the mail goes on to."""
    catch_all: tuple[str, ...] = ()
    """Whose values are domains of which the entry gets everything, written @domain."""
    unless: tuple[str, ...] = ()
    """ATTRIBUTE=VALUE of entries to be left out. Compared here and not in the filter: a server that does not know the
    attribute would find that it cannot say, and leave out every entry (RFC 4511 4.5.1.7)."""
    present: bool = True
    """Ask only for entries that have one of the attributes. Not where the server makes the values up as it answers."""
    base: str = ""
    scope: str = ""
    """Empty: the source's."""


class LdapSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="ldap"):
    servers: tuple[str, ...]
    """ldap://HOST[:PORT] or ldaps://HOST[:PORT], tried in this order."""
    base: str
    profile: str = "generic"
    bind_dn: str = ""
    """Empty: anonymous. Active Directory takes user@domain as well."""
    secret_file: str = ""
    secret_env: str = ""
    starttls: bool = True
    """Encrypt ldap:// connections, or fail. Without it the password travels in the clear."""
    verify: bool = True
    ca_file: str = ""
    """PEM file with the authorities to be trusted. Empty: the system's."""
    scope: str = "sub"
    filter: str = ""
    """Narrows every query."""
    more: tuple[str, ...] = ()
    """Further attributes with addresses of mailboxes, such as userPrincipalName."""
    domain: str = ""
    """For values without one, such as uid."""
    queries: tuple[Query, ...] = ()
    """In place of the profile's."""
    page: int = 500
    """Entries asked for at a time (RFC 2696)."""
    timeout: float = 30.0
    """Seconds in which a server has to say something."""
    time_limit: float = 600.0
    """Seconds for the whole list, all servers together."""


class CpanelSource(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="cpanel"
):
    url: str
    """https://HOST:2083"""
    user: str
    secret_file: str = ""
    """Of an API token, not of the account's password."""
    secret_env: str = ""
    verify: bool = True
    ca_file: str = ""
    plain: bool = False
    """Allow http:// to another machine."""
    mailing_lists: bool = True
    """Ask for Mailman's lists too. Off where the account does not have that feature: cPanel answers with an error there."""
    timeout: float = 60.0
    time_limit: float = 600.0


class CsvSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="csv"):
    path: str = ""
    url: str = ""
    """Instead of a path."""
    domain: str = ""
    """For lines without one."""
    user: str = ""
    """With a secret: HTTP Basic. A secret without a user is a bearer token."""
    secret_file: str = ""
    secret_env: str = ""
    verify: bool = True
    ca_file: str = ""
    plain: bool = False
    """Allow to send the secret to http:// on another machine."""
    timeout: float = 60.0
    time_limit: float = 600.0


Definition: TypeAlias = LdapSource | CpanelSource | CsvSource


def names_of_this_machine(definition: Definition) -> tuple[str, ...]:
    """The fields in use that name a file or a variable of this machine.

    Only its operator may set them: otherwise somebody could have the gateway read a file, and send it to a server of theirs.
    """
    fields = ("secret_file", "secret_env", "ca_file", "path")
    return tuple(field for field in fields if getattr(definition, field, ""))
