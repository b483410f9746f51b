"""The closed vocabulary of facts. Additive only.

Every fact about a message, a route or the directory is one of the structs below, stored as a MessagePack map with the tag
under "t". New fields get a default; fields and tags are never renamed, reused or removed: `tests/golden/` holds the bytes
of every event ever shipped, and they must decode forever.

Times are integers, nanoseconds since 1970 UTC. Sizes are octets. Addresses are `local@domain` as text, the null sender is
the empty string. Every event names its `domain`, and every outcome names sender and size, so that a view or an archived
row can be computed from the event alone.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who handed the message to us."""

    address: str
    port: int = 0
    helo: str = ""
    protocol: str = "SMTP"
    """As registered for the WITH clause (RFC 3848): SMTP, ESMTP, ESMTPS, UTF8SMTP, UTF8SMTPS."""
    tls: str = ""
    """Version and cipher, e.g. `TLSv1.3 TLS_AES_256_GCM_SHA384`; empty without TLS."""


class RecipientSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One RCPT of the envelope (RFC 5321 4.1.1.3), with its DSN parameters (RFC 3461)."""

    address: str
    """Where it goes. An alias of a domain has been replaced by the domain itself."""
    notify: str = ""
    orcpt: str = ""
    original: str = ""
    """The address as the client named it, where that is another one."""


class AuthResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one method of authentication says, as Authentication-Results writes it (RFC 8601 2.2)."""

    method: str
    """spf, dkim, dmarc, arc, iprev."""
    result: str
    """pass, fail, softfail, neutral, none, policy, temperror, permerror; which of them depends on the method."""
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    """What was looked at: ("smtp.mailfrom", "example.org"), ("header.d", "example.org"), ..."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One test that fired: its name, what it adds to the score, and why in words."""

    name: str
    score: float = 0.0
    text: str = ""
    kind: str = "spam"
    """What a high score of this kind makes of the message: bulk, spam, phishing, virus, content, spoof."""
    engine: str = ""
    """Which engine says so; empty: the one that is built in."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What policy made of the findings for some of the recipients, and why."""

    recipients: tuple[str, ...]
    action: str
    """deliver, tag, quarantine, discard."""
    verdict: str = ""
    """As of `scanned`; their own settings may see it differently."""
    why: tuple[str, ...] = ()
    """In words, in the order in which it was decided: the rule, the threshold, where each was set."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at one server, and the words it ended with."""

    server: str
    """host:port as configured or as the MX said."""
    address: str = ""
    """The IP address dialled; empty when it never came to that."""
    tls: str = ""
    stage: str = ""
    """connect, greeting, ehlo, starttls, mail, rcpt, data, dot; route when no server could be chosen."""
    code: int = 0
    """The reply code (RFC 5321 4.2); 0 when there was no reply."""
    enhanced: str = ""
    """The enhanced status code (RFC 3463), ours when the server gave none."""
    reply: str = ""
    """Verbatim: all lines with their codes, separated by LF; or what happened instead, in words, when code is 0."""
    took: int = 0
    """ns from the start of the stage to its end."""
    unknown: bool = False
    """The final dot was sent and no reply came: it may or may not have been delivered."""
    dsn: bool = False
    """The server was told what the sender wants to hear of (RFC 3461): it will report, not we."""
    software: str = ""
    """Of a try that did not succeed: what the server is, as its greeting says (see diagnosis/table.toml); often unknown."""
    source: str = ""
    """The address of ours that it went out from, where one was chosen; empty: the system's choice."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    at: int
    domain: str


class Received(Event, frozen=True, kw_only=True, tag="received"):
    """We said 250: from now on the message is ours."""

    sender: str
    recipients: tuple[RecipientSpec, ...]
    size: int
    expires: int
    """When we give up trying to deliver it."""
    client: Client | None = None
    origin: str = "smtp"
    """smtp; bounce for what we wrote ourselves about a message; report and alert for what we wrote to an operator or postmaster; redirect for what went to somebody else first; release for what was kept in quarantine
    for somebody else, and is not judged again."""
    cause: str = ""
    """For a bounce: the id of the message it speaks of. For a redirected message: the id it came with."""
    eight_bit: bool = False
    smtputf8: bool = False
    envid: str = ""
    ret: str = ""
    greylisted: int = 0
    """When its first attempt was put off by greylisting (ns); 0 when none was."""


class Scanned(Event, frozen=True, kw_only=True, tag="scanned"):
    verdict: str
    """clean, bulk, spam, phishing, virus, content, spoof."""
    score: float
    findings: tuple[Finding, ...] = ()
    subject: str = ""
    header_from: str = ""
    message_id: str = ""
    engines: tuple[str, ...] = ()
    took: int = 0
    auth: tuple[AuthResult, ...] = ()
    drop: tuple[tuple[int, int], ...] = ()
    """(start, end) of header fields that claim results in our name, in octets of the message: they are not forwarded."""
    country: str = ""
    """Where the client's address is registered (ISO 3166-1 alpha-2); empty when that is not known."""
    decisions: tuple[Decision, ...] = ()
    missing: tuple[str, ...] = ()
    """Engines that should have looked and did not, each with why."""


