"""What a domain and an address are, as they are stored. Additive only: what was stored by any release is read by all later ones."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from pipeline.directory.options import RouteOptions
from pipeline.directory.policy import Policy
from pipeline.directory.reports import ReportSchedule


class Kind(enum.StrEnum):
    """What is behind an address at the customer's server. We accept mail for all of them alike."""

    MAILBOX = "mailbox"
    ALIAS = "alias"
    """Another name of the mailboxes in `targets`."""
    GROUP = "group"
    FORWARDER = "forwarder"
    """Mail goes on to `targets`, which may be elsewhere."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a domain, or of a server: mail is accepted and kept, and none is forwarded until it ends."""

    since: int
    reason: str
    by: str
    until: int = 0
    """When it ends by itself (ns); 0: when somebody says so."""
    probed: bool = False
    """It was set because of what the server said, and ends by itself when the server takes a message again."""

    def holds(self, now: int) -> bool:
        return not self.until or now < self.until


class Domain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer's domain. What is empty or 0 is taken from the parent, and else from the settings (see inherit.py)."""

    name: str
    """Lower case, A-labels."""
    route: tuple[str, ...] = ()
    """Their own servers, one a line as servers.py writes them."""
    route_options: RouteOptions | None = None
    """How they are spoken to; only beside a route."""
    catch_all: bool = False
    created_at: int = 0
    alias_of: str = ""
    """Mail for this domain is mail for the same mailboxes of that one; nothing else of an alias counts."""
    parent: str = ""
    former_mx: tuple[str, ...] = ()
    """`PREFERENCE HOST` as the MX stood in the DNS when the domain was added: what to put back when it leaves us."""
    hold: Hold | None = None
    delimiter: str = ""
    """What separates a mailbox's name from a detail (`anna+shop`): such mail is accepted when `anna` is listed."""
    engines_missing: str = ""
    """What happens to mail that an engine outside did not look at: pass, wait, quarantine; empty: as the settings say."""
    greylist: bool = False
    smtputf8: str = ""
    """Whether their servers take SMTPUTF8: yes, no; empty: as they said themselves when they were last connected to."""
    max_message_size: int = 0
    max_recipients: int = 0
    retry_interval: int = 0
    """ns."""
    queue_lifetime: int = 0
    """ns."""
    quarantine_retention: int = 0
    """ns; of what is kept from now on: what is kept already stays until the date that it was given."""
    timezone: str = ""
    """IANA name."""
    language: str = ""
    """en or de."""
    alert_waiting: int = 0
    """Messages from which on there is an alert; 0: as the settings say, -1: never (see alerts/model.py)."""
    alert_oldest: int = 0
    """The same for how long (ns) one waits."""
    contact: str = ""
    """The postmaster's address, which may be inside the domain."""
    contact_outside: str = ""
    """Where an alert goes that says that the domain's own mail does not work."""
    trusted_relays: tuple[str, ...] = ()
    """Networks of servers that hand us the mail of others, beside those of the settings (see scanning/relays.py)."""
    protected_names: tuple[str, ...] = ()
    """People in whose name nobody from outside may write."""
    policy: Policy | None = None
    """What happens to mail of each class; each field of it is inherited by itself."""
    reports: tuple[ReportSchedule, ...] = ()
    """Reports of its outbound mail that go out by mail."""


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Someone we accept mail for."""

    local: str
    """As it was entered, without quotes, NFC."""
    kind: Kind = Kind.MAILBOX
    targets: tuple[str, ...] = ()
    source: str = ""
    """The sync that brought it; empty when it was entered by hand, and then no sync touches it."""
    gone: int = 0
    """It was removed at its source, and is accepted until then (ns); 0: it is there."""
    policy: Policy | None = None
    """What this person wants done with bulk mail and spam."""

    def accepted(self, now: int) -> bool:
        return not self.gone or now < self.gone


LANGUAGES: Final = ("en", "de")

decode_hold: Final = msgspec.msgpack.Decoder(Hold).decode
encode: Final = msgspec.msgpack.Encoder().encode
decode_domain: Final = msgspec.msgpack.Decoder(Domain).decode
decode_address: Final = msgspec.msgpack.Decoder(Address).decode
