"""What follows for a domain from words of its server that are about more than one message: pure.

The table of replies (`diagnosis/`) says what an answer is about and proposes what to do; here it is weighed against what else is
known. Three rules hold, whatever the table says:

1. *One odd message neither stops a domain nor puts it on hold.* Where the server took another message of the domain less than RECENT
   ago, or another recipient of the same transaction came further, the message waits alone. The second one in a row that is answered
   so is the server.
2. *A refusal that is about the server is a recipient's own only on evidence*: it met one before, and since then the server took other
   mail of the domain. So a server that is misconfigured this very minute makes no bounce, and one address that it does not want makes one
   after two tries.
3. *Only a 5xx puts a domain on hold.* With a 4xx the server promises another answer, and nothing bounces meanwhile: the route waits.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.diagnosis import Action, Diagnosis, Table, diagnose
from pipeline.events import Attempt
from pipeline.outcome import Kind, Outcome
from pipeline.state import Message, Recipient
from pipeline.units import SECOND

RECENT: Final = 60 * SECOND
"""A server that took a message so short a time ago is taken to work, until it says otherwise twice."""
BY: Final = "gatepost"
"""Who holds a domain, and lets it flow again, when it happens by itself."""
LONGEST_REASON: Final = 500
"""Characters: enough for two lines on a terminal and any one-line reply."""
CLOSING: Final = 421
RATE_LIMITED: Final = "rate-limited"
"""The class."""

_PAST_RCPT: Final = frozenset({"data", "dot"})
_ABOUT_THE_SERVER: Final = frozenset({Action.BACK_OFF, Action.OTHER_SOURCE, Action.HOLD})


class Course(enum.StrEnum):
    """What is to be done about the domain. The order of declaration is the order of weight."""

    GO_ON = "go on"
    BACK_OFF = "back off"
    OTHER_SOURCE = "other source"
    """Try again at once from another of our addresses."""
    HOLD = "hold"


_WEIGHT: Final = {course: weight for weight, course in enumerate(Course)}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a domain's server besides its latest words. Times in ns."""

    now: int
    good: int = 0
    """When it last took a message of the domain; 0 when it never did."""
    hurt: int = 0
    """Messages since then, one after the other in the same hands, that it answered with words about itself or us."""
    ours: bool = True
    """The domain is in our directory: one that a bounce goes to has nobody here who could mend it, and is never held."""
    elsewhere: bool = True
    """Another address of ours may be tried."""

    @property
    def works(self) -> bool:
        return not self.hurt and self.good > self.now - RECENT


class Consequence(msgspec.Struct, frozen=True, kw_only=True):
    outcomes: Mapping[str, Outcome] = msgspec.field(default_factory=dict)
    """Of each recipient, as it is to be recorded."""
    course: Course = Course.GO_ON
    attempt: Attempt | None = None
    """The words that weigh most; None when all were about the message."""
    diagnosis: Diagnosis | None = None


def weigh(message: Message, outcomes: Mapping[str, Outcome], evidence: Evidence, table: Table) -> Consequence:
    """What the answers to a message mean for its recipients and for the domain."""
    further = any(outcome.kind is Kind.ACCEPTED or outcome.attempt.stage in _PAST_RCPT for outcome in outcomes.values())
    recipients = {recipient.address: recipient for recipient in message.recipients}
    known: dict[tuple[str, int, str, str], Diagnosis] = {}
    judged: dict[str, Outcome] = {}
    found: list[tuple[Course, Attempt, Diagnosis]] = []
    for address, outcome in outcomes.items():
        attempt = outcome.attempt
        if outcome.kind in (Kind.ACCEPTED, Kind.UNKNOWN) or attempt.code < 400 or attempt.stage == "route":
            judged[address] = outcome
            continue
        key = (attempt.stage, attempt.code, attempt.enhanced, attempt.reply)
        if key not in known:
            known[key] = _diagnosed(attempt, table)
        diagnosis = known[key]
        course = _course(diagnosis.action, attempt, evidence)
        if course is Course.GO_ON:
            kind = Kind.REFUSED if diagnosis.action is Action.FAIL else Kind.DEFERRED
        elif _is_own(recipients[address], attempt, course, further, evidence, table):
            kind = Kind.REFUSED
        else:
            kind = Kind.DEFERRED
            found.append((course, attempt, diagnosis))
        judged[address] = outcome if kind is outcome.kind else Outcome(kind=kind, attempt=attempt)
    if not found:
        return Consequence(outcomes=judged)
    course, attempt, diagnosis = max(found, key=lambda one: _WEIGHT[one[0]])
    alone = (further and _is_rcpt(attempt)) or evidence.works
    return Consequence(outcomes=judged, course=Course.GO_ON if alone else course, attempt=attempt, diagnosis=diagnosis)


