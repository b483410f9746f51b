"""`gatepost failures`: what the customers' servers answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.diagnoses import LANGUAGE
from cli.options import DEFAULT, Common
from cli.period import WHOLE, Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cli.diagnoses import Diagnoses
    from cli.render import Screen
    from pipeline.state import Message
    from projections.failures import Failure
    from projections.readers import DomainFailures, FailureGroup

OWN = "*"
"""As projections.base has it."""
EXPLANATION = "These are the answers of the customer's own server, not ours; who runs it can say why."


async def failures(
    what: Annotated[str | None, Parameter(help="A domain, or the id of a message; all domains when left out.")] = None,
    /,
    *,
    server: Annotated[str, Parameter(help="Only of this server: its name or address, with or without port.")] = "",
    class_: Annotated[str, Parameter(name="--class", help="Only of this class; see `gatepost replies`.")] = "",
    period: Period = WHOLE,
    all_: Annotated[
        bool, Parameter(name="--all", help="Each error by itself, the newest first, instead of equal ones as one.")
    ] = False,
    verbose: Annotated[bool, Parameter(help="Every line of each reply.")] = False,
    language: Annotated[str, LANGUAGE] = "",
    common: Common = DEFAULT,
) -> int:
    """What customers' servers answered, word for word.

    Equal errors of each domain as one, with how often they were met and since
    when; the newest (50, or failures_kept) one by one with --all. Each with what
    it is about and what can be done. They are the answers of the customer's own
    server, not ours. With --from or --to equal errors are counted among the
    newest only.

    For example:

      gatepost failures
      gatepost failures example.com --verbose
      gatepost failures 1nx9s4tkh2v6c8jq0d7w03
      gatepost failures --server mail.example.com --class recipient
      gatepost failures example.com --from 2026-11-20 --all --json
    """
    from cli.choosing import Chosen
    from cli.diagnoses import diagnoses
    from cli.heads import LiveHeads
    from cli.names import domain_of
    from cli.render import Screen, document, rfc3339
    from cli.session import session
    from pipeline import ids
    from projections.readers.failures import read_failures

    message = what.lower() if what and ids.is_id(what.lower()) else ""
    async with session(common, views=True) as opened:
        store = opened.wiring.store
        head = await LiveHeads(opened.wiring).load(message) if message else None
        wanted = head.domain if head else domain_of(what) if what and not message else None
        found = await read_failures(store.redis, store.partitions, wanted)
        meant = await diagnoses(opened, language)
        now = opened.now()
    if message:
        found = _only(found, message, head)
    chosen = Chosen(server, class_, period.bounds(now) if period.given else None, meant)
    found = tuple(kept for one in found if (kept := chosen.of(one)).failures or kept.groups)
    newest = sorted(
        ((failure.domain or one.domain, failure) for one in found for failure in one.failures),
        key=lambda pair: -pair[1].at,
    )
    if common.json:
        groups = [group_form(group.newest.domain or one.domain, group, meant) for one in found for group in one.groups]
        document({
            "at": rfc3339(now),
            "groups": sorted(groups, key=lambda group: group["last_at"] or "", reverse=True),
            "failures": [failure_form(domain, failure, meant) for domain, failure in newest],
        })  # fmt: skip
    elif newest and (all_ or message):
        _singly(Screen(), newest, meant, now)
    else:
        tell_failures(Screen(), found, meant, now, verbose=verbose)
    return 0


def _only(found: tuple[DomainFailures, ...], message: str, head: Message | None) -> tuple[DomainFailures, ...]:
    """What concerns one message: its own errors, and while it waits, those of its domain since it came."""
    from projections.readers.failures import DomainFailures, group

    kept = []
    for one in found:
        same = tuple(
            failure
            for failure in one.failures
            if failure.message == message or (head and not failure.message and failure.at >= head.received_at)
        )
        if same:
            kept.append(DomainFailures(domain=one.domain, failures=same, groups=group(same)))
    return tuple(kept)


def _singly(screen: Screen, newest: Sequence[tuple[str, Failure]], meant: Diagnoses, now: int) -> None:
    """Each error of a domain by itself."""
    screen.say((EXPLANATION, "dim"))
    for domain, failure in newest:
        screen.say()
        _one(screen, domain, failure, meant, now)


def tell_failures(
    screen: Screen, found: Iterable[DomainFailures], meant: Diagnoses, now: int, *, verbose: bool = False
) -> None:
    """Equal errors as one, the domain with the newest first."""
    shown = sorted((one for one in found if one.groups), key=lambda one: -one.groups[0].last)
    screen.say((EXPLANATION, "dim") if shown else ("No delivery error is known.", "green"))
    for one in shown:
        _of_domain(screen, one, meant, now, verbose=verbose)


def _of_domain(screen: Screen, one: DomainFailures, meant: Diagnoses, now: int, *, verbose: bool) -> None:
    from cli.render import clean, count, lines_of, relative
    from cli.words import people, place

    screen.say()
    number = sum(group.count for group in one.groups)
    if one.domain == OWN:
        screen.say("our own mail to domains that are not ours", (f"  {count(number, 'error')}", "dim"))
    else:
        screen.say((clean(one.domain), "bold"), (f"  {count(number, 'error')}", "dim"))
    for group in one.groups:
        newest = group.newest
        first = f"first {relative(group.first, now)}, last " if group.count > 1 else ""
        times = f"{group.count:,} times, {first}" if group.count > 1 else ""
        screen.say("  ", _outcome(newest, now), (f"  {times}{relative(group.last, now)}", "dim"))
        if newest.domain and one.domain == OWN:
            screen.say("    ", (f"to {clean(newest.domain)}", "dim"))
        screen.say("    ", (place(newest.attempt), "dim"))
        if group.recipients:
            screen.say("    ", (f"for {people(group.recipients)}", "dim"))
        if newest.message:
            screen.say("    ", (f"newest: {newest.message}", "dim"))
        lines = lines_of(newest.attempt.reply)
        for line in lines if verbose else lines[:1]:
            screen.say("    ", ("│ ", "dim"), line)
        if len(lines) > 1 and not verbose:
            screen.say("    ", ("│ ", "dim"), (f"{count(len(lines) - 1, 'more line')}, see --verbose", "dim"))
        _meaning(screen, newest.domain or one.domain, newest, meant, 4)


def _one(screen: Screen, domain: str, failure: Failure, meant: Diagnoses, now: int) -> None:
    from cli.render import clean, local, size
    from cli.words import path, people, place

    screen.say((local(failure.at), "bold"), "  ", (clean(domain), "bold"), "  ", _outcome(failure, now))
    if failure.message:
        tries = f", try {failure.tries}" if failure.tries else ""
        screen.say(
            f"  {failure.message}  from {path(failure.sender)} to {people(failure.recipients)}, {size(failure.size)}{tries}"
        )
    screen.say("  ", (place(failure.attempt), "dim"))
    screen.quote(failure.attempt.reply, 2)
    _meaning(screen, domain, failure, meant, 2)


def _meaning(screen: Screen, domain: str, failure: Failure, meant: Diagnoses, indent: int) -> None:
    """What it is about; and what can be done, unless that was said before."""
    title = meant.title(domain, failure.attempt)
    if title:
        screen.say(" " * indent, title)
    for tip in meant.tips(domain, failure.attempt):
        screen.say(" " * (indent + 2), (tip, "dim"))


def _outcome(failure: Failure, now: int) -> tuple[str, str]:
    """What happened then, in words and a colour."""
    from cli.render import clean, relative
    from cli.words import REASONS

    if failure.possible_duplicate:
        return "no reply after the whole message: may have been delivered, and may come twice", "yellow"
    if failure.kind not in ("failed", "undeliverable"):
        after = f"tried again {relative(failure.next_try, now)}" if failure.next_try > now else "tried again since"
        return f"{'no server could be used' if failure.kind == 'route_deferred' else 'told to wait'}; {after}", "yellow"
    why = REASONS.get(failure.reason, clean(failure.reason))
    end = f"returned to the sender as {failure.bounce}" if failure.bounce else f"no bounce ({clean(failure.unsent)})"
    if failure.next == "kept":
        end += ", kept for the postmaster: gatepost quarantine list --reason undeliverable"
    return f"{why}; {end}", "red"


def failure_form(domain: str, failure: Failure, meant: Diagnoses) -> dict[str, Any]:
    from cli.forms import attempt_form
    from cli.render import rfc3339

    return {
        "at": rfc3339(failure.at),
        "domain": domain,
        "state": failure.kind,
        "next": failure.next,
        "id": failure.message,
        "sender": failure.sender,
        "recipients": list(failure.recipients),
        "recipient_count": failure.recipient_count,
        "size": failure.size,
        "tries": failure.tries,
        "next_try": rfc3339(failure.next_try),
        "reason": failure.reason,
        "bounce": failure.bounce,
        "unsent": failure.unsent,
        "possible_duplicate": failure.possible_duplicate,
        "attempt": attempt_form(failure.attempt, meant.form(domain, failure.attempt)),
    }


def group_form(domain: str, group: FailureGroup, meant: Diagnoses) -> dict[str, Any]:
    from cli.render import rfc3339

    return {
        "domain": domain,
        "count": group.count,
        "first_at": rfc3339(group.first),
        "last_at": rfc3339(group.last),
        "recipients": list(group.recipients),
        "newest": failure_form(domain, group.newest, meant),
    }