class Postponed(Event, frozen=True, kw_only=True, tag="postponed"):
    """An engine that should look does not answer, and the message waits for it: it will be scanned again."""

    missing: tuple[str, ...]
    """The engines, each with why."""
    until: int
    """How long it waits at most."""


class Quarantined(Event, frozen=True, kw_only=True, tag="quarantined"):
    recipients: tuple[str, ...]
    reason: str
    expires: int


class Queued(Event, frozen=True, kw_only=True, tag="queued"):
    recipients: tuple[str, ...]
    size: int = 0
    warn_at: int = 0
    """When the sender is to be told should it still wait then (ns); 0: never."""
    tag: str = ""
    """What these recipients' copy says of our verdict, as verdict.py writes it; empty: nothing."""


class Released(Event, frozen=True, kw_only=True, tag="released"):
    """Out of the quarantine, straight to the queue."""

    recipients: tuple[str, ...]
    by: str
    expires: int
    size: int = 0
    virus: bool = False
    """A virus had been found in it, and whoever released it said that they know."""


class Looked(Event, frozen=True, kw_only=True, tag="looked"):
    """Somebody looked at kept copies."""

    recipients: tuple[str, ...]
    by: str
    how: str
    """show: what is known of it; preview: its text; download: its octets."""


class Discarded(Event, frozen=True, kw_only=True, tag="discarded"):
    recipients: tuple[str, ...]
    reason: str
    """policy, retention, deleted."""
    by: str = ""
    size: int = 0
    note: str = ""
    """Why somebody deleted it, in their words."""


class Deferred(Event, frozen=True, kw_only=True, tag="deferred"):
    """One message has to wait (greylisting, mailbox full); the others of its domain do not."""

    recipients: tuple[str, ...]
    sender: str
    size: int
    tries: int
    attempt: Attempt
    next_try: int


class Delivered(Event, frozen=True, kw_only=True, tag="delivered"):
    recipients: tuple[str, ...]
    sender: str
    size: int
    tries: int
    attempt: Attempt
    waited: int = 0
    """ns from received to delivered."""
    report: str = ""
    """Id of the report that it was relayed to a server that reports nothing (RFC 3461 5.2.2); empty when none was asked for."""


class Failed(Event, frozen=True, kw_only=True, tag="failed"):
    recipients: tuple[str, ...]
    sender: str
    size: int
    tries: int
    reason: str
    """refused (by the server), expired, or returned (by a postmaster)."""
    attempt: Attempt | None = None
    bounce: str = ""
    """Id of the bounce; empty when none was sent."""
    unsent: str = ""
    """Why no bounce was sent: null sender, ..."""
    by: str = ""
    """Who had it returned; empty when nobody did."""
    note: str = ""
    """Why, in their words: the sender reads them."""


class Held(Event, frozen=True, kw_only=True, tag="held"):
    """Somebody keeps waiting copies of one message from leaving, or plans their end.

    Held again is another hold, or a plan that was taken back, after which the hold before it stands again.
    """

    recipients: tuple[str, ...]
    by: str
    reason: str
    until: int = 0
    """When it ends by itself (ns): what `then` says happens. 0: when somebody says so."""
    then: str = ""
    """Empty: it flows again. bounce: it is returned to its sender. delete: it is discarded."""
    action: str = ""
    """Id of what was asked for, common to all messages that it was asked for."""
    undoes: str = ""
    """The action that was taken back; `holder` and `since` are then of the hold before it."""
    holder: str = ""
    since: int = 0


