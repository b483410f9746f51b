"""Ready-made facts for tests: one example of every event, and messages in every stage."""

from __future__ import annotations

from pipeline.events import (
    Acted,
    AddressesRemoved,
    AddressesSet,
    AlertOver,
    AlertRaised,
    AlertsSilenced,
    Attempt,
    Client,
    Deferred,
    Delivered,
    Discarded,
    DomainRemoved,
    DomainSet,
    Dropped,
    Event,
    Exported,
    Failed,
    Finding,
    Held,
    Learned,
    Looked,
    MessageEvent,
    Postponed,
    Quarantined,
    Queued,
    Received,
    RecipientSpec,
    Redirected,
    Refused,
    Released,
    Reported,
    ReportSent,
    Resumed,
    Retried,
    RouteDeferred,
    RouteOpened,
    RulesRemoved,
    RulesSet,
    Scanned,
    ServerHeld,
    ServerResumed,
    SyncRan,
    SyncRemoved,
    SyncSet,
    Undeliverable,
    Warned,
)
from pipeline.ids import new_id
from pipeline.state import Message, Stage, evolve

AT = 1_795_000_000_000_000_000
SECOND = 1_000_000_000
DOMAIN = "example.test"
ANNA = "anna@example.test"
BEN = "ben@example.test"
CARL = "carl@other.test"
SENDER = "sender@elsewhere.test"

ATTEMPT = Attempt(
    server="mx.example.test:25", address="192.0.2.1", tls="TLSv1.3", stage="rcpt", code=451, enhanced="4.7.1",
    reply="451-4.7.1 Greylisted,\n451 4.7.1 come back later", took=12_000_000,
)  # fmt: skip
CLIENT = Client(
    address="198.51.100.7", port=51234, helo="out.elsewhere.test", protocol="ESMTPS",
    tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
)  # fmt: skip


def received(
    *recipients: str, at: int = AT, domain: str = DOMAIN, size: int = 1234, sender: str = SENDER, origin: str = "smtp"
) -> Received:
    return Received(
        at=at, domain=domain, sender=sender, recipients=tuple(RecipientSpec(address=a) for a in recipients or (ANNA,)),
        size=size, expires=at + 7 * 86400 * SECOND, client=CLIENT, origin=origin,
    )  # fmt: skip


def event(kind: type[Event], recipients: tuple[str, ...] = (ANNA,), at: int = AT + SECOND) -> MessageEvent:
    """An event of `kind` about `recipients`."""
    common = {"at": at, "domain": DOMAIN}
    named = {**common, "recipients": recipients}
    tried = {**named, "sender": SENDER, "size": 1234, "tries": 1, "attempt": ATTEMPT}
    made = {
        Received: lambda: received(*recipients, at=at),
        Scanned: lambda: Scanned(
            **common, verdict="clean", score=0.5, subject="Hello", message_id="<1@elsewhere.test>"
        ),
        Postponed: lambda: Postponed(**common, missing=("clamav (cannot be reached)",), until=at + 4 * 3600 * SECOND),
        Quarantined: lambda: Quarantined(**named, reason="spam", expires=at + 30 * 86400 * SECOND),
        Queued: lambda: Queued(**named, size=1234),
        Released: lambda: Released(**named, by="cli:root", expires=at + 7 * 86400 * SECOND, size=1234),
        Discarded: lambda: Discarded(**named, reason="deleted", by="cli:root", size=1234),
        Deferred: lambda: Deferred(**tried, next_try=at + 900 * SECOND),
        Delivered: lambda: Delivered(**tried, waited=SECOND),
        Failed: lambda: Failed(**tried, reason="refused", bounce="1m84e0vay17zh0a2pptx07"),
        Warned: lambda: Warned(**tried, warning="1m84e0vay17zh0a2pptx07", until=at + 7 * 86400 * SECOND),
        Undeliverable: lambda: Undeliverable(
            **tried, reason="refused", unsent="null sender", expires=at + 30 * 86400 * SECOND
        ),
        Held: lambda: Held(**named, by="cli:root", reason="to be looked at"),
        Looked: lambda: Looked(**named, by="cli:root", how="preview"),
        Resumed: lambda: Resumed(**named, by="cli:root", size=1234),
        Redirected: lambda: Redirected(
            **named, to=CARL, by="cli:root", reason="on leave", message="1m84e0vay17zh0a2pptx07", size=1234
        ),
    }[kind]()
    assert isinstance(made, MessageEvent)
    return made


