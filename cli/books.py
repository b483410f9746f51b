"""`gatepost books`: whether every recipient that was ever accepted is accounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import DEFAULT, Common

if TYPE_CHECKING:
    from cli.render import Screen
    from projections.readers import BooksReport, DomainBooks, Mismatch

COLUMNS = ("received", "delivered", "failed", "quarantined", "discarded", "redirected", "waiting")


async def books(
    domain: Annotated[str | None, Parameter(help="Only this one.")] = None, /, *, common: Common = DEFAULT
) -> int:
    """Received = delivered + failed + quarantined + discarded + redirected + waiting.

    Counted in recipients: a message to three people counts three. What waits and
    what lies in quarantine is compared with the messages that are there, one by
    one. Exit code 1 when something does not balance.

    For example:

      gatepost books
      gatepost books example.com --json
    """
    from cli.heads import LiveHeads
    from cli.names import domain_of
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from projections.readers import check_books, read_books

    wanted = domain_of(domain) if domain is not None else None
    async with session(common, views=True) as opened:
        store = opened.wiring.store
        mismatches = await check_books(store.redis, store.partitions, LiveHeads(opened.wiring))
        report = await read_books(store.redis, store.partitions, wanted)
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
        })  # fmt: skip
    else:
        _show(Screen(), report, mismatches)
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
    rows = [_row(one, (clean(one.domain), "bold")) for one in report.domains]
    if len(rows) > 1:
        rows.append(_row(report.total, ("total", "dim")))
    screen.table(["recipients", *(">" + name for name in COLUMNS), ""], rows)
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


def _mismatch_form(one: Mismatch) -> dict[str, Any]:
    return {
        "id": one.id,
        "domain": one.domain,
        "message": dict(one.message),
        "books": dict(one.books),
        "certain": one.certain,
    }