def of_route(attempts: Sequence[Attempt], evidence: Evidence, table: Table) -> Consequence:
    """No session came about: what the servers said in place of one. Held only when every server's own words say so: one that does
    not answer may be back in a minute.
    """
    found = [(attempt, _diagnosed(attempt, table)) for attempt in attempts]
    held = [
        (attempt, diagnosis)
        for attempt, diagnosis in found
        if attempt.code // 100 == 5 and diagnosis.action in (Action.HOLD, Action.OTHER_SOURCE)
    ]
    if held and len(held) == len(found) and evidence.ours and not evidence.works:
        attempt, diagnosis = held[0]
        return Consequence(course=Course.HOLD, attempt=attempt, diagnosis=diagnosis)
    return Consequence(course=Course.BACK_OFF)


def unwanted(attempts: Sequence[Attempt], table: Table) -> list[Attempt]:
    """Those that say that the server does not want our address: another one may do."""
    return [
        attempt
        for attempt in attempts
        if attempt.code >= 400 and _diagnosed(attempt, table).action is Action.OTHER_SOURCE
    ]


def says_too_many(attempt: Attempt, table: Table) -> bool:
    """Whether a server says that we are too many, or too fast. 421 says it in general (RFC 5321 3.8): it takes no more just now."""
    return attempt.code == CLOSING or (attempt.code >= 400 and _diagnosed(attempt, table).about == RATE_LIMITED)


def is_whole_server(attempt: Attempt, diagnosis: Diagnosis | None) -> bool:
    """Whether what makes a domain wait holds for every domain that uses the server: it limits or blocks our address, not this
    domain's mail. A server has many domains, and the trouble of one must not delay the others' mail.
    """
    return attempt.code in (0, CLOSING) or diagnosis is None or diagnosis.about in (RATE_LIMITED, "blocked", "network")


def reason(attempt: Attempt, diagnosis: Diagnosis) -> str:
    """Why a domain is held, for its postmaster: what the words are about, and the words."""
    return f"{diagnosis.title['en']}: {' '.join(attempt.reply.split())}"[:LONGEST_REASON]


def _diagnosed(attempt: Attempt, table: Table) -> Diagnosis:
    return diagnose(attempt, software=attempt.software, table=table)


def _course(action: Action, attempt: Attempt, evidence: Evidence) -> Course:
    if action not in _ABOUT_THE_SERVER:
        return Course.GO_ON
    if action is Action.OTHER_SOURCE and evidence.elsewhere:
        return Course.OTHER_SOURCE
    return Course.HOLD if action is not Action.BACK_OFF and attempt.code // 100 == 5 else Course.BACK_OFF


def _is_own(
    recipient: Recipient, attempt: Attempt, course: Course, further: bool, evidence: Evidence, table: Table
) -> bool:
    """Whether a refusal that is about the server is the recipient's own after all (rule 2), or has to be treated so."""
    if course is Course.HOLD and not evidence.ours:
        return True
    before = recipient.last
    if course is Course.BACK_OFF or attempt.code // 100 != 5:
        return False
    if before is None or before.code // 100 != 5 or not recipient.tried_at:
        return False
    met_before = _diagnosed(before, table).action in (Action.HOLD, Action.OTHER_SOURCE)
    return met_before and (evidence.good > recipient.tried_at or (further and _is_rcpt(attempt)))


def _is_rcpt(attempt: Attempt) -> bool:
    """Said of one recipient while others may come further; what is said to MAIL, DATA or the dot is said to all."""
    return attempt.stage == "rcpt"
