"""`gatepost books`: whether every recipient that was ever accepted is accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.render import Screen
    from projections.readers import BooksCheck, BooksReport, DomainBooks, Mismatch

OWN = "*"
"""As projections.base has it."""
COLUMNS = ("received", "delivered", "failed", "quarantined", "discarded", "redirected", "waiting")


async def books(
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None, /, *, common: Common = DEFAULT
) -> int:
    """Received = delivered + failed + quarantined + discarded + redirected + waiting.

    Counted in recipients: a message to three people counts three. What waits and
    what lies in quarantine is compared with the messages that are there, one by
    one. Exit code 1 when something does not balance. A running gateway checks all
    the time by itself: what it found last is said below.

    For example:

      gatepost books
      gatepost books example.com --json
    """
    from cli.heads import LiveHeads
    from cli.names import domain_of
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from projections.readers import check_books, last_check, read_books

    wanted = domain_of(domain) if domain is not None else None
    async with session(common, views=True) as opened:
        store = opened.wiring.store
        mismatches = await check_books(store.redis, store.partitions, LiveHeads(opened.wiring))
        report = await read_books(store.redis, store.partitions, wanted)
        continuous = await last_check(store.redis)
        now = opened.now()
    if wanted is not None:
        mismatches = [one for one in mismatches if one.domain in (wanted, "")]
    agrees = not any(one.certain for one in mismatches)
    if common.json:
        document({
            "at": rfc3339(now),
            "balanced": report.balanced and agrees,
            "agrees_with_messages": agrees,
            "domains": [_form(one) for one in report.domains],
            "total": _form(report.total),
            "mismatches": [_mismatch_form(one) for one in mismatches],
            "continuous": _check_form(continuous) if continuous else None,
        })  # fmt: skip
    else:
        screen = Screen()
        _show(screen, report, mismatches)
        if report.domains:
            _show_check(screen, continuous, now)
    return 0 if report.balanced and agrees else 1


def _show(screen: Screen, report: BooksReport, mismatches: list[Mismatch]) -> None:
    from cli.render import clean

    tell_books(screen, report)
    if not report.domains:
        return
    if not mismatches:
        screen.say(("They agree with the messages that are here.", "green"))
    for one in mismatches:
        sure = ("differs", "red") if one.certain else ("kept moving, not compared", "yellow")
        screen.say(
            "  ",
            (clean(one.id), "bold"),
            " ",
            sure,
            f": itself {_places(one.message)}, in the books {_places(one.books)}",
        )


def tell_books(screen: Screen, report: BooksReport) -> None:
    from cli.render import clean

    if not report.domains:
        screen.say("No mail was ever received.")
        return
    rows = [
        _row(one, (clean(one.domain), "bold") if one.domain != OWN else ("our own mail", "")) for one in report.domains
    ]
    if len(rows) > 1:
        rows.append(_row(report.total, ("total", "dim")))
    screen.table(["recipients", *(">" + name for name in COLUMNS), ""], rows)
    if any(one.domain == OWN for one in report.domains):
        screen.say(
            ("  Our own mail: bounces, reports, alerts and redirected copies to domains that are not ours.", "dim")
        )
    screen.say()
    if report.balanced:
        screen.say(
            ("The books balance", "green"),
            ": received = delivered + failed + quarantined + discarded + redirected + waiting",
        )
    else:
        wrong = ", ".join(clean(one.domain) for one in report.domains if not one.balanced)
        screen.say(("The books do not balance", "red"), f": {wrong}")
        screen.say("  Rebuild them from the events, and see whether they are the same: gatepost replay books")


def _show_check(screen: Screen, check: BooksCheck | None, now: int) -> None:
    """What the watcher found."""
    from cli.render import age, clean, count, relative

    screen.say()
    if check is None:
        screen.say(("Not checked by the gateway itself yet.", "dim"))
        return
    verdict = ("balanced", "green") if check.balanced else ("not balanced", "red")
    screen.say("Checked by the gateway itself: ", verdict, (f", sums {relative(check.at, now)}", "dim"))
    if check.walked_at:
        took = f"{count(check.messages, 'message')} in {age(check.walk_took)}"
        screen.say((f"  the last walk through all messages ended {relative(check.walked_at, now)}: {took}", "dim"))
    for one in check.unbalanced:
        screen.say("  ", (clean(one.domain), "bold"), f" off by {one.difference:+,}, odd {one.odd:,}")
    for wrong in check.mismatches:
        places = f" itself {_places(wrong.message)}, in the books {_places(wrong.books)}"
        screen.say("  ", (clean(wrong.id), "bold"), places)
    left = check.mismatch_count - len(check.mismatches) + check.unbalanced_count - len(check.unbalanced)
    if left:
        screen.say(("  " + count(left, "more"), "dim"))


def _row(one: DomainBooks, name: tuple[str, str]) -> list[Any]:
    verdict = ("balanced", "green") if one.balanced else (f"off by {one.difference:+,}, odd {one.odd:,}", "red")
    return [name, *(f"{getattr(one, column):,}" for column in COLUMNS), verdict]


def _places(places: Any) -> str:
    from cli.render import clean

    return ", ".join(f"{clean(address)} {place}" for address, place in list(places.items())[:5]) or "finished"


def _form(one: DomainBooks) -> dict[str, Any]:
    return {
        "domain": one.domain,
        **{column: getattr(one, column) for column in COLUMNS},
        "messages": one.messages,
        "bytes": one.bytes,
        "difference": one.difference,
        "odd": one.odd,
        "balanced": one.balanced,
    }


def _check_form(check: BooksCheck) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "at": rfc3339(check.at),
        "balanced": check.balanced,
        "unbalanced": [
            {"domain": one.domain, "difference": one.difference, "odd": one.odd} for one in check.unbalanced
        ],
        "unbalanced_count": check.unbalanced_count,
        "walked_at": rfc3339(check.walked_at),
        "walk_seconds": check.walk_took / 1e9,
        "messages": check.messages,
        "mismatches": [_mismatch_form(one) for one in check.mismatches],
        "mismatch_count": check.mismatch_count,
    }


def _mismatch_form(one: Mismatch) -> dict[str, Any]:
    return {
        "id": one.id,
        "domain": one.domain,
        "message": dict(one.message),
        "books": dict(one.books),
        "certain": one.certain,
    }