class Resumed(Event, frozen=True, kw_only=True, tag="resumed"):
    """Held copies may leave again."""

    recipients: tuple[str, ...]
    by: str
    """gatepost: the hold was over."""
    reason: str = ""
    undoes: str = ""
    """The action that was taken back."""
    size: int = 0


class Redirected(Event, frozen=True, kw_only=True, tag="redirected"):
    """Waiting copies go to somebody else instead, as a message of its own."""

    recipients: tuple[str, ...]
    to: str
    by: str
    reason: str
    message: str
    """Id of that message."""
    sender: str = ""
    size: int = 0


class Undeliverable(Event, frozen=True, kw_only=True, tag="undeliverable"):
    """It cannot be delivered, and its sender is not to be told: it is kept in quarantine for the postmaster."""

    recipients: tuple[str, ...]
    sender: str
    size: int
    tries: int
    reason: str
    """As of `failed`."""
    unsent: str
    """Why there is no bounce: null sender, ..."""
    expires: int
    """When it is discarded."""
    attempt: Attempt | None = None
    subject: str = ""
    score: float = 0.0
    client: str = ""
    """Address of who brought it."""
    received: int = 0
    """When it came. It is here with subject, score and client because the view of the quarantine keeps nothing of mail that only passes."""


class Warned(Event, frozen=True, kw_only=True, tag="warned"):
    """The sender was told that it still waits, and goes on waiting."""

    recipients: tuple[str, ...]
    sender: str
    size: int
    tries: int
    warning: str
    """Id of the message that says so."""
    until: int
    """When it will be given up."""
    attempt: Attempt | None = None
    """What it waits for, as far as a server said anything."""


class RouteDeferred(Event, frozen=True, kw_only=True, tag="route_deferred"):
    """No server of the domain could be used. One event, however many messages wait behind it."""

    tries: int
    since: int
    next_try: int
    attempts: tuple[Attempt, ...]


class RouteOpened(Event, frozen=True, kw_only=True, tag="route_opened"):
    """The first success after an outage."""

    server: str
    since: int


class Retried(Event, frozen=True, kw_only=True, tag="retried"):
    """Somebody had a domain's mail tried without waiting for the next attempt."""

    by: str
    waiting: int = 0
    """Messages that it was for."""


class Refused(Event, frozen=True, kw_only=True, tag="refused"):
    """Mail that did not get in. What one client is told again and again in a short time becomes one event with a count.

    `domain` is empty where none of ours was named. The subject is an id of its own.
    """

    reason: str
    """The reply's name, in lower case: no_such_user, relay_denied, greylisted, mail_loop, ..."""
    client: Client
    stage: str
    """connect, hello, mail, rcpt, data."""
    code: int
    enhanced: str
    reply: str
    """What we said."""
    sender: str = ""
    recipient: str = ""
    """As the client wrote it; of many, the last."""
    count: int = 1
    since: int = 0
    """When the first of many was refused (ns); `at` is the last."""
    note: str = ""
    """What we did not say: why the client is suspicious."""


class Reported(Event, frozen=True, kw_only=True, tag="reported"):
    """Somebody says of a message that it was judged wrongly. The subject is an id of its own: the message has often left by then."""

    by: str
    spam: bool
    """It is bad mail that was delivered; else it is good mail."""
    message: str = ""
    """Its id; empty when only its octets were given, and no Received line of ours is in them."""
    sender: str = ""
    learned: bool = False
    """The classifier of the domain learned from its octets."""
    note: str = ""


class Learned(Event, frozen=True, kw_only=True, tag="learned"):
    """Somebody said whether a message is spam, and the classifier counts its words accordingly; or takes that back.

    `domain` is empty for what holds for all domains. The subject is an id of its own, the same for all that is said of one message.
    """

    spam: bool
    tokens: bytes
    """Keyed hashes of its words, five octets each: no text can be read from them."""
    by: str
    how: str = ""
    """released, reported, taught, ..."""
    message: str = ""
    """Its id, where it came through this gateway."""
    undone: bool = False
    """What was learnt of it so is forgotten: the tokens are those of then."""


class DomainSet(Event, frozen=True, kw_only=True, tag="domain_set"):
    """A domain was added or changed. `before` is empty for a new one; both are MessagePack of `directory.Domain`.

    Common to all changes of the directory: `by` is who made it, `change` numbers it (all events of one change have the same
    number, that of its first event's version; 0 in old logs), `note` says why, when something is known: a file that was imported, a run of
    a sync, a change that was reverted.
    """

    by: str
    before: bytes = b""
    after: bytes = b""
    change: int = 0
    note: str = ""


