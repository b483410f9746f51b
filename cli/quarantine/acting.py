"""`gatepost quarantine release` and `delete`: messages that are named, or all that filters find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from cli.options import DEFAULT, Common
from cli.quarantine.filters import NONE, Filters

if TYPE_CHECKING:
    from cli.quarantine.found import Found
    from cli.session import Session
    from cli.steering.selecting import Tally
    from projections.readers.quarantine import Query
    from workers.quarantine import Quarantine
    from workers.releasing import Done

IDS = Parameter(help="Ids of messages; or say which with filters.")
YES = Parameter(help="Do not ask.")
DRY = Parameter(help="Only say what would happen.")
MOST = Parameter(name="--max", help="Of what filters find, the newest so many at most.")

Act = Callable[["Quarantine", str, tuple[str, ...]], Awaitable["Done"]]
"""What is done with a message, for these of its recipients; for all when there is none."""


class Verb(msgspec.Struct, frozen=True):
    """`done` and `already` go on behind a number of messages."""

    name: str
    question: str
    done: str
    already: str


RELEASE: Final = Verb("releasing", "Release {}?", "released, on the way", "had been released before")
DELETE: Final = Verb("deleting", "Delete {} for good?", "deleted", "had been deleted before")


async def release(
    *messages: Annotated[str, IDS],
    filters: Filters = NONE,
    to: Annotated[str, Parameter(name="--to", help="Not to its recipients but to this address.")] = "",
    outside: Annotated[bool, Parameter(help="That address may be of another domain than the gateway's.")] = False,
    note: Annotated[str, Parameter(help="Why, in a few words; it is recorded with --to.")] = "",
    virus: Annotated[bool, Parameter(help="Even if it carries a virus: a postmaster's decision.")] = False,
    allow_sender: Annotated[bool, Parameter(help="Put its sender on the domain's list of those allowed.")] = False,
    learn: Annotated[bool, Parameter(help="Teach the domain's classifier that it is good mail.")] = False,
    yes: Annotated[bool, YES] = False,
    dry_run: Annotated[bool, DRY] = False,
    most: Annotated[int, MOST] = 0,
    common: Common = DEFAULT,
) -> int:
    """Send messages straight to their recipients, without another scan.

    Once, however often it is asked for. With --recipient only that copy goes.

    For example:

      gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03
      gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03 --allow-sender --learn
      gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03 --recipient anna@example.com
      gatepost quarantine release 1nx9s4tkh2v6c8jq0d7w03 --to postmaster@example.com
      gatepost quarantine release --sender @partner.example --class spam
    """
    from cli.session import session
    from cli.steering.asked import destination
    from workers.releasing import Release

    address = ""
    if to:
        async with session(common) as opened:
            address = await destination(opened.wiring.directory, to, outside=outside)

    async def act(quarantine: Quarantine, message_id: str, recipients: tuple[str, ...]) -> Done:
        how = Release(recipients=recipients, virus=virus, allow_sender=allow_sender, learn=learn)
        if address:
            return await quarantine.release_to(message_id, address, how, reason=note or "released from quarantine")
        return await quarantine.release(message_id, how)

    return await _act(messages, filters, RELEASE, act, yes=yes, dry_run=dry_run, most=most, common=common)


async def delete(
    *messages: Annotated[str, IDS],
    filters: Filters = NONE,
    yes: Annotated[bool, YES] = False,
    dry_run: Annotated[bool, DRY] = False,
    most: Annotated[int, MOST] = 0,
    common: Common = DEFAULT,
) -> int:
    """Discard messages for good; nobody is told. With --recipient only that copy.

    For example:

      gatepost quarantine delete 1nx9s4tkh2v6c8jq0d7w03 --yes
      gatepost quarantine delete --domain example.com --class virus --dry-run
    """

    async def act(quarantine: Quarantine, message_id: str, recipients: tuple[str, ...]) -> Done:
        return await quarantine.delete(message_id, recipients)

    return await _act(messages, filters, DELETE, act, yes=yes, dry_run=dry_run, most=most, common=common)


async def _act(
    messages: tuple[str, ...],
    filters: Filters,
    verb: Verb,
    act: Act,
    *,
    yes: bool,
    dry_run: bool,
    most: int,
    common: Common,
) -> int:
    from pipeline.faults import ConfigurationError

    if messages:
        if filters not in (NONE, Filters(recipient=filters.recipient)):
            raise ConfigurationError("name messages or give filters, not both")
        return await _named(messages, filters.recipient, verb, act, yes=yes, dry_run=dry_run, common=common)
    if not filters.any:
        raise ConfigurationError(
            "name messages, or say which with filters", remedy="See `gatepost quarantine list --help` for the filters."
        )
    if most < 0:
        raise ConfigurationError(f"--max is {most}; at least 1")
    return await _found(filters, verb, act, yes=yes, dry_run=dry_run, most=most, common=common)


# Messages that are named


async def _named(
    messages: tuple[str, ...], recipient: str, verb: Verb, act: Act, *, yes: bool, dry_run: bool, common: Common
) -> int:
    """Act on every message; one that cannot be acted on does not hold up the others, and its code is the exit code."""
    from cli.names import confirm, message_id_of
    from cli.render import count
    from cli.session import actor, session
    from pipeline.faults import ConfigurationError, GatepostError, StoreError
    from workers.quarantine import Quarantine

    if dry_run:
        raise ConfigurationError("--dry-run is for filters", remedy="See a message with `gatepost quarantine show`.")
    wanted = list(dict.fromkeys(message_id_of(text) for text in messages))
    if verb is DELETE and not yes and not await confirm(verb.question.format(count(len(wanted), "message"))):
        return 1
    done: list[tuple[str, Done | GatepostError]] = []
    async with session(common) as opened:
        quarantine = Quarantine(opened.wiring, by=actor())
        for message_id in wanted:
            try:
                done.append((message_id, await act(quarantine, message_id, (recipient,) if recipient else ())))
            except StoreError:
                raise
            except GatepostError as error:
                done.append((message_id, error))
    return _told(done, common)


def _told(done: list[tuple[str, Any]], common: Common) -> int:
    from cli.quarantine.forms import done_form
    from cli.render import Screen, complain, document
    from pipeline.faults import GatepostError

    faults = [result for _, result in done if isinstance(result, GatepostError)]
    if common.json:
        document({
            "messages": [
                {"id": name, "result": "refused", "reason": str(result)}
                if isinstance(result, GatepostError)
                else done_form(name, result)
                for name, result in done
            ]
        })  # fmt: skip
    else:
        screen = Screen()
        for name, result in done:
            if not isinstance(result, GatepostError):
                _line(screen, name, result)
    complain(*(f"gatepost: {fault}" for fault in faults[:-1]))
    if faults:
        raise faults[-1]
    return 0


def _line(screen: Any, name: str, done: Done) -> None:
    from cli.render import clean

    goes_on = f" as {done.message}" if done.message else ""
    screen.say((name, "bold"), f" {clean(done.words)}{goes_on}")
    if done.allowed:
        screen.say(f"  mail from {clean(done.allowed)} is allowed from now on")
    if done.learned:
        screen.say("  the classifier has learned that it is good mail")


# Messages that filters find


async def _found(filters: Filters, verb: Verb, act: Act, *, yes: bool, dry_run: bool, most: int, common: Common) -> int:
    from cli.names import confirm
    from cli.quarantine.found import count_all, found_form, found_lines
    from cli.render import complain, count, document
    from cli.session import session
    from cli.steering.selecting import Tally

    async with session(common, views=True) as opened:
        # What comes while somebody thinks about the answer is not what they were asked about.
        now = opened.now()
        query = filters.query(now)
        query = msgspec.structs.replace(query, until=min(query.until or now, now))
        found = await count_all(opened, query, most, shown=not common.json) if dry_run or not yes else None
    if found is not None:
        if dry_run and common.json:
            document({"dry_run": True, **found_form(found)})
            return 0
        if not found.messages:
            return _tallied(Tally(), verb, common)
        complain(*found_lines(found))
        if dry_run or not await confirm(verb.question.format(count(found.messages, "message"))):
            return 0 if dry_run else 1
    async with session(common, views=True) as opened:
        tally = await _each(opened, query, most, verb, act, found, common)
    return _tallied(tally, verb, common)


async def _each(
    opened: Session, query: Query, most: int, verb: Verb, act: Act, found: Found | None, common: Common
) -> Tally:
    """Interrupted, it is simply asked for again: what was done is not there any more."""
    from cli.quarantine.found import matching
    from cli.session import actor
    from cli.steering.selecting import act_on_each
    from workers.quarantine import Quarantine

    quarantine = Quarantine(opened.wiring, by=actor())
    copies: dict[str, tuple[str, ...]] = {}

    async def names() -> AsyncIterator[str]:
        async for one in matching(opened, query, most):
            if query.recipient:
                copies[one.id] = tuple(
                    address for address in one.recipients if query.recipient.casefold() in address.casefold()
                )
            yield one.id

    async def changed(message_id: str) -> bool:
        return (await act(quarantine, message_id, copies.pop(message_id, ()))).changed

    total = found.messages if found is not None else most or None
    return await act_on_each(names(), changed, named=False, what=verb.name, total=total, shown=not common.json)


def _tallied(tally: Tally, verb: Verb, common: Common) -> int:
    from cli.render import Screen, document
    from cli.steering.telling import code, tally_form, tell

    if common.json:
        document(tally_form(tally))
        return code(tally)
    screen = Screen()
    if not (tally.done or tally.already or tally.gone or tally.refused):
        screen.say(("Nothing is in quarantine that matches.", "green"))
        return 0
    tell(screen, tally, verb.done, verb.already)
    return code(tally)
