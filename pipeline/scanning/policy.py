"""From findings to what happens to each recipient's copy, and why. Pure.

The findings are added up once (`verdict.py`); then each recipient's own settings say what that is and what happens to it, and the lists
that speak of the sender have the last word, within limits: nothing lets a virus pass, and blocked content only an allow entry that
says so. Where a message is of several classes, the strictest of their actions is taken, so what is found in addition never helps it.

What we wrote ourselves (a bounce, a report, an alert), and what was released from the quarantine to somebody else, is always delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from pipeline.actions import Action, tagged
from pipeline.authentication.together import Authentication
from pipeline.directory.lists.entries import ALLOW, Form
from pipeline.directory.lists.matching import Match, Sender, compared, ruling
from pipeline.directory.policies import View, Views, unlisted
from pipeline.directory.policy import CLEAN, SAID, STRICTNESS, Act, Resolved
from pipeline.events import Decision, Finding
from pipeline.mime import Header, plain
from pipeline.scanning.engine import Report
from pipeline.scanning.verdict import FORGING, Sums, add_up, classes
from pipeline.settings import Settings
from pipeline.state import Message

MAX_REASON: Final = 200
MAX_WHY: Final = 300
MAX_DECISIONS: Final = 50
"""Told each with its reasons; a message to a thousand people who all have settings of their own says less of the others."""
SHORT: Final = ("by settings of their own, like those above",)
MAX_TOLD: Final = 20
"""Entries of lists that are told of in one decision."""
WAVED_THROUGH: Final = {
    "bounce": "a report that we wrote ourselves is always delivered",
    "report": "a report that we wrote ourselves is always delivered",
    "alert": "an alert that we wrote ourselves is always delivered",
    "release": "it was released from the quarantine, and is not judged again",
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """clean, bulk, spam, phishing, virus, content, spoof: by the settings of the domain."""
    score: float
    actions: tuple[Action, ...]
    """One for each recipient, in the order of the envelope."""
    findings: tuple[Finding, ...] = ()
    engines: tuple[str, ...] = ()
    took: int = 0

    @property
    def quarantine(self) -> Mapping[str, str]:
        """Address -> reason, of the recipients whose copy is kept back."""
        return {action.recipient: action.reason for action in self.actions if action.action == Act.QUARANTINE}

    @property
    def stopped(self) -> frozenset[str]:
        """The recipients to whom nothing is delivered."""
        delivered = (Act.DELIVER, Act.TAG)
        return frozenset(action.recipient for action in self.actions if action.action not in delivered)

    @property
    def recorded(self) -> tuple[Decision, ...]:
        """Of `decisions` what is kept with the message: nothing of clean mail that is delivered to all, and of which no list speaks.

        That is most mail, and there is nothing to explain.
        """
        if all(
            action.action == Act.DELIVER and action.verdict == CLEAN and len(action.why) == 1 for action in self.actions
        ):
            return ()
        return self.decisions

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The actions, with those together that are alike."""
        groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for action in self.actions:
            key = (action.action, action.verdict, action.why)
            if key not in groups and len(groups) >= MAX_DECISIONS:
                key = (action.action, action.verdict, SHORT)
            groups.setdefault(key, []).append(action.recipient)
        return tuple(
            Decision(recipients=tuple(recipients), action=str(action), verdict=verdict, why=why)
            for (action, verdict, why), recipients in groups.items()
        )


def sender_of(message: Message, header: Header, found: Authentication, country: str = "") -> Sender:
    """Who a message comes from, as far as lists speak of it."""
    authenticated = {
        signature.domain for signature in found.dkim if signature.result == "pass" and not signature.testing
    }
    if found.spf is not None and found.spf.result == "pass":
        authenticated.add(found.spf.domain)
    authors = tuple([author.address for author in header.authors])
    if found.dmarc is not None and found.dmarc.result == "pass":
        authenticated |= {compared(author.rpartition("@")[2]) for author in authors}
    return Sender(
        envelope=message.sender,
        authors=authors,
        client=message.client.address if message.client is not None else "",
        country=country,
        authenticated=frozenset(authenticated - {""}),
    )


def judge(report: Report, message: Message, settings: Settings, views: Views | None = None) -> Verdict:
    """`views`: what holds for the recipients; None: what the settings say."""
    sums = add_up(report.findings)
    views = views or unlisted(settings)
    found = _classes(sums, views.domain.policy)

    def told(kind: str) -> str:
        return explain(kind, report.findings, sums.score)

    judged: dict[int, Action] = {}
    actions = []
    for recipient in message.recipients:
        view = views.people.get(recipient.address, views.domain)
        action = judged.get(id(view))
        if action is None:
            action = judged[id(view)] = decide(sums, view, origin=message.origin, told=told)
        actions.append(msgspec.structs.replace(action, recipient=recipient.address))
    return Verdict(
        verdict=found[0],
        score=sums.score,
        actions=tuple(actions),
        findings=report.findings,
        engines=report.engines,
        took=report.took,
    )