class DomainRemoved(Event, frozen=True, kw_only=True, tag="domain_removed"):
    by: str
    before: bytes = b""
    change: int = 0
    note: str = ""


class AddressesSet(Event, frozen=True, kw_only=True, tag="addresses_set"):
    """Addresses that were added or changed."""

    by: str
    locals: tuple[str, ...]
    kind: str = "mailbox"
    before: tuple[bytes, ...] = ()
    """Parallel to `locals`: MessagePack of `directory.Address`, empty for a new one. Old logs have none."""
    after: tuple[bytes, ...] = ()
    change: int = 0
    note: str = ""


class AddressesRemoved(Event, frozen=True, kw_only=True, tag="addresses_removed"):
    by: str
    locals: tuple[str, ...]
    before: tuple[bytes, ...] = ()
    change: int = 0
    note: str = ""


class SyncSet(Event, frozen=True, kw_only=True, tag="sync_set"):
    """A source of addresses was set up or changed. MessagePack of `directory.Sync`; no secret is in it."""

    by: str
    name: str
    before: bytes = b""
    after: bytes = b""
    change: int = 0
    note: str = ""


class SyncRemoved(Event, frozen=True, kw_only=True, tag="sync_removed"):
    by: str
    name: str
    before: bytes = b""
    change: int = 0
    note: str = ""


class SyncRan(Event, frozen=True, kw_only=True, tag="sync_ran"):
    """A run of a sync ended. What it changed stands in the events of the same change."""

    by: str
    name: str
    run: int
    result: str
    """applied, unchanged, waiting for approval, rejected, failed."""
    found: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    problems: tuple[str, ...] = ()
    """Why it failed, or the entries that were passed over, in a line each; the first hundred."""
    problem_count: int = 0
    took: int = 0
    change: int = 0
    note: str = ""


class ServerHeld(Event, frozen=True, kw_only=True, tag="server_held"):
    """Nothing is sent to a server, whichever domain's mail it is, until it ends. `domain` is empty."""

    by: str
    server: str
    """host:port"""
    reason: str
    until: int = 0
    before: bytes = b""
    """MessagePack of `directory.Hold`; empty when it was not held. So is `after`."""
    after: bytes = b""
    change: int = 0
    note: str = ""


class ServerResumed(Event, frozen=True, kw_only=True, tag="server_resumed"):
    by: str
    server: str
    before: bytes = b""
    change: int = 0
    note: str = ""


class RulesSet(Event, frozen=True, kw_only=True, tag="rules_set"):
    """Entries of an allow or block list were added or changed. `domain` is empty for the operator's, which hold for all domains."""

    by: str
    rules: tuple[str, ...]
    """Their keys, as directory/lists/entries.py makes them: what each names, and whose it is."""
    before: tuple[bytes, ...] = ()
    """Parallel to `rules`: MessagePack of `directory.lists.entries.Rule`, empty for a new one."""
    after: tuple[bytes, ...] = ()
    change: int = 0
    note: str = ""


class RulesRemoved(Event, frozen=True, kw_only=True, tag="rules_removed"):
    by: str
    rules: tuple[str, ...]
    before: tuple[bytes, ...] = ()
    change: int = 0
    note: str = ""


class AlertRaised(Event, frozen=True, kw_only=True, tag="alert_raised"):
    """Something is not as it should be, and whoever asked to hear of it is told, once. `domain` is empty for what concerns all.

    The subject is `!<rule>:<what>`, the same until it is over and when it comes again.
    """

    rule: str
    """waiting, oldest, down, engine, books, lag, consumer, disk, memory, difference, ..."""
    what: str = ""
    """What of: a domain, a server, an engine, a view."""
    text: str = ""
    """In a sentence, for the one who is told."""
    value: str = ""
    """What was measured, and `limit`: what it may be; both as they are written."""
    limit: str = ""
    detail: str = ""
    """Words of somebody else, made safe to show: what a server answered."""


class AlertOver(Event, frozen=True, kw_only=True, tag="alert_over"):
    """It is as it should be again."""

    rule: str
    what: str = ""
    since: int = 0
    """When it was raised (ns)."""
    text: str = ""


