"""`gatepost engines`: how everything is that looks at mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.render import Screen
    from pipeline.rescan import Waiting
    from pipeline.scanning.engines.health import Together
    from pipeline.scanning.engines.trial import Trial
    from pipeline.settings import Settings

OURS: Final = ("builtin", "people", "classifier")
_STYLES: Final = {"ok": "green", "slow": "yellow", "away": "red", "unknown": "dim"}


async def engines(
    *,
    test: Annotated[
        bool, Parameter(help="Give each one a harmless message now, and one that it has to find: EICAR or GTUBE.")
    ] = False,
    common: Common = DEFAULT,
) -> int:
    """How ClamAV, Rspamd, SpamAssassin and our own tests are, over all scanners.

    Our own are `builtin` (it only computes), `people` (names of those who are
    listed), `classifier` and, where lists are set, `dnslists`.

    Shows of each one its version, whether it answers, how long it took for the
    last messages, and what went wrong last. An engine that failed three times in
    a row is not asked for a while; what happens to mail meanwhile is the setting
    engines_missing, and of a domain: gatepost domain set NAME --engines-missing.
    Exit code 1 when one is away, or with --test did not find what it has to.

    For example:

      gatepost engines
      gatepost engines --test
      gatepost engines --json
    """
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from pipeline.rescan import Rescans
    from pipeline.scanning.engines.board import Board
    from pipeline.scanning.engines.health import AWAY, together
    from pipeline.scanning.engines.outside import addresses

    async with session(common) as opened:
        settings, now = opened.wiring.settings, opened.now()
        found = addresses(settings)
        rows = together(await Board(opened.wiring.store).read(), (*_ours(settings), *found))
        waiting = await Rescans(opened.wiring.store).waiting()
        trials = await _trials(opened.wiring.settings, opened.wiring.hostname) if test else []
        offline = opened.offline
    bad = any(row.state == AWAY for row in rows) or any(not trial.passed for trial in trials)
    if common.json:
        document({
            "at": rfc3339(now),
            "ok": not bad,
            "running": not offline,
            "engines": [{**_form(row), "address": str(found.get(row.name, ""))} for row in rows],
            "waiting": waiting.messages,
            "trials": [_trial_form(trial) for trial in trials],
        })  # fmt: skip
        return int(bad)
    screen = Screen()
    _show(screen, rows, now)
    _waiting(screen, waiting)
    _tested(screen, trials)
    if offline:
        screen.say()
        screen.say(("Gatepost is not running here, so nothing is known of them; see --test.", "yellow"))
    return int(bad)


def _ours(settings: Settings) -> tuple[str, ...]:
    """Parts of the built-in tests: these are in this process, what they ask is the store and the DNS."""
    return (*OURS, *(["dnslists"] if settings.address_lists or settings.domain_lists else []))


async def _trials(settings: Any, hostname: str) -> list[Trial]:
    from pipeline.scanning.engines.trial import tried

    return await tried(settings, hostname)


def _show(screen: Screen, rows: Sequence[Together], now: int) -> None:
    from cli.render import clean, relative

    screen.table(
        ["engine", "version", "state", ">median", ">95 %", ">messages", ">errors", "processes"],
        [_row(row, now) for row in rows],
    )
    for row in rows:
        if row.last_error:
            screen.say()
            when = relative(row.last_error_at, now)
            screen.say((row.name, "bold"), f": last error, {when}: {clean(row.last_error)}")


def _row(row: Together, now: int) -> list[Any]:
    from cli.render import clean

    return [
        (row.name, "bold"), clean(", ".join(row.versions)), (_state(row, now), _STYLES[row.state]), _took(row.median),
        _took(row.p95), f"{row.messages:,}", f"{row.errors:,}", f"{row.processes:,}",
    ]  # fmt: skip


def _state(row: Together, now: int) -> str:
    from cli.render import age, relative

    if row.state != "away":
        return {"unknown": "not asked yet"}.get(row.state, row.state)
    words = f"away for {age(now - row.since)}" if row.since else "away"
    if row.away_for < row.processes:
        words += f" in {row.away_for} of {row.processes}"
    return f"{words}, asked again {relative(row.skipped_until, now)}" if row.skipped_until > now else words


def _took(micros: int) -> str:
    from cli.render import age

    return age(micros * 1000) if micros else ""


def _waiting(screen: Screen, waiting: Waiting) -> None:
    from cli.render import clean, count

    if waiting.messages:
        screen.say()
        verb = "waits" if waiting.messages == 1 else "wait"
        screen.say((f"{count(waiting.messages, 'message')} {verb} for {clean(waiting.engines)}", "yellow"))


def _tested(screen: Screen, trials: Sequence[Trial]) -> None:
    from cli.render import age, clean

    if trials:
        screen.say()
        screen.table(
            ["engine", "message", "", ">took", "it said"],
            [
                [
                    (trial.engine, "bold"), trial.message, ("good", "green") if trial.passed else ("wrong", "red"),
                    age(trial.took), clean(trial.said),
                ]
                for trial in trials
            ],
        )  # fmt: skip


def _form(row: Together) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "name": row.name,
        "versions": list(row.versions),
        "state": row.state,
        "away_since": rfc3339(row.since),
        "skipped_until": rfc3339(row.skipped_until),
        "processes": row.processes,
        "away_for": row.away_for,
        "messages": row.messages,
        "errors": row.errors,
        "median": row.median / 1e6,
        "p95": row.p95 / 1e6,
        "last_error": row.last_error,
        "last_error_at": rfc3339(row.last_error_at),
    }


def _trial_form(trial: Trial) -> dict[str, Any]:
    return {
        "engine": trial.engine,
        "message": trial.message,
        "passed": trial.passed,
        "seconds": trial.took / 1e9,
        "said": trial.said,
    }
