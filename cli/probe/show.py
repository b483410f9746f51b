"""A delivery test on a terminal: what is said while it is said, and at the end what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.domain.common import arrow
from cli.render import BAD, GOOD, QUIET, STRONG, WARN, Screen, clean, count, size
from pipeline.probing import Finding, Report, Weight, texts
from pipeline.probing.model import Line, Lookup, Plan, Visit
from workers.probing import Began, Happening, LookedUp, Said

STYLES: Final = {Weight.BAD: BAD, Weight.WARNING: WARN, Weight.GOOD: GOOD}
MARKS: Final = {"us": ">", "them": "<", "note": " "}
INDENT: Final = 9
"""Columns of the weight and the gap behind it."""
LANGUAGE: Final = "en"


class Watcher:
    """`asked`: the domain as it was asked for."""

    def __init__(self, screen: Screen, asked: str) -> None:
        self._screen = screen
        self._asked = asked
        self._several = False
        """Whether findings have to say of which address they are."""

    def begin(self, plan: Plan) -> None:
        say = self._screen.say
        say(("Delivery test of ", STRONG), (plan.domain, STRONG))
        if self._asked != plan.domain:
            say((f"{self._asked} is an alias of {plan.domain}", QUIET))
        self._screen.facts([
            ("servers", clean(arrow(plan.route)) if plan.route else "those that its MX names"),
            ("recipient", clean(plan.known)),
            ("must not be there", clean(plan.random)),
            ("sender", f"{clean(plan.sender)}, and the null sender"),
            ("largest message", size(plan.size)),
            ("real message", f"yes, marked {plan.send}" if plan.send else "no; --send sends one"),
        ])  # fmt: skip

    def see(self, happening: Happening) -> None:
        match happening:
            case LookedUp(lookup):
                self._looked_up(lookup)
            case Began(visit, quick):
                self._began(visit, quick=quick)
            case Said(line):
                self._line(line)
            case _:
                return

    def _looked_up(self, lookup: Lookup) -> None:
        say = self._screen.say
        say()
        say(("DNS", STRONG), (f"  {lookup.took / 1e9:.3f} s", QUIET))
        if lookup.problem:
            say("  ", clean(lookup.problem))
        for preference, host in lookup.mx:
            say("  ", f"MX {preference} {clean(host)}")
        for name in lookup.names:
            found = ", ".join(name.addresses) or clean(name.problem)
            closed = "".join(f"; not dialled: {clean(why)}" for _, why in name.closed if name.addresses)
            say("  ", f"{clean(name.server)}  {found}{closed}", (f"  ({clean(name.ours)})", BAD) if name.ours else "")

    def _began(self, visit: Visit, *, quick: bool) -> None:
        say = self._screen.say
        say()
        source = f" from {visit.source.address}" if visit.source.address else ""
        say((clean(visit.place), STRONG), source, "  quick connections" if quick else f"  {visit.family}")

    def _line(self, line: Line) -> None:
        style = QUIET if line.who == "note" else ""
        self._screen.say((f"{line.at / 1e9:>8.3f} s  ", QUIET), (f"{MARKS[line.who]} {clean(line.text)}", style))

    def conclude(self, report: Report, findings: Sequence[Finding]) -> None:
        """The findings, and what they come to."""
        say = self._screen.say
        say()
        self._several = len({visit.place for visit in report.visits}) > 1 or len(report.lookup.names) > 1
        for finding in findings:
            self._finding(finding)
        say()
        weights = [finding.weight for finding in findings]
        bad, warnings = weights.count(Weight.BAD), weights.count(Weight.WARNING)
        took = (f"  ({report.took / 1e9:.1f} s)", QUIET)
        if bad:
            say((f"{count(bad, 'bad finding')}: mail does not get through, or not all of it.", BAD), took)
        elif not any(visit.works for visit in report.visits):
            ended = "No server took the recipient just now" if report.complete else "Ended before it was known"
            say((f"{ended}; {count(warnings, 'thing')} to look at.", WARN), took)
        elif warnings:
            say((f"Mail gets through; {count(warnings, 'thing')} to look at.", WARN), took)
        else:
            say(("Mail gets through.", GOOD), took)

    def _finding(self, finding: Finding) -> None:
        say = self._screen.say
        words = texts(finding)
        where = f"  {clean(finding.where)}" if finding.where and self._several else ""
        source = f" from {finding.source}" if finding.source else ""
        weight = finding.weight
        say((f"{weight.value:<{INDENT}}", STYLES[weight]), clean(words.title[LANGUAGE]), (where + source, QUIET))
        if weight is Weight.GOOD and finding.kind != "sent":
            return
        room = " " * INDENT
        if words.about:
            say(room, ("The reply is about: ", QUIET), words.about[LANGUAGE])
        say(room, (clean(words.explanation[LANGUAGE]), QUIET))
        owner, renter = words.owner[LANGUAGE], words.renter[LANGUAGE]
        if owner:
            say(room, ("-> your own server: ", STRONG), clean(owner))
        if renter:
            say(room, ("-> a rented one:    ", STRONG), clean(renter))
