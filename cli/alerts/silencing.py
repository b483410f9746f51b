"""The commands: silence, speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.session import Session
    from pipeline.alerts.silence import Silence

LONGEST_DAYS = 30
Rule = Annotated[str, Parameter(help="As `gatepost alerts rules` lists them.")]
What = Annotated[str, Parameter(help="Only of this domain, engine, view or machine; of all when left out.")]
Note = Annotated[str, Parameter(help="Why, for whoever reads it later.")]


async def silence(
    rule: Rule,
    what: What = "",
    /,
    *,
    until: Annotated[str, Parameter(help="When it ends, such as 2026-11-30T18:00.")] = "",
    for_: Annotated[str, Parameter(name="--for", help="How long, such as 2h; at most 30d.")] = "",
    note: Note = "",
    common: Common = DEFAULT,
) -> int:
    """Tell nobody of a rule's alerts for some time.

    They are still raised, shown and written down. When the silence ends whatever
    is still wrong is told; what came and went meanwhile is not.

    For example:

      gatepost alerts silence down example.com --for 2h --note "they move their server"
      gatepost alerts silence engine clamav --until 2026-11-30T18:00
    """
    from cli.render import Screen, clean, document, local, rfc3339
    from cli.session import session

    checked(rule)
    async with session(common) as opened:
        end = end_of(opened.now(), until, for_)
        made = await _make(opened, rule, what.lower(), end, note)
    if common.json:
        document({"rule": made.rule, "what": made.what or None, "until": rfc3339(made.until)})
    else:
        Screen().say(f"Nobody is told of {clean(f'{rule} {made.what}'.strip())} until ", (local(made.until), "bold"))
    return 0


async def speak(rule: Rule, what: What = "", /, *, note: Note = "", common: Common = DEFAULT) -> int:
    """End a silence: tell of a rule's alerts again, also of those that were raised meanwhile and are not over.

    For example:

      gatepost alerts speak down example.com
    """
    from cli.render import Screen, clean, document
    from cli.session import session
    from pipeline.alerts.pending import Pending

    checked(rule)
    async with session(common) as opened:
        made = await _make(opened, rule, what.lower(), 0, note)
        pending = Pending(opened.wiring.store)
        kept = [one for one in await pending.waiting() if one.quiet and made.covers(one.rule, one.what)]
        await pending.put_off(kept, 0)
    if common.json:
        document({"rule": made.rule, "what": made.what or None, "told": len(kept)})
    else:
        Screen().say(f"Alerts of {clean(f'{rule} {made.what}'.strip())} are told again")
    return 0


async def _make(opened: Session, rule: str, what: str, until: int, note: str) -> Silence:
    from cli.session import PATIENCE, actor
    from pipeline.alerts.silence import Silence, known, silence_step

    wanted = Silence(rule=rule, what=what, until=until, since=opened.now(), by=actor(), note=note[:500])
    (before,) = await known(opened.wiring.store.redis, [wanted.subject])
    await opened.wiring.log.commit(silence_step(wanted, before), patience=PATIENCE)
    return wanted


def checked(rule: str) -> None:
    """Raises ConfigurationError."""
    from pipeline.alerts.rules import RULES
    from pipeline.faults import ConfigurationError

    if rule not in RULES:
        raise ConfigurationError(f"no rule {rule!a}", remedy=f"One of {', '.join(RULES)}.")


def end_of(now: int, until: str, for_: str) -> int:
    """Ns. Raises ConfigurationError."""
    from cli.period import Period
    from pipeline.faults import ConfigurationError
    from pipeline.units import SECOND, Duration

    if bool(until) == bool(for_):
        raise ConfigurationError("say until when", remedy="Give --until or --for, such as --for 2h.")
    if until:
        end = Period(to=until).bounds(now)[1]
    else:
        try:
            end = now + int(Duration.parse(for_))
        except ValueError as error:
            raise ConfigurationError(f"--for {for_}: {error}") from None
    if not now < end <= now + LONGEST_DAYS * 86400 * SECOND:
        raise ConfigurationError(f"a silence ends in the future, within {LONGEST_DAYS} days")
    return end