def decide(sums: Sums, view: View, *, origin: str = "smtp", told: Callable[[str], str]) -> Action:
    """What happens to the copies of whom `view` holds for. `told`: a class in a line, with what weighs most in it."""
    policy = view.policy
    found = _classes(sums, policy)
    why = [*_because(sums, found, policy)]
    if origin in WAVED_THROUGH:
        return Action(recipient="", verdict=found[0], why=(*why, WAVED_THROUGH[origin]))
    act, kind = _strictest(found, policy)
    if found != (CLEAN,):
        why.append(f"{SAID[kind]}: {act} ({policy.origins[kind]})")
    reason = told(kind) if found != (CLEAN,) else ""
    match = ruling(view.matches)
    why += _passed_over(view.matches, match)
    if match is not None:
        why.append(_holds(match))
        if match.rule.action == ALLOW:
            kept = [each for each in found if each == "virus" or (each == "content" and not match.rule.content)]
            act, kind = _strictest(kept, policy) if kept else (Act.DELIVER, CLEAN)
            reason = told(kind) if kept else ""
            why.append(f"an allow entry lets no {SAID[kind]} pass" if kept else "so it is delivered")
        elif STRICTNESS[act] < STRICTNESS[Act.QUARANTINE]:
            act, reason = Act.QUARANTINE, f"blocked sender: {_entry(match)} ({match.whose})"
            why.append("so it is kept in quarantine")
    return Action(
        recipient="",
        action=act,
        reason=plain(reason, MAX_REASON) if act in (Act.QUARANTINE, Act.DISCARD) else "",
        tag=tagged(found[0], sums.score, policy.prefix) if act == Act.TAG else "",
        verdict=found[0],
        why=tuple([plain(line, MAX_WHY) for line in why]),
    )


def _classes(sums: Sums, policy: Resolved) -> tuple[str, ...]:
    return classes(sums, policy.spam_threshold, policy.phishing_threshold)


def _strictest(found: Sequence[str], policy: Resolved) -> tuple[str, str]:
    """(action, the class it is for); of equal ones that of the worst class."""
    pairs = [(policy.acts.get(kind, str(Act.DELIVER)), kind) for kind in found]
    return max(pairs, key=lambda pair: STRICTNESS[pair[0]])


def _because(sums: Sums, found: Sequence[str], policy: Resolved) -> list[str]:
    """What makes it that, or what was missing."""
    engine = f", with {sums.engine}" if sums.engine else ""
    if sums.others:
        engine += f" (which says more than {', '.join(sums.others)})"
    sign = ">=" if sums.rest >= policy.spam_threshold else "<"
    apart = " without what is enough by itself" if sums.rest != sums.score else ""
    origin = policy.origins["spam_threshold"]
    lines = [f"score {sums.rest:g}{engine}{apart} {sign} {policy.spam_threshold:g} ({origin})"]
    if any(kind in FORGING for kind in found):
        lines.append(
            f"phishing and forged-sender tests come to {sums.forging:g} >= {policy.phishing_threshold:g}"
            f" ({policy.origins['phishing_threshold']})"
        )
    lines += [f"{SAID[kind]} was found, which is enough by itself" for kind in ("virus", "content") if kind in found]
    if "bulk" in found:
        lines.append("it went to many")
    return lines


def _passed_over(matches: Sequence[Match], holds: Match | None) -> list[str]:
    """Entries that spoke of it too, and why they do not decide."""
    return [
        f"not counted: {_named(match)}, because {match.problem or 'another entry goes before it'}"
        for match in matches[:MAX_TOLD]
        if match is not holds
    ]


def _holds(match: Match) -> str:
    return f"{match.said}: {_named(match)}"


def _named(match: Match) -> str:
    note = f" ({match.rule.note})" if match.rule.note else ""
    return f"{match.rule.action} {_entry(match)} {match.whose}{note}"


def _entry(match: Match) -> str:
    return f"country:{match.rule.entry}" if match.rule.form is Form.COUNTRY else match.rule.entry


def explain(verdict: str, findings: Sequence[Finding], score: float) -> str:
    """One line for the postmaster: the class, and the finding that weighs most in it."""
    worst = max(
        (finding for finding in findings if finding.kind == verdict), key=lambda finding: finding.score, default=None
    )
    said = SAID[verdict] if verdict in ("virus", "content", "bulk", CLEAN) else f"{SAID[verdict]} (score {score:g})"
    return plain(f"{said}: {worst.text or worst.name}" if worst else said, MAX_REASON)