class AlertsSilenced(Event, frozen=True, kw_only=True, tag="alerts_silenced"):
    """Nobody is told of a rule's alerts for some time. `domain` is empty; the subject is `!silence:<rule>:<what>`."""

    by: str
    rule: str
    what: str = ""
    """Empty: of all that the rule speaks of."""
    until: int = 0
    """ns; 0: they are told again."""
    note: str = ""


class Exported(Event, frozen=True, kw_only=True, tag="exported"):
    """Somebody took a copy of what the log says out of Gatepost. `domain` is empty for all domains. The subject is an id of its own."""

    by: str
    start: int
    """The events exported are those from here (ns) ..."""
    end: int
    """... to before this."""
    events: int
    digest: str = ""
    """SHA-256 of the file, in hexadecimal."""


class ReportSent(Event, frozen=True, kw_only=True, tag="report_sent"):
    """A report went out by mail, because it was due or because somebody had it sent. The subject is `!report:<domain>:<schedule>`."""

    schedule: str
    to: str
    start: int
    """What it is of: from here (ns) ..."""
    end: int
    """... to before this."""
    message: str
    """Id of the mail."""
    rows: int = 0
    by: str = ""
    """Who had it sent; empty: it was due."""


class Dropped(Event, frozen=True, kw_only=True, tag="dropped"):
    """Days of the archive of one partition whose retention was over are gone. `domain` is empty; the subject is `!archive`."""

    start: str
    """The first and ..."""
    end: str
    """... the last of the days, as YYYY-MM-DD (UTC)."""
    events: int
    segments: int = 0
    seal: str = ""
    """Of the last segment that is gone, in hexadecimal: what the next one is chained to."""
    by: str = ""


class Acted(Event, frozen=True, kw_only=True, tag="acted"):
    """Somebody did something of which no other event speaks. `domain` is empty for what concerns all. The subject is an id of its own."""

    by: str
    action: str
    """work_retried, view_mended, source_forgiven, alerts_tested, delivery_tested, bounce_previewed, ..."""
    what: str = ""
    """With what: a reference, a view, an address of ours, a message's id."""
    note: str = ""


MessageEvent: TypeAlias = (
    Received
    | Scanned
    | Postponed
    | Quarantined
    | Queued
    | Released
    | Discarded
    | Deferred
    | Delivered
    | Failed
    | Undeliverable
    | Warned
    | Held
    | Resumed
    | Redirected
    | Looked
)
RouteEvent: TypeAlias = RouteDeferred | RouteOpened | Retried
DirectoryEvent: TypeAlias = (
    DomainSet
    | DomainRemoved
    | AddressesSet
    | AddressesRemoved
    | SyncSet
    | SyncRemoved
    | SyncRan
    | ServerHeld
    | ServerResumed
    | RulesSet
    | RulesRemoved
)
OperatorEvent: TypeAlias = AlertRaised | AlertOver | AlertsSilenced | Exported | ReportSent | Dropped | Acted
AnyEvent: TypeAlias = MessageEvent | RouteEvent | Refused | Reported | Learned | OperatorEvent | DirectoryEvent

MESSAGE_EVENTS: Final[tuple[type[Event], ...]] = MessageEvent.__args__
ALL_EVENTS: Final[tuple[type[Event], ...]] = (
    *MESSAGE_EVENTS, *RouteEvent.__args__, Refused, Reported, Learned, *OperatorEvent.__args__, *DirectoryEvent.__args__,
)  # fmt: skip


def plain(value: object) -> str:
    """A text of a type of our own (an Endpoint, say), which msgspec would refuse: what has happened must never fail to be recorded."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")


_encoder = msgspec.msgpack.Encoder(enc_hook=plain)
_decoder: msgspec.msgpack.Decoder[AnyEvent] = msgspec.msgpack.Decoder(AnyEvent)


def encode(event: AnyEvent) -> bytes:
    return _encoder.encode(event)


def decode(data: bytes) -> AnyEvent:
    """The event in `data`; `msgspec.DecodeError` (ValidationError included) when it is none that we know."""
    return _decoder.decode(data)


class Recorded(msgspec.Struct, frozen=True):
    """An event as the log holds it."""

    partition: int
    entry: str
    """The stream id, `milliseconds-sequence`: the order of the partition."""
    subject: str
    """The message id, `@domain` for what concerns a route, `@directory` in the directory's log, or as the event's class says."""
    version: int
    """The subject's version after this event: 1 for the first."""
    event: AnyEvent
