"""What several commands about syncs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cli.render import Screen
    from cli.session import Session
    from pipeline.sources.definitions import Definition
    from pipeline.syncing.model import Staged, State, Sync
    from pipeline.syncing.runs import Outcome, Syncing

NAMED: Final = 10
"""Addresses that are named of each kind."""


def syncing(opened: Session) -> Syncing:
    from pipeline.syncing.runs import Syncing

    wiring = opened.wiring
    return Syncing(wiring.store, wiring.directory, wiring.settings.allow_networks, clock=wiring.clock)


def where(definition: Definition) -> str:
    """Where the addresses come from, in a few words."""
    from pipeline.sources.definitions import CpanelSource, CsvSource

    if isinstance(definition, CpanelSource):
        return f"cPanel {definition.url}, account {definition.user}"
    if isinstance(definition, CsvSource):
        return f"CSV {definition.url or definition.path}"
    return f"{definition.profile} {', '.join(definition.servers)}"


def show_outcome(screen: Screen, outcome: Outcome) -> None:
    """What a run changed, or would change."""
    from cli.render import clean, count

    difference = outcome.difference
    if difference is not None:
        rows = []
        for domain, part in difference:
            if not part.empty or part.kept:
                numbers = (len(part.added), len(part.changed), part.removed, part.kept)
                rows.append([clean(domain), *(f"{number:,}" if number else "" for number in numbers)])
        if rows:
            screen.table(["domain", ">added", ">changed", ">removed", ">not its own"], rows)
            screen.say()
        for domain, part in difference:
            _name(screen, "+", "green", domain, [address.local for address in part.added])
            _name(screen, "~", "yellow", domain, [address.local for _, address in part.changed])
            gone = [*part.leaving, *(address for address in part.ended if not address.gone)]
            _name(screen, "-", "red", domain, [address.local for address in gone])
        screen.say((f"{count(difference.found, 'address', 'addresses')} listed", "dim"))
    for problem in outcome.problems[:NAMED]:
        screen.say(("! ", "yellow"), clean(problem))
    if outcome.problem_count > NAMED:
        screen.say((f"! and {outcome.problem_count - NAMED:,} more, see --json", "yellow"))
    for domain, target in outcome.catch_all[:NAMED]:
        name = clean(domain)
        screen.say(
            ("! ", "yellow"),
            f"{name} accepts mail for any address there (it goes to {clean(target)}), and refuses it here",
        )
        screen.say("  If it is to be accepted here too: gatepost domain set ", (f"{name} --catch-all", "bold"))


def _name(screen: Screen, sign: str, style: str, domain: str, locals_: list[str]) -> None:
    from cli.names import written
    from cli.render import clean

    for local in locals_[:NAMED]:
        screen.say((f"{sign} ", style), clean(written(local, domain)))
    if len(locals_) > NAMED:
        screen.say((f"{sign} ", style), f"and {len(locals_) - NAMED:,} more at {clean(domain)}")


def outcome_form(outcome: Outcome) -> dict[str, Any]:
    difference = outcome.difference
    return {
        "run": outcome.run,
        "result": outcome.result,
        "why": outcome.words,
        "found": difference.found if difference is not None else None,
        "domains": {
            domain: {
                "added": [address.local for address in part.added],
                "changed": [address.local for _, address in part.changed],
                "removed": [address.local for address in (*part.leaving, *(one for one in part.ended if not one.gone))],
                "kept": part.kept,
            }
            for domain, part in (difference or ())
        },
        "problems": list(outcome.problems),
        "problem_count": outcome.problem_count,
        "accepts_all_there": dict(outcome.catch_all),
        "seconds": outcome.took / 1e9,
    }


def sync_form(sync: Sync, state: State, staged: Staged | None) -> dict[str, Any]:
    import msgspec

    from cli.render import rfc3339

    return {
        "name": sync.name,
        "source": msgspec.to_builtins(sync.source),
        "every_seconds": sync.every / 1e9,
        "domains": list(sync.domains),
        "limit_percent": sync.limit,
        "grace_seconds": sync.grace / 1e9,
        "paused": sync.paused,
        "created_at": rfc3339(sync.created_at),
        "last": {
            "run": state.run,
            "started_at": rfc3339(state.started),
            "result": state.result or None,
            "why": state.words,
            "failures": state.failures,
        },
        "next_at": rfc3339(state.next) if sync.every and not sync.paused else None,
        "addresses_in": list(state.domains),
        "waiting": {"run": staged.run, "at": rfc3339(staged.at), "why": staged.words, "removed": staged.removed}
        if staged is not None
        else None,
    }