PATH_TO = {
    Stage.RECEIVED: (Received,),
    Stage.SCANNED: (Received, Scanned),
    Stage.QUEUED: (Received, Scanned, Queued),
    Stage.HELD: (Received, Scanned, Queued, Held),
    Stage.QUARANTINED: (Received, Scanned, Quarantined),
    Stage.FAILED: (Received, Scanned, Queued, Failed),
    Stage.DISCARDED: (Received, Scanned, Quarantined, Discarded),
    Stage.REDIRECTED: (Received, Scanned, Queued, Redirected),
    Stage.DELIVERED: (Received, Scanned, Queued, Delivered),
}


def message_in(stage: Stage, *recipients: str, partition: int = 0) -> Message:
    """A message all of whose recipients are in `stage`."""
    message = None
    message_id = new_id(AT, partition)
    for kind in PATH_TO[stage]:
        message = evolve(message, event(kind, recipients or (ANNA,)), message_id)
    assert message is not None
    return message


ONE_OF_EACH: tuple[Event, ...] = (
    Received(
        at=AT, domain=DOMAIN, sender="", size=35_000_000, expires=AT + SECOND, client=CLIENT, origin="bounce",
        cause="1m84e0vay17zh0a2pptx07", eight_bit=True, smtputf8=True, envid="QQ314159", ret="HDRS",
        recipients=(RecipientSpec(address="jürgen@example.test", notify="FAILURE,DELAY", orcpt="rfc822;j@example.test"),),
    ),
    Scanned(
        at=AT, domain=DOMAIN, verdict="virus", score=100.0, subject="Für dich", header_from="A <a@b.test>",
        findings=(Finding(name="EICAR", score=100.0, text="the EICAR test string", kind="virus"),),
        message_id="<1@elsewhere.test>", engines=("builtin 1",), took=90_000,
    ),
    Quarantined(at=AT, domain=DOMAIN, recipients=(ANNA, BEN), reason="virus", expires=AT + SECOND),
    Queued(at=AT, domain=DOMAIN, recipients=(ANNA,), size=1234),
    Released(at=AT, domain=DOMAIN, recipients=(ANNA,), by="cli:root", expires=AT + SECOND, size=1234),
    Discarded(at=AT, domain=DOMAIN, recipients=(ANNA,), reason="retention", by="janitor", size=1234),
    Deferred(
        at=AT, domain=DOMAIN, recipients=(ANNA,), sender=SENDER, size=1234, tries=3, attempt=ATTEMPT, next_try=AT + SECOND
    ),
    Delivered(at=AT, domain=DOMAIN, recipients=(ANNA,), sender=SENDER, size=1234, tries=1, attempt=ATTEMPT, waited=SECOND),
    Failed(
        at=AT, domain=DOMAIN, recipients=(ANNA,), sender="", size=1234, tries=1, reason="refused", attempt=ATTEMPT,
        bounce="", unsent="null sender",
    ),
    Undeliverable(
        at=AT, domain=DOMAIN, recipients=(ANNA,), sender=SENDER, size=1234, tries=2, reason="expired", attempt=ATTEMPT,
        unsent="message is from a list", expires=AT + SECOND,
    ),
    Postponed(at=AT, domain=DOMAIN, missing=("clamav (cannot be reached)",), until=AT + 4 * 3600 * SECOND),
    Warned(
        at=AT, domain=DOMAIN, recipients=(ANNA,), sender=SENDER, size=1234, tries=16, warning="1m84e0vay17zh0a2pptx07",
        until=AT + SECOND, attempt=ATTEMPT,
    ),
    RouteDeferred(at=AT, domain=DOMAIN, tries=2, since=AT - SECOND, next_try=AT + SECOND, attempts=(ATTEMPT,)),
    RouteOpened(at=AT, domain=DOMAIN, server="mx.example.test:25", since=AT - SECOND),
    DomainSet(at=AT, domain=DOMAIN, by="cli:root", before=b"\x80", after=b"\x81\xa4name"),
    DomainRemoved(at=AT, domain=DOMAIN, by="cli:root", before=b"\x80"),
    AddressesSet(at=AT, domain=DOMAIN, by="cli:root", locals=("anna", "ben"), kind="mailbox"),
    AddressesRemoved(at=AT, domain=DOMAIN, by="cli:root", locals=("anna",)),
    Refused(
        at=AT, domain=DOMAIN, reason="no_such_user", client=CLIENT, stage="rcpt", code=550, enhanced="5.1.1",
        reply="No such mailbox here", sender=SENDER, recipient="anne@example.test", count=12, since=AT - SECOND,
    ),
    SyncSet(at=AT, domain=DOMAIN, by="cli:root", name="office", before=b"\x80", after=b"\x81\xa4name", change=7),
    SyncRemoved(at=AT, domain=DOMAIN, by="cli:root", name="office", before=b"\x80", change=8),
    SyncRan(
        at=AT, domain=DOMAIN, by="syncer", name="office", run=3, result="applied", found=5000, added=12, changed=3,
        removed=4, problems=("cn=x: no address",), problem_count=1, took=340_000_000, change=9, note="on schedule",
    ),
    Held(
        at=AT, domain=DOMAIN, recipients=(ANNA, BEN), by="cli:root", reason="wrong address", until=AT + 600 * SECOND,
        then="bounce", action="1m84e0vay17zh0a2pptx00",
    ),
    Resumed(at=AT, domain=DOMAIN, recipients=(ANNA,), by="cli:root", undoes="1m84e0vay17zh0a2pptx00", size=1234),
    Redirected(
        at=AT, domain=DOMAIN, recipients=(ANNA,), to=CARL, by="cli:root", reason="on leave",
        message="1m84e0vay17zh0a2pptx07", sender=SENDER, size=1234,
    ),
    ServerHeld(
        at=AT, domain="", by="cli:root", server="mx.example.test:25", reason="new machine", until=AT + SECOND,
        after=b"\x80", change=10,
    ),
    ServerResumed(at=AT, domain="", by="cli:root", server="mx.example.test:25", before=b"\x80", change=11),
    Retried(at=AT, domain=DOMAIN, by="cli:root", waiting=12),
    Learned(
        at=AT, domain=DOMAIN, spam=True, tokens=bytes(range(10)), by="cli:root", how="reported",
        message="1m84e0vay17zh0a2pptx07", undone=True,
    ),
    RulesSet(
        at=AT, domain=DOMAIN, by="cli:root", rules=("d:elsewhere.test", "a:x@elsewhere.test\tanna"), before=(b"", b"\x80"),
        after=(b"\x80", b"\x80"), change=12, note="import of partners.csv",
    ),
    RulesRemoved(at=AT, domain="", by="cli:root", rules=("n:192.0.2.0/24",), before=(b"\x80",), change=13),
    Looked(at=AT, domain=DOMAIN, recipients=(ANNA, BEN), by="cli:root", how="preview"),
    Reported(
        at=AT, domain=DOMAIN, by="cli:root", spam=True, message="1m84e0vay17zh0a2pptx07", sender=SENDER, learned=True,
        note="again",
    ),
    AlertRaised(
        at=AT, domain=DOMAIN, rule="waiting", what=DOMAIN, text="1,204 messages wait for example.test", value="1,204",
        limit="1,000",
    ),
    AlertOver(at=AT, domain=DOMAIN, rule="waiting", what=DOMAIN, since=AT - SECOND, text="12 messages wait"),
    AlertsSilenced(at=AT, domain="", by="cli:root", rule="down", what=DOMAIN, until=AT + SECOND, note="their move"),
    Exported(at=AT, domain=DOMAIN, by="cli:root", start=AT - SECOND, end=AT, events=4711, digest="00" * 32),
    ReportSent(
        at=AT, domain=DOMAIN, schedule="weekly", to="boss@elsewhere.test", start=AT - 2 * SECOND, end=AT - SECOND, message="0" * 22,
        rows=3, by="cli:root",
    ),
    Dropped(at=AT, domain="", start="2025-10-01", end="2025-10-03", events=81234, segments=3, seal="11" * 32, by="archiver"),
    Acted(at=AT, domain=DOMAIN, by="cli:root", action="work_retried", what="scan:3:1795431600000-0", note="queue is mended"),
)  # fmt: skip
